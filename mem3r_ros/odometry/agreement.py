# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Checks of a motion: against the network's, and against what noise can explain.

Corners that are all on a moving object fit together and give a wrong motion. Only the network,
which sees the whole image, contradicts them. Wrong landmarks give each new image a wrong motion
that fits them, and are confirmed by it. The corners of two images contradict them, because
epipolar lines depend on no depth.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

from mem3r_ros.geometry import invert, rotation_angle, so3_log
from mem3r_ros.odometry.frame_location import MIN_LANDMARKS, Location
from mem3r_ros.odometry.motion_prior import MotionPrior
from mem3r_ros.odometry.robust_geometry import epipolar_distance

_MIN_INLIER_SHARE = 0.4  # of the corners that agree with a pose
_MAX_DISTANCE = 5.0  # standard deviations of both motions
# What an adjustment may move the newest frame: parts of the usual depth, and rad.
_MAX_SHIFT = 0.15
_MAX_TURN_RAD = 0.1
_FEW_CORNERS = 30  # below, a turn that no expected motion shows is not followed
_SURPRISING_TURN_RAD = 0.17  # from each expected motion
# Two motions are compared by so many corners, and only if they are so far apart. Chosen on
# recordings, so that nothing is corrected while the window is right.
_LEAST_COMPARED = 20
_APART_RAD = math.radians(1.5)
_APART_COSINE = math.cos(math.radians(20.0))  # between the directions of the steps
_BETTER_COST = 0.8  # over the cost of the other motion


def with_disagreement(
    location: Location | None,
    T_window_previous: np.ndarray,
    T_previous_camera: np.ndarray,
    motion: MotionPrior,
) -> tuple[np.ndarray | None, str]:
    """
    Return the covariance of a motion by corners, with the difference to its prior if it is large.

    The difference counts if noise does not explain it.

    :param location: of the frame by its corners; None: there is no covariance.
    :param T_window_previous: of the camera before, [4, 4].
    :param T_previous_camera: the motion, [4, 4].
    :param motion: by the network or by edges, in the scale of the window.
    :return: the covariance in the axes of the previous camera, [6, 6], and the reason why it
        grew; empty if it did not.
    """
    if location is None:
        return None, ''
    covariance = location.seen_from(T_window_previous)
    turn = T_previous_camera[:3, :3] @ motion.T[:3, :3].T
    difference = np.concatenate([T_previous_camera[:3, 3] - motion.T[:3, 3], so3_log(turn)])
    noise = np.linalg.inv(motion.information()) + covariance
    if difference @ np.linalg.solve(noise, difference) < _MAX_DISTANCE**2:
        return covariance, ''
    degrees = math.degrees(float(np.linalg.norm(difference[3:])))
    reason = (
        f'corners and {motion.source} disagree: {np.linalg.norm(difference[:3]):.2g} m and '
        f'{degrees:.2g} degrees between two images'
    )
    return covariance + np.outer(difference, difference), reason


def accepted(
    location: Location | None, num_seen: int, expected: Sequence[np.ndarray], source: str
) -> tuple[Location | None, str]:
    """
    Return the location of a frame if its corners prove it; else None, and why.

    :param location: by its corners; None: they gave none.
    :param num_seen: the number of these corners.
    :param expected: T_window_camera of it by the network or edges, and by the last motion.
    :param source: of the first of these.
    """
    least = max(MIN_LANDMARKS, _MIN_INLIER_SHARE * num_seen)
    instead = (
        "the motion is the network's" if source == 'network' else f'the motion is by {source}'
    )
    if location is None or location.num_inliers < least:
        num = '' if location is None else f'{location.num_inliers} of '
        agree = '' if location is None else ' agree'
        return None, f'{num}{num_seen} corners{agree}: {instead}'
    if _is_surprising(location, expected):
        return None, f'a turn by {location.num_inliers} corners: {instead}'
    return location, ''


def _is_surprising(location: Location, expected: Sequence[np.ndarray]) -> bool:
    """Return whether few corners show a turn that no expected motion has: mismatches do so."""
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


def network_fits_better(
    seen: np.ndarray,
    motions: tuple[np.ndarray, np.ndarray],
    camera: np.ndarray,
    sigma_px: float,
) -> bool:
    """
    Return whether the corners of two images fit the network's motion better than the window's.

    :param seen: corners in the first and the second image, NaN where not seen, [P, 2, 2] px.
    :param motions: T_first_second of the window and of the network, [4, 4] each.
    :param camera: fx, fy, cx, cy.
    :param sigma_px: standard deviation of a tracked corner.
    """
    step, other = motions
    turn = float(rotation_angle(step[:3, :3].T @ other[:3, :3]))
    lengths = float(np.linalg.norm(step[:3, 3]) * np.linalg.norm(other[:3, 3]))
    if turn < _APART_RAD and float(step[:3, 3] @ other[:3, 3]) >= _APART_COSINE * lengths:
        return False
    first, second = seen[np.isfinite(seen[:, :, 0]).all(axis=1)].swapaxes(0, 1)
    if len(first) < _LEAST_COMPARED:
        return False
    cost, network_cost = (
        float(np.log1p((epipolar_distance(first, second, camera, T) / sigma_px) ** 2).mean())
        for T in motions
    )
    return network_cost < _BETTER_COST * cost
