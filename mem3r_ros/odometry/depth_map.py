# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A depth map with its precision, and how it moves with the camera."""

# H, W pixels

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.odometry.pixel_rays import MovedRays

# Two surfaces that fall on one pixel are one surface if their log depths differ by less.
_SAME_SURFACE = 0.08
# Errors of successive frames resemble each other: what is carried over counts for less.
_KEPT_PRECISION = 0.85
_DRIFT = 0.03  # standard deviation of a log depth that each frame adds
_HOLE_PRECISION = 0.5  # factor on the precision of a pixel that is filled from its neighbours
_MIN_NEIGHBOURS = 0.2  # share of the 3 x 3 pixels around a hole that must have depth


class DepthMap(NamedTuple):
    """Log depth and its inverse variance; a pixel of precision 0 is unknown."""

    log_depth: np.ndarray  # [H, W] float32, of metres
    precision: np.ndarray  # [H, W] float32

    def fused(self, other: DepthMap) -> DepthMap:
        """Return the mean weighted by precision (Kalman update of independent estimates)."""
        precision = self.precision + other.precision
        log_depth = self.log_depth * self.precision
        log_depth += other.log_depth * other.precision
        log_depth /= np.maximum(precision, np.float32(1e-9))
        return DepthMap(log_depth, precision)

    def weakened(self, contradiction: np.ndarray) -> DepthMap:
        """Return the map with less precision (Cauchy weight): half at a contradiction of 1."""
        return self._replace(precision=self.precision / (1 + contradiction))

    def surprise(self, expected: DepthMap) -> np.ndarray:
        """Return the squared difference to another map in variances of both."""
        variance = 1 / np.maximum(self.precision, np.float32(1e-9)) + 1 / expected.precision
        return (self.log_depth - expected.log_depth) ** 2 / variance

    def known_or(self, log_depth: np.ndarray) -> DepthMap:
        """Return the map with other depths where it is unknown."""
        is_known = self.precision > 1e-6
        return DepthMap(np.where(is_known, self.log_depth, log_depth), self.precision)

    def moved(self, camera: Intrinsics, T_new_old: np.ndarray) -> DepthMap:
        """
        Return what the map predicts for a new pose of its camera.

        Each pixel goes to the nearest pixel of the new view; the nearest surface wins. Holes of
        one pixel are filled, larger ones stay unknown.

        :param camera: at both poses.
        :param T_new_old: pose of the old camera in the new one, [4, 4], m.
        """
        shape = self.log_depth.shape
        seen = MovedRays.of(camera, T_new_old).project(np.exp(-self.log_depth), camera)
        is_inside = (seen.depth_ratio > 1e-2) & (self.precision > 0)
        is_inside &= (seen.x >= -0.5) & (seen.x < shape[1] - 0.5)
        is_inside &= (seen.y >= -0.5) & (seen.y < shape[0] - 0.5)
        inside = np.flatnonzero(is_inside)
        x, y, ratio, log_depth, precision = (
            values.ravel().take(inside)
            for values in (seen.x, seen.y, seen.depth_ratio, self.log_depth, self.precision)
        )
        column = (x + np.float32(0.5)).astype(np.int32)
        row = (y + np.float32(0.5)).astype(np.int32)
        index = (row * shape[1] + column).astype(np.intp)
        return _splat(index, log_depth + np.log(ratio), precision, shape)


def _splat(
    index: np.ndarray, log_depth: np.ndarray, precision: np.ndarray, shape: tuple[int, int]
) -> DepthMap:
    """Gather values at pixels: the mean of the nearest surface at each one."""
    num_pixels = shape[0] * shape[1]
    nearest = np.full(num_pixels, np.inf, np.float32)
    np.minimum.at(nearest, index, log_depth)
    is_front = log_depth < nearest.take(index) + np.float32(_SAME_SURFACE)
    if not is_front.all():
        front = np.flatnonzero(is_front)
        index, log_depth, precision = (
            values.take(front) for values in (index, log_depth, precision)
        )
    count = np.bincount(index, minlength=num_pixels).astype(np.float32).reshape(shape)
    weight = np.bincount(index, precision, num_pixels).astype(np.float32).reshape(shape)
    total = np.bincount(index, precision * log_depth, num_pixels)
    total = total.astype(np.float32).reshape(shape)
    is_hole = count == 0
    near = [cv2.blur(values, (3, 3)) for values in (total, weight, count)]
    total = np.where(is_hole, near[0], total)
    weight_sum = np.where(is_hole, near[1], weight)
    mean_weight = np.where(
        is_hole,
        _HOLE_PRECISION * near[1] / np.maximum(near[2], np.float32(1e-6)),
        weight / np.maximum(count, 1),
    )
    mean_weight[is_hole & (near[2] < _MIN_NEIGHBOURS)] = 0.0
    kept = _KEPT_PRECISION * mean_weight / (1 + np.float32(_DRIFT**2) * mean_weight)
    return DepthMap(total / np.maximum(weight_sum, np.float32(1e-9)), kept)
