# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A planar laser scan cut from a depth image, as the ROS package depthimage_to_laserscan does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.camera import Intrinsics


@dataclass(frozen=True, slots=True)
class Scan:
    """Ranges in the horizontal plane of the camera; x forward, y left."""

    angle_min_rad: float  # of the first range; angles grow to the left
    angle_increment_rad: float
    ranges_m: np.ndarray  # [N] float32; +inf: nothing within the range, NaN: unknown (REP 117)


def scan_from_depth(
    depth_m: np.ndarray,
    camera: Intrinsics,
    num_rows: int,
    range_min_m: float,
    range_max_m: float,
) -> Scan:
    """
    Return the nearest range of each column, over a band of rows around the optical axis.

    :param depth_m: depth along z, [H, W] float32; NaN: unknown, +inf: beyond its range.
    :param camera: of the depth image.
    :param num_rows: height of the band, px; more than the image has: all.
    :param range_min_m: nearer pixels are ignored.
    :param range_max_m: a column whose pixels are all farther is +inf.
    :return: as many ranges as columns, at equal steps of the angle.
    """
    height, width = depth_m.shape
    top = int(np.clip(round(camera.cy) - num_rows // 2, 0, max(0, height - num_rows)))
    band = depth_m[top : top + num_rows]
    # Along the ray in the horizontal plane, whatever the row.
    x_per_z = (np.arange(width) - camera.cx) / camera.fx
    with np.errstate(invalid='ignore'):
        ranges = band * np.hypot(1.0, x_per_z).astype(np.float32)
        ranges[ranges < range_min_m] = np.nan
        ranges[ranges > range_max_m] = np.inf
    nearest = np.fmin.reduce(ranges, axis=0)
    angles = -np.arctan(x_per_z)
    angle_min, angle_max = angles[-1], angles[0]
    increment = (angle_max - angle_min) / (width - 1)
    # Columns are equally spaced in the image, not in the angle: take the nearest one of each
    # step, and of several columns in one step the nearest range, so that no obstacle is lost.
    steps = angle_min + increment * np.arange(width)
    column_of_step = np.rint(camera.cx - camera.fx * np.tan(steps)).astype(int).clip(0, width - 1)
    result = nearest[column_of_step]
    step_of_column = np.rint((angles - angle_min) / increment).astype(int).clip(0, width - 1)
    seen = np.full(width, np.nan, np.float32)
    np.fmin.at(seen, step_of_column, nearest)
    return Scan(float(angle_min), float(increment), np.fmin(result, seen))
