# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r benchmark``: time of each stage and memory over many frames."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
import time
from typing import Any

HELP = 'measure time and memory over many frames'
PERIOD_NS = 33_333_333
WARM_FRAMES = 10  # not counted in the rate of a pipelined tracker
RATE_FRAMES = 200  # that this rate is measured over, at most
WAIT_FRAMES = 3  # tracked after the measurement, to count where the host waits
WARM_UP_FRAMES = 1000  # until then the pools of the allocators fill
MIN_FOR_GROWTH = 2 * WARM_UP_FRAMES  # frames from which on a growth of the memory is known
COLUMNS = ('stage', 'median ms', '90 %', '99 %', 'longest')
_SHOWN = ('p50_ms', 'p90_ms', 'p99_ms', 'max_ms')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from mem3r_ros.cli.arguments import add_tracking_arguments

    parser.add_argument('--frames', type=int, default=200, help='number of images (200)')
    parser.add_argument(
        '--size', default='640x480', metavar='WxH', help='size of the images in px (640x480)'
    )
    parser.add_argument(
        '--outputs',
        default='depth,points,confidence',
        help='outputs to compute besides the pose; empty: none (depth,points,confidence)',
    )
    parser.add_argument(
        '--output',
        metavar='DIR',
        help='folder for a page, benchmark.json and benchmark.svg (none)',
    )
    add_tracking_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """
    Track rendered images of a textured wall and print time and memory.

    :return: 0.
    :raises UserError: the model or a setting cannot be used.
    """
    from mem3r_ros.cli.settings import config_from
    from mem3r_ros.errors import UserError

    if args.frames < 2:
        raise UserError(f'--frames is {args.frames}; it must be at least 2')
    width, height = image_size(args.size)
    outputs = {word for word in args.outputs.split(',') if word}
    if args.output:
        # Before the work, so that a bad path is reported at once.
        Path(args.output).mkdir(parents=True, exist_ok=True)
    config = config_from(args)
    from mem3r_ros.cli.tracking import device_name
    from mem3r_ros.config import to_dict
    from mem3r_ros.evaluation.result_store import environment
    from mem3r_ros.model.backend import load_backend
    from mem3r_ros.threads import runs_in_parallel
    from mem3r_ros.tracker import Tracker

    network, device = load_backend(config)
    tracker = Tracker(network, config.tracking)
    tracker.warm_up(width, height)
    stages_ms, memory_mib = _measure(tracker, args.frames, (width, height), outputs, device)
    title = f'{Path(config.model).name}, {width}x{height}, {device_name(device)}'
    rate_hz = None
    if runs_in_parallel(config.pipelined):
        rate_hz = _pipelined_rate(
            Tracker(network, config.tracking), args.frames, (width, height), outputs
        )
    result = _summary(title, stages_ms, memory_mib) | {
        'pipelined_rate_hz': rate_hz,
        'host_waits': waits_per_frame(tracker, args.frames, (width, height), outputs),
        'settings': {'size': args.size, 'outputs': args.outputs, 'config': to_dict(config)},
        'environment': environment(),
    }
    _print(result, device)
    if args.output:
        _write(Path(args.output), result, stages_ms['total'], memory_mib)
    return 0


def moving_texture(width: int, height: int, num_frames: int) -> Iterator[Any]:
    """
    Yield images of a camera that moves along an endless textured wall.

    :param width: of the images in px.
    :param height: of the images in px.
    :param num_frames: how many.
    :return: images [H, W, 3] uint8.
    """
    import cv2
    import numpy as np

    generator = np.random.default_rng(0)
    side = 2 * max(width, height)
    wall = np.zeros((side, side, 3), np.float32)
    for cells in (8, 32, 128, 512):
        noise = generator.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        wall += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(128 + 50 * wall, 0, 255).astype(np.uint8)
    radius = (side - max(width, height)) // 2 - 1
    for index in range(num_frames):
        angle = 0.01 * index
        left = int((side - width) / 2 + radius * np.cos(angle))
        top = int((side - height) / 2 + radius * np.sin(angle))
        yield np.ascontiguousarray(picture[top : top + height, left : left + width])


