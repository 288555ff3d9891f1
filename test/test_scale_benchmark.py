# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of time and memory against size: its files, and its slope of memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest


def test_table_and_plots_are_written(repository_dir, tmp_path):
    words = '--frames 60 --steps 2 --sizes 64x48 --state-sizes 32 --streams 2 --state-image 64x48'
    run = subprocess.run(
        [sys.executable, 'benchmarks/scale.py', *words.split(), '--output', tmp_path],
        cwd=repository_dir, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode in (0, 1), run.stderr  # memory still grows in so few frames
    text = (tmp_path / 'scale.md').read_text()
    for row in ('| frames | 60 |', '| image size | 64x48 |', '| state size | 32 |', '| streams |'):
        assert row in text
    assert (tmp_path / 'scale.png').read_bytes().startswith(b'\x89PNG')


def test_slope_leaves_out_the_start(repository_dir):
    sys.path.insert(0, str(repository_dir / 'benchmarks'))
    from scale import memory_slope

    numbers = list(range(0, 10_000, 20))
    flat = [50.0 + min(number, 1000) / 100 for number in numbers]  # grows at the start only
    assert memory_slope(numbers, flat) == pytest.approx(0, abs=1e-9)
    growing = list(np.asarray(flat) + np.asarray(numbers) * 0.002)
    assert memory_slope(numbers, growing) == pytest.approx(2.0)
