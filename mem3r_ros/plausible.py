# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The gate for numbers from outside: what is not finite or not possible is refused with a sentence.

Whatever enters stored state has passed it: files, messages, transforms, wheel odometry, saved
states. The limits are those of the physical world, far from anything that a robot does.
"""

from __future__ import annotations

from collections.abc import Iterable
import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.geometry import matrix_from_pose

# Coordinates of maps (UTM) reach 1e7 m; beyond, float64 would still resolve nanometres.
MAX_POSITION_M = 1e7
# Two frames of one robot, a camera and its base, are nearer to each other.
MAX_LINK_M = 1e3
# Metres in a unit of the network: it was trained in metres, an unknown scale is off by tens.
SCALE_RANGE = (1e-3, 1e3)
# Stamps fit int64 with room for sums: to the year 2116.
MAX_STAMP_NS = 2**62
# Quaternions are written with few digits; what is farther from length 1 is something else.
QUATERNION_RANGE = (0.5, 2.0)
_MAX_ROTATION_ERROR = 1e-2  # of R R^T - I


def number(
    value: Any, what: str, low: float = -math.inf, high: float = math.inf, unit: str = ''
) -> float:
    """
    Return a number from outside as a float.

    :param value: anything; text is read as a number, as files have it.
    :param what: its name, for the error.
    :param low: smallest allowed value.
    :param high: largest allowed value.
    :raises UserError: it is no number, not finite or out of range.
    """
    unit = f' {unit}' if unit else ''
    try:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (Real, str)):
            raise TypeError
        result = float(value)
    except (TypeError, ValueError):
        raise UserError(f'{what} is {shown(value)}; it must be a number') from None
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise UserError(f'{what} is {shown(value)}; it must be finite')
    if not low <= result <= high:
        raise UserError(f'{what} is {result:g}{unit}; it must be {low:g} to {high:g}{unit}')
    return result


def whole_number(value: Any, what: str, low: int, high: int) -> int:
    """
    Return a whole number from outside; 4.0 is one.

    :raises UserError: it is none, or out of range.
    """
    result = number(value, what)
    if result != math.floor(result):
        raise UserError(f'{what} is {shown(value)}; it must be a whole number')
    exact = int(value) if isinstance(value, Integral) else int(result)
    if not low <= exact <= high:
        raise UserError(f'{what} is {shown(value)}; it must be {low} to {high}')
    return exact


def stamp(stamp_ns: int, what: str = 'stamp') -> int:
    """
    Return a time stamp in nanoseconds.

    :raises UserError: no clock shows it.
    """
    if not -MAX_STAMP_NS < stamp_ns < MAX_STAMP_NS:
        raise UserError(f'{what} is {shown(stamp_ns)} ns; it must fit 62 bits')
    return int(stamp_ns)


def pose_matrix(T: np.ndarray, what: str, max_position_m: float = MAX_POSITION_M) -> np.ndarray:
    """
    Return a rigid transform.

    :param T: [4, 4].
    :param what: its name, for the error.
    :param max_position_m: largest coordinate.
    :return: T as float64.
    :raises UserError: it is not finite, no rotation, or moves farther than anything does.
    """
    T = np.asarray(T)
    if T.shape != (4, 4) or T.dtype.kind not in 'fiu':
        raise UserError(f'{what} has shape {T.shape}; a transform is 4x4 numbers')
    T = T.astype(np.float64)
    if not np.isfinite(T).all():
        raise UserError(f'{what} is not finite')
    _check_position(T[:3, 3], what, max_position_m)
    R = T[:3, :3]
    # The bound comes first: squares of huge numbers would overflow.
    is_rotation = np.abs(R).max() < 2.0 and np.abs(R @ R.T - np.eye(3)).max() < _MAX_ROTATION_ERROR
    if not is_rotation or np.linalg.det(R) < 0 or not np.allclose(T[3], (0, 0, 0, 1)):
        raise UserError(f'{what} is no rotation and translation')
    return T


def pose(
    position: Iterable[float],
    quaternion: Iterable[float],
    what: str,
    max_position_m: float = MAX_POSITION_M,
) -> np.ndarray:
    """
    Return the transform of a position and a quaternion (x, y, z, w).

    :return: [4, 4] float64.
    :raises UserError: it is not finite, the quaternion is far from length 1, or it moves farther
        than anything does.
    """
    place, turn = np.array([*position], np.float64), np.array([*quaternion], np.float64)
    if not np.isfinite([*place, *turn]).all():
        raise UserError(f'{what} is not finite: {place} m, quaternion {turn}')
    _check_position(place, what, max_position_m)
    length = math.hypot(*turn)
    if not QUATERNION_RANGE[0] <= length <= QUATERNION_RANGE[1]:
        raise UserError(f'{what} has a quaternion of length {length:.3g}; it must have length 1')
    return matrix_from_pose(place, turn)


def _check_position(place: np.ndarray, what: str, max_position_m: float) -> None:
    farthest = float(np.abs(place).max())
    if farthest > max_position_m:
        raise UserError(
            f'{what} is {farthest:.3g} m away; the farthest that is possible is '
            f'{max_position_m:g} m'
        )


def shown(value: Any) -> str:
    """Return a value for a message, cut to a readable length."""
    try:
        text = repr(value)
    except ValueError:  # a number of more digits than Python prints
        text = f'a {type(value).__name__} of many digits'
    return text if len(text) <= 60 else f'{text[:50]}... ({len(text)} characters)'