def _measure(
    tracker: Any, num_frames: int, size: tuple[int, int], outputs: set[str], device: str
) -> tuple[dict[str, Any], Any]:
    """Return the durations of each stage in ms and the memory after each frame in MiB."""
    from array import array
    from contextlib import nullcontext

    import numpy as np

    from mem3r_ros.evaluation.stages import network_parts, stage_tree
    from mem3r_ros.reports.progress import progress
    from mem3r_ros.tracker import CameraFrame

    stages: dict[str, array] = {}
    memory = array('d')
    # On a GPU the parts only start their work, and their times would mean nothing.
    parts: Any = network_parts(tracker.model) if device == 'cpu' else nullcontext({})
    with progress('benchmark', num_frames) as bar, parts as part_ms:
        for index, image in enumerate(moving_texture(*size, num_frames)):
            started_s = time.perf_counter()
            tracked = tracker.track(CameraFrame(index * PERIOD_NS, image), outputs)
            total_ms = 1e3 * (time.perf_counter() - started_s)
            tree = stage_tree(total_ms, tracked.health.stage_ms, part_ms)
            part_ms.clear()
            for stage, spent_ms in tree.items():
                stages.setdefault(stage, array('d')).append(spent_ms)
            memory.append(_memory_mib(device))
            bar.advance(tracked.status.value)
    return {stage: np.array(times) for stage, times in stages.items()}, np.array(memory)


def _pipelined_rate(
    tracker: Any, num_frames: int, size: tuple[int, int], outputs: set[str]
) -> float:
    """Return the images per second if each is finished while the next one is measured."""
    from mem3r_ros.reports.progress import progress
    from mem3r_ros.tracker import CameraFrame, PipelinedTracker

    num_frames = min(num_frames, RATE_FRAMES)
    frames, first = PipelinedTracker(tracker), min(WARM_FRAMES, num_frames - 1)
    results = []
    with progress('pipelined', num_frames) as bar:
        for index, image in enumerate(moving_texture(*size, num_frames)):
            if index == first:
                frames.wait()
                started_s = time.perf_counter()
            results.append(frames.track(CameraFrame(index * PERIOD_NS, image), outputs))
            bar.advance()
        frames.close()
    spent_s = time.perf_counter() - started_s
    for result in results:
        result.result()  # raises what has ended the second half of a frame
    return (num_frames - first) / spent_s


def waits_per_frame(
    tracker: Any, first: int, size: tuple[int, int], outputs: set[str]
) -> dict[str, float]:
    """Return how often a frame makes the host wait for the device, by source line."""
    from itertools import islice

    from mem3r_ros.evaluation.host_waits import host_waits
    from mem3r_ros.model.device_queue import device_queue
    from mem3r_ros.tracker import CameraFrame

    queue = getattr(tracker.model, 'queue', None) or device_queue(tracker.model.device)
    tracker.use_helpers()  # as on a GPU
    # The camera moves on as before: a break would make the search of the flow begin anew.
    images = islice(moving_texture(*size, first + 1 + WAIT_FRAMES), first, None)
    frames = (CameraFrame(i * PERIOD_NS, image) for i, image in enumerate(images, start=first))
    tracker.track(next(frames), outputs)  # reads the memory of the frame before once
    with host_waits(queue) as places:
        for frame in frames:
            tracker.track(frame, outputs)
    return {place: count / WAIT_FRAMES for place, count in places.most_common()}


def _memory_mib(device: str) -> float:
    """Return the memory of this process, and of the GPU if it is used."""
    import psutil

    used = psutil.Process().memory_info().rss
    if device.startswith('cuda'):
        import torch

        used += torch.cuda.memory_allocated(device)
    return used / 2**20


