# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Memory of the tracker over 100,000 frames with an oracle, and 2,000 with the small model.

    python benchmarks/memory.py --output benchmarks/results

writes memory.png and memory.md. The stream contains all kinds of events: resets by interval, dark
frames, wrong poses, standing still, a bounded map, snapshots.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path
import platform
import sys
import time

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'test'))
_INTERVAL = 50  # frames between two looks at the memory


@dataclass(frozen=True)
class Curve:
    """Resident memory over the frames of one run."""

    name: str
    frames: np.ndarray
    memory_mib: np.ndarray
    seconds: float

    @property
    def settled(self) -> np.ndarray:
        """Which looks count: the first fifth is start-up."""
        return self.frames >= self.frames[-1] // 5

    @property
    def growth_mib(self) -> float:
        """Growth over the settled part, by a straight line through it, MiB."""
        frames, memory = self.frames[self.settled], self.memory_mib[self.settled]
        slope = np.polyfit(frames, memory, 1)[0]
        return float(slope * (frames[-1] - frames[0]))

    def summary(self) -> str:
        """Return one row of the table."""
        settled = self.memory_mib[self.settled]
        return (
            f'| {self.name} | {self.frames[-1]} | {settled.mean():.1f} | {np.ptp(settled):.2f} | '
            f'{self.growth_mib:+.3f} | {self.frames[-1] / self.seconds:.0f} |'
        )


def resident_mib() -> float:
    """Return the memory that this process holds in RAM, MiB."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20


def measure(name: str, num_frames: int, track: Callable[[int], None]) -> Curve:
    """Run ``track`` on frame after frame and watch the memory."""
    frames, memory, start = [], [], time.perf_counter()
    for index in range(num_frames):
        track(index)
        if index % _INTERVAL == 0:
            frames.append(index)
            memory.append(resident_mib())
        if index and index % (num_frames // 10) == 0:
            print(f'  {name}: {index} frames, {memory[-1]:.1f} MiB', flush=True)
    return Curve(name, np.array(frames), np.array(memory), time.perf_counter() - start)


def eventful_scene(num_frames: int, size: tuple[int, int]) -> object:
    """Return a clip in which the camera moves, stands, sees nothing and moves again."""
    from dataclasses import replace

    from oracle import moving_scene

    scene = moving_scene(num_frames, size)
    images, poses = scene.images.copy(), scene.T_world_camera.copy()
    images[60:66] = images[60]
    poses[60:66] = poses[60]
    images[90:93] = 0
    return replace(scene, images=images, T_world_camera=poses)


def oracle_run(num_frames: int) -> Curve:
    """Measure the tracker alone, on an oracle that costs next to nothing."""
    from oracle import FRAME_NS, OracleNetwork, adversarial_origin, adversarial_unit

    from mem3r_ros.cloud import VoxelMap
    from mem3r_ros.geometry import transform_points
    from mem3r_ros.tracker import Tracker, TrackerConfig

    scene = eventful_scene(120, (64, 48))
    order = [*range(120), *range(118, 0, -1)]
    oracle = OracleNetwork(
        scene, unit=adversarial_unit, origin=adversarial_origin, pose_noise=1e-3, wild=[100]
    )
    tracker = Tracker(oracle, TrackerConfig(reset_interval=100))
    voxels = VoxelMap(0.05, 20_000)

    def track(index: int) -> None:
        oracle.now = order[index % len(order)]
        oracle.asked.clear()
        oracle.updates.clear()
        frame = scene.frame(oracle.now, (index + 1) * FRAME_NS)
        tracked = tracker.track(frame, None if index % 10 == 0 else {'depth'})
        if tracked.points is not None:
            points = transform_points(tracked.T_odom_camera, tracked.points)
            voxels.add(points, tracked.colours, tracked.weights)
        if index % 1000 == 0:
            tracker.snapshot()

    return measure('oracle, 64x48', num_frames, track)


def model_run(num_frames: int, source: str) -> Curve:
    """Measure the tracker with the small network on rendered images."""
    from oracle import FRAME_NS

    from mem3r_ros.model import ModelConfig, build_model, load_model
    from mem3r_ros.tracker import Tracker, TrackerConfig

    if source == 'random':
        model = build_model(ModelConfig.preset('mem3r-tiny')).eval()
    else:
        model = load_model(source)
    scene = eventful_scene(120, (128, 96))
    order = [*range(120), *range(118, 0, -1)]
    tracker = Tracker(model, TrackerConfig(reset_interval=200))

    def track(index: int) -> None:
        now = order[index % len(order)]
        tracker.track(scene.frame(now, (index + 1) * FRAME_NS))

    return measure('mem3r-tiny, 128x96', num_frames, track)


def write_results(curves: list[Curve], output: Path) -> None:
    """Write the plot and the table."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot
    import torch

    output.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(1, len(curves), figsize=(5.5 * len(curves), 3.2), squeeze=False)
    for axis, curve in zip(axes[0], curves):
        axis.plot(curve.frames, curve.memory_mib, linewidth=1)
        axis.set(title=curve.name, xlabel='frames', ylabel='resident memory, MiB')
        axis.set_ylim(0, 1.25 * curve.memory_mib.max())
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(output / 'memory.png', dpi=110)
    table = [
        '# Memory of the tracker',
        '',
        f'Python {platform.python_version()}, torch {torch.__version__}, '
        f'{platform.machine()}, {os.cpu_count()} cores. Made by '
        '`python benchmarks/memory.py --output benchmarks/results`.',
        '',
        '| run | frames | mean MiB | range MiB | growth MiB (line) | frames/s |',
        '|---|---|---|---|---|---|',
        *(curve.summary() for curve in curves),
        '',
        'Range and growth are over all but the first fifth of the frames.',
        '',
        '![memory over frames](memory.png)',
        '',
    ]
    (output / 'memory.md').write_text('\n'.join(table), encoding='utf-8')
    print('\n'.join(table[4:-3]))


def main() -> int:
    """Run both measurements; fail where memory grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--oracle-frames', type=int, default=100_000)
    parser.add_argument('--model-frames', type=int, default=2_000)
    parser.add_argument('--model', default='mem3r-tiny', help="a model to load, or 'random'")
    parser.add_argument('--output', type=Path, default=Path('benchmarks/results'))
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    curves = []
    if arguments.oracle_frames:
        curves.append(oracle_run(arguments.oracle_frames))
    if arguments.model_frames:
        curves.append(model_run(arguments.model_frames, arguments.model))
    write_results(curves, arguments.output)
    grown = [curve.name for curve in curves if curve.growth_mib > 4.0]
    if grown:
        print(f'memory grows: {", ".join(grown)}')
    return 1 if grown else 0


if __name__ == '__main__':
    sys.exit(main())
