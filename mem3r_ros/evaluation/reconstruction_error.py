# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Accuracy, completeness and normal consistency of a point cloud, with scipy's k-d tree.

The measures are those of Spann3R (arXiv 2408.16061), which CUT3R and TTT3R use. The estimate is
first registered to the truth by point-to-point ICP. Accuracy is the mean distance from an
estimated point to the nearest true one. Completeness is the same from true to estimated points.
Chamfer is the mean of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from mem3r_ros.errors import UserError
from mem3r_ros.geometry import weighted_procrustes

ICP_THRESHOLD_M = 0.1
_ICP_STEPS, _ICP_TOLERANCE = 30, 1e-6
_NORMAL_NEIGHBOURS = 30
_MIN_POINTS = 4


@dataclass(frozen=True, slots=True)
class ReconstructionError:
    """Distances in metres; normal consistency from 0 to 1, where 1 is the best."""

    accuracy_m: float
    accuracy_median_m: float
    completeness_m: float
    completeness_median_m: float
    normal_consistency: float
    normal_consistency_median: float

    @property
    def chamfer_m(self) -> float:
        """Return the mean of accuracy and completeness."""
        return 0.5 * (self.accuracy_m + self.completeness_m)


def reconstruction_error(
    estimate: np.ndarray, truth: np.ndarray, *, icp_threshold_m: float | None = ICP_THRESHOLD_M
) -> ReconstructionError:
    """
    Measure an estimated cloud against the true one.

    :param estimate: points [N, 3] m, roughly in the frame of the truth.
    :param truth: points [M, 3] m.
    :param icp_threshold_m: pairs farther apart do not count in the registration; None omits it.
    :return: the errors.
    :raises UserError: one of the clouds has fewer than four finite points.
    """
    estimate, truth = _finite(estimate, 'estimated'), _finite(truth, 'true')
    if icp_threshold_m is not None:
        estimate = register(estimate, truth, icp_threshold_m)
    tree, true_tree = cKDTree(estimate), cKDTree(truth)
    to_truth, nearest_true = true_tree.query(estimate, workers=-1)
    to_estimate, nearest = tree.query(truth, workers=-1)
    normals, true_normals = _normals(estimate, tree), _normals(truth, true_tree)
    forward = np.abs((normals * true_normals[nearest_true]).sum(axis=1))
    backward = np.abs((true_normals * normals[nearest]).sum(axis=1))
    return ReconstructionError(
        accuracy_m=float(to_truth.mean()),
        accuracy_median_m=float(np.median(to_truth)),
        completeness_m=float(to_estimate.mean()),
        completeness_median_m=float(np.median(to_estimate)),
        normal_consistency=0.5 * float(forward.mean() + backward.mean()),
        normal_consistency_median=0.5 * float(np.median(forward) + np.median(backward)),
    )


def register(estimate: np.ndarray, truth: np.ndarray, threshold_m: float) -> np.ndarray:
    """
    Move a cloud onto another by point-to-point ICP (Besl and McKay 1992).

    :param estimate: points [N, 3] m.
    :param truth: points [M, 3] m.
    :param threshold_m: pairs farther apart are left out.
    :return: the moved points [N, 3]; unmoved where fewer than four pairs are near enough.
    """
    tree, moved, before = cKDTree(truth), estimate, np.inf
    for _ in range(_ICP_STEPS):
        distance, index = tree.query(moved, distance_upper_bound=threshold_m, workers=-1)
        near = np.isfinite(distance)
        if near.sum() < _MIN_POINTS:
            return moved
        error = float(np.sqrt(np.mean(distance[near] ** 2)))
        if before - error < _ICP_TOLERANCE:
            break
        before = error
        pairs = moved[near], truth[index[near]]
        T, _ = weighted_procrustes(*pairs, np.ones(near.sum()), False)
        moved = moved @ T[:3, :3].T + T[:3, 3]
    return moved


def _finite(points: np.ndarray, name: str) -> np.ndarray:
    points = np.asarray(points, np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < _MIN_POINTS:
        raise UserError(f'the {name} cloud has {len(points)} finite points; 4 are needed')
    return points


def _normals(points: np.ndarray, tree: cKDTree) -> np.ndarray:
    """Return the direction of least spread among the neighbours of each point, [N, 3]."""
    count = min(_NORMAL_NEIGHBOURS, len(points))
    normals = np.empty_like(points)
    for start in range(0, len(points), 20_000):
        part = slice(start, start + 20_000)
        neighbours = points[tree.query(points[part], k=count, workers=-1)[1]]
        centred = neighbours - neighbours.mean(axis=1, keepdims=True)
        normals[part] = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1][:, :, 0]
    return normals
