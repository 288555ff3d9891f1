# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""4x4 matrices of rigid transforms, and vectors."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from tf_transformations.quaternions import (
    quaternion_about_axis,
    quaternion_from_matrix,
    quaternion_matrix,
    random_quaternion,
)


def identity_matrix() -> np.ndarray:
    """
    Return the transform that changes nothing.

    :return: [4, 4].
    """
    return np.identity(4)


def translation_matrix(direction: Any) -> np.ndarray:
    """
    Return the matrix of a translation.

    :param direction: x, y, z.
    :return: [4, 4].
    """
    matrix = np.identity(4)
    matrix[:3, 3] = direction[:3]
    return matrix


def translation_from_matrix(matrix: Any) -> np.ndarray:
    """
    Return the translation of a transform.

    :param matrix: [4, 4].
    :return: x, y, z.
    """
    return np.array(matrix, dtype=np.float64)[:3, 3].copy()


def rotation_matrix(angle: float, direction: Any, point: Any = None) -> np.ndarray:
    """
    Return the matrix of a turn about an axis.

    :param angle: rad.
    :param direction: of the axis, any length.
    :param point: on the axis; None is the origin.
    :return: [4, 4].
    """
    matrix = quaternion_matrix(quaternion_about_axis(angle, direction[:3]))
    if point is not None:
        centre = np.asarray(point, dtype=np.float64)[:3]
        matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix


def rotation_from_matrix(matrix: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """
    Return angle and axis of a turn.

    :param matrix: [4, 4] of a turn about any axis.
    :return: angle in rad, direction of length one, homogeneous point on the axis.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    quaternion = np.array(quaternion_from_matrix(matrix))
    sine = float(np.linalg.norm(quaternion[:3]))
    angle = 2.0 * math.atan2(sine, quaternion[3])
    direction = quaternion[:3] / sine if sine else np.array((1.0, 0.0, 0.0))
    # The point of the axis nearest to the origin: the least-squares solution of p = R p + t.
    point = np.linalg.lstsq(np.identity(3) - matrix[:3, :3], matrix[:3, 3], rcond=1e-9)[0]
    return angle, direction, np.append(point, 1.0)


def scale_matrix(factor: float, origin: Any = None, direction: Any = None) -> np.ndarray:
    """
    Return the matrix of a scaling.

    :param factor: 1 changes nothing.
    :param origin: point that stays; None is the origin.
    :param direction: scale along this direction only; None scales in all.
    :return: [4, 4].
    """
    matrix = np.identity(4)
    if direction is None:
        matrix[:3, :3] *= factor
    else:
        axis = unit_vector(direction[:3])
        matrix[:3, :3] -= (1.0 - factor) * np.outer(axis, axis)
    if origin is not None:
        centre = np.asarray(origin, dtype=np.float64)[:3]
        matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix


def inverse_matrix(matrix: Any) -> np.ndarray:
    """
    Return the inverse of a square matrix.

    :param matrix: any invertible one.
    :return: its inverse.
    """
    return np.linalg.inv(matrix)


def concatenate_matrices(*matrices: Any) -> np.ndarray:
    """
    Multiply transforms; the last one acts first.

    :param matrices: each [4, 4]; none give the identity.
    :return: [4, 4].
    """
    return functools.reduce(np.dot, matrices, np.identity(4))


def is_same_transform(matrix0: Any, matrix1: Any) -> bool:
    """
    Tell whether two homogeneous matrices do the same, whatever their common factor.

    :param matrix0: [4, 4].
    :param matrix1: [4, 4].
    :return: whether they agree to numpy's default tolerance.
    """
    first, second = (np.array(m, dtype=np.float64) for m in (matrix0, matrix1))
    return bool(np.allclose(first / first[3, 3], second / second[3, 3]))


def vector_norm(data: Any, axis: int | None = None, out: np.ndarray | None = None) -> Any:
    """
    Return the length of vectors.

    :param data: any array.
    :param axis: along which to measure; None measures all of it as one vector.
    :param out: array to write into.
    :return: length or lengths, None when written into out.
    """
    lengths = np.linalg.norm(np.asarray(data, dtype=np.float64), axis=axis)
    if out is None:
        return lengths
    out[...] = lengths
    return None


def unit_vector(data: Any, axis: int | None = None, out: np.ndarray | None = None) -> Any:
    """
    Return vectors at length one.

    :param data: any array.
    :param axis: along which a vector lies; None takes all of it as one vector.
    :param out: array to write into.
    :return: scaled array, None when written into out.
    """
    values = np.array(data, dtype=np.float64)
    lengths = np.linalg.norm(values, axis=axis, keepdims=axis is not None)
    if out is None:
        return values / lengths
    out[...] = values / lengths
    return None


def random_vector(size: int) -> np.ndarray:
    """
    Return random numbers in [0, 1).

    :param size: how many.
    :return: array of that size.
    """
    return np.random.random(size)  # noqa: NPY002


def random_rotation_matrix(rand: Any = None) -> np.ndarray:
    """
    Return a rotation drawn evenly from all.

    :param rand: three numbers in [0, 1) to draw it from, None for random ones.
    :return: [4, 4].
    """
    return quaternion_matrix(random_quaternion(rand))
