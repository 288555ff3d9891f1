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
