# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The map as it is known at one moment: where odometry lies in it. Plain data, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from mem3r_ros.geometry import compose_covariance, invert, orthonormalise
from mem3r_ros.places.odometry_sigma import usual_sigma
from mem3r_ros.places.similarity import Placed

# K places, N poses


@dataclass(frozen=True, slots=True)
class Correction:
    """Places with their poses in odom and in map, in the order of their stamps."""

    numbers: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # [K]
    stamps_ns: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # [K]
    T_odom_camera: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))  # [K, 4, 4]
    T_map_camera: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))  # [K, 4, 4]
    log_scale: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [K]
    covariance: np.ndarray = field(default_factory=lambda: np.eye(6) * 1e-12)  # of the last place
    usual_depth: float = 1.0  # m, of the last place
    stretch: int = 0  # of odometry, of the last place
    is_located: bool = True  # whether the newest place is linked with the oldest one
    num_recognised: int = 0  # keyframes that were recognised
    last_recognised_ns: int | None = None
    version: int = 0  # counts the changes of poses that were published before
    num_failed: int = 0  # keyframes that were not taken in because of an error
    has_look_alikes: bool = False  # views repeat: after a break the place is not recognised

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.numbers)

    def pose(self, T_odom_camera: np.ndarray) -> np.ndarray:
        """Return the pose in the map of a camera that odometry has led on from the last place."""
        if not len(self):
            return T_odom_camera.copy()
        return orthonormalise(self._led_on(-1, T_odom_camera).T_map_camera)

    def pose_covariance(self, T_odom_camera: np.ndarray) -> np.ndarray:
        """Return the covariance of :meth:`pose`, [6, 6] about the fixed axes of the map."""
        if not len(self):
            return self.covariance.copy()
        step = Placed(self.T_odom_camera[-1], 0.0).of(T_odom_camera)
        return led_on_covariance(self.covariance, self._placed(-1), step, self.usual_depth)

    def path(self, stamps_ns: np.ndarray, T_odom_camera: np.ndarray) -> np.ndarray:
        """
        Return poses of the past in the map.

        Between two places both lead to a pose, and the nearer one in time counts more.

        :param stamps_ns: [N] in increasing order.
        :param T_odom_camera: [N, 4, 4] as odometry gave them.
        :return: [N, 4, 4].
        """
        poses = np.asarray(T_odom_camera, np.float64)
        if not len(self) or not len(poses):
            return poses.copy()
        after = np.searchsorted(self.stamps_ns, stamps_ns, side='right')
        first = np.clip(after - 1, 0, len(self) - 1)
        second = np.clip(after, 0, len(self) - 1)
        one, two = self._all_led_on(first, poses), self._all_led_on(second, poses)
        gap = np.maximum(self.stamps_ns[second] - self.stamps_ns[first], 1)
        share = np.clip((stamps_ns - self.stamps_ns[first]) / gap, 0.0, 1.0)
        turn = Rotation.from_matrix(np.swapaxes(one[:, :3, :3], 1, 2) @ two[:, :3, :3])
        part = Rotation.from_rotvec(turn.as_rotvec() * share[:, None]).as_matrix()
        made = one.copy()
        made[:, :3, :3] = one[:, :3, :3] @ part
        made[:, :3, 3] += share[:, None] * (two[:, :3, 3] - one[:, :3, 3])
        return made

    def points(self, number: int, points_odom: np.ndarray) -> np.ndarray:
        """Return points [P, 3], seen near a place, in the map; the next place if it is gone."""
        if not len(self):
            return points_odom
        row = int(np.clip(np.searchsorted(self.numbers, number), 0, len(self) - 1))
        odom, scale = invert(self.T_odom_camera[row]), float(np.exp(self.log_scale[row]))
        T = self.T_map_camera[row]
        rotation = scale * T[:3, :3] @ odom[:3, :3]
        shift = scale * T[:3, :3] @ odom[:3, 3] + T[:3, 3]
        kind = points_odom.dtype
        return points_odom @ rotation.T.astype(kind) + shift.astype(kind)

    def _placed(self, row: int) -> Placed:
        return Placed(self.T_map_camera[row], float(self.log_scale[row]))

    def _led_on(self, row: int, T_odom_camera: np.ndarray) -> Placed:
        return self._placed(row).then(Placed(self.T_odom_camera[row], 0.0).of(T_odom_camera))

    def _all_led_on(self, rows: np.ndarray, T_odom_camera: np.ndarray) -> np.ndarray:
        """Return poses [N, 4, 4] in the map, each by the place of a row."""
        step = invert(self.T_odom_camera[rows]) @ T_odom_camera
        step[:, :3, 3] *= np.exp(self.log_scale[rows])[:, None]
        return self.T_map_camera[rows] @ step


def led_on_covariance(
    covariance: np.ndarray, placed: Placed, step: np.ndarray, usual_depth: float
) -> np.ndarray:
    """
    Return the covariance of a camera after an odometry step from a place, [6, 6].

    :param covariance: of the place, about the fixed axes of the map.
    :param step: the motion, [4, 4], metres of the place.
    :param usual_depth: of the scene, metres of the place.
    """
    scale = np.exp(placed.log_scale)
    sigma_rad, sigma_m, sigma_scale = usual_sigma(step, usual_depth)
    sigma_m = float(np.hypot(sigma_m, sigma_scale * np.linalg.norm(step[:3, 3]))) * scale
    own = np.diag([sigma_m**2] * 3 + [sigma_rad**2] * 3)
    motion = step.copy()
    motion[:3, 3] *= scale
    return compose_covariance(covariance, placed.T_map_camera, motion, own)
