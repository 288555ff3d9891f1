# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A start from the network's motions for an adjustment whose landmarks the corners contradict.

Blur leaves wrong landmarks, and each new frame is located by them. The adjustment then stays in a
local minimum that the frames before can hardly leave. Here the steps that fit the corners worse
than the network's are replaced by the network's, and the landmarks found on them are triangulated
anew. The older ones keep their depth, and with it the scale.
"""

# M frames, L landmarks, N of them in the problem

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import numpy as np

from mem3r_ros.geometry import invert
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.agreement import is_plausible, network_fits_better
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.manifold import orthonormalised
from mem3r_ros.odometry.problem import MotionFactors, Problem, Solution
from mem3r_ros.odometry.second_start import triangulated
from mem3r_ros.odometry.window_problem import take_solution, window_problem

_NUM_STEPS = 4  # the last ones, which may be replaced
_LOOSE = 3.0  # factor on the spread of the depths that are triangulated anew
_ITERATIONS = 15  # from a start that may be far off


class Correction(Enum):
    """What became of a window, as the reason states it."""

    NOT_NEEDED = ''
    DONE = 'corners fit the network, not the landmarks: these were corrected'
    FAILED = 'corners fit the network, not the landmarks: the window starts anew'


def corrected_by_network(
    landmarks: Landmarks,
    poses: np.ndarray,
    camera: np.ndarray,
    sigma_px: float,
    motions: MotionFactors,
) -> tuple[np.ndarray, Correction]:
    """
    Correct a window if the corners of its last two frames fit the network's motion better.

    :param landmarks: of the window; they are corrected in place.
    :param poses: of its frames, [M, 4, 4].
    :param camera: fx, fy, cx, cy.
    :param sigma_px: standard deviation of a tracked corner.
    :param motions: by the network, between neighbours.
    :return: the poses, and what became of the window.
    """

    def is_contradicted(by_window: np.ndarray) -> bool:
        pair = (invert(by_window[-2]) @ by_window[-1], motions.T_first_second[-1])
        return network_fits_better(landmarks.seen[:, -2:], pair, camera, sigma_px)

    if not is_contradicted(poses):
        return poses, Correction.NOT_NEEDED
    rows, problem = window_problem(landmarks, poses, camera, sigma_px, motions, (0.0, 0.0))
    try:
        solution = adjusted_by_network(problem, landmarks.seen)
    except np.linalg.LinAlgError:
        return poses, Correction.FAILED
    adjusted = orthonormalised(solution.T_window_camera)
    if not is_plausible(invert(poses[-1]) @ adjusted[-1], landmarks.usual_depth):
        return poses, Correction.FAILED
    take_solution(landmarks, rows, problem, solution)
    return adjusted, Correction.FAILED if is_contradicted(adjusted) else Correction.DONE


def adjusted_by_network(problem: Problem, seen: np.ndarray) -> Solution:
    """
    Adjust a window from the network's motions where they fit the corners better.

    :param problem: with the network's motion for each step.
    :param seen: where each frame sees each landmark, NaN where it does not, [L, M, 2] px.
    :raises numpy.linalg.LinAlgError: the normal equations are singular or not finite.
    """
    before, first = problem.T_window_camera, len(problem.T_window_camera)
    start = before.copy()
    for index in range(1, len(before)):
        step = invert(before[index - 1]) @ before[index]
        other = problem.motions.T_first_second[index - 1]
        pair = seen[:, index - 1 : index + 1]
        is_recent = index >= len(before) - _NUM_STEPS
        if is_recent and network_fits_better(
            pair, (step, other), problem.camera, problem.pixel_sigma
        ):
            step, first = other, min(first, index)
        start[index] = start[index - 1] @ step
    is_new = problem.anchor >= first - 1
    depth = np.where(is_new, triangulated(problem, start), problem.inverse_depth)
    solution = adjust(
        replace(
            problem,
            T_window_camera=start,
            inverse_depth=depth,
            prior_inverse_depth=np.where(is_new, depth, problem.prior_inverse_depth),
            prior_sigma=np.where(is_new, _LOOSE, 1.0) * problem.prior_sigma,
            max_iterations=_ITERATIONS,
        )
    )
    return replace(solution, contradicts_depth=is_new)
