# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Drift of the scale along a path."""

import numpy as np
import pytest

from mem3r_ros.evaluation.scale_drift import scale_drift, stretch_scales
from mem3r_ros.trajectory import Trajectory


def path(steps):
    """Return a curved path whose steps have these lengths."""
    angle = np.linspace(0, 2, len(steps))
    moves = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1) * steps[:, None]
    poses = np.tile(np.eye(4), (len(steps), 1, 1))
    poses[:, :3, 3] = np.cumsum(moves, axis=0)
    return Trajectory(np.arange(len(steps)) * 100_000_000, poses)


def test_another_constant_scale_is_no_drift():
    truth = path(np.full(60, 0.1))

    assert scale_drift(path(np.full(60, 0.25)), truth) == pytest.approx(1.0)


def test_a_scale_that_climbs_is_the_ratio_of_its_ends():
    truth = path(np.full(101, 0.1))
    estimate = path(0.1 * np.linspace(1.0, 2.0, 101))

    # Stretches of ten frames: the mean of the first and of the last.
    assert scale_drift(estimate, truth) == pytest.approx(1.95 / 1.05, rel=0.02)


def test_stretches_at_rest_do_not_count():
    steps = np.full(60, 0.1)
    steps[20:40] = 1e-6
    noisy = steps + np.where(steps < 0.01, 0.003, 0.0)

    assert scale_drift(path(noisy), path(steps)) < 1.1
    assert len(stretch_scales(path(noisy), path(steps))) < len(
        stretch_scales(path(0 * steps + 0.1), path(0 * steps + 0.1))
    )


def test_a_path_too_short_for_stretches_has_no_drift():
    assert np.isnan(scale_drift(path(np.full(8, 0.1)), path(np.full(8, 0.1))))
