# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The network alone over the frames of a protocol: no tracker, no calibration, no scale.

The network is causal: its answers to the first 50 views are the same, whether 50 or 1,000 follow.
So each sequence is read once, up to the largest number of views, and scored at each number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data import SequenceFrame, open_sequence
from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.depth_error import true_depth_at
from mem3r_ros.evaluation.depth_protocol import ALIGNMENTS, PixelPairs
from mem3r_ros.evaluation.protocols import DEPTH, POSE, RECONSTRUCTION, Protocol
from mem3r_ros.evaluation.reconstruction_error import reconstruction_error
from mem3r_ros.evaluation.trajectory_error import trajectory_error
from mem3r_ros.geometry import invert
from mem3r_ros.model import FrameInput, Mem3R, UpdateRule
from mem3r_ros.tracker.pixel_map import PixelMap, network_tensor, plan_pixels
from mem3r_ros.trajectory import Trajectory

OUTPUTS = {
    POSE: ('T_world_camera',),
    DEPTH: ('points_camera',),
    RECONSTRUCTION: ('points_world',),
}
_CENTRE = 224  # px: side of the central square that is reconstructed


@dataclass(slots=True)
class _Seen:
    """What one pass has collected so far."""

    pixels: PixelPairs
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)
    true_poses: list[np.ndarray | None] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    true_points: list[np.ndarray] = field(default_factory=list)


