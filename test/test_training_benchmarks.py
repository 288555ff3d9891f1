# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Figures of the benchmarks of metres and of the memories in the small."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest


@pytest.fixture
def benchmark(repository_dir):
    """Return a function that loads a benchmark as a module."""

    def load(name):
        path = repository_dir / 'benchmarks' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(f'benchmark_{name}', path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


def walk(num_frames: int, paths: int = 2) -> np.ndarray:
    """Return paths that wander on a circle, [T, B, 4, 4]."""
    poses = np.tile(np.eye(4), (num_frames, paths, 1, 1))
    angle = 0.1 * np.arange(num_frames)[:, None] * np.ones(paths)
    poses[..., 0, 3], poses[..., 1, 3] = 1 - np.cos(angle), np.sin(angle)
    return poses


@pytest.mark.parametrize(
    ('image', 'expected'),
    [((640, 480), (128, 96)), ((1242, 375), (208, 64)), ((480, 640), (96, 128))],
)
def test_images_of_every_shape_keep_the_area_of_the_network(benchmark, image, expected):
    assert benchmark('metres').network_size(*image) == expected


def test_a_path_of_half_the_length_is_50_percent_too_short(benchmark):
    true = walk(30)[:, 0]
    own = true.copy()
    own[:, :3, 3] /= 2

    assert benchmark('metres').longer(own, true) == pytest.approx(-0.5)


def test_the_error_of_the_memories_is_zero_for_the_truth_and_one_for_standing_still(benchmark):
    module = benchmark('memory_effect')
    true = walk(100)
    half = true.copy()
    half[..., :3, 3] /= 2

    right, scaled, still = (
        module.figures(own, true) for own in (true, half, np.tile(np.eye(4), (100, 2, 1, 1)))
    )

    assert set(right) == {50, 100}
    assert right[100] == pytest.approx(0.0, abs=1e-6)
    assert scaled[100][:, 0] == pytest.approx(0.0, abs=1e-6)  # aligned
    assert scaled[100][:, 1] == pytest.approx(0.5)
    assert still[100][:, 1] == pytest.approx(1.0)
