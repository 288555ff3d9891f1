# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Least squares over the poses and scales of all places.

Seven unknowns for each place: rotation, position and log scale (Strasdat et al. 2010). The normal
equations are sparse and are solved by SuperLU of SciPy. Levenberg-Marquardt, with the measured
motions as the only information.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation

# K places, E edges

_MAX_ITERATIONS = 20
_CONVERGED = 1e-4  # relative change of the error


@dataclass(frozen=True, slots=True)
class Edges:
    """Measured motions between places."""

    first: np.ndarray  # [E] rows of places
    second: np.ndarray  # [E]
    T_first_second: np.ndarray  # [E, 4, 4], metres of the first
    log_scale: np.ndarray  # [E] metres of the first for each metre of the second
    sigma: np.ndarray  # [E, 3] of rotation (rad), position (metres of the first), log scale


@dataclass(frozen=True, slots=True)
class Poses:
    """Places in the map."""

    rotation: np.ndarray  # [K, 3, 3]
    position: np.ndarray  # [K, 3]
    log_scale: np.ndarray  # [K]

    def stepped(self, step: np.ndarray) -> Poses:
        """Return the poses after a step [K, 7]: rotation in the camera, position, log scale."""
        turn = Rotation.from_rotvec(step[:, :3]).as_matrix()
        return Poses(
            self.rotation @ turn, self.position + step[:, 3:6], self.log_scale + step[:, 6]
        )


def optimised(poses: Poses, edges: Edges, is_fixed: np.ndarray) -> Poses:
    """
    Return the poses that agree best with the edges.

    :param poses: start.
    :param is_fixed: [K] places that do not move; at least one in each connected part.
    """
    free = np.flatnonzero(np.repeat(~is_fixed, 7))
    if not len(free):
        return poses
    damping, error = 1e-6, residuals(poses, edges)
    cost = float((error**2).sum())
    for _ in range(_MAX_ITERATIONS):
        J = _jacobian(poses, edges)[:, free]
        H, gradient = (J.T @ J).tocsc(), J.T @ error.ravel()
        before = cost
        for _ in range(8):
            step = np.zeros(7 * len(is_fixed))
            step[free] = -splu((H + damping * diags(H.diagonal())).tocsc()).solve(gradient)
            moved = poses.stepped(step.reshape(-1, 7))
            moved_error = residuals(moved, edges)
            moved_cost = float((moved_error**2).sum())
            if np.isfinite(moved_cost) and moved_cost <= cost:
                poses, error, cost = moved, moved_error, moved_cost
                damping = max(damping / 5.0, 1e-9)
                break
            damping *= 10.0
        if before - cost <= _CONVERGED * before:
            break
    return poses


def residuals(poses: Poses, edges: Edges) -> np.ndarray:
    """Return the errors of the edges in standard deviations: rotation, position, scale, [E, 7]."""
    first, second = edges.first, edges.second
    R_first = poses.rotation[first]
    between = np.swapaxes(R_first, 1, 2) @ poses.rotation[second]
    measured = edges.T_first_second
    turn = Rotation.from_matrix(np.swapaxes(measured[:, :3, :3], 1, 2) @ between).as_rotvec()
    shift = _offsets(poses, edges) - measured[:, :3, 3]
    scale = poses.log_scale[second] - poses.log_scale[first] - edges.log_scale
    sigma = edges.sigma
    return np.concatenate(
        [turn / sigma[:, :1], shift / sigma[:, 1:2], (scale / sigma[:, 2])[:, None]], axis=1
    )


def _offsets(poses: Poses, edges: Edges) -> np.ndarray:
    """Return the position of the second place in the first, metres of the first, [E, 3]."""
    apart = poses.position[edges.second] - poses.position[edges.first]
    turned = np.einsum('eji,ej->ei', poses.rotation[edges.first], apart)
    return turned * np.exp(-poses.log_scale[edges.first])[:, None]


def _jacobian(poses: Poses, edges: Edges) -> csr_matrix:
    """Return the derivative of the residuals by the steps, [7 E, 7 K]."""
    num_edges, num_places = len(edges.first), len(poses.log_scale)
    R_first = poses.rotation[edges.first]
    offset = _offsets(poses, edges)
    by_first, by_second = np.zeros((2, num_edges, 7, 7))
    # Rotation: the residual is small, so its own Jacobian is taken as the identity.
    by_first[:, :3, :3] = -np.swapaxes(poses.rotation[edges.second], 1, 2) @ R_first
    by_second[:, :3, :3] = np.eye(3)
    into_first = np.swapaxes(R_first, 1, 2) * np.exp(-poses.log_scale[edges.first])[:, None, None]
    by_first[:, 3:6, 3:6], by_second[:, 3:6, 3:6] = -into_first, into_first
    by_first[:, 3:6, :3] = _hats(offset)
    by_first[:, 3:6, 6] = -offset
    by_first[:, 6, 6], by_second[:, 6, 6] = -1.0, 1.0
    weight = 1.0 / np.repeat(edges.sigma, [3, 3, 1], axis=1)[:, :, None]
    blocks = np.stack([by_first * weight, by_second * weight], axis=1)  # [E, 2, 7, 7]
    rows = np.arange(num_edges)[:, None, None, None] * 7 + np.arange(7)[:, None]
    place = np.stack([edges.first, edges.second], axis=1)[:, :, None, None]
    columns = place * 7 + np.arange(7)
    rows, columns = np.broadcast_arrays(rows, columns)
    shape = (7 * num_edges, 7 * num_places)
    return csr_matrix((blocks.ravel(), (rows.ravel(), columns.ravel())), shape)


def _hats(vectors: np.ndarray) -> np.ndarray:
    """Return the matrices of the cross products with vectors [E, 3], [E, 3, 3]."""
    x, y, z = vectors.T
    zero = np.zeros(len(vectors))
    rows = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1)
    return rows.reshape(-1, 3, 3)
