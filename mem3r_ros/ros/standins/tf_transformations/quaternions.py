# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Quaternions x, y, z, w."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Quaternion = tuple[float, float, float, float]

_TINY = 4.0 * np.finfo(float).eps


def quaternion_multiply(quaternion1: Any, quaternion0: Any) -> Quaternion:
    """
    Return the rotation that does quaternion0 first, then quaternion1.

    :param quaternion1: second rotation.
    :param quaternion0: first rotation.
    :return: their product.
    """
    x1, y1, z1, w1 = (float(value) for value in quaternion1)
    x0, y0, z0, w0 = (float(value) for value in quaternion0)
    return (
        w1 * x0 + x1 * w0 + y1 * z0 - z1 * y0,
        w1 * y0 - x1 * z0 + y1 * w0 + z1 * x0,
        w1 * z0 + x1 * y0 - y1 * x0 + z1 * w0,
        w1 * w0 - x1 * x0 - y1 * y0 - z1 * z0,
    )


def quaternion_conjugate(quaternion: Any) -> np.ndarray:
    """
    Return the conjugate.

    :param quaternion: any quaternion.
    :return: array of four.
    """
    return np.array(quaternion, dtype=np.float64) * (-1.0, -1.0, -1.0, 1.0)


def quaternion_inverse(quaternion: Any) -> np.ndarray:
    """
    Return the quaternion that undoes this one.

    :param quaternion: any quaternion but zero.
    :return: array of four.
    """
    return quaternion_conjugate(quaternion) / np.dot(quaternion, quaternion)


def quaternion_about_axis(angle: float, axis: Any) -> Quaternion:
    """
    Return the turn about an axis.

    :param angle: rad.
    :param axis: direction of any length.
    :return: unit quaternion.
    """
    direction = np.asarray(axis, dtype=np.float64)
    x, y, z = direction / np.linalg.norm(direction) * math.sin(angle / 2.0)
    return float(x), float(y), float(z), math.cos(angle / 2.0)


def quaternion_matrix(quaternion: Any) -> np.ndarray:
    """
    Return the rotation matrix of a quaternion.

    :param quaternion: of any length; a vanishing one gives the identity.
    :return: [4, 4].
    """
    x, y, z, w = (float(value) for value in quaternion)
    squared = x * x + y * y + z * z + w * w
    matrix = np.identity(4)
    if squared < np.finfo(float).eps:
        return matrix
    s = 2.0 / squared
    matrix[:3, :3] = (
        (1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)),
        (s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x)),
        (s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y)),
    )
    return matrix


def quaternion_from_matrix(matrix: Any) -> Quaternion:
    """
    Return the quaternion of a rotation matrix; of one that is not quite a rotation, the nearest.

    Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix" (2000): the
    largest eigenvector of a symmetric 4x4 matrix.

    :param matrix: [4, 4] or [3, 3].
    :return: unit quaternion with w >= 0.
    """
    ((xx, yx, zx), (xy, yy, zy), (xz, yz, zz)) = np.asarray(matrix, dtype=np.float64)[:3, :3]
    symmetric = np.array(
        (
            (xx - yy - zz, 0.0, 0.0, 0.0),
            (yx + xy, yy - xx - zz, 0.0, 0.0),
            (zx + xz, zy + yz, zz - xx - yy, 0.0),
            (yz - zy, zx - xz, xy - yx, xx + yy + zz),
        )
    )
    x, y, z, w = np.linalg.eigh(symmetric)[1][:, 3]  # reads the lower triangle only
    sign = -1.0 if w < 0.0 else 1.0
    return float(sign * x), float(sign * y), float(sign * z), float(sign * w)


def quaternion_slerp(
    quat0: Any, quat1: Any, fraction: float, spin: int = 0, shortestpath: bool = True
) -> np.ndarray:
    """
    Go part of the way from one rotation to another at a constant rate.

    :param quat0: rotation at fraction 0.
    :param quat1: rotation at fraction 1.
    :param fraction: between 0 and 1.
    :param spin: extra half turns on the way.
    :param shortestpath: whether to take the shorter of the two ways.
    :return: unit quaternion, array of four.
    """
    start = np.asarray(quat0, dtype=np.float64) / np.linalg.norm(quat0)
    end = np.asarray(quat1, dtype=np.float64) / np.linalg.norm(quat1)
    if fraction == 0.0:
        return start
    if fraction == 1.0:
        return end
    cosine = float(np.dot(start, end))
    if abs(abs(cosine) - 1.0) < _TINY:
        return start
    if shortestpath and cosine < 0.0:
        end, cosine = -end, -cosine
    angle = math.acos(cosine) + spin * math.pi
    if abs(angle) < _TINY:
        return start
    start_share = math.sin((1.0 - fraction) * angle) / math.sin(angle)
    return start_share * start + math.sin(fraction * angle) / math.sin(angle) * end


def random_quaternion(rand: Any = None) -> np.ndarray:
    """
    Return a rotation drawn evenly from all (Shoemake, "Uniform random rotations", 1992).

    :param rand: three numbers in [0, 1) to draw it from, None for random ones.
    :return: unit quaternion, array of four.
    """
    share, turn0, turn1 = np.random.random(3) if rand is None else rand  # noqa: NPY002
    angle0, angle1 = 2.0 * math.pi * turn0, 2.0 * math.pi * turn1
    low, high = math.sqrt(1.0 - share), math.sqrt(share)
    return np.array(
        (
            math.sin(angle0) * low,
            math.cos(angle0) * low,
            math.sin(angle1) * high,
            math.cos(angle1) * high,
        )
    )
