# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Agreement of geometry and network about a motion.

Corners that are all on a moving object fit together and give a wrong motion. Only the network,
which sees the whole image, contradicts them.
"""

from __future__ import annotations

import math

import numpy as np

from mem3r_ros.geometry import so3_log
from mem3r_ros.odometry.motion_prior import MotionPrior

_MAX_DISTANCE = 5.0  # standard deviations of the network's motion


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
    information = motion.information()
    if difference @ information @ difference < _MAX_DISTANCE**2:
        return covariance, ''
    degrees = math.degrees(float(np.linalg.norm(difference[3:])))
    reason = (
        f'corners and network disagree: {np.linalg.norm(difference[:3]):.2g} m and '
        f'{degrees:.2g} degrees between two images'
    )
    return covariance + np.outer(difference, difference), reason
