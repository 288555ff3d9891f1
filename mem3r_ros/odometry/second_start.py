# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A second start for an adjustment that does not fit its observations.

The network's motion may be wrong by degrees, and its depth may be a flat wall. The first landmarks
are then placed by it, and the window stays in a local minimum, because each new frame is located
by these landmarks. The second start takes rotation and direction of each step from the essential
matrix of its two frames, and the length of the step from the first start. The better of both
minima is the result.

In a window of few frames the depths are still those of the network. They all err together, but
each one counts as evidence of its own, so many of them outweigh the observations. There both
starts are compared without what the network predicts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mem3r_ros.geometry import invert
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.pinhole import rays_of
from mem3r_ros.odometry.problem import MotionFactors, Problem, Solution
from mem3r_ros.odometry.robust_geometry import relative_pose

_POOR_FIT = 0.8  # cost of an observation; on recordings that go well it is .2 to .7
_LEAST_GAIN = 0.03  # of the cost
_EPIPOLAR_PX = 1.5  # at the reference width
_FEW_FRAMES = range(3, 7)  # of a window whose depths are the network's
_FEW_EPIPOLAR_PX = 0.7
_FEW_LEAST_GAIN = 0.2  # of the cost of the observations
_UNKNOWN = 30.0  # factor on the spread of a depth that is not to count
_ITERATIONS = 15  # from a start that may be far off
_NEARER, _FARTHER = 10.0, 0.01  # limits of a triangulated inverse depth, over the predicted one


def adjusted(problem: Problem, seen: np.ndarray, width_scale: float) -> Solution:
    """
    Adjust a window, from a second start if the first one leads to a poor fit.

    :param seen: where each frame sees each landmark, NaN where it does not, [L, M, 2] px.
    :param width_scale: pixels of the image per pixel at the reference width.
    :raises numpy.linalg.LinAlgError: the normal equations are singular or not finite.
    """
    solution = adjust(problem)
    try:
        if len(problem.T_window_camera) in _FEW_FRAMES:
            other = _by_observations(problem, solution, seen, _FEW_EPIPOLAR_PX * width_scale)
            if other is not None:
                return other
        if solution.cost < _POOR_FIT * len(problem.landmark):
            return solution
        start = _by_essential_matrices(problem, seen, _EPIPOLAR_PX * width_scale)
        other = adjust(replace(problem, T_window_camera=start))
    except np.linalg.LinAlgError:
        return solution
    return other if other.cost < (1.0 - _LEAST_GAIN) * solution.cost else solution


def _by_observations(
    problem: Problem, solution: Solution, seen: np.ndarray, limit_px: float
) -> Solution | None:
    """Return the second start's solution without the network's depths and motions, if better."""
    free = replace(
        problem,
        prior_sigma=_UNKNOWN * problem.prior_sigma,
        motions=MotionFactors.none(),
        max_iterations=_ITERATIONS,
    )
    first = adjust(
        replace(
            free,
            T_window_camera=solution.T_window_camera,
            guess_pixels=solution.anchor_pixels,
            inverse_depth=solution.inverse_depth,
        )
    )
    start = _by_essential_matrices(problem, seen, limit_px)
    depth = triangulated(problem, start)
    second = adjust(
        replace(free, T_window_camera=start, inverse_depth=depth, prior_inverse_depth=depth)
    )
    length = _path_length(problem.T_window_camera)
    has_moved = min(length, _path_length(second.T_window_camera)) > 0.0
    if not has_moved or second.cost > (1.0 - _FEW_LEAST_GAIN) * first.cost:
        return None
    return _with_length(second, length)


def _with_length(solution: Solution, length: float) -> Solution:
    """Bring the path of a solution, which has no scale of its own, to a length."""
    poses = solution.T_window_camera.copy()
    scale = length / _path_length(poses)
    poses[:, :3, 3] = poses[0, :3, 3] + scale * (poses[:, :3, 3] - poses[0, :3, 3])
    return replace(
        solution,
        T_window_camera=poses,
        inverse_depth=solution.inverse_depth / scale,
        inverse_depth_variance=solution.inverse_depth_variance / scale**2,
        contradicts_depth=True,
    )


def _path_length(poses: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


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


def triangulated(problem: Problem, poses: np.ndarray) -> np.ndarray:
    """
    Return the inverse depths by all observations, linear least squares, [N].

    :param poses: of the frames, [M, 4, 4].
    """
    row, camera = problem.landmark, problem.camera
    anchor, frame = poses[problem.anchor[row]], poses[problem.frame]
    rays = rays_of(problem.anchor_pixels[row], camera)
    R = frame[:, :3, :3].transpose(0, 2, 1)
    turned = np.einsum('nij,njk,nk->ni', R, anchor[:, :3, :3], rays)
    shift = np.einsum('nij,nj->ni', R, anchor[:, :3, 3] - frame[:, :3, 3])
    # (turned + inverse depth * shift) is seen at uv: linear in the inverse depth.
    uv = rays_of(problem.pixels, camera)[:, :2]
    slope = uv * shift[:, 2:] - shift[:, :2]
    value = turned[:, :2] - uv * turned[:, 2:]
    num = len(problem.anchor)
    above = np.bincount(row, (slope * value).sum(axis=1), num)
    below = np.bincount(row, (slope * slope).sum(axis=1), num)
    predicted = problem.inverse_depth
    inverse_depth = above / np.maximum(below, np.finfo(float).tiny)
    return np.clip(inverse_depth, _FARTHER * predicted, _NEARER * predicted)
