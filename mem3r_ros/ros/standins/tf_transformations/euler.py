# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Euler angles in all 24 orders of axes.

Shoemake, "Euler Angle Conversion" (Graphics Gems IV, 1994): turning axes are fixed axes in reverse
order, so one order of fixed axes with its parity and repetition covers them all.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from tf_transformations.quaternions import (
    Quaternion,
    quaternion_about_axis,
    quaternion_matrix,
    quaternion_multiply,
)

_TINY = 4.0 * np.finfo(float).eps


class _Order(NamedTuple):
    """An order of axes, written for fixed axes."""

    axes: tuple[int, int, int]  # which axis is turned about first, second, third
    is_turning: bool  # the angles were given for turning axes: first and third change places

    @property
    def repeats(self) -> bool:
        return self.axes[0] == self.axes[2]

    @property
    def is_odd(self) -> bool:
        return (self.axes[0] + 1) % 3 != self.axes[1]


def _order(axes: str) -> _Order:
    letters = axes[1:].lower()
    valid = (
        len(axes) == 4
        and axes[0] in 'sr'
        and set(letters) <= set('xyz')
        and letters[0] != letters[1] != letters[2]
    )
    if not valid:
        raise ValueError(f"axes is {axes!r}; it must be s or r and three axes, such as 'sxyz'")
    indices = ['xyz'.index(letter) for letter in letters]
    is_turning = axes[0] == 'r'
    first, second, third = reversed(indices) if is_turning else indices
    return _Order((first, second, third), is_turning)


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: str = 'sxyz') -> Quaternion:
    """
    Return the rotation of three turns.

    :param ai: first angle, rad (roll with the default axes).
    :param aj: second angle, rad (pitch).
    :param ak: third angle, rad (yaw).
    :param axes: order of axes.
    :return: quaternion x, y, z, w.
    """
    order = _order(axes)
    angles = (ak, aj, ai) if order.is_turning else (ai, aj, ak)
    quaternion = (0.0, 0.0, 0.0, 1.0)
    for axis, angle in zip(order.axes, angles):
        turn = quaternion_about_axis(angle, np.identity(3)[axis])
        quaternion = quaternion_multiply(turn, quaternion)
    return quaternion


def euler_matrix(ai: float, aj: float, ak: float, axes: str = 'sxyz') -> np.ndarray:
    """
    Return the rotation matrix of three turns.

    :param ai: first angle, rad.
    :param aj: second angle, rad.
    :param ak: third angle, rad.
    :param axes: order of axes.
    :return: [4, 4].
    """
    return quaternion_matrix(quaternion_from_euler(ai, aj, ak, axes))


def euler_from_matrix(matrix: Any, axes: str = 'sxyz') -> tuple[float, float, float]:
    """
    Return three turns that make up a rotation.

    :param matrix: [4, 4] or [3, 3].
    :param axes: order of axes.
    :return: angles in rad; where the first and third axis fall together, one of them is 0.
    """
    order = _order(axes)
    R = np.asarray(matrix, dtype=np.float64)[:3, :3]
    i, j = order.axes[:2]
    k = 3 - i - j
    if order.repeats:
        size = math.hypot(R[i, j], R[i, k])
        second = math.atan2(size, R[i, i])
        first, third = math.atan2(R[i, j], R[i, k]), math.atan2(R[j, i], -R[k, i])
    else:
        size = math.hypot(R[i, i], R[j, i])
        second = math.atan2(-R[k, i], size)
        first, third = math.atan2(R[k, j], R[k, k]), math.atan2(R[j, i], R[i, i])
    if size <= _TINY:
        first, third = math.atan2(-R[j, k], R[j, j]), 0.0
    sign = -1.0 if order.is_odd else 1.0
    first, second, third = sign * first, sign * second, sign * third
    return (third, second, first) if order.is_turning else (first, second, third)


def euler_from_quaternion(quaternion: Any, axes: str = 'sxyz') -> tuple[float, float, float]:
    """
    Return three turns that make up a rotation.

    :param quaternion: x, y, z, w.
    :param axes: order of axes.
    :return: angles in rad (roll, pitch, yaw with the default axes).
    """
    return euler_from_matrix(quaternion_matrix(quaternion), axes)
