# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pixels and rays of a pinhole camera given as four numbers, and depth images along rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.camera import Intrinsics

_EDGE = 0.15  # relative depth difference within 3 x 3 pixels that marks an edge
_MIN_DEPTH = 1e-6


def camera_array(camera: Intrinsics) -> np.ndarray:
    """Return fx, fy, cx, cy, [4]."""
    return np.array([camera.fx, camera.fy, camera.cx, camera.cy])


def camera_matrix(camera: np.ndarray) -> np.ndarray:
    """Return K, [3, 3]."""
    fx, fy, cx, cy = camera
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def rays_of(pixels: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Return the rays of pixels [P, 2], z = 1, [P, 3]."""
    rays = np.ones((len(pixels), 3))
    rays[:, :2] = (pixels - camera[2:]) / camera[:2]
    return rays


def project(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Return the pixels of points [..., 3] in the camera, [..., 2]; NaN behind it."""
    z = np.where(points[..., 2] > _MIN_DEPTH, points[..., 2], np.nan)
    return points[..., :2] / z[..., None] * camera[:2] + camera[2:]


@dataclass(frozen=True, slots=True)
class DepthImage:
    """Predicted depth and the camera in which it is predicted."""

    depth: np.ndarray  # [h, w], NaN where there is none
    camera: Intrinsics
    log_variance: np.ndarray | None = None  # [h, w] variance of the log depth

    def along(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the depth along rays [P, 3], NaN where there is none, and where it is sure [P].

        A pixel at a depth edge is not sure: the ray may meet either side.
        """
        at = np.rint(self.camera.project(rays))
        height, width = self.depth.shape
        if min(height, width) < 3:
            return np.full(len(rays), np.nan), np.zeros(len(rays), bool)
        inside = (at >= 0).all(axis=1) & (at <= (width - 1, height - 1)).all(axis=1)
        at = np.where(inside[:, None], at, 0).astype(int)
        x, y = at[:, 0].clip(1, width - 2), at[:, 1].clip(1, height - 2)
        around = np.stack([self.depth[y + j, x + i] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        depth = np.where(inside, around[4], np.nan).astype(np.float64)
        with np.errstate(invalid='ignore'):
            depth[~(depth > 0)] = np.nan
            sure = np.isfinite(around).all(axis=0) & (np.ptp(around, axis=0) < _EDGE * depth)
        return depth, sure & np.isfinite(depth)
