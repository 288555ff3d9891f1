# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A second start for an adjustment that does not fit its observations.

The network's motion may be wrong by degrees. The first landmarks are then placed by it, and the
window stays in a local minimum, because each new frame is located by these landmarks. The second
start takes rotation and direction of each step from the essential matrix of its two frames, and
the length of the step from the first start. The better of both minima is the result.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mem3r_ros.geometry import invert
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.problem import Problem, Solution
from mem3r_ros.odometry.robust_geometry import relative_pose

_POOR_FIT = 0.8  # cost of an observation; on recordings that go well it is .2 to .7
_LEAST_GAIN = 0.03  # of the cost
_EPIPOLAR_PX = 1.5  # at the reference width


def adjusted(problem: Problem, seen: np.ndarray, width_scale: float) -> Solution:
    """
    Adjust a window, from a second start if the first one leads to a poor fit.

    :param seen: where each frame sees each landmark, NaN where it does not, [L, M, 2] px.
    :param width_scale: pixels of the image per pixel at the reference width.
    :raises numpy.linalg.LinAlgError: the normal equations are singular or not finite.
    """
    solution = adjust(problem)
    if solution.cost < _POOR_FIT * len(problem.landmark):
        return solution
    start = _by_essential_matrices(problem, seen, _EPIPOLAR_PX * width_scale)
    try:
        other = adjust(replace(problem, T_window_camera=start))
    except np.linalg.LinAlgError:
        return solution
    return other if other.cost < (1.0 - _LEAST_GAIN) * solution.cost else solution


def _by_essential_matrices(problem: Problem, seen: np.ndarray, limit_px: float) -> np.ndarray:
    """Return poses whose steps have the lengths of the first start, [M, 4, 4]."""
    before = problem.T_window_camera
    poses = before.copy()
    for index in range(1, len(before)):
        step = invert(before[index - 1]) @ before[index]
        first, second = seen[:, index - 1], seen[:, index]
        both = np.isfinite(first[:, 0]) & np.isfinite(second[:, 0])
        found = relative_pose(first[both], second[both], problem.camera, limit_px)
        if found is not None:
            found[:3, 3] *= np.linalg.norm(step[:3, 3])
            step = found
        poses[index] = poses[index - 1] @ step
    return poses
