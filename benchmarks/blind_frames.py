# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What each memory is worth while the camera sees nothing, on held-out rendered worlds.

    python benchmarks/blind_frames.py --model mem3r-tiny --output benchmarks/results

After a warm-up, a run of 1, 3 or 10 frames is dark, blurred, occluded or empty, one kind for each
world. During the run each memory in turn is put back to its initial value before every frame. The
errors are those of the motion from the last good frame to the last blind one, and of the depth of
the last blind frame. The length of the motion is in units of the warm-up, so that an error of the
metric scale does not count. Writes blind_frames.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
import sys

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
import worlds

from mem3r_ros.model import State, load_model
from mem3r_ros.se3 import invert_rigid, rotation_angle
from mem3r_ros.training.batch import Batch, collate
from mem3r_ros.training.batch_loader import clip_flow
from mem3r_ros.training.blind_frames import KINDS, blinded
from mem3r_ros.training.chunk_loss import frame_input
from mem3r_ros.training.clip_sources import build_source, network_clip
from mem3r_ros.training.config import SourceConfig
from mem3r_ros.training.validation import depth_figures

FIRST_WORLD = worlds.FIRST_WORLD + 10_000  # no other benchmark uses these
WARM_UP = 12  # good frames before the run
SIGHTLESS = KINDS[:-1]  # a frame that is left out is no frame
RUNS = (1, 3, 10)
MOVES_M = 0.01  # a camera that moves less in the run has no motion to compare
BATCH = 16
VARIANTS = {
    'as they are': lambda state, initial: state,
    'fast weights put back': worlds.forget_fast_weights,
    'state tokens put back': worlds.forget_tokens,
    'depth memory put back': worlds.forget_depth,
    'all put back': worlds.forget_all,
}
CONSTANT_VELOCITY = 'constant velocity of the last good motion'
ROWS = (*VARIANTS, CONSTANT_VELOCITY)


@dataclass(frozen=True)
class Errors:
    """Errors over one run of blind frames; one value per world."""

    translation: np.ndarray  # over the true length of the motion
    rotation_deg: np.ndarray
    absrel: np.ndarray


def render(first: int, count: int, run: int, model: torch.nn.Module) -> Batch:
    """Render worlds whose frames from ``WARM_UP`` on are blind."""
    source, size = build_source(SourceConfig()), tuple(model.config.img_size)
    clips = []
    for index in range(first, first + count):
        length, scale = WARM_UP + run, model.config.flow_scale
        clip = network_clip(source, FIRST_WORLD + index, length, size, scale)
        blind = np.arange(length) >= WARM_UP
        kind = SIGHTLESS[index % len(SIGHTLESS)]
        clips.append(blinded(clip, blind, kind, np.random.default_rng([index, 4])))
    return collate(clips, [clip_flow(clip) for clip in clips], [True] * count)


@torch.inference_mode()
def warmed_up(model: torch.nn.Module, batch: Batch) -> tuple[State, list[torch.Tensor]]:
    """Return the state after the good frames, and their poses."""
    state, poses = model.initial_state(batch.batch_size, batch.image.shape[:-3:-1]), []
    for index in range(WARM_UP):
        prediction, state = model.step(frame_input(batch, index), state)
        poses.append(prediction.T_world_camera.double())
    return state, poses


@torch.inference_mode()
def run_blind(
    model: torch.nn.Module, batch: Batch, state: State, poses: list[torch.Tensor], name: str
) -> Errors:
    """Run the blind frames with one variant of the memories."""
    initial = model.initial_state(batch.batch_size, batch.image.shape[:-3:-1])
    before, depth = poses[-1], None
    pose = before
    for index in range(WARM_UP, batch.num_frames):
        state = VARIANTS[name](state, initial)
        prediction, state = model.step(frame_input(batch, index), state)
        pose, depth = prediction.T_world_camera.double(), prediction.points_camera[..., 2]
    return errors(batch, poses, invert_rigid(before) @ pose, depth)


def constant_velocity(batch: Batch, poses: list[torch.Tensor]) -> Errors:
    """Continue the last good motion; there is no depth."""
    step = invert_rigid(poses[-2]) @ poses[-1]
    moved = torch.linalg.matrix_power(step, batch.num_frames - WARM_UP)
    return errors(batch, poses, moved, None)


