# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
How long ``--help`` and typical mistakes take, and what the user reads.

    .venv/bin/python benchmarks/cli.py

Each command runs in a process of its own. The time is that of the processor, user and system,
which other programs on the machine hardly change; the wall time stands beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import resource
import subprocess
import sys
import time

from mem3r_ros.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
BAG = 'mem3r_ros/samples/rendered_room'
LIMIT_S = 1.0

MISTAKES = {
    'misspelt command': ['rum', BAG],
    'misspelt path': ['run', 'mem3r_ros/samples/rendered_rom'],
    'misspelt argument': ['run', BAG, '--outptu', 'x'],
    'misspelt model': ['run', BAG, '--model', 'mem3r-tny'],
    'misspelt setting': ['run', BAG, '--set', 'tracking.updaterule=cut3r'],
    'wrong value of a setting': ['run', BAG, '--set', 'tracking.update_rule=ttt3'],
    'wrong device': ['run', BAG, '--device', 'gpu'],
    'missing settings file': ['run', BAG, '--config', 'nowhere.yaml'],
    'misspelt image topic': ['run', BAG, '--image-topic', '/camera/image_ra'],
    'output in a file': ['run', BAG, '--output', 'README.md'],
    'misspelt node parameter': ['replay', BAG, '-p', 'publish_ft:=false'],
    'misspelt recipe': ['train', 'recipes/tinny.yaml'],
    'misspelt weights': ['weights', 'download', 'cut3r-512-dp'],
    'folder without a run': ['compare', 'docs'],
}


def measure(words: list[str]) -> tuple[float, float, int, str]:
    """
    Run one command.

    :param words: words after ``mem3r``.
    :return: processor time in s, wall time in s, exit code, stderr.
    """
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, '-m', 'mem3r_ros.cli.main', *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s = time.perf_counter() - started_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent_s, wall_s, done.returncode, done.stderr.strip()


def main(arguments: list[str] | None = None) -> int:
    """Print a table; return 1 if an answer took longer than the limit or has a wrong exit code."""
    parser = argparse.ArgumentParser(description='time of --help and of typical mistakes')
    parser.add_argument('--only', choices=MISTAKES, help='measure this mistake alone')
    only = parser.parse_args(arguments).only
    failed = 0
    print(f'{"command":<28}{"cpu s":>7}{"wall s":>8}')
    for name in () if only else ('', *COMMANDS):
        words = [*([name] if name else []), '--help']
        spent_s, wall_s, code, _ = measure(words)
        failed += spent_s > LIMIT_S or code != 0
        print(f'{"mem3r " + " ".join(words):<28}{spent_s:>7.2f}{wall_s:>8.2f}')
    for title, words in MISTAKES.items():
        if only not in (None, title):
            continue
        spent_s, wall_s, code, text = measure(words)
        failed += spent_s > LIMIT_S or code != 2 or not text.startswith('error: ')
        print(f'\n{title:<28}{spent_s:>7.2f}{wall_s:>8.2f}\n  $ mem3r {" ".join(words)}')
        print('\n'.join(f'  {line}' for line in text.splitlines()))
    print(
        f'\n{failed} answers took more than {LIMIT_S:g} s of processor time or were not as meant'
    )
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
