# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Kills a process while it writes, at a random moment, and reads every file that it left.

The process writes saved states, trajectories, maps and the outputs of runs, one after the other,
until SIGKILL. Each file must then be readable, and the next writer must remove what is left beside
the files.

    python tools/kill_test.py --kills 200
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
import json
import multiprocessing
from pathlib import Path
import random
import sys
import tempfile
import time
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from tiny_networks import MEM3R  # noqa: E402 - found by the line above

from mem3r_ros.data.encodings import read_depth  # noqa: E402
from mem3r_ros.data.ply import read_ply, write_ply  # noqa: E402
from mem3r_ros.files import remove_leftovers  # noqa: E402
from mem3r_ros.model import build_model  # noqa: E402
from mem3r_ros.reports import RunRecorder  # noqa: E402
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig  # noqa: E402
from mem3r_ros.trajectory import Trajectory, read_tum, write_tum  # noqa: E402

_MAX_WAIT_S = 0.4
_NUM_FRAMES = 8


class Writer:
    """Writes everything that the project saves, again and again."""

    def __init__(self, folder: Path) -> None:
        """Prepare a short stream."""
        self.folder = folder
        self.tracker = Tracker(build_model(MEM3R).eval(), TrackerConfig())
        chance = np.random.default_rng(0)
        self.pixels = chance.integers(0, 255, (48, 64, 3), np.uint8)
        self.points = chance.normal(size=(20_000, 3)).astype(np.float32)
        for index in range(3):
            self.tracker.track(CameraFrame(10**9 + index * 10**8, self.pixels), outputs=())

    def state(self) -> None:
        """Write a saved state."""
        self.tracker.snapshot(self.folder / 'state.safetensors')

    def trajectory(self) -> None:
        """Write a trajectory."""
        poses = np.tile(np.eye(4), (2000, 1, 1))
        stamps = np.arange(1, 2001, dtype=np.int64) * 10**8
        write_tum(self.folder / 'trajectory.txt', Trajectory(stamps, poses))

    def map(self) -> None:
        """Write a map."""
        write_ply(self.folder / 'map.ply', self.points, np.zeros((20_000, 3), np.uint8))

    def run(self) -> None:
        """Write the outputs of a run."""
        recorder = RunRecorder(self.folder / 'run', title='killed', source='nothing', model='tiny')
        for index in range(_NUM_FRAMES):
            recorder.add(
                10**9 + index * 10**8,
                np.eye(4),
                depth_m=np.full((48, 64), 2.0, np.float32),
                image=self.pixels,
                points=self.points[:500],
                colours=np.zeros((500, 3), np.uint8),
                status='TRACKING',
            )
        recorder.finish(num_images=_NUM_FRAMES)


KINDS = ('state', 'trajectory', 'map', 'run')


def _write_for_ever(folder: Path, kind: str, is_ready: Any) -> None:
    writer = Writer(folder)
    write = getattr(writer, kind)
    write()
    is_ready.set()
    while True:
        write()


def _checks(folder: Path) -> dict[Path, Callable[[Path], Any]]:
    """Return each file that is there, and what reads it."""
    tracker = Tracker(build_model(MEM3R).eval(), TrackerConfig())
    readers: dict[str, Callable[[Path], Any]] = {
        '.safetensors': tracker.restore,
        '.ply': read_ply,
        '.json': lambda path: json.loads(path.read_text()),
        '.png': lambda path: read_depth(path, 1000.0),
        '.html': lambda path: path.read_text().index('</html>'),
    }
    found = {}
    for path in sorted(folder.rglob('*')):
        if path.name == 'trajectory.txt':
            found[path] = read_tum
        elif path.is_file() and not path.name.startswith('.') and path.suffix in readers:
            found[path] = readers[path.suffix]
    return found


def kill_once(kind: str, wait_s: float) -> tuple[int, list[str]]:
    """
    Kill a writer.

    :param kind: what it writes.
    :param wait_s: from its first whole file on.
    :return: number of files that were read, and what is wrong.
    """
    context = multiprocessing.get_context('fork')
    with tempfile.TemporaryDirectory() as name:
        folder, is_ready = Path(name), context.Event()
        process = context.Process(target=_write_for_ever, args=(folder, kind, is_ready))
        process.start()
        if not is_ready.wait(120.0):
            process.kill()
            return 0, [f'{kind}: the writer did not begin']
        time.sleep(wait_s)
        process.kill()
        process.join()
        wrong, checks = [], _checks(folder)
        for path, read in checks.items():
            try:
                read(path)
            except Exception as error:
                wrong.append(
                    f'{kind}: {path.relative_to(folder)}: {type(error).__name__}: {error}'
                )
        folders = [folder, *(path for path in folder.rglob('*') if path.is_dir())]
        for place in folders:
            remove_leftovers(place)
        left = [path.name for path in folder.rglob('*') if 'part' in path.suffix]
        wrong += [f'{kind}: {path} is left after the next save' for path in left]
        return len(checks), wrong


def main() -> int:
    """Kill writers and print what was found; return 1 if a file is damaged."""
    parser = argparse.ArgumentParser(description='Kill writers and read what they left.')
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    chance, read, kills, wrong = random.Random(args.seed), Counter(), Counter(), []
    for index in range(args.kills):
        kind = KINDS[index % len(KINDS)]
        count, found = kill_once(kind, chance.uniform(0.0, _MAX_WAIT_S))
        kills[kind] += 1
        read[kind] += count
        wrong += found
    print('| what was written | kills | files read | damaged |')
    print('|---|---|---|---|')
    for kind in KINDS:
        damaged = sum(line.startswith(f'{kind}:') for line in wrong)
        print(f'| {kind} | {kills[kind]} | {read[kind]} | {damaged} |')
    print('\n'.join(wrong))
    return int(bool(wrong))


if __name__ == '__main__':
    sys.exit(main())
