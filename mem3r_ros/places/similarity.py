# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Poses with a scale of their own.

Monocular odometry changes its scale slowly, so a camera of the map has a pose in metres of the map
and a factor: metres of the map for each metre of its own depths (Strasdat et al. 2010).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mem3r_ros.geometry import invert, matrix


class Placed(NamedTuple):
    """A camera in the map."""

    T_map_camera: np.ndarray  # [4, 4], metres of the map
    log_scale: float  # log of metres of the map for each metre of the camera

    def then(self, T_camera_other: np.ndarray, log_scale: float = 0.0) -> Placed:
        """
        Return another camera whose pose in this one is known.

        :param T_camera_other: its pose, in metres of this camera.
        :param log_scale: log of metres of this camera for each metre of the other one.
        """
        step = np.exp(self.log_scale) * T_camera_other[:3, 3]
        R = self.T_map_camera[:3, :3]
        T = matrix(R @ T_camera_other[:3, :3], self.T_map_camera[:3, 3] + R @ step)
        return Placed(T, self.log_scale + log_scale)

    def of(self, T_map_other: np.ndarray) -> np.ndarray:
        """Return the pose of another camera of the map in this one, in metres of this one."""
        T = invert(self.T_map_camera) @ T_map_other
        T[:3, 3] *= np.exp(-self.log_scale)
        return T

    def moved(self, change: Placed) -> Placed:
        """Return this camera after a similarity of the map, given as a camera at its origin."""
        T, scale = change.T_map_camera, np.exp(change.log_scale)
        R = T[:3, :3] @ self.T_map_camera[:3, :3]
        t = T[:3, 3] + scale * T[:3, :3] @ self.T_map_camera[:3, 3]
        return Placed(matrix(R, t), self.log_scale + change.log_scale)


def change_between(before: Placed, after: Placed) -> Placed:
    """Return the similarity of the map that moves a camera from one place to another."""
    log_scale = after.log_scale - before.log_scale
    R = after.T_map_camera[:3, :3] @ before.T_map_camera[:3, :3].T
    t = after.T_map_camera[:3, 3] - np.exp(log_scale) * R @ before.T_map_camera[:3, 3]
    return Placed(matrix(R, t), log_scale)


def inverse_of(step: Placed) -> Placed:
    """Return the first camera in the second, given the second in the first."""
    T = invert(step.T_map_camera)
    T[:3, 3] *= np.exp(-step.log_scale)
    return Placed(T, -step.log_scale)
