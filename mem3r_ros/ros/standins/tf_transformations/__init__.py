# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The part of tf_transformations that mem3r_ros uses; quaternions are x, y, z, w."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

_EPSILON = np.finfo(np.float64).eps


def euler_matrix(ai: float, aj: float, ak: float, axes: str = 'sxyz') -> np.ndarray:
    """
    Return the rotation of three angles as a 4x4 matrix.

    :param ai: first angle, rad.
    :param aj: second angle, rad.
    :param ak: third angle, rad.
    :param axes: s for static or r for rotating axes, then the axes in order.
    """
    return _matrix(_from_euler((ai, aj, ak), axes))


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: str = 'sxyz') -> tuple:
    """Return the rotation of three angles (see euler_matrix) as a quaternion."""
    return tuple(map(float, _from_euler((ai, aj, ak), axes).as_quat(canonical=True)))


def euler_from_quaternion(quaternion: Any, axes: str = 'sxyz') -> tuple:
    """Return the three angles (see euler_matrix) of a quaternion of any length."""
    angles = Rotation.from_quat(quaternion).as_euler(_scipy_axes(axes))
    return tuple(map(float, angles))


def quaternion_matrix(quaternion: Any) -> np.ndarray:
    """
    Return the rotation of a quaternion as a 4x4 matrix.

    :param quaternion: of any length; zero gives the identity, NaN and infinity give NaN.
    """
    values = np.array(quaternion, np.float64)
    squared = values @ values
    if not np.isfinite(squared):
        matrix = np.identity(4)
        matrix[:3, :3] = np.nan
        return matrix
    if squared < _EPSILON:
        return np.identity(4)
    return _matrix(Rotation.from_quat(values))


def quaternion_from_matrix(matrix: Any) -> tuple:
    """
    Return the unit quaternion of a rotation matrix, with w >= 0.

    :param matrix: [4, 4] or [3, 3].
    """
    rotation = Rotation.from_matrix(np.asarray(matrix, np.float64)[:3, :3])
    return tuple(map(float, rotation.as_quat(canonical=True)))


def _from_euler(angles: tuple, axes: str) -> Rotation:
    return Rotation.from_euler(_scipy_axes(axes), angles)


def _scipy_axes(axes: str) -> str:
    """Return the axes in the notation of scipy: rotating ones are capitals."""
    return axes[1:].upper() if axes.startswith('r') else axes[1:]


def _matrix(rotation: Rotation) -> np.ndarray:
    matrix = np.identity(4)
    matrix[:3, :3] = rotation.as_matrix()
    return matrix
