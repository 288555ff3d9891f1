# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Time of one adjustment of the sliding window: our numpy solver, gtsam and Ceres (pyceres).

    pip install gtsam pyceres pycolmap
    python benchmarks/solvers.py --rounds 10

All solve the same window of keyframes from the same first guess, on one thread: corners with a
robust (Cauchy) reprojection error, a motion between neighbours, and a depth for each landmark. The
landmarks of the libraries are points, so their depth is a range (gtsam) or a normal prior along
the ray (Ceres). "build" makes the problem from arrays, "solve" is the optimiser; gtsam is also
timed as a fixed-lag smoother, which gets one keyframe at a time. Solvers that are not installed
are left out. Prints one Markdown table.
"""

from __future__ import annotations

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('TBB_NUM_THREADS', '1')

import argparse
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
import time

import numpy as np

from mem3r_ros.geometry import invert, matrix, se3_exp, so3_exp, transform_points
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.problem import MotionFactors, Problem

PIXEL_SIGMA = 0.5
DEPTH_SIGMA = 0.4
MOTION_SIGMAS = np.array([0.06] * 3 + [0.01] * 3)  # m, rad
CAUCHY = 2.0
MAX_ITERATIONS = 6


@dataclass(frozen=True)
class Timed:
    """Result of one solver."""

    build_s: float
    solve_s: float
    positions: np.ndarray  # [M, 3] of the keyframes


def window(num_keyframes: int, num_landmarks: int) -> tuple[Problem, np.ndarray]:
    """Return a window of a camera that moves sideways and turns, and its true poses."""
    random = np.random.default_rng(0)
    steps = range(num_keyframes)
    truth = np.stack(
        [
            matrix(so3_exp(np.array([0.0, 0.02 * i, 0.0])), np.array([0.1 * i, 0.0, 0.05 * i]))
            for i in steps
        ]
    )
    camera = np.array([500.0, 500.0, 319.5, 239.5])
    anchor = np.sort(random.integers(0, num_keyframes - 3, num_landmarks))
    pixels = random.uniform([40, 40], [600, 440], (num_landmarks, 2))
    depth = random.uniform(2.0, 8.0, num_landmarks)
    rays = np.column_stack([(pixels - camera[2:]) / camera[:2], np.ones(num_landmarks)])
    landmark, frame, seen = [], [], []
    for i in range(num_landmarks):
        world = transform_points(truth[anchor[i]], (rays[i] * depth[i])[None])
        for j in range(anchor[i] + 1, num_keyframes):
            point = transform_points(invert(truth[j]), world)[0]
            landmark.append(i)
            frame.append(j)
            seen.append(point[:2] / point[2] * camera[:2] + camera[2:])
    seen = np.array(seen) + random.normal(0, PIXEL_SIGMA, (len(seen), 2))
    guess = truth.copy()
    for i in range(1, num_keyframes):
        guess[i] = se3_exp(random.normal(0, 0.02, 6)) @ guess[i]
    first = np.arange(num_keyframes - 1)
    motions = np.stack(
        [
            invert(a) @ b @ se3_exp(random.normal(0, 1, 6) * MOTION_SIGMAS)
            for a, b in pairwise(truth)
        ]
    )
    information = np.diag(MOTION_SIGMAS**-2.0)
    inverse_depth = np.exp(random.normal(0, 0.3, num_landmarks)) / depth
    problem = Problem(
        T_window_camera=guess,
        is_fixed=np.arange(num_keyframes) == 0,
        anchor=anchor,
        anchor_pixels=pixels,
        guess_pixels=pixels,
        inverse_depth=inverse_depth,
        prior_inverse_depth=inverse_depth,
        prior_sigma=DEPTH_SIGMA * inverse_depth,
        landmark=np.array(landmark),
        frame=np.array(frame),
        pixels=seen,
        camera=camera,
        pixel_sigma=PIXEL_SIGMA,
        motions=MotionFactors(
            first, first + 1, motions, np.repeat(information[None], len(first), 0)
        ),
        max_iterations=MAX_ITERATIONS,
    )
    return problem, truth


def points_of(problem: Problem) -> np.ndarray:
    """Return the first guess of the landmarks in the window, [N, 3]."""
    rays = np.ones((len(problem.anchor), 3))
    rays[:, :2] = (problem.anchor_pixels - problem.camera[2:]) / problem.camera[:2]
    points = rays / problem.inverse_depth[:, None]
    poses = problem.T_window_camera[problem.anchor]
    return np.einsum('nij,nj->ni', poses[:, :3, :3], points) + poses[:, :3, 3]


def by_numpy(problem: Problem) -> Timed:
    """Solve with the solver of the sliding window; it returns covariances too."""
    start = time.process_time()
    solution = adjust(problem)
    return Timed(0.0, time.process_time() - start, solution.T_window_camera[:, :3, 3])


class Gtsam:
    """The factors of a window in gtsam."""

    def __init__(self, problem: Problem) -> None:
        import gtsam

        self.gtsam, self.problem = gtsam, problem
        self.calibration = gtsam.Cal3_S2(
            problem.camera[0], problem.camera[1], 0.0, problem.camera[2], problem.camera[3]
        )
        noise = gtsam.noiseModel
        self.pixel = noise.Robust.Create(
            noise.mEstimator.Cauchy.Create(CAUCHY), noise.Isotropic.Sigma(2, PIXEL_SIGMA)
        )
        # gtsam's tangent is rotation first.
        self.motion = noise.Diagonal.Sigmas(np.roll(MOTION_SIGMAS, 3))
        self.points = points_of(problem)
        self.by_frame = [np.flatnonzero(problem.frame == j) for j in range(self.num_frames)]
        self.new_at = [np.flatnonzero(problem.anchor == j) for j in range(self.num_frames)]

    @property
    def num_frames(self) -> int:
        """Number of keyframes."""
        return len(self.problem.T_window_camera)

    def add_frame(self, j: int, graph: object, values: object) -> None:
        """Add a keyframe, its observations, and the landmarks that were first seen in it."""
        gtsam, problem, X, L = self.gtsam, self.problem, self._pose, self._point
        values.insert(X(j), gtsam.Pose3(problem.T_window_camera[j]))
        if j == 0:
            tight = gtsam.noiseModel.Isotropic.Sigma(6, 1e-6)
            graph.add(gtsam.PriorFactorPose3(X(0), gtsam.Pose3(problem.T_window_camera[0]), tight))
        else:
            moved = gtsam.Pose3(problem.motions.T_first_second[j - 1])
            graph.add(gtsam.BetweenFactorPose3(X(j - 1), X(j), moved, self.motion))
        for i in self.new_at[j]:
            values.insert(L(i), gtsam.Point3(*self.points[i]))
            ray = np.linalg.norm(self.points[i] - problem.T_window_camera[j, :3, 3])
            spread = gtsam.noiseModel.Isotropic.Sigma(1, DEPTH_SIGMA * ray)
            graph.add(gtsam.RangeFactor3D(X(j), L(i), ray, spread))
            graph.add(self._seen(problem.anchor_pixels[i], j, i))
        for row in self.by_frame[j]:
            graph.add(self._seen(problem.pixels[row], j, problem.landmark[row]))

    def _seen(self, pixel: np.ndarray, j: int, i: int) -> object:
        return self.gtsam.GenericProjectionFactorCal3_S2(
            self.gtsam.Point2(*pixel), self.pixel, self._pose(j), self._point(i), self.calibration
        )

    def _pose(self, j: int) -> int:
        return self.gtsam.symbol('x', int(j))

    def _point(self, i: int) -> int:
        return self.gtsam.symbol('l', int(i))

    def positions(self, values: object) -> np.ndarray:
        """Return the positions of the keyframes, [M, 3]."""
        return np.stack(
            [values.atPose3(self._pose(j)).translation() for j in range(self.num_frames)]
        )


def by_gtsam(problem: Problem) -> Timed:
    """Solve with gtsam's Levenberg-Marquardt, the graph built anew."""
    start = time.process_time()
    factors = Gtsam(problem)
    graph, values = factors.gtsam.NonlinearFactorGraph(), factors.gtsam.Values()
    for j in range(factors.num_frames):
        factors.add_frame(j, graph, values)
    built = time.process_time()
    params = factors.gtsam.LevenbergMarquardtParams()
    params.setMaxIterations(MAX_ITERATIONS)
    params.setRelativeErrorTol(1e-3)
    found = factors.gtsam.LevenbergMarquardtOptimizer(graph, values, params).optimize()
    return Timed(built - start, time.process_time() - built, factors.positions(found))


