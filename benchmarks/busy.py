# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Track beside other programs that use the processor: time per image for each setting of the threads.

    python benchmarks/busy.py --busy 0,1,2 --frames 40

The benchmark starts the other programs itself: processes that compute without a pause. Every
setting runs in a process of its own, and all settings run in turn within each round. A row gives
the median over the rounds of the median time per image, and its ratio to the fastest setting of
the same load. ``default`` is what a user gets; ``spinning`` is what torch does by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import statistics
import subprocess
import sys

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mem3r_ros.model.processor import processor_name

ROOT = Path(__file__).resolve().parent.parent
# Threads (-1: one for each core), OMP_WAIT_POLICY, and whether tracking is pipelined.
SETTINGS = {
    'default': (0, None, True),
    '1 thread': (1, None, False),
    'all cores': (-1, None, False),
    'all cores, spinning': (-1, 'ACTIVE', False),
}
MEASURE = """
import sys, time
from mem3r_ros.threads import set_thread_variables
set_thread_variables()
import numpy as np, torch
from mem3r_ros.cli.benchmark import PERIOD_NS, moving_texture
from mem3r_ros.model.backend import BackendConfig, load_backend
from mem3r_ros.threads import runs_in_parallel
from mem3r_ros.tracker import CameraFrame, PipelinedTracker, Tracker
frames, width, height, threads, pipelined = map(int, sys.argv[1:])
network, _ = load_backend(BackendConfig(num_threads=threads, pipelined=bool(pipelined)))
tracker, spent = PipelinedTracker(Tracker(network), runs_in_parallel(bool(pipelined))), []
start = time.perf_counter()
for index, image in enumerate(moving_texture(width, height, frames)):
    tracker.track(CameraFrame(index * PERIOD_NS, image))
    end = time.perf_counter()
    spent.append(end - start)
    start = end
tracker.close()
print(torch.get_num_threads(), 1e3 * float(np.median(spent[len(spent) // 5:])))
"""
BURN = 'while True: sum(range(10000))'


@contextmanager
def load(count: int) -> Iterator[None]:
    """Keep ``count`` cores busy."""
    others = [subprocess.Popen([sys.executable, '-c', BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(setting: str, frames: int, size: str, timeout_s: float) -> tuple[int, float]:
    """Return the number of threads and the median time per image in ms."""
    threads, policy, is_pipelined = SETTINGS[setting]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    for name in ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY'):
        environment.pop(name, None)
    if policy:
        environment['OMP_WAIT_POLICY'] = policy
    number = len(os.sched_getaffinity(0)) if threads < 0 else threads
    words = [sys.executable, '-c', MEASURE, str(frames), *size.split('x'), str(number)]
    words.append(str(int(is_pipelined)))
    try:
        result = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return number, float('inf')
    used, spent_ms = result.stdout.split()
    return int(used), float(spent_ms)


def main() -> None:
    """Measure every load and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--busy', default='0,1,2', help='numbers of other programs (0,1,2)')
    parser.add_argument('--frames', type=int, default=40, help='images in a run (40)')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each setting (3)')
    parser.add_argument('--size', default='640x480', metavar='WxH', help='of the images (640x480)')
    parser.add_argument('--timeout', type=float, default=300, help='of one run in s (300)')
    parser.add_argument('--output', type=Path, help='write the figures there as JSON')
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    load_before = os.getloadavg()[0]
    print(
        f'{processor_name()}, {cores} cores, {options.size}, mem3r-tiny, load before the start '
        f'{load_before:.1f}\n'
    )
    print(f'| {"busy":>4} | {"setting":<20} | threads | ms per image | ratio to the best |')
    print('|---|---|---|---|---|')
    rows = []
    for busy in map(int, options.busy.split(',')):
        spent: dict[str, list[float]] = {name: [] for name in SETTINGS}
        used = {}
        with load(busy):
            for _ in range(options.rounds):
                for name in SETTINGS:
                    used[name], spent_ms = measure(
                        name, options.frames, options.size, options.timeout
                    )
                    spent[name].append(spent_ms)
        medians = {name: statistics.median(times) for name, times in spent.items()}
        best = min(medians.values())
        for name, median in medians.items():
            print(
                f'| {busy:>4} | {name:<20} | {used[name]:>7} | {median:>12.0f} '
                f'| {median / best:>17.2f} |'
            )
            row = {'busy': busy, 'setting': name, 'threads': used[name]}
            rows.append(row | {'ms': median, 'ratio': median / best})
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
