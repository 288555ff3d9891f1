# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Depth of the tracker with and without fusion, against true depth.

    python benchmarks/depth.py SEQUENCE... --worlds room:11 street:14 --output benchmarks/results

A sequence is any recording with depth that ``mem3r evaluate`` reads; a world is rendered. A row
gives AbsRel after one scale for the whole run (the median ratio of a pixel), near steps of depth
and elsewhere. AUSE of the confidence stands beside that of a random order. ``depth / path`` is
the scale of the depth over that of the path (1 if they agree). The last column is the time of the
fusion per frame. Writes depth.md and a picture beside the truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data import open_sequence
from mem3r_ros.data.sequence import SequenceFrame
from mem3r_ros.evaluation import trajectory_error
from mem3r_ros.evaluation.depth_error import true_depth_at
from mem3r_ros.evaluation.depth_quality import DepthQualityMeter
from mem3r_ros.model import load_model
from mem3r_ros.odometry.depth_fusion import DepthFusionConfig
from mem3r_ros.reports.depth_pictures import DepthRange, colour_depth
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.tracker.config import DepthConfig
from mem3r_ros.trajectory import Trajectory
from mem3r_ros.worlds import WorldConfig, render_clip

WORLD_SIZE = (640, 480)
WORLD_FRAME_NS = 66_666_667
FIRST_FRAME = 8  # before, no motion has shown any depth
HEADER = (
    '| sequence | fusion | AbsRel | near edges | elsewhere | AUSE | random | depth / path | ms |'
)


def world_frames(name: str, num_frames: int) -> Iterator[SequenceFrame]:
    """Render a world, given as KIND:INDEX."""
    kind, index = name.split(':')
    clip = render_clip(int(index), num_frames, WORLD_SIZE, WorldConfig(world=kind))
    camera = Intrinsics(*map(float, clip.intrinsics), *WORLD_SIZE)
    for frame in range(num_frames):
        yield SequenceFrame(
            (frame + 1) * WORLD_FRAME_NS,
            clip.image[frame].numpy(),
            camera,
            clip.T_world_camera[frame].double().numpy(),
            clip.depth_m[frame].numpy(),
        )


def sequence_frames(path: str, max_frames: int) -> Iterator[SequenceFrame]:
    """Read a recording."""
    for index, frame in enumerate(open_sequence(Path(path))):
        if index == max_frames:
            return
        yield frame


class Run:
    """One sequence with one setting."""

    def __init__(self, name: str, model: torch.nn.Module, is_fused: bool, shown: int) -> None:
        """Start a tracker; frame ``shown`` is kept for the picture."""
        # At the pixels of the camera, so that both settings are compared at the same ones.
        fusion = DepthFusionConfig(enabled=is_fused)
        depth = DepthConfig(resolution='camera', fusion=fusion)
        self.name, self.is_fused, self.shown = name, is_fused, shown
        self.tracker = Tracker(model, TrackerConfig(depth=depth))
        self.meter = DepthQualityMeter()
        self.stamps, self.poses, self.truth, self.spent = [], [], [], []
        self.picture: tuple[np.ndarray, ...] | None = None

    def add(self, index: int, frame: SequenceFrame) -> None:
        """Track one frame and compare its depth."""
        tracked = self.tracker.track(CameraFrame(frame.stamp_ns, frame.image, frame.camera))
        self.spent.append(tracked.health.stage_ms.get('depth', 0.0))
        if frame.T_world_camera is not None:
            self.stamps.append(frame.stamp_ns)
            self.poses.append(tracked.T_odom_camera)
            self.truth.append(frame.T_world_camera)
        if frame.depth_m is None or tracked.depth is None:
            return
        true_m = true_depth_at(frame.depth_m, tracked.source_camera, tracked.intrinsics)
        if index >= FIRST_FRAME:
            self.meter.add(tracked.depth, tracked.confidence, true_m)
        if index == self.shown:
            self.picture = (frame.image, true_m, tracked.depth)

    def row(self) -> str:
        """Return the line of the table."""
        found = self.meter.result()
        if found is None:
            return f'| {self.name} | no true depth |'
        stamps = np.array(self.stamps)
        path = trajectory_error(
            Trajectory(stamps, np.array(self.poses)), Trajectory(stamps, np.array(self.truth))
        )
        values = (found.abs_rel, found.abs_rel_near_edges, found.abs_rel_elsewhere)
        cells = [f'{value:.3f}' for value in values]
        cells += [f'{found.ause:.2f}', f'{found.ause_random:.2f}']
        cells += [f'{path.scale / found.scale:.2f}', f'{np.median(self.spent):.0f}']
        return f'| {self.name} | {"on" if self.is_fused else "off"} | {" | ".join(cells)} |'


def picture(runs: list[Run]) -> np.ndarray:
    """Return image, true depth, depth without and with fusion side by side."""
    size = (320, round(320 * runs[0].picture[0].shape[0] / runs[0].picture[0].shape[1]))
    image, true_m, _ = runs[0].picture
    depths = [true_m] + [
        run.picture[2] * np.float32(run.meter.result().scale) for run in reversed(runs)
    ]
    valid = true_m[np.isfinite(true_m) & (true_m > 0)]
    depth_range = DepthRange(*map(float, np.quantile(valid, (0.01, 0.99))))
    tiles = [cv2.resize(image, size, interpolation=cv2.INTER_AREA)]
    for depth in depths:
        resized = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
        tiles.append(colour_depth(np.where(resized > 0, resized, np.nan), depth_range))
    return np.hstack(tiles)


def main() -> None:
    """Run all sequences with both settings."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split('\n')[0])
    parser.add_argument('sequences', nargs='*', help='recordings with depth')
    parser.add_argument('--worlds', nargs='*', default=[], help='rendered worlds, KIND:INDEX')
    parser.add_argument('--model', default='mem3r-tiny')
    parser.add_argument('--max-frames', type=int, default=150)
    parser.add_argument('--shown', type=int, default=100, help='frame for the picture')
    parser.add_argument('--output', type=Path, help='folder for depth.md and the pictures')
    args = parser.parse_args()
    model, lines = load_model(args.model), [HEADER, '|---|' + 8 * '---|']
    print('\n'.join(lines))
    sources = [
        (Path(path).name, sequence_frames(path, args.max_frames)) for path in args.sequences
    ]
    sources += [(name, world_frames(name, min(args.max_frames, 60))) for name in args.worlds]
    for name, frames in sources:
        runs = [Run(name, model, is_fused, args.shown) for is_fused in (True, False)]
        for index, frame in enumerate(frames):
            for run in runs:
                run.add(index, frame)
        for run in reversed(runs):
            lines.append(run.row())
            print(lines[-1], flush=True)
        if args.output and all(run.picture is not None for run in runs):
            args.output.mkdir(parents=True, exist_ok=True)
            file = args.output / f'depth_{name.replace(":", "_")}.jpg'
            cv2.imwrite(str(file), cv2.cvtColor(picture(runs), cv2.COLOR_RGB2BGR))
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        title = f'# Depth of {args.model} with and without fusion\n\n'
        note = 'image, true depth, without fusion, with fusion: depth_*.jpg\n\n'
        (args.output / 'depth.md').write_text(title + note + '\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
