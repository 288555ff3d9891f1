# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rotations and rigid motions of many frames at once."""

from __future__ import annotations

import numpy as np

from mem3r_ros.geometry import so3_log

_AXES = [7, 2, 3]  # of the entries of a 3x3 matrix: those of a cross product
_SMALL_ANGLE = 1e-5  # rad; below it, series are exact to rounding
_HALF_TURN = 1e-3  # sine of an angle above 90 degrees, from which on the axis needs more care


def hats(v: np.ndarray) -> np.ndarray:
    """Return the matrices of the cross products with vectors [F, 3], [F, 3, 3]."""
    result = np.zeros((len(v), 3, 3))
    result[:, 2, 1], result[:, 0, 2], result[:, 1, 0] = v[:, 0], v[:, 1], v[:, 2]
    return result - result.transpose(0, 2, 1)


def rotation_vectors(R: np.ndarray) -> np.ndarray:
    """Return the rotation vectors of rotations [F, 3, 3], [F, 3] rad."""
    skew = 0.5 * (R - R.transpose(0, 2, 1))
    v = skew.reshape(-1, 9)[:, _AXES]
    sine = np.sqrt((v * v).sum(axis=1))
    cosine = 0.5 * (R.reshape(-1, 9)[:, ::4].sum(axis=1) - 1.0)
    angle = np.arctan2(sine, cosine)
    result = v * np.where(sine < _SMALL_ANGLE, 1.0, angle / np.maximum(sine, 1e-300))[:, None]
    for index in np.flatnonzero((cosine < 0) & (sine < _HALF_TURN)):
        result[index] = so3_log(R[index])
    return result


def moved_poses(twists: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """
    Return poses moved from the left, exp(twist) T.

    :param twists: translation part first, [F, 6].
    :param poses: [F, 4, 4].
    """
    v, W = twists[:, :3, None], hats(twists[:, 3:])
    angle = np.sqrt((twists[:, 3:] ** 2).sum(axis=1))[:, None, None]
    is_small, safe = angle < _SMALL_ANGLE, np.maximum(angle, _SMALL_ANGLE)
    first = np.where(is_small, 1.0, np.sin(safe) / safe)
    second = np.where(is_small, 0.5, (1.0 - np.cos(safe)) / safe**2)
    third = np.where(is_small, 1.0 / 6.0, (safe - np.sin(safe)) / safe**3)
    squared = W @ W
    R = np.eye(3) + first * W + second * squared
    J = np.eye(3) + second * W + third * squared
    result = poses.copy()
    result[:, :3, :3] = R @ poses[:, :3, :3]
    result[:, :3, 3:] = R @ poses[:, :3, 3:] + J @ v
    return result


def orthonormalised(poses: np.ndarray) -> np.ndarray:
    """Return poses [F, 4, 4] with the nearest rotations (SVD), which removes rounding errors."""
    U, _, Vt = np.linalg.svd(poses[:, :3, :3])
    U[:, :, 2] *= np.sign(np.linalg.det(U @ Vt))[:, None]
    result = poses.copy()
    result[:, :3, :3] = U @ Vt
    return result
