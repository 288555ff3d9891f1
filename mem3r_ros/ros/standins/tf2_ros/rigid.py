# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms as plain numbers: fast enough per frame, and exact in double precision."""

from __future__ import annotations

import math
from typing import NamedTuple

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


class Rigid(NamedTuple):
    """A transform of points: rotate by a unit quaternion (x, y, z, w), then translate."""

    translation: Vector
    rotation: Quaternion


IDENTITY = Rigid((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """
    Return the rotation that does b first, then a.

    :param a: second rotation.
    :param b: first rotation.
    :return: their product.
    """
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def rotate(rotation: Quaternion, point: Vector) -> Vector:
    """
    Rotate a point.

    :param rotation: unit quaternion.
    :param point: coordinates.
    :return: rotated coordinates.
    """
    x, y, z, w = rotation
    px, py, pz = point
    # v + 2 w (q x v) + 2 q x (q x v)
    cx, cy, cz = y * pz - z * py, z * px - x * pz, x * py - y * px
    return (
        px + 2.0 * (w * cx + y * cz - z * cy),
        py + 2.0 * (w * cy + z * cx - x * cz),
        pz + 2.0 * (w * cz + x * cy - y * cx),
    )


def compose(a: Rigid, b: Rigid) -> Rigid:
    """
    Return the transform that does b first, then a.

    :param a: second transform.
    :param b: first transform.
    :return: their product.
    """
    x, y, z = rotate(a.rotation, b.translation)
    ax, ay, az = a.translation
    return Rigid((x + ax, y + ay, z + az), multiply(a.rotation, b.rotation))


def invert(rigid: Rigid) -> Rigid:
    """
    Return the transform back.

    :param rigid: transform with a unit quaternion.
    :return: its inverse.
    """
    x, y, z, w = rigid.rotation
    back = (-x, -y, -z, w)
    tx, ty, tz = rigid.translation
    return Rigid(rotate(back, (-tx, -ty, -tz)), back)


def normalised(rotation: Quaternion) -> Quaternion:
    """
    Return the quaternion at length one.

    :param rotation: quaternion that is not zero.
    :return: unit quaternion.
    """
    x, y, z, w = rotation
    length = math.sqrt(x * x + y * y + z * z + w * w)
    return (x / length, y / length, z / length, w / length)


def interpolate(a: Rigid, b: Rigid, ratio: float) -> Rigid:
    """
    Go part of the way from one transform to another: straight, and by the shorter turn.

    :param a: transform at ratio 0.
    :param b: transform at ratio 1.
    :param ratio: between 0 and 1.
    :return: transform in between.
    """
    x, y, z = (s + (e - s) * ratio for s, e in zip(a.translation, b.translation))
    start, end = normalised(a.rotation), normalised(b.rotation)
    cosine = sum(s * e for s, e in zip(start, end))
    if cosine < 0.0:
        end, cosine = (-end[0], -end[1], -end[2], -end[3]), -cosine
    angle = math.acos(min(1.0, cosine))
    if angle < 1e-8:  # sin(angle) would divide by nothing; the chord is the arc
        start_share, end_share = 1.0 - ratio, ratio
    else:
        start_share = math.sin((1.0 - ratio) * angle) / math.sin(angle)
        end_share = math.sin(ratio * angle) / math.sin(angle)
    qx, qy, qz, qw = (start_share * s + end_share * e for s, e in zip(start, end))
    return Rigid((x, y, z), normalised((qx, qy, qz, qw)))