def errors(
    batch: Batch, poses: list[torch.Tensor], moved: torch.Tensor, depth: torch.Tensor | None
) -> Errors:
    """
    Compare the motion over the run, and the depth at its end, with the truth.

    :param poses: of the good frames, each [B, 4, 4].
    :param moved: last good camera from the last blind one, [B, 4, 4].
    :param depth: of the last blind frame, [B, H, W].
    """
    true = batch.T_world_camera.double()
    moved_true = invert_rigid(true[WARM_UP - 1]) @ true[-1]
    walked = [path.diff(dim=0).norm(dim=-1).sum(dim=0) for path in
              (torch.stack(poses)[..., :3, 3], true[:WARM_UP, :, :3, 3])]  # fmt: skip
    unit = walked[1] / walked[0].clamp(min=1e-9)
    length = moved_true[:, :3, 3].norm(dim=-1)
    gap = (moved[:, :3, 3] * unit[:, None] - moved_true[:, :3, 3]).norm(dim=-1) / length
    gap = torch.where((length > MOVES_M) & (walked[1] > MOVES_M), gap, torch.nan)
    turn = rotation_angle(moved[:, :3, :3].mT @ moved_true[:, :3, :3]).rad2deg()
    absrel = np.full(len(length), np.nan)
    if depth is not None:
        for index in range(len(length)):
            one = slice(index, index + 1)
            found = depth_figures(depth[one], batch.depth_m[-1, one])
            absrel[index] = found.get('absrel', np.nan)
    return Errors(gap.numpy(), turn.numpy(), absrel)


def measure(model: torch.nn.Module, run: int, count: int) -> dict[str, Errors]:
    """Return the errors of all variants over the same worlds."""
    parts: dict[str, list[Errors]] = {name: [] for name in ROWS}
    for first in range(0, count, BATCH):
        batch = render(first, min(BATCH, count - first), run, model)
        state, poses = warmed_up(model, batch)
        for name in VARIANTS:
            parts[name].append(run_blind(model, batch, state, poses, name))
        parts[CONSTANT_VELOCITY].append(constant_velocity(batch, poses))
    join = np.concatenate
    return {
        name: Errors(*(join([getattr(part, field) for part in found])
                       for field in Errors.__dataclass_fields__))
        for name, found in parts.items()
    }  # fmt: skip


def median(values: np.ndarray, over: np.ndarray | None = None) -> str:
    """Return the median over the worlds, and its ratio to that of another variant."""
    if not np.isfinite(values).any():
        return '-'
    middle = float(np.nanmedian(values))
    if over is None:
        return f'{middle:.3f}'
    return f'{middle:.3f} ({middle / max(float(np.nanmedian(over)), 1e-9):.2f})'


def table(found: dict[int, dict[str, Errors]]) -> list[str]:
    """Return the rows of the table; in brackets: over the memories as they are."""
    lines = [
        '| blind frames | worlds | memories | translation | rotation, deg | depth AbsRel |',
        '|---|---|---|---|---|---|',
    ]
    for run, variants in found.items():
        base = variants['as they are']
        for name, errors_of in variants.items():
            cells = [
                median(getattr(errors_of, field), getattr(base, field))
                for field in Errors.__dataclass_fields__
            ]
            lines.append(f'| {run} | {len(base.absrel)} | {name} | ' + ' | '.join(cells) + ' |')
    return lines


def main() -> int:
    """Print the table; with --output, write it as blind_frames.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--model', default='mem3r-tiny', help='preset or weights file')
    parser.add_argument('--runs', type=int, nargs='+', default=RUNS, help='lengths of the run')
    parser.add_argument('--worlds', type=int, default=64, help='worlds of each length')
    parser.add_argument('--output', type=Path, help='folder for blind_frames.md')
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(args.model).eval()
    found = {run: measure(model, run, args.worlds) for run in args.runs}
    lines = table(found)
    print('\n'.join(lines))
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        head = (
            f'# Blind frames: {args.model}\n\nMedians over the worlds. Translation: error over '
            'the true length of the motion. In brackets: over the memories as they are; above 1, '
            'the memory helps.\n\n'
        )
        (args.output / 'blind_frames.md').write_text(head + '\n'.join(lines) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
