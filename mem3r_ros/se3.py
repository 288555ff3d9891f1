# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Poses as the network speaks of them: translation and quaternion with its real part first."""

from __future__ import annotations

import torch
from torch import Tensor


def matrix_from_pose(pose: Tensor) -> Tensor:
    """
    Build the camera-to-world matrix.

    :param pose: [..., 7] tx ty tz qw qx qy qz; the quaternion may have any length but zero.
    :return: [..., 4, 4].
    """
    translation, quaternion = pose.split((3, 4), dim=-1)
    w, x, y, z = quaternion.unbind(-1)
    two = 2 / quaternion.square().sum(-1)
    rows = (
        (1 - two * (y * y + z * z), two * (x * y - z * w), two * (x * z + y * w)),
        (two * (x * y + z * w), 1 - two * (x * x + z * z), two * (y * z - x * w)),
        (two * (x * z - y * w), two * (y * z + x * w), 1 - two * (x * x + y * y)),
    )
    rotation = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return matrix_from_parts(rotation, translation)


def matrix_from_parts(rotation: Tensor, translation: Tensor) -> Tensor:
    """Put [..., 3, 3] and [..., 3] together to [..., 4, 4]."""
    upper = torch.cat((rotation, translation[..., None]), dim=-1)
    bottom = torch.zeros_like(upper[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat((upper, bottom), dim=-2)


def quaternion_from_matrix(rotation: Tensor) -> Tensor:
    """
    Return the quaternion of rotation matrices, real part first and not negative.

    :param rotation: [..., 3, 3].
    :return: [..., 4] qw qx qy qz.
    """
    m = rotation
    trace = m.diagonal(dim1=-2, dim2=-1).sum(-1)
    # Four times the outer product of the quaternion with itself: its largest row is the safest.
    diagonal = torch.stack(
        (
            1 + trace,
            1 + m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] + m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] - m[..., 1, 1] + m[..., 2, 2],
        ),
        dim=-1,
    )
    wx, wy, wz = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    xy, xz, yz = (
        m[..., 0, 1] + m[..., 1, 0],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 1, 2] + m[..., 2, 1],
    )
    ww, xx, yy, zz = diagonal.unbind(-1)
    rows = torch.stack(
        (
            torch.stack((ww, wx, wy, wz), dim=-1),
            torch.stack((wx, xx, xy, xz), dim=-1),
            torch.stack((wy, xy, yy, yz), dim=-1),
            torch.stack((wz, xz, yz, zz), dim=-1),
        ),
        dim=-2,
    )
    largest = diagonal.argmax(-1)[..., None, None].expand(*diagonal.shape[:-1], 1, 4)
    quaternion = rows.gather(-2, largest)[..., 0, :]
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def pose_from_matrix(matrix: Tensor) -> Tensor:
    """Turn [..., 4, 4] into [..., 7] tx ty tz qw qx qy qz."""
    return torch.cat((matrix[..., :3, 3], quaternion_from_matrix(matrix[..., :3, :3])), dim=-1)


def orthonormalise(matrix: Tensor) -> Tensor:
    """Remove the rounding that repeated products leave in a pose, [..., 4, 4]."""
    return matrix_from_pose(pose_from_matrix(matrix))


def skew(vector: Tensor) -> Tensor:
    """Return the matrix of the cross product, [..., 3] to [..., 3, 3]."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def exp_so3(omega: Tensor) -> Tensor:
    """
    Map a rotation vector to a rotation matrix.

    :param omega: [..., 3], rad.
    :return: [..., 3, 3].
    """
    a, b, _ = _series(omega)
    cross = skew(omega)
    identity = torch.eye(3, dtype=omega.dtype, device=omega.device)
    return identity + a * cross + b * (cross @ cross)


def exp_se3(twist: Tensor) -> Tensor:
    """
    Map a twist (translation part, then rotation vector) to a transform.

    :param twist: [..., 6], m and rad.
    :return: [..., 4, 4].
    """
    translation, omega = twist.split(3, dim=-1)
    a, b, c = _series(omega)
    cross = skew(omega)
    square = cross @ cross
    identity = torch.eye(3, dtype=twist.dtype, device=twist.device)
    rotation = identity + a * cross + b * square
    moved = (identity + b * cross + c * square) @ translation[..., None]
    return matrix_from_parts(rotation, moved[..., 0])


def _series(omega: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sin(x)/x, (1 - cos x)/x^2 and (x - sin x)/x^3 of the angle x, [..., 1, 1] each."""
    angle_squared = omega.square().sum(-1, keepdim=True)[..., None]
    small = angle_squared < 1e-6
    safe = torch.where(small, torch.ones_like(angle_squared), angle_squared)
    angle = safe.sqrt()
    # Taylor series near zero: the closed forms are 0/0 there.
    return (
        torch.where(small, 1 - angle_squared / 6, angle.sin() / angle),
        torch.where(small, 0.5 - angle_squared / 24, (1 - angle.cos()) / safe),
        torch.where(small, 1 / 6 - angle_squared / 120, (angle - angle.sin()) / (safe * angle)),
    )