def _summary(title: str, stages_ms: dict[str, Any], memory_mib: Any) -> dict[str, Any]:
    from dataclasses import asdict

    import numpy as np

    from mem3r_ros.evaluation import timing_summary
    from mem3r_ros.evaluation.stages import bottleneck, in_tree_order

    frames = np.arange(len(memory_mib))
    growth = None
    if len(frames) >= MIN_FOR_GROWTH:
        settled = slice(WARM_UP_FRAMES, None)
        growth = 1000.0 * float(np.polyfit(frames[settled], memory_mib[settled], 1)[0])
    total = timing_summary(stages_ms['total'])
    assert total is not None, 'at least two frames are measured'
    stages = {
        stage: asdict(timing_summary(stages_ms[stage])) for stage in in_tree_order(stages_ms)
    }
    medians = {stage: times['p50_ms'] for stage, times in stages.items()}
    return {
        'title': title,
        'num_frames': len(frames),
        'rate_hz': total.rate_hz,
        'stages': stages,
        'bottleneck': dict(zip(('stage', 'share', 'setting'), bottleneck(medians), strict=True)),
        'memory_mib': float(memory_mib[-1]),
        'memory_growth_mib_per_1000_frames': growth,  # None: too few frames to know it
    }


def _print(result: dict[str, Any], device: str) -> None:
    from mem3r_ros.evaluation.tables import print_table

    print_table(result['title'], COLUMNS, _rows(result))
    found = result['bottleneck']
    relief = f'; to reduce it: {found["setting"]}' if found['setting'] else ''
    print(f'bottleneck: {found["stage"]}, {found["share"]:.0%} of a frame{relief}')
    growth = f', growing {_growth(result)} per 1000 frames' if _growth(result) else ''
    print(
        f'{result["rate_hz"]:.1f} frames per second over {result["num_frames"]} frames; '
        f'{result["memory_mib"]:.0f} MiB{growth}'
    )
    if result['pipelined_rate_hz'] is not None:
        rate = f'{result["pipelined_rate_hz"]:.1f}'
        print(f'pipelined, as in mem3r run and the node: {rate} frames per second')
    waits = result['host_waits']
    verb, rest = 'waits for the GPU', ''
    if device == 'cpu':  # where the download of the results is no wait
        verb, rest = 'would wait for a GPU', ', besides the download of the results'
    print(f'the host {verb} {sum(waits.values()):g} times per frame{rest}')
    for place, count in waits.items():
        print(f'  {count:g}  {place}')


def _growth(result: dict[str, Any]) -> str:
    """Return the growth of the memory in 1000 frames; empty after too few frames to know it."""
    growth = result['memory_growth_mib_per_1000_frames']
    return '' if growth is None else f'{growth:+.2f} MiB'


def _rows(result: dict[str, Any]) -> list[list[str]]:
    from mem3r_ros.evaluation.stages import indented

    keys = ('p50_ms', 'p90_ms', 'p99_ms', 'max_ms')
    return [
        [indented(stage), *(f'{times[key]:.1f}' for key in keys)]
        for stage, times in result['stages'].items()
    ]


def _write(folder: Path, result: dict[str, Any], total_ms: Any, memory_mib: Any) -> None:
    import json

    from mem3r_ros.files import write_text
    from mem3r_ros.reports.overview import Table, write_overview
    from mem3r_ros.reports.plots import series_svg

    text = json.dumps(result, indent=2) + '\n'
    write_text(folder / 'benchmark.json', text)
    plot = series_svg(
        result['title'], 'frame', {'time (ms)': total_ms, 'memory (MiB)': memory_mib}
    )
    write_text(folder / 'benchmark.svg', plot)
    write_overview(
        folder / 'benchmark.html',
        'Benchmark',
        result['title'],
        [Table('Time of a frame', COLUMNS, _rows(result), 'milliseconds')],
        files='benchmark.json, benchmark.svg',
        figures=[
            (f'{result["rate_hz"]:.1f}', 'frames per second'),
            (f'{result["num_frames"]}', 'frames'),
            (f'{result["memory_mib"]:.0f} MiB', 'memory'),
            *([(_growth(result), 'memory growth in 1000 frames')] if _growth(result) else []),
        ],
        picture=('Time and memory of each frame', plot),
    )
    print(f'written: {folder / "benchmark.html"}, benchmark.json and benchmark.svg beside it')


def image_size(text: str) -> tuple[int, int]:
    """
    Return width and height of a text such as 640x480.

    :raises UserError: it is none, or a side is below 16 px.
    """
    from mem3r_ros.errors import UserError

    width, _, height = text.partition('x')
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 16):
        raise UserError(f'--size is {text!r}; write it as 640x480, at least 16 px each')
    return int(width), int(height)
