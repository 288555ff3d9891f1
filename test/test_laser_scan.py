# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A laser scan cut from depth."""

import numpy as np
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.laser_scan import scan_from_depth

CAMERA = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)


def scan(depth, rows=10, low=0.1, high=10.0):
    return scan_from_depth(depth.astype(np.float32), CAMERA, rows, low, high)


def angles(result):
    steps = np.arange(len(result.ranges_m))
    return result.angle_min_rad + result.angle_increment_rad * steps


def test_a_wall_ahead_is_a_straight_line_of_points():
    result = scan(np.full((48, 64), 2.0))

    x = result.ranges_m * np.cos(angles(result))
    np.testing.assert_allclose(x, 2.0, rtol=0.005)  # a column stands for one step of the angle


def test_an_obstacle_on_the_left_of_the_image_has_a_positive_angle():
    depth = np.full((48, 64), 5.0)
    depth[20, 4:7] = 1.0

    result = scan(depth)

    nearest = np.nanargmin(result.ranges_m)
    assert angles(result)[nearest] == pytest.approx(np.arctan((31.5 - 5) / 60.0), abs=0.03)
    assert result.ranges_m[nearest] == pytest.approx(np.hypot(1.0, 26.5 / 60.0), rel=0.02)


def test_only_the_band_of_rows_counts():
    depth = np.full((48, 64), 5.0)
    depth[40:] = 1.0  # the ground before the robot

    assert np.nanmin(scan(depth, rows=10).ranges_m) > 4.9
    assert np.nanmin(scan(depth, rows=48).ranges_m) < 1.2


def test_far_is_infinite_unknown_is_nan_and_too_near_is_ignored():
    depth = np.full((48, 64), np.inf)
    depth[:, :20] = np.nan
    depth[:, 40:] = 0.05

    ranges = scan(depth).ranges_m[::-1]  # from left to right

    assert np.isnan(ranges[1:18]).all()
    assert np.isposinf(ranges[22:38]).all()
    assert np.isnan(ranges[42:]).all()


def test_a_thin_obstacle_is_not_lost_between_two_steps():
    for column in range(64):
        depth = np.full((48, 64), 5.0)
        depth[24, column] = 1.0

        assert np.nanmin(scan(depth).ranges_m) < 1.5