def by_gtsam_smoother(problem: Problem) -> Timed:
    """Feed gtsam's incremental smoother keyframe by keyframe; the time is that of the last."""
    factors = Gtsam(problem)
    gtsam = factors.gtsam
    smoother = gtsam.IncrementalFixedLagSmoother(float(factors.num_frames + 1))
    for j in range(factors.num_frames):
        start = time.process_time()
        graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
        factors.add_frame(j, graph, values)
        stamps = dict.fromkeys(values.keys(), float(j))
        built = time.process_time()
        smoother.update(graph, values, stamps)
        smoother.update(gtsam.NonlinearFactorGraph(), gtsam.Values(), {})
        found = smoother.calculateEstimate()
        solved = time.process_time()
    return Timed(built - start, solved - built, factors.positions(found))


def by_ceres(problem: Problem) -> Timed:
    """Solve with Ceres; poses are from the window to the camera, as its costs want them."""
    import pyceres
    import pycolmap
    from pycolmap import cost_functions

    start = time.process_time()
    ceres, loss = pyceres.Problem(), pyceres.CauchyLoss(CAUCHY)
    camera = problem.camera.copy()
    turns, shifts = [], []
    for T in problem.T_window_camera:
        T_camera_window = pycolmap.Rigid3d(invert(T)[:3])
        turns.append(np.array(T_camera_window.rotation.quat))
        shifts.append(np.array(T_camera_window.translation))
    points = points_of(problem)
    rows = [np.array(point) for point in points]

    def observe(pixel: np.ndarray, j: int, i: int) -> None:
        cost = cost_functions.ReprojErrorCost(
            pycolmap.CameraModelId.PINHOLE, np.eye(2) * PIXEL_SIGMA**2, pixel
        )
        ceres.add_residual_block(cost, loss, [turns[j], shifts[j], rows[i], camera])

    for i, j in enumerate(problem.anchor):
        observe(problem.anchor_pixels[i], j, i)
        ray = points[i] - problem.T_window_camera[j, :3, 3]
        along = ray / np.linalg.norm(ray)
        spread = (DEPTH_SIGMA * np.linalg.norm(ray)) ** 2
        # Wide across the ray, where the observation of the anchor decides.
        covariance = spread * (
            np.outer(along, along) + 100.0 * (np.eye(3) - np.outer(along, along))
        )
        prior = pyceres.factors.NormalPrior(points[i], covariance)
        ceres.add_residual_block(prior, pyceres.TrivialLoss(), [rows[i]])
    for row, j in enumerate(problem.frame):
        observe(problem.pixels[row], j, problem.landmark[row])
    for j, T in enumerate(problem.motions.T_first_second):
        cost = cost_functions.RelativePosePriorCost(
            np.diag(np.roll(MOTION_SIGMAS, 3) ** 2), pycolmap.Rigid3d(T[:3])
        )
        blocks = [turns[j], shifts[j], turns[j + 1], shifts[j + 1]]
        ceres.add_residual_block(cost, pyceres.TrivialLoss(), blocks)
    for turn in turns:
        ceres.set_manifold(turn, pyceres.EigenQuaternionManifold())
    ceres.set_parameter_block_constant(turns[0])
    ceres.set_parameter_block_constant(shifts[0])
    ceres.set_parameter_block_constant(camera)
    built = time.process_time()
    options = pyceres.SolverOptions()
    options.linear_solver_type = pyceres.LinearSolverType.DENSE_SCHUR
    options.max_num_iterations, options.num_threads = MAX_ITERATIONS, 1
    options.function_tolerance = 1e-3
    pyceres.solve(options, ceres, pyceres.SolverSummary())
    solved = time.process_time()
    poses = [
        pycolmap.Rigid3d(pycolmap.Rotation3d(turn), shift) for turn, shift in zip(turns, shifts)
    ]
    positions = np.stack([np.array(pose.inverse().translation) for pose in poses])
    return Timed(built - start, solved - built, positions)


