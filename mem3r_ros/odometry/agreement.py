# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Checks of a motion: against the network's, and against what noise can explain.

Corners that are all on a moving object fit together and give a wrong motion. Only the network,
which sees the whole image, contradicts them.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

from mem3r_ros.geometry import invert, rotation_angle, so3_log
from mem3r_ros.odometry.frame_location import Location
from mem3r_ros.odometry.motion_prior import MotionPrior

_MAX_DISTANCE = 5.0  # standard deviations of both motions
# What an adjustment may move the newest frame: parts of the usual depth, and rad.
_MAX_SHIFT = 0.15
_MAX_TURN_RAD = 0.1
_FEW_CORNERS = 30  # below, a turn that no expected motion shows is not followed
_SURPRISING_TURN_RAD = 0.17  # from each expected motion


def with_disagreement(
    covariance: np.ndarray, T_previous_camera: np.ndarray, motion: MotionPrior
) -> tuple[np.ndarray, str]:
    """
    Add the difference to the network's motion to the covariance if noise does not explain it.

    :param covariance: of the motion by geometry, in the axes of the previous camera, [6, 6].
    :param T_previous_camera: this motion, [4, 4].
    :param motion: by the network, in the scale of the window.
    :return: the covariance, and the reason why it grew; empty if it did not.
    """
    turn = T_previous_camera[:3, :3] @ motion.T[:3, :3].T
    difference = np.concatenate([T_previous_camera[:3, 3] - motion.T[:3, 3], so3_log(turn)])
    noise = np.linalg.inv(motion.information()) + covariance
    if difference @ np.linalg.solve(noise, difference) < _MAX_DISTANCE**2:
        return covariance, ''
    degrees = math.degrees(float(np.linalg.norm(difference[3:])))
    reason = (
        f'corners and network disagree: {np.linalg.norm(difference[:3]):.2g} m and '
        f'{degrees:.2g} degrees between two images'
    )
    return covariance + np.outer(difference, difference), reason


def is_surprising(location: Location, expected: Sequence[np.ndarray]) -> bool:
    """
    Return whether few corners show a turn that no expected motion has: they may be mismatched.

    :param location: of a frame by its corners.
    :param expected: T_window_camera of it by the network, and by the last motion.
    """
    if location.num_inliers >= _FEW_CORNERS:
        return False
    turns = [invert(T)[:3, :3] @ location.T_window_camera[:3, :3] for T in expected]
    return min(map(rotation_angle, turns)) > _SURPRISING_TURN_RAD


def is_plausible(departure: np.ndarray, usual_depth: float) -> bool:
    """
    Return whether an adjustment moves the newest frame no farther than noise can.

    :param departure: from the pose before to the adjusted one, [4, 4].
    :param usual_depth: of the landmarks, in the unit of the positions.
    """
    if not np.isfinite(departure).all():
        return False
    is_near = float(np.linalg.norm(departure[:3, 3])) < _MAX_SHIFT * usual_depth
    return is_near and float(rotation_angle(departure[:3, :3])) < _MAX_TURN_RAD
