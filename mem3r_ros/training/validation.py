# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Validation: errors of the averaged weights on held-out clips, beside trivial answers.

Rotation and translation error of the motion from frame to frame against no motion, the cosine of
the direction, and the relative depth error (median-scaled) against one constant depth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
import math

import numpy as np
import torch
from torch import Tensor, nn

from mem3r_ros.model import Prediction, update_rule
from mem3r_ros.reports.result import StripFrame
from mem3r_ros.se3 import invert_rigid, relative_poses, rotation_angle
from mem3r_ros.training.batch import Batch, Clip, collate
from mem3r_ros.training.batch_loader import clip_flow
from mem3r_ros.training.chunk_loss import frame_input
from mem3r_ros.training.clip_sources import HELD_OUT_WORLDS, build_source, network_clip
from mem3r_ros.training.config import SourceConfig, TrainConfig, parse_size
from mem3r_ros.worlds.config import WorldConfig

NUM_PICTURES = 4
MAX_BATCH = 16  # clips side by side


@dataclass
class Validation:
    """Means over the held-out clips, and depth images of some of them."""

    figures: dict[str, float]
    pictures: list[StripFrame] = field(default_factory=list)


def validation_batches(config: TrainConfig, flow_scale: int) -> list[Batch]:
    """
    Render the held-out worlds; every fourth without intrinsics if training has such clips.

    Half of them are wide, see WorldConfig.

    :param flow_scale: see ModelConfig.
    """
    sources = [
        build_source(SourceConfig(worlds=WorldConfig(wide_share=share))) for share in (0.0, 1.0)
    ]
    size = parse_size(config.stages[-1].sizes[0])
    groups: dict[bool, list[Clip]] = {True: [], False: []}
    for index in range(config.runtime.validation_clips):
        is_known = config.unknown_focal == 0 or index % 8 not in (3, 6)
        length = config.runtime.validation_frames
        source = sources[index % len(sources)]  # ordinary and wide worlds take turns
        clip = network_clip(source, HELD_OUT_WORLDS + index, length, size, flow_scale)
        groups[is_known].append(clip)
    batches = []
    for is_known, clips in groups.items():
        for first in range(0, len(clips), MAX_BATCH):
            some = clips[first : first + MAX_BATCH]
            batch = collate(some, [clip_flow(clip) for clip in some], [True] * len(some))
            batches.append(replace(batch, is_focal_known=is_known))
    return batches


@torch.no_grad()
def validate_model(model: nn.Module, batches: Iterable[Batch], rule_name: str) -> Validation:
    """
    Run a model over held-out clips in float32.

    Figures are means over the frames of a clip, then over the clips.
    """
    clips: list[dict[str, float]] = []
    pictures: list[StripFrame] = []
    rule = update_rule(rule_name)
    device = next(model.parameters()).device
    for batch in batches:
        batch = batch.to(device)
        state = model.initial_state(batch.batch_size)
        true = relative_poses(batch.T_world_camera)
        frames: list[list[dict[str, float]]] = [[] for _ in range(batch.batch_size)]
        before = None
        for index in range(batch.num_frames):
            prediction, state = model.step(frame_input(batch, index), state, rule)
            motion = prediction.T_previous_camera
            if motion is None and before is not None:  # the network predicts poses alone
                motion = invert_rigid(before) @ prediction.T_world_camera
            before = prediction.T_world_camera
            for clip, found in enumerate(frames):
                found.append(_frame_figures(prediction, motion, batch, true, index, clip))
        clips += [
            mean_figures(found) | world_figures(prediction.T_world_camera, batch, clip)
            for clip, found in enumerate(frames)
        ]
        for clip in range(min(NUM_PICTURES - len(pictures), batch.batch_size)):
            pictures.append(_picture(batch, prediction.points_camera[..., 2], clip))
    return Validation(figures=mean_figures(clips), pictures=pictures)


