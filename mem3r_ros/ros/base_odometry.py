# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Odometry of the robot base from the motion of the camera.

Pure geometry: the transform from base to camera is an argument. ``start`` is the origin frame of
the tracker, ``odom`` that of the robot; the transform between them is fixed at the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.geometry import T_FLU_OPTICAL, adjoint, hat, invert, orthonormalise
from mem3r_ros.ros.conversions import matrix_from_xyz_rpy

# Variance of z, roll and pitch in planar mode: known exactly, but still invertible.
_PLANAR_VARIANCE = 1e-9
_OUT_OF_PLANE = (2, 3, 4)


@dataclass(frozen=True, slots=True)
class BaseMotion:
    """Pose and velocity of the base, with covariances."""

    T_odom_base: np.ndarray  # [4, 4]
    T_odom_camera: np.ndarray  # [4, 4], of the same pose
    covariance: np.ndarray  # [6, 6] x y z roll pitch yaw about odom's fixed axes
    twist: np.ndarray  # [6] in the base frame
    twist_covariance: np.ndarray  # [6, 6]


class BaseOdometry:
    """
    Keeps the transform from the tracker's origin to odom, so that odometry never jumps.

    A new origin of the tracker (a reset, a loaded state) is attached to the last pose of the base.
    Only a new session, such as a recording that loops, starts at the initial pose again.
    """

    def __init__(self, T_odom_initial: np.ndarray) -> None:
        """
        Start before the first frame.

        :param T_odom_initial: pose of the base in odom at the first frame.
        """
        self._T_odom_next = T_odom_initial
        self._T_odom_start: np.ndarray | None = None
        # The tracker's first camera; a state loaded before the first image refers to it, too.
        self._T_start_anchor: np.ndarray | None = T_FLU_OPTICAL
        self.T_odom_base: np.ndarray | None = None

    def start_over(self, T_odom_initial: np.ndarray) -> None:
        """
        Start a new session.

        :param T_odom_initial: pose of the base in odom at the next frame.
        """
        self.__init__(T_odom_initial)

    def continue_from(self, T_odom_base: np.ndarray | None = None) -> None:
        """
        Expect a new origin of the tracker with the next frame.

        :param T_odom_base: pose of the base at that frame; None: its last pose.
        """
        if T_odom_base is not None:
            self._T_odom_next = T_odom_base
        elif self.T_odom_base is not None:
            self._T_odom_next = self.T_odom_base
        if self.T_odom_base is not None:
            self._T_odom_start = self._T_start_anchor = None

    def motion(
        self,
        T_start_camera: np.ndarray,
        T_base_camera: np.ndarray,
        covariance: np.ndarray,
        twist: np.ndarray,
        twist_covariance: np.ndarray,
        *,
        is_planar: bool = False,
    ) -> BaseMotion:
        """
        Return the motion of the base, given that of the camera.

        :param T_start_camera: pose of the camera in the tracker's frame.
        :param T_base_camera: mount of the camera, from TF at the same stamp.
        :param covariance: of that pose, about the tracker's fixed axes, [6, 6].
        :param twist: velocity in the camera frame, linear first, [6].
        :param twist_covariance: [6, 6].
        :param is_planar: keep x, y and yaw only.
        """
        T_camera_base = invert(T_base_camera)
        if self._T_odom_start is None:
            anchor = T_start_camera if self._T_start_anchor is None else self._T_start_anchor
            self._T_odom_start = self._T_odom_next @ T_base_camera @ invert(anchor)
        T_odom_camera = self._T_odom_start @ T_start_camera
        # Rounding errors of many products would make the matrix slowly lose orthonormality.
        T_odom_base = orthonormalise(T_odom_camera @ T_camera_base)
        turn = np.kron(np.eye(2), self._T_odom_start[:3, :3])
        lever = np.eye(6)
        lever[:3, 3:] = -hat(T_odom_camera[:3, :3] @ T_camera_base[:3, 3])
        to_odom = lever @ turn
        to_base = adjoint(T_base_camera)
        result = BaseMotion(
            T_odom_base,
            T_odom_camera,
            to_odom @ covariance @ to_odom.T,
            to_base @ twist,
            to_base @ twist_covariance @ to_base.T,
        )
        if is_planar:
            result = _planar(result, T_base_camera)
        self.T_odom_base = result.T_odom_base
        return result


def planar_pose(T: np.ndarray) -> np.ndarray:
    """Keep x, y and yaw of a pose [4, 4]; set z, roll and pitch to zero."""
    yaw = np.arctan2(T[1, 0], T[0, 0])
    return matrix_from_xyz_rpy((T[0, 3], T[1, 3], 0.0, 0.0, 0.0, yaw))


def _planar(motion: BaseMotion, T_base_camera: np.ndarray) -> BaseMotion:
    """Keep x, y and yaw; set z, roll and pitch to zero with a tiny variance."""
    T_planar = planar_pose(motion.T_odom_base)
    twist = motion.twist.copy()
    covariances = [motion.covariance.copy(), motion.twist_covariance.copy()]
    twist[list(_OUT_OF_PLANE)] = 0.0
    for covariance in covariances:
        for axis in _OUT_OF_PLANE:
            covariance[axis, :] = covariance[:, axis] = 0.0
            covariance[axis, axis] = _PLANAR_VARIANCE
    return BaseMotion(T_planar, T_planar @ T_base_camera, covariances[0], twist, covariances[1])
