# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The adjustment of a window: which observations take part, and what is known before."""

from __future__ import annotations

import numpy as np

from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.problem import MotionFactors, Problem, Solution

_OUTLIER = 4.0  # standard deviations of a pixel
_ITERATIONS = 6
_LEAST_DECREASE = 1e-2  # of the cost; each keyframe adjusts most of the window again


def window_problem(
    landmarks: Landmarks,
    poses: np.ndarray,
    camera: np.ndarray,
    pixel_sigma: float,
    motions: MotionFactors,
    focal: tuple[float, float],
) -> tuple[np.ndarray, Problem]:
    """
    Return the landmarks that two frames see, indices [N], and the adjustment of all frames.

    :param poses: of the frames, the first one is held, [K, 4, 4].
    :param camera: fx, fy, cx, cy.
    :param motions: by the network, between neighbours.
    :param focal: expected log departure of the focal length, and its spread; 0: it is known.
    """
    rows = np.flatnonzero(np.isfinite(landmarks.seen[..., 0]).sum(axis=1) > 1)
    seen = np.isfinite(landmarks.seen[rows, :, 0])
    seen[np.arange(len(rows)), landmarks.anchor[rows]] = False
    landmark, frame = np.nonzero(seen)
    return rows, Problem(
        T_window_camera=poses,
        is_fixed=np.arange(len(poses)) == 0,
        anchor=landmarks.anchor[rows],
        anchor_pixels=landmarks.measured[rows],
        guess_pixels=landmarks.adjusted[rows],
        inverse_depth=landmarks.inverse_depth[rows],
        prior_inverse_depth=landmarks.prior[rows],
        prior_sigma=landmarks.prior_sigma[rows],
        landmark=landmark,
        frame=frame,
        pixels=landmarks.seen[rows[landmark], frame],
        camera=camera,
        pixel_sigma=pixel_sigma,
        motions=motions,
        focal_sigma=focal[1],
        prior_log_focal=focal[0],
        max_iterations=_ITERATIONS,
        least_decrease=_LEAST_DECREASE,
    )


def take_solution(
    landmarks: Landmarks, rows: np.ndarray, problem: Problem, solution: Solution
) -> None:
    """
    Give the landmarks their adjusted places; observations that do not fit are forgotten.

    :param rows: the landmarks of the problem, indices [N].
    """
    landmarks.adjusted[rows] = solution.anchor_pixels
    landmarks.inverse_depth[rows] = solution.inverse_depth
    landmarks.variance[rows] = solution.inverse_depth_variance
    replaced = np.broadcast_to(solution.contradicts_depth, len(rows))
    landmarks.prior[rows[replaced]] = solution.inverse_depth[replaced]
    is_wrong = solution.error_px > _OUTLIER * problem.pixel_sigma
    wrong, where = rows[problem.landmark[is_wrong]], problem.frame[is_wrong]
    landmarks.seen[wrong, where] = np.nan
    newest = len(problem.T_window_camera) - 1
    landmarks.is_tracked[wrong[where == newest]] = False