SOLVERS: dict[str, Callable[[Problem], Timed]] = {
    'numpy (ours)': by_numpy,
    'gtsam, Levenberg-Marquardt': by_gtsam,
    'gtsam, fixed-lag smoother': by_gtsam_smoother,
    'Ceres, dense Schur': by_ceres,
}


def error_m(positions: np.ndarray, truth: np.ndarray) -> float:
    """Return the RMS distance to the true positions in the best common scale, m."""
    true = truth[:, :3, 3]
    scale = float((positions * true).sum() / (positions * positions).sum())
    return float(np.sqrt(((scale * positions - true) ** 2).sum(axis=1).mean()))


def main() -> None:
    """Time all solvers that are installed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--keyframes', type=int, default=12)
    parser.add_argument('--landmarks', type=int, default=250)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    problem, truth = window(args.keyframes, args.landmarks)
    times: dict[str, list[Timed]] = {}
    for _ in range(args.rounds):  # interleaved, so that other load meets all of them
        for name, solve in SOLVERS.items():
            with suppress(ImportError):
                found = solve(problem)
                times.setdefault(name, []).append(found)
    size = f'{args.keyframes} keyframes, {args.landmarks} landmarks'
    print(f'{size}, {len(problem.frame)} observations; median CPU time on one thread\n')
    print('| solver | build ms | solve ms | error mm |\n|---|---:|---:|---:|')
    for name, runs in times.items():
        build = 1e3 * np.median([run.build_s for run in runs])
        solve = 1e3 * np.median([run.solve_s for run in runs])
        error = 1e3 * error_m(runs[-1].positions, truth)
        print(f'| {name} | {build:.1f} | {solve:.1f} | {error:.1f} |')


if __name__ == '__main__':
    main()