def mean_figures(figures: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over those that have it."""
    names = dict.fromkeys(name for found in figures for name in found)
    values = {
        name: [f[name] for f in figures if math.isfinite(f.get(name, math.nan))] for name in names
    }
    return {name: float(np.mean(known)) for name, known in values.items() if known}


def _frame_figures(
    prediction: Prediction,
    motion: Tensor | None,
    batch: Batch,
    true: Tensor,
    index: int,
    clip: int,
) -> dict[str, float]:
    """Return the figures of one frame of one clip."""
    one = slice(clip, clip + 1)
    figures = depth_figures(prediction.points_camera[one, ..., 2], batch.depth_m[index, one])
    if index and motion is not None:
        figures |= motion_figures(motion[one], true[index, one])
    if prediction.focal_px is not None and not batch.is_focal_known:
        focal = batch.intrinsics[clip, :2].mean()
        figures['focal_error'] = float((prediction.focal_px[clip] / focal - 1).abs())
    return figures


def depth_figures(depth: Tensor, depth_true: Tensor) -> dict[str, float]:
    """
    Return depth errors: median-scaled, as predicted, and of one constant depth.

    :param depth: [B, H, W] m.
    :param depth_true: [B, H, W] m; NaN and +inf are left out.
    """
    ratios, raw, constant, scale = [], [], [], []
    for predicted, true in zip(depth, depth_true, strict=True):
        valid = torch.isfinite(true) & (true > 0)
        if valid.sum() < 16:
            continue
        p, t = predicted[valid].clamp(min=1e-3), true[valid]
        middle = t.median()
        ratios.append(((p * (middle / p.median()) - t).abs() / t).mean())
        raw.append(((p - t).abs() / t).mean())
        scale.append((p.median() / middle).log().abs())
        constant.append(((middle - t).abs() / t).mean())
    if not ratios:
        return {}
    mean = lambda values: float(torch.stack(values).mean())  # noqa: E731
    return {
        'absrel': mean(ratios),
        'absrel_unscaled': mean(raw),
        'absrel_constant': mean(constant),
        'scale_error': mean(scale),  # |log| of the ratio of medians
    }


def motion_figures(relative: Tensor, true: Tensor) -> dict[str, float]:
    """
    Return errors of the motion from the previous frame, and those of no motion.

    :param relative: predicted T_previous_camera, [B, 4, 4].
    :param true: the same, true.
    """
    relative, true = relative.double(), true.double()
    R, R_true = relative[:, :3, :3], true[:, :3, :3]
    t, t_true = relative[:, :3, 3], true[:, :3, 3]
    degrees = 180 / math.pi
    cosine = torch.nn.functional.cosine_similarity(t, t_true, dim=-1)
    moving = t_true.norm(dim=-1) > 1e-3
    return {
        'rotation_deg': float(rotation_angle(R.transpose(-1, -2) @ R_true).mean()) * degrees,
        'rotation_none_deg': float(rotation_angle(R_true).mean()) * degrees,
        'translation_m': float((t - t_true).norm(dim=-1).mean()),
        'translation_none_m': float(t_true.norm(dim=-1).mean()),
        'direction_cos': float(cosine[moving].mean()) if bool(moving.any()) else math.nan,
    }


def world_figures(T_world_camera: Tensor, batch: Batch, clip: int) -> dict[str, float]:
    """Return the error of the last position of a clip, and that of standing still."""
    true = batch.T_world_camera[-1, clip, :3, 3]
    return {
        'end_error_m': float((T_world_camera[clip, :3, 3] - true).norm()),
        'end_error_none_m': float(true.norm()),
    }


def _picture(batch: Batch, depth: Tensor, clip: int) -> StripFrame:
    return StripFrame(
        stamp_ns=0,
        image=batch.image[-1, clip].permute(1, 2, 0).cpu().numpy(),
        depth_m=depth[clip].float().cpu().numpy(),
        true_depth_m=batch.depth_m[-1, clip].cpu().numpy(),
    )


def figures_line(figures: dict[str, float]) -> str:
    """Return the figures in one line, each beside its trivial answer."""
    get = lambda name: figures.get(name, math.nan)  # noqa: E731
    focal = f'focal {get("focal_error"):.1%}, ' if 'focal_error' in figures else ''
    return (
        f'rotation {get("rotation_deg"):.2f}/{get("rotation_none_deg"):.2f} deg, '
        f'translation {get("translation_m"):.3f}/{get("translation_none_m"):.3f} m '
        f'(cos {get("direction_cos"):.2f}), '
        f'AbsRel {get("absrel"):.3f}/{get("absrel_constant"):.3f} '
        f'(unscaled {get("absrel_unscaled"):.3f}), '
        f'scale {get("scale_error"):.2f}, {focal}'
        f'end of clip {get("end_error_m"):.2f}/{get("end_error_none_m"):.2f} m'
    )
