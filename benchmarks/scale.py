# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Time and memory against frames, image size, state size and number of streams, as plots.

    python benchmarks/scale.py --output benchmarks/results

writes scale.png and scale.md. Frames: the tracker over a long stream, with the slope of its memory
after the warm-up. Image size and state size: steps of the network. Streams: trackers that
share one batched step. Every point has a process of its own; time is processor time of one thread
per image, so other programs hardly change it. State sizes other than that of the preset have
random weights, which do not change the time.

Each point is written to scale_points.json in the output folder when it is measured, so the
command can be stopped and started again with the same arguments. The long stream is one process:
stopped in the middle, it starts again. Its readings are in scale_frames.txt while it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
import json
import multiprocessing
import os
from pathlib import Path
import statistics
import sys
import time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

IMAGE_SIZES = ('64x48', '128x96', '192x144', '256x192')
STATE_SIZES = (32, 64, 128, 256, 512)
STREAMS = (1, 2, 4, 8)
CAMERA = (320, 240)  # px, images of the trackers
_INTERVAL = 20  # frames between two readings of the memory
_WARM_UP = 1000  # frames, until which the pools of the allocators fill
_MIB = 2**20


@dataclass(frozen=True)
class Point:
    """One measurement."""

    label: str
    x: float
    cpu_ms: float  # per image, median
    memory_mib: float  # of the process at the end
    state_kib: float  # of one stream; NaN if not measured


def resident_mib() -> float:
    """Return the memory that this process holds in RAM, MiB."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / _MIB


def _model(preset: str, state_size: int | None = None) -> Any:
    import torch

    from mem3r_ros.model import ModelConfig, build_model, load_model
    from mem3r_ros.model.checkpoints.find import shipped_weights

    torch.set_num_threads(1)
    torch.manual_seed(0)
    if state_size is None and shipped_weights(preset) is not None:
        return load_model(preset)
    config = ModelConfig.preset(preset)
    config = replace(config, state_size=state_size or config.state_size)
    return build_model(config).eval().requires_grad_(False)


def network_point(
    preset: str, size: tuple[int, int], state_size: int | None, frames: int
) -> tuple[float, float, float]:
    """Return processor time of a step in ms, memory in MiB and size of the state in KiB."""
    import torch

    from mem3r_ros.cli.benchmark import moving_texture
    from mem3r_ros.model import FrameInput

    model, spent_s = _model(preset, state_size), []
    with torch.inference_mode():
        state = model.initial_state(image_size=size)
        for picture in moving_texture(*size, frames + 2):
            image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
            start = time.process_time()
            _, state = model.step(FrameInput(image=image), state)
            spent_s.append(time.process_time() - start)
    num_bytes = sum(value.nbytes for value in state.to_dict().values())
    return 1e3 * statistics.median(spent_s[2:]), resident_mib(), num_bytes / 1024


def streams_point(preset: str, streams: int, frames: int) -> tuple[float, float, float]:
    """Return processor time per image in ms, memory in MiB and the size of a state in KiB."""
    from mem3r_ros.cli.benchmark import PERIOD_NS, moving_texture
    from mem3r_ros.tracker import CameraFrame
    from mem3r_ros.tracker.batch import BatchTracker

    tracker, spent_s = BatchTracker(_model(preset), [None] * streams), []
    for index, image in enumerate(moving_texture(*CAMERA, frames + 2)):
        same = [CameraFrame(index * PERIOD_NS, image) for _ in range(streams)]
        start = time.process_time()
        tracker.track(same)
        spent_s.append((time.process_time() - start) / streams)
    state = tracker.trackers[0].state
    num_bytes = sum(value.nbytes for value in state.to_dict().values())
    return 1e3 * statistics.median(spent_s[2:]), resident_mib(), num_bytes / 1024


def long_run(preset: str, frames: int, log: Path) -> tuple[list[int], list[float], list[float]]:
    """
    Return frame numbers, processor time per image in ms up to each, and memory in MiB.

    :param log: the readings are written there while the run lasts.
    """
    from mem3r_ros.cli.benchmark import PERIOD_NS, moving_texture
    from mem3r_ros.tracker import CameraFrame, Tracker

    tracker = Tracker(_model(preset))
    numbers, times_ms, memory = [], [], []
    last_s = time.process_time()
    with log.open('w', encoding='utf-8') as file:
        for index, image in enumerate(moving_texture(*CAMERA, frames)):
            tracker.track(CameraFrame(index * PERIOD_NS, image))
            if index % _INTERVAL == _INTERVAL - 1:
                now_s = time.process_time()
                numbers.append(index + 1)
                times_ms.append(1e3 * (now_s - last_s) / _INTERVAL)
                memory.append(resident_mib())
                print(numbers[-1], times_ms[-1], memory[-1], file=file, flush=True)
                last_s = time.process_time()
    return numbers, times_ms, memory


def _settled(numbers: list[int]) -> int:
    """Return the first reading after the warm-up: a fifth of a run, in a long one 1000 frames."""
    fifth = len(numbers) // 5
    if numbers[-1] < 2 * _WARM_UP:
        return fifth
    return max(fifth, next(i for i, number in enumerate(numbers) if number > _WARM_UP))


def memory_slope(numbers: list[int], memory: list[float]) -> float:
    """Return the growth after the warm-up, by a straight line, MiB per 1000 frames."""
    import numpy as np

    start = _settled(numbers)
    return 1000 * float(np.polyfit(numbers[start:], memory[start:], 1)[0])


class Measured:
    """Points measured so far, in a file; each runs in a process of its own."""

    def __init__(self, path: Path) -> None:
        """Continue the points of a file, if there is one."""
        self.path = path
        self.points = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}

    def get(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a function, from the file or from a run in a new process."""
        words = [each for each in arguments if not isinstance(each, Path)]
        name = ' '.join(map(str, (function.__name__, *words)))
        if name not in self.points:
            with multiprocessing.get_context('spawn').Pool(1) as pool:
                self.points[name] = pool.apply(function, arguments)
            self.path.write_text(json.dumps(self.points) + '\n', encoding='utf-8')
        return self.points[name]


