# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Bundle adjustment of a few frames: poses, landmarks and, optionally, the focal length.

Levenberg-Marquardt with the Schur complement over the landmarks (Triggs et al. 1999, section 6),
inverse depth in the anchor frame (Civera et al. 2008), Cauchy weights by iterative reweighting.
"""

from __future__ import annotations

from mem3r_ros.odometry.normal_equations import Residuals, State, Structure, System
from mem3r_ros.odometry.problem import Problem, Solution

_MAX_TRIALS = 4  # dampings tried in one iteration
_FIRST_DAMPING = 1e-4
_LEAST_DAMPING = 1e-9


def adjust(problem: Problem) -> Solution:
    """
    Minimise the robust reprojection error together with all priors.

    :raises numpy.linalg.LinAlgError: the normal equations are singular or not finite.
    """
    state = State(problem.T_window_camera, problem.guess_pixels, problem.inverse_depth, 0.0)
    structure = Structure(problem)
    residuals = Residuals(problem, structure, state)
    damping, num_iterations, has_converged = _FIRST_DAMPING, 0, False
    while num_iterations < problem.max_iterations and not has_converged:
        num_iterations += 1
        system = System(problem, structure, state, residuals)
        cost = residuals.cost
        for _ in range(_MAX_TRIALS):
            candidate = system.step(state, damping)
            changed = Residuals(problem, structure, candidate)
            if changed.cost <= cost:
                state, residuals = candidate, changed
                damping = max(0.1 * damping, _LEAST_DAMPING)
                break
            damping *= 10.0
        has_converged = cost - residuals.cost <= problem.least_decrease * residuals.cost
    variance, pose_covariance, focal_sigma = system.covariances()
    return Solution(
        T_window_camera=state.poses,
        anchor_pixels=state.anchor_pixels,
        inverse_depth=state.inverse_depth,
        inverse_depth_variance=variance,
        error_px=residuals.error_px(),
        pose_covariance=pose_covariance,
        log_focal=state.log_focal,
        log_focal_sigma=focal_sigma,
        num_iterations=num_iterations,
        has_converged=has_converged,
        cost=residuals.cost,
    )
