# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What each frame tells about metres: the ground, the wheels, one known distance."""

from __future__ import annotations

import math

import numpy as np

from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.measurement import Look, Work
from mem3r_ros.tracker.stream_state import Stream

_MAX_TILT_COSINE = math.cos(math.radians(35.0))  # between ground normal and the camera's down
_RANSAC_ROUNDS = 64
_MIN_POINTS = 50


def observe_scale(work: Work, look: Look, stream: Stream, config: TrackerConfig) -> None:
    """Let a measured frame vote for the scale, if its source is asked for."""
    source, scale, unit = config.scale.source, stream.scale, stream.segments.memory.scale
    wheel_path_m = work.accepted.frame.wheel_path_m
    is_measured = False
    if source == 'wheel' and wheel_path_m is not None:
        step = 0.0 if look.increment is None else float(np.linalg.norm(look.increment[:3, 3]))
        is_measured = scale.observe_wheel(wheel_path_m, step / stream.factor(config), config.scale)
    if source == 'distance' and look.view is not None and scale.is_distance_wanted:
        depth = look.view.depth_at_centre() * unit
        is_measured = scale.observe_distance(config.scale.distance_m, depth, config.scale)
    if source == 'camera_height' and look.view is not None:
        camera = stream.products.network_camera(work.prepared)
        rays = stream.products.rays(camera)[::2, ::2]
        points = rays * (look.view.depth[::2, ::2, None] * unit)
        height = ground_height(points.reshape(-1, 3))
        if height is not None:
            is_measured = scale.observe_height(height, config.scale)
    if is_measured:
        stream.segments.trust_scale()


def ground_height(points: np.ndarray) -> float | None:
    """
    Find the ground below the camera (RANSAC; Fischler and Bolles 1981) and its distance.

    The same points always give the same answer: the samples are drawn from a fixed seed.

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
    normals *= np.where(normals[:, 1:2] < 0, -1.0, 1.0)  # along the camera's down
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