def measure(options: argparse.Namespace, measured: Measured) -> dict[str, Any]:
    """Measure every series, or read what is measured already."""
    preset, frames = options.preset, options.steps
    series: dict[str, list[Point]] = {'image size': [], 'state size': [], 'streams': []}
    for text in options.sizes:
        width, height = map(int, text.split('x'))
        found = measured.get(network_point, preset, (width, height), None, frames)
        series['image size'].append(Point(text, width * height / 1000, *found))
    own = tuple(map(int, options.state_image.split('x')))
    for tokens in options.state_sizes:
        found = measured.get(network_point, preset, own, tokens, frames)
        series['state size'].append(Point(str(tokens), tokens, *found))
    for count in options.streams:
        found = measured.get(streams_point, preset, count, frames)
        series['streams'].append(Point(str(count), count, *found))
    log = options.output / 'scale_frames.txt'
    return {'series': series, 'long': measured.get(long_run, preset, options.frames, log)}


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    numbers, times_ms, memory = result['long']
    settled = _settled(numbers)
    lines = [
        '| against | value | processor ms per image | memory, MiB | state, KiB |',
        '|---|---|---|---|---|',
        f'| frames | {numbers[-1]} | {statistics.median(times_ms[settled:]):.1f} '
        f'| {memory[-1]:.1f} ({memory_slope(numbers, memory):+.3f} per 1000 frames) | |',
    ]
    for name, points in result['series'].items():
        lines += [
            f'| {name} | {point.label} | {point.cpu_ms:.1f} | {point.memory_mib:.1f} '
            f'| {point.state_kib:.0f} |'
            for point in points
        ]
    return '\n'.join(lines)


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw time (left axis) and memory (right axis) of each series."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    numbers, times_ms, memory = result['long']
    drawn = {'frames': (numbers, times_ms, memory)}
    names = {'image size': 'thousand pixels', 'state size': 'state tokens', 'streams': 'streams'}
    for name, points in result['series'].items():
        drawn[names[name]] = (
            [point.x for point in points],
            [point.cpu_ms for point in points],
            [point.memory_mib for point in points],
        )
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 6.4))
    for axis, (name, (x, times, memories)) in zip(axes.flat, drawn.items()):
        mark = '' if name == 'frames' else 'o-'
        axis.plot(x, times, mark, color='tab:blue', linewidth=1)
        axis.set(xlabel=name, ylabel='processor time per image, ms')
        axis.set_ylim(0, 1.2 * max(times))
        axis.yaxis.label.set_color('tab:blue')
        right = axis.twinx()
        right.plot(x, memories, mark, color='tab:red', linewidth=1)
        right.set(ylabel='memory, MiB')
        right.set_ylim(0, 1.2 * max(memories))
        right.yaxis.label.set_color('tab:red')
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Measure, write the table and the plots; fail where memory grows with the frames."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--preset', default='mem3r-tiny', help='network (mem3r-tiny)')
    parser.add_argument('--frames', type=int, default=10_000, help='of the long stream (10,000)')
    parser.add_argument('--steps', type=int, default=20, help='images of each other point (20)')
    parser.add_argument('--sizes', nargs='+', default=IMAGE_SIZES, metavar='WxH')
    parser.add_argument('--state-sizes', nargs='+', type=int, default=STATE_SIZES, metavar='N')
    parser.add_argument(
        '--state-image', default='128x96', metavar='WxH', help='size for these (128x96)'
    )
    parser.add_argument('--streams', nargs='+', type=int, default=STREAMS, metavar='N')
    parser.add_argument('--output', type=Path, default=Path('benchmarks/results'))
    options = parser.parse_args()
    from mem3r_ros.model.processor import processor_name

    options.output.mkdir(parents=True, exist_ok=True)
    result = measure(options, Measured(options.output / 'scale_points.json'))
    plot(result, options.output / 'scale.png')
    text = '\n'.join(
        [
            '# Time and memory against size',
            '',
            f'{options.preset}, one thread of {processor_name()}, load '
            f'{os.getloadavg()[0]:.1f} at the end. Made by `python benchmarks/scale.py '
            f'--frames {options.frames} '
            f'--steps {options.steps}`.',
            '',
            table(result),
            '',
            '![time and memory against size](scale.png)',
            '',
        ]
    )
    (options.output / 'scale.md').write_text(text, encoding='utf-8')
    print(table(result))
    numbers, _, memory = result['long']
    slope = memory_slope(numbers, memory)
    if slope * numbers[-1] / 1000 > 4.0:
        print(f'memory grows by {slope:.3f} MiB per 1000 frames')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
