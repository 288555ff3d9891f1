# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Measurements of the scale: ground plane, wheel odometry, one known distance."""

from __future__ import annotations

import math

import numpy as np

from mem3r_ros.errors import BadFrame
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.measurement import FrameContext, Measurement
from mem3r_ros.tracker.stream_state import StreamState

_MAX_TILT_COSINE = math.cos(math.radians(35.0))  # between ground normal and the camera's down
_RANSAC_ROUNDS = 64
_MIN_POINTS = 50
_MIN_GAP_S = 0.1  # messages of the wheels come in steps of this size


def observe_scale(
    context: FrameContext, measured: Measurement, stream: StreamState, config: TrackerConfig
) -> str:
    """
    Measure the scale with one frame, by the source of the settings.

    :return: a message for the user where a measurement was refused.
    """
    source, scale, view = config.scale.source, stream.scale, measured.view
    wheel_path_m = context.valid.frame.wheel_path_m
    notice = ''
    if source == 'wheel' and wheel_path_m is not None:
        max_step_m = config.health.max_speed * max(context.valid.gap_s, _MIN_GAP_S)
        try:
            scale.observe_wheel(wheel_path_m, measured.step, max_step_m, config.scale)
        except BadFrame as error:
            notice = stream.notices.count('wheel odometry', str(error), context.stamp_ns)
    if source == 'distance' and view is not None and scale.is_distance_wanted:
        depth = view.depth_at_centre() * measured.unit
        scale.observe_distance(config.scale.distance_m, depth, config.scale)
    if source == 'camera_height' and view is not None:
        camera = stream.dense_outputs.network_camera(context.prepared)
        rays = stream.dense_outputs.rays(camera)[::2, ::2]
        points = rays * (view.depth[::2, ::2, None] * measured.unit)
        height = ground_height(points.reshape(-1, 3))
        if height is not None:
            scale.observe_height(height, config.scale)
    return notice


def ground_height(points: np.ndarray) -> float | None:
    """
    Return the distance of the ground plane (RANSAC; Fischler and Bolles 1981).

    The seed is fixed, so the same points always give the same distance.

    :param points: [P, 3] in the camera frame (y down).
    :return: distance of the plane in the units of the points; None without a clear plane.
    """
    below = points[(points[:, 1] > 0.0) & np.isfinite(points).all(axis=1)]
    if len(below) < _MIN_POINTS:
        return None
    if len(below) > 1500:
        below = below[:: len(below) // 1500 + 1]
    random = np.random.default_rng(0)
    picks = below[random.integers(0, len(below), (_RANSAC_ROUNDS, 3))]
    normals = np.cross(picks[:, 1] - picks[:, 0], picks[:, 2] - picks[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(length, 1e-12)[:, None]
    normals *= np.where(normals[:, 1:2] < 0, -1.0, 1.0)  # downwards
    heights = np.einsum('ij,ij->i', normals, picks[:, 0])
    usable = (length > 1e-12) & (normals[:, 1] > _MAX_TILT_COSINE) & (heights > 1e-6)
    if not usable.any():
        return None
    normals, heights = normals[usable], heights[usable]
    distances = below @ normals.T
    inliers = np.abs(distances - heights) < 0.04 * heights
    best = int(inliers.sum(axis=0).argmax())
    chosen = below[inliers[:, best]]
    if len(chosen) < max(_MIN_POINTS, 0.2 * len(below)):
        return None
    centre = chosen.mean(axis=0)
    normal = np.linalg.svd(chosen - centre, full_matrices=False)[2][2]
    height = abs(float(normal @ centre))
    return height if abs(normal[1]) > _MAX_TILT_COSINE and height > 1e-6 else None
