# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Depth figures of a run: one scale, edges, and the ranking of errors by confidence."""

import numpy as np
import pytest

from mem3r_ros.evaluation.depth_quality import DepthQualityMeter, ause, near_edges


def test_one_scale_serves_all_frames_of_a_run():
    meter = DepthQualityMeter()
    true_m = np.full((40, 60), 2.0)
    for factor in (0.5, 0.5, 0.6):
        meter.add(true_m * factor, np.ones_like(true_m), true_m)

    found = meter.result()

    assert found.scale == pytest.approx(2.0)
    assert found.abs_rel == pytest.approx((0.0 + 0.0 + 0.2) / 3)


def test_the_scale_is_that_of_most_pixels_not_of_the_median_pixel():
    """As where a table fills half of the image: the median pixel is on it or on the wall."""
    true_m = np.full((40, 60), 1.0)
    true_m[:, 29:] = 3.0
    depth_m = true_m / 2.0
    depth_m[:, 29:31] = 0.5  # the step is blurred by two pixels
    meter = DepthQualityMeter(thinning=1)
    meter.add(depth_m, np.ones_like(true_m), true_m)

    found = meter.result()

    assert found.scale == pytest.approx(2.0)
    assert found.abs_rel == pytest.approx(2 / 60 * 2 / 3)
    assert found.ratio_of_medians == pytest.approx(6.0)
    assert found.abs_rel_by_medians > 1.0


def test_errors_near_a_step_are_counted_apart():
    true_m = np.full((40, 80), 2.0)
    true_m[:, 30:] = 4.0
    depth_m = true_m.copy()
    depth_m[:, 29:31] *= 1.5
    meter = DepthQualityMeter(thinning=1)
    meter.add(depth_m, np.ones_like(true_m), true_m)

    found = meter.result()

    assert found.abs_rel_elsewhere == pytest.approx(0.0)
    assert found.abs_rel_near_edges > 0.1


def test_a_hole_in_the_truth_is_no_edge():
    true_m = np.full((40, 80), 2.0)
    true_m[10:20, 10:20] = np.nan
    true_m[20:30, 40:50] = 0.0

    assert not near_edges(true_m).any()


def test_ause_is_zero_for_a_perfect_order_and_that_of_chance_for_a_random_one():
    error = np.random.default_rng(0).exponential(size=2000)

    perfect, random = ause(error, -error)
    shuffled, _ = ause(error, np.random.default_rng(1).normal(size=2000))
    worst, _ = ause(error, error)

    assert perfect == pytest.approx(0.0)
    assert shuffled == pytest.approx(random, abs=0.05)
    assert worst > 1.5 * random


def test_frames_without_true_depth_are_left_out():
    meter = DepthQualityMeter()
    meter.add(np.ones((40, 40)), np.ones((40, 40)), np.full((40, 40), np.nan))

    assert meter.result() is None
