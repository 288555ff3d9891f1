# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Rigid transforms as torch tensors, with leading axes and gradients.

The numpy counterpart is :mod:`mem3r_ros.geometry`; functions of the same name do the same. The
network writes a pose as translation, then quaternion with its real part first: tx ty tz qw qx qy
qz, here ``pose_wxyz``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def matrix(rotation: Tensor, translation: Tensor) -> Tensor:
    """Return the transform [..., 4, 4] of a rotation [..., 3, 3] and a translation [..., 3]."""
    upper = torch.cat((rotation, translation[..., None]), dim=-1)
    bottom = torch.zeros_like(upper[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat((upper, bottom), dim=-2)


def invert_rigid(T: Tensor) -> Tensor:
    """Return the inverse of rigid transforms, [..., 4, 4]."""
    R_inverse = T[..., :3, :3].transpose(-1, -2)
    t_inverse = -(R_inverse @ T[..., :3, 3:])
    inverse = torch.zeros_like(T)
    inverse[..., :3, :3] = R_inverse
    inverse[..., :3, 3:] = t_inverse
    inverse[..., 3, 3] = 1.0
    return inverse


def relative_poses(T_world_camera: Tensor) -> Tensor:
    """
    Return the motion of each frame from its predecessor.

    :param T_world_camera: [T, ..., 4, 4].
    :return: T_previous_camera [T, ..., 4, 4]; identity for the first frame.
    """
    first = torch.eye(4, dtype=T_world_camera.dtype, device=T_world_camera.device)
    relative = invert_rigid(T_world_camera[:-1]) @ T_world_camera[1:]
    return torch.cat([first.expand_as(T_world_camera[:1]), relative])


def matrix_from_pose_wxyz(pose: Tensor) -> Tensor:
    """
    Return the camera-to-world matrix of a pose.

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
    return matrix(rotation, translation)


def pose_wxyz_from_matrix(T: Tensor) -> Tensor:
    """Return the pose [..., 7] tx ty tz qw qx qy qz of a transform [..., 4, 4]."""
    return torch.cat((T[..., :3, 3], quaternion_wxyz_from_matrix(T[..., :3, :3])), dim=-1)


def quaternion_wxyz_from_matrix(R: Tensor) -> Tensor:
    """
    Return the unit quaternion of rotation matrices, with a real part >= 0.

    :param R: [..., 3, 3].
    :return: [..., 4] qw qx qy qz.
    """
    xx, yy, zz = R.diagonal(dim1=-2, dim2=-1).unbind(-1)
    one_plus_trace = 1 + R.diagonal(dim1=-2, dim2=-1).sum(-1)
    diagonal = torch.stack(
        (one_plus_trace, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz), dim=-1
    )
    wx, wy, wz = (R[..., i, j] - R[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    xy, xz, yz = (R[..., i, j] + R[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    ww, xx, yy, zz = diagonal.unbind(-1)
    # Four times the outer product of the quaternion with itself; its largest row has the least
    # relative rounding error.
    rows = ((ww, wx, wy, wz), (wx, xx, xy, xz), (wy, xy, yy, yz), (wz, xz, yz, zz))
    product = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    largest = diagonal.argmax(-1)[..., None, None].expand(*diagonal.shape[:-1], 1, 4)
    quaternion = product.gather(-2, largest)[..., 0, :]
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def orthonormalise(T: Tensor) -> Tensor:
    """Return [..., 4, 4] with true rotations, against the rounding of repeated products."""
    return matrix_from_pose_wxyz(pose_wxyz_from_matrix(T))


def rotation_angle(R: Tensor) -> Tensor:
    """
    Return the angle of rotations by 2 asin(|R - I|_F / sqrt 8), which is exact for small angles.

    :param R: [..., 3, 3], float32 or float64.
    :return: rad, [...]; the gradient at 0 is finite.
    """
    identity = torch.eye(3, dtype=R.dtype, device=R.device)
    half_sine_squared = (R - identity).square().sum(dim=(-2, -1)) / 8
    return 2 * (half_sine_squared + 1e-12).sqrt().clamp(max=1 - 1e-6).asin()


def hat(v: Tensor) -> Tensor:
    """Return the matrix of the cross product with ``v``, [..., 3] to [..., 3, 3]."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def so3_exp(w: Tensor) -> Tensor:
    """Return the rotations [..., 3, 3] of rotation vectors [..., 3] in rad."""
    a, b, _ = _series(w)
    W = hat(w)
    return torch.eye(3, dtype=w.dtype, device=w.device) + a * W + b * (W @ W)


def se3_exp(twist: Tensor) -> Tensor:
    """Return the transforms [..., 4, 4] of twists [..., 6], translation part first (m, rad)."""
    translation, w = twist.split(3, dim=-1)
    a, b, c = _series(w)
    W = hat(w)
    square = W @ W
    identity = torch.eye(3, dtype=twist.dtype, device=twist.device)
    moved = (identity + b * W + c * square) @ translation[..., None]
    return matrix(identity + a * W + b * square, moved[..., 0])


def _series(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sin(x)/x, (1 - cos x)/x^2 and (x - sin x)/x^3 of the angle x = |w|, [..., 1, 1]."""
    angle_squared = w.square().sum(-1, keepdim=True)[..., None]
    small = angle_squared < 1e-6
    safe = torch.where(small, torch.ones_like(angle_squared), angle_squared)
    angle = safe.sqrt()
    # Taylor series near zero, where the closed forms are 0/0.
    return (
        torch.where(small, 1 - angle_squared / 6, angle.sin() / angle),
        torch.where(small, 0.5 - angle_squared / 24, (1 - angle.cos()) / safe),
        torch.where(small, 1 / 6 - angle_squared / 120, (angle - angle.sin()) / (safe * angle)),
    )