def evaluate_sequence(
    network: Mem3R,
    rule: UpdateRule,
    protocol: Protocol,
    path: Path,
    views: list[int],
    on_frame: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """
    Score one sequence at each number of views.

    :param network: any network of the model API.
    :param rule: how its state is updated.
    :param protocol: which frames, and which scores.
    :param path: folder of the sequence.
    :param views: increasing numbers of views; larger ones than the sequence has are left out,
        except for the smallest of these, which takes all there are.
    :param on_frame: called after each frame.
    :return: one row for each number: views, num_views and the scores by name.
    :raises UserError: the sequence cannot be read, or holds no truth.
    """
    rows: dict[int, dict[str, Any]] = {}
    for task in protocol.tasks:
        seen = _Seen(PixelPairs(protocol.max_depth_m))
        wanted = list(views)
        for _ in _step(network, rule, protocol, path, views[-1], task, seen):
            on_frame()
            if wanted and len(seen.stamps_ns) == wanted[0]:
                number = wanted.pop(0)
                rows.setdefault(number, {}).update(_score(task, seen, protocol))
        if not seen.stamps_ns:
            raise UserError(f'{path} has no frame with {protocol.needs or "an image"}')
        if wanted and len(seen.stamps_ns) not in views:
            rows.setdefault(wanted[0], {}).update(_score(task, seen, protocol))
    return [{'views': number, **row} for number, row in sorted(rows.items())]


def _frames(protocol: Protocol, path: Path, count: int) -> Iterator[SequenceFrame]:
    """Yield the frames that count."""
    sequence = open_sequence(path, stride=protocol.stride, with_depth=protocol.tasks != (POSE,))
    has = {POSE: 'T_world_camera', DEPTH: 'depth_m', '': 'image'}[protocol.needs]
    usable = (frame for frame in sequence if getattr(frame, has) is not None)
    yield from islice(usable, protocol.start, protocol.start + count)


def _step(
    network: Mem3R,
    rule: UpdateRule,
    protocol: Protocol,
    path: Path,
    count: int,
    task: str,
    seen: _Seen,
) -> Iterator[None]:
    """Advance the network over the frames; collect its answers."""
    config, state, pixels = network.config, None, None
    for frame in _frames(protocol, path, count):
        height, width = frame.image.shape[:2]
        if pixels is None or (pixels.source_width, pixels.source_height) != (width, height):
            # Depth is compared over the whole view, poses and points as CUT3R's demo crops.
            pixels = plan_pixels(
                width, height, config.img_size, config.patch_size, keep_view=task == DEPTH
            )
        image = network_tensor(pixels.apply(frame.image), network.device)
        with torch.inference_mode():
            if state is None:
                state = network.initial_state(1, (pixels.width, pixels.height))
            prediction, state = network.step(FrameInput(image=image), state, rule, OUTPUTS[task])
        seen.stamps_ns.append(frame.stamp_ns)
        seen.true_poses.append(frame.T_world_camera)
        if task == POSE:
            seen.poses.append(prediction.T_world_camera[0].double().cpu().numpy())
        elif task == DEPTH and frame.depth_m is not None:
            depth_m = prediction.points_camera[0, ..., 2].float().cpu().numpy()
            seen.pixels.add(depth_m, protocol.depth_factor * frame.depth_m)
        elif task == RECONSTRUCTION and frame.depth_m is not None:
            _collect_points(prediction.points_world[0], frame, pixels, protocol, seen)
        yield


def _collect_points(
    points: torch.Tensor, frame: SequenceFrame, pixels: PixelMap, protocol: Protocol, seen: _Seen
) -> None:
    """Add the central pixels with a known depth: estimated points and true ones, both [N, 3]."""
    pose = frame.T_world_camera
    if pose is None or frame.camera is None:
        return
    first = next(pose for pose in seen.true_poses if pose is not None)
    camera = pixels.network_camera(frame.camera)
    depth_m = true_depth_at(frame.depth_m, frame.camera, camera)
    true = camera.rays() * depth_m[..., None] @ pose[:3, :3].T + pose[:3, 3]
    T_first_world = invert(first)
    true = true @ T_first_world[:3, :3].T + T_first_world[:3, 3]
    part = _central(camera)
    known = np.isfinite(depth_m[part]) & (depth_m[part] < (protocol.max_depth_m or np.inf))
    seen.points.append(points.float().cpu().numpy()[part][known])
    seen.true_points.append(true[part][known].astype(np.float32))


def _central(camera: Intrinsics) -> tuple[slice, slice]:
    """Return the rows and columns of the central square, or of all where the image is small."""
    rows, columns = (
        slice(max(0, side // 2 - _CENTRE // 2), side // 2 + _CENTRE // 2)
        for side in (camera.height, camera.width)
    )
    return rows, columns


def _score(task: str, seen: _Seen, protocol: Protocol) -> dict[str, Any]:
    """Return the scores of what has been seen so far, by name."""
    found: dict[str, Any] = {'num_views': len(seen.stamps_ns)}
    if task == POSE:
        known = [index for index, pose in enumerate(seen.true_poses) if pose is not None]
        stamps_ns = np.array(seen.stamps_ns)
        truth = Trajectory(stamps_ns[known], np.array([seen.true_poses[i] for i in known]))
        error = trajectory_error(Trajectory(stamps_ns, np.array(seen.poses)), truth)
        found |= {
            'ate_m': error.ate_sim3_rmse_m,
            'ate_first_m': error.ate_first_rmse_m,
            'rpe_translation_m': error.rpe_translation_m,
            'rpe_rotation_deg': error.rpe_rotation_deg,
        }
    elif task == DEPTH:
        for align in ALIGNMENTS:
            score = seen.pixels.score(align, protocol.clip_m)
            found |= {
                f'abs_rel_{align}': score.abs_rel,
                f'delta1_percent_{align}': score.delta1_percent,
                'num_pixels': score.num_pixels,
            }
    elif seen.points:
        points, true = map(np.concatenate, (seen.points, seen.true_points))
        cloud = reconstruction_error(aligned(points, true), true)
        found |= {
            'accuracy_m': cloud.accuracy_m,
            'completeness_m': cloud.completeness_m,
            'chamfer_m': cloud.chamfer_m,
            'normal_consistency': cloud.normal_consistency,
        }
    return found


def aligned(points: np.ndarray, true: np.ndarray) -> np.ndarray:
    """
    Bring corresponding points to the median depth and the median distance of the true ones.

    :param points: estimated points [N, 3] in the frame of the first camera.
    :param true: the true points of the same pixels [N, 3], m.
    :return: the estimated points, shifted along z and scaled about that shift (DUSt3R, arXiv
        2312.14132, as Spann3R's evaluation applies it).
    """
    centre, true_centre = np.zeros(3), np.zeros(3)
    centre[2], true_centre[2] = np.median(points[:, 2]), np.median(true[:, 2])
    size = np.median(np.linalg.norm(points - centre, axis=1))
    true_size = np.median(np.linalg.norm(true - true_centre, axis=1))
    return (points - centre) * (true_size / size) + true_centre
