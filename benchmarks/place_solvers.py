# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Time of one optimisation of the graph of places: SciPy (ours) and gtsam.

    pip install gtsam
    python benchmarks/place_solvers.py --rounds 5

Both get the same places on a loop with drift and its scale, the same edges (odometry, and every
tenth place recognised on the second lap) and the same first guess, on one thread. gtsam solves
BetweenFactorSimilarity3 by Levenberg-Marquardt; its times are those of the optimiser and of making
its graph. The error is that of the positions after alignment. Prints one Markdown table.
"""

from __future__ import annotations

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('TBB_NUM_THREADS', '1')

import argparse
from collections.abc import Callable
import time

import numpy as np

from mem3r_ros.geometry import matrix, se3_exp, so3_exp, weighted_procrustes
from mem3r_ros.places.pose_graph import Edges, Poses, optimised
from mem3r_ros.places.similarity import Placed


def loop(num_places: int) -> tuple[Poses, Edges, np.ndarray]:
    """Return first guess and edges of two laps, and the true positions [K, 3]."""
    random, lap = np.random.default_rng(0), num_places // 2
    turn = so3_exp(np.array([0.0, 0.0, 2 * np.pi / lap]))
    true, found = [Placed(np.eye(4), 0.0)], [Placed(np.eye(4), 0.0)]
    first, second, motions, scales, sigmas = [], [], [], [], []
    for number in range(1, num_places):
        step = matrix(turn, np.array([0.3, 0.0, 0.0]))
        true.append(true[-1].then(step))
        drift = se3_exp(random.normal(0, [0.006] * 3 + [0.003] * 3) + [0, 0.001, 0, 0, 0, 0.002])
        found.append(found[-1].then(drift @ step, 0.004))
        first.append(number - 1)
        second.append(number)
        motions.append(drift @ step)
        scales.append(0.0)
        sigmas.append([0.005, 0.015, 0.01])
    for number in range(lap, num_places, 10):
        first.append(number - lap)
        second.append(number)
        motions.append(se3_exp(random.normal(0, 0.002, 6)))
        scales.append(-0.004 * lap)
        sigmas.append([0.005, 0.03, 0.07])
    poses = Poses(
        np.stack([one.T_map_camera[:3, :3] for one in found]),
        np.stack([one.T_map_camera[:3, 3] for one in found]),
        np.array([one.log_scale for one in found]),
    )
    edges = Edges(
        np.array(first), np.array(second), np.stack(motions), np.array(scales), np.array(sigmas)
    )
    return poses, edges, np.stack([one.T_map_camera[:3, 3] for one in true])


def by_scipy(poses: Poses, edges: Edges) -> np.ndarray:
    """Return the positions after our optimisation, [K, 3]."""
    return optimised(poses, edges, np.arange(len(poses.log_scale)) == 0).position


def by_gtsam(poses: Poses, edges: Edges) -> np.ndarray:
    """Return the positions after the optimisation by gtsam, [K, 3]."""
    import gtsam

    def similarity(R: np.ndarray, t: np.ndarray, log_scale: float) -> gtsam.Similarity3:
        """Return x to s (R x + t), so t is the position over the scale."""
        scale = float(np.exp(log_scale))
        return gtsam.Similarity3(gtsam.Rot3(R), t / scale, scale)

    values, graph = gtsam.Values(), gtsam.NonlinearFactorGraph()
    for row, (R, t, log_scale) in enumerate(
        zip(poses.rotation, poses.position, poses.log_scale, strict=True)
    ):
        values.insert(row, similarity(R, t, log_scale))
    tight = gtsam.noiseModel.Isotropic.Sigma(7, 1e-6)
    graph.add(gtsam.PriorFactorSimilarity3(0, values.atSimilarity3(0), tight))
    for row in range(len(edges.first)):
        T, log_scale = edges.T_first_second[row], edges.log_scale[row]
        sigmas = np.repeat(edges.sigma[row], [3, 3, 1])
        graph.add(
            gtsam.BetweenFactorSimilarity3(
                int(edges.first[row]),
                int(edges.second[row]),
                similarity(T[:3, :3], T[:3, 3], log_scale),
                gtsam.noiseModel.Diagonal.Sigmas(sigmas),
            )
        )
    params = gtsam.LevenbergMarquardtParams()
    params.setRelativeErrorTol(1e-4)
    made = gtsam.LevenbergMarquardtOptimizer(graph, values, params).optimize()
    found = [made.atSimilarity3(row) for row in range(len(poses.log_scale))]
    return np.stack([one.scale() * one.translation() for one in found])


def error_m(positions: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean square error after alignment with scale, m."""
    T, scale = weighted_procrustes(positions, truth, np.ones(len(truth)), with_scale=True)
    left = scale * positions @ T[:3, :3].T + T[:3, 3] - truth
    return float(np.sqrt((left**2).sum(axis=1).mean()))


def main() -> None:
    """Time both, in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('.')[0])
    parser.add_argument('--rounds', type=int, default=5, help='of each size (5)')
    args = parser.parse_args()
    solvers: dict[str, Callable[[Poses, Edges], np.ndarray]] = {'SciPy (ours)': by_scipy}
    try:
        import gtsam  # noqa: F401
    except ImportError:
        print('gtsam is not installed; only our solver is timed')
    else:
        solvers['gtsam'] = by_gtsam
    print('| solver | places | edges | CPU time | error before | error |')
    print('|---|---:|---:|---:|---:|---:|')
    for num_places in (60, 150, 500):
        poses, edges, truth = loop(num_places)
        before = error_m(poses.position, truth)
        spent: dict[str, list[float]] = {name: [] for name in solvers}
        left = {}
        for _ in range(args.rounds):
            for name, solve in solvers.items():
                started_s = time.process_time()
                positions = solve(poses, edges)
                spent[name].append(time.process_time() - started_s)
                left[name] = error_m(positions, truth)
        for name in solvers:
            print(
                f'| {name} | {num_places} | {len(edges.first)} | '
                f'{1e3 * np.median(spent[name]):.0f} ms | {before:.3f} m | {left[name]:.3f} m |'
            )


if __name__ == '__main__':
    main()
