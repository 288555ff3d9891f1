# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Rigid motions as 4x4 float64 matrices: poses, logarithms, covariances, alignment of point sets.

``T_a_b`` maps points in b to points in a. Quaternions are x, y, z, w. Twists and
their covariances are ordered translation first (x y z roll pitch yaw), as in REP 103.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

# Optical axes (x right, y down, z forward) in body axes (x forward, y left, z up); REP 103.
R_FLU_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
T_FLU_OPTICAL = np.block([[R_FLU_OPTICAL, np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]])
T_FLU_OPTICAL.setflags(write=False)
R_FLU_OPTICAL.setflags(write=False)

_SMALL_ANGLE = 1e-6


def matrix(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Return the 4x4 transform of a rotation [3, 3] and a translation [3]."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation
    return T


def invert(T: np.ndarray) -> np.ndarray:
    """Return ``T_b_a`` of ``T_a_b``; leading axes are allowed, [..., 4, 4]."""
    T = np.asarray(T)
    inverse = np.zeros_like(T)
    R_transposed = np.swapaxes(T[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = R_transposed
    inverse[..., :3, 3] = -np.einsum('...ij,...j->...i', R_transposed, T[..., :3, 3])
    inverse[..., 3, 3] = 1.0
    return inverse


def transform_points(T_a_b: np.ndarray, points_b: np.ndarray) -> np.ndarray:
    """Return points [..., 3] of frame b in frame a, in their dtype."""
    R = T_a_b[:3, :3].astype(points_b.dtype, copy=False)
    t = T_a_b[:3, 3].astype(points_b.dtype, copy=False)
    return points_b @ R.T + t


def quaternion_from_rotation(R: np.ndarray) -> np.ndarray:
    """
    Convert a rotation matrix to a unit quaternion x, y, z, w with w >= 0.

    Uses the largest of four divisors (Shepperd 1978), so it is accurate at every angle. The
    tracker converts single matrices, for which Rotation of scipy is several times slower, as for
    ``so3_exp`` and ``so3_log``.
    """
    R = np.asarray(R, np.float64)
    diagonal = np.array([R[0, 0], R[1, 1], R[2, 2], np.trace(R)])
    largest = int(np.argmax(diagonal))
    if largest == 3:
        q = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 1 + diagonal[3]])
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        q = np.empty(4)
        q[i] = 1 + R[i, i] - R[j, j] - R[k, k]
        q[j] = R[j, i] + R[i, j]
        q[k] = R[k, i] + R[i, k]
        q[3] = R[k, j] - R[j, k]
    q /= np.linalg.norm(q)
    return -q if q[3] < 0 else q


def matrix_from_pose(translation: np.ndarray, quaternion_xyzw: np.ndarray) -> np.ndarray:
    """
    Return the 4x4 transform of a translation and a quaternion.

    :param translation: [3].
    :param quaternion_xyzw: of any length but zero, [4].
    :raises ValueError: the quaternion is zero.
    """
    return matrix(Rotation.from_quat(quaternion_xyzw).as_matrix(), translation)


def pose_from_matrix(T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return translation [3] and quaternion x, y, z, w [4] of a 4x4 transform."""
    return np.array(T[:3, 3], np.float64), quaternion_from_rotation(T[:3, :3])


def orthonormalise(T: np.ndarray) -> np.ndarray:
    """Return the transform with the nearest rotation (SVD), which removes rounding errors."""
    U, _, Vt = np.linalg.svd(T[:3, :3])
    sign = np.sign(np.linalg.det(U @ Vt))
    return matrix((U * [1.0, 1.0, sign]) @ Vt, T[:3, 3])


def hat(v: np.ndarray) -> np.ndarray:
    """Return the matrix of the cross product with ``v`` [3]."""
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


def rotation_angle(R: np.ndarray) -> np.ndarray | float:
    """
    Return the angle of rotations [..., 3, 3] in radians.

    By 2 asin(|R - I|_F / sqrt(8)), which is exact for tiny angles, where acos is not.
    """
    difference = np.asarray(R, np.float64) - np.eye(3)
    norm = np.sqrt((difference * difference).sum(axis=(-2, -1)))
    return 2.0 * np.arcsin(np.clip(norm / np.sqrt(8.0), 0.0, 1.0))


def so3_exp(w: np.ndarray) -> np.ndarray:
    """Return the rotation of a rotation vector [3] in radians (Rodrigues)."""
    angle = float(np.linalg.norm(w))
    W = hat(w)
    if angle < _SMALL_ANGLE:
        return np.eye(3) + W + 0.5 * W @ W
    return np.eye(3) + np.sin(angle) / angle * W + (1 - np.cos(angle)) / angle**2 * W @ W


def so3_log(R: np.ndarray) -> np.ndarray:
    """Return the rotation vector [3] in radians of a rotation, of length at most pi."""
    q = quaternion_from_rotation(R)
    sine = float(np.linalg.norm(q[:3]))
    if sine < _SMALL_ANGLE:
        return 2.0 * q[:3]
    return q[:3] * (2.0 * np.arctan2(sine, q[3]) / sine)


def se3_exp(twist: np.ndarray) -> np.ndarray:
    """Return the transform of a twist [6], translation part first."""
    v, w = np.asarray(twist[:3], np.float64), np.asarray(twist[3:], np.float64)
    return matrix(so3_exp(w), _left_jacobian(w) @ v)


def se3_log(T: np.ndarray) -> np.ndarray:
    """Return the twist [6], translation part first, whose exponential is ``T``."""
    w = so3_log(T[:3, :3])
    return np.concatenate([np.linalg.solve(_left_jacobian(w), T[:3, 3]), w])


def _left_jacobian(w: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(w))
    W = hat(w)
    if angle < 1e-4:
        return np.eye(3) + 0.5 * W + W @ W / 6.0
    return (
        np.eye(3) + (1 - np.cos(angle)) / angle**2 * W + (angle - np.sin(angle)) / angle**3 * W @ W
    )


def adjoint(T_a_b: np.ndarray) -> np.ndarray:
    """Return the adjoint, which maps twists in b to twists in a, [6, 6]."""
    R = T_a_b[:3, :3]
    result = np.zeros((6, 6))
    result[:3, :3] = R
    result[3:, 3:] = R
    result[:3, 3:] = hat(T_a_b[:3, 3]) @ R
    return result


def compose_covariance(
    covariance: np.ndarray,
    T_odom_previous: np.ndarray,
    T_previous_current: np.ndarray,
    increment_covariance: np.ndarray,
) -> np.ndarray:
    """
    Propagate the covariance of a pose through an increment.

    Errors are a translation and a small rotation about fixed axes, both in the parent frame, as in
    nav_msgs/Odometry: p' = p + R t, so dp' = dp + dtheta x (R t) + R dt.

    :param covariance: of ``T_odom_previous``, [6, 6].
    :param T_odom_previous: pose before the increment.
    :param T_previous_current: the increment.
    :param increment_covariance: of the increment, in the frame ``previous``, [6, 6].
    :return: covariance of ``T_odom_previous @ T_previous_current``, symmetric, [6, 6].
    """
    R = T_odom_previous[:3, :3]
    carry = np.eye(6)
    carry[:3, 3:] = -hat(R @ T_previous_current[:3, 3])
    turn = np.zeros((6, 6))
    turn[:3, :3] = R
    turn[3:, 3:] = R
    result = carry @ covariance @ carry.T + turn @ increment_covariance @ turn.T
    return 0.5 * (result + result.T)


def weighted_procrustes(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray, with_scale: bool = False
) -> tuple[np.ndarray, float]:
    """
    Fit the rigid motion from one point set to another (Kabsch 1976, Umeyama 1991).

    :param source: points, [P, 3].
    :param target: the same points in the other frame, [P, 3].
    :param weights: weight of each pair, >= 0, [P].
    :param with_scale: also fit one scale factor.
    :return: ``T_target_source`` (rigid, 4x4) and the scale s: target = s R source + t.
    """
    w = np.asarray(weights, np.float64)
    w = w / w.sum()
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = w @ source, w @ target
    source_centred, target_centred = source - source_mean, target - target_mean
    U, singular, Vt = np.linalg.svd((target_centred * w[:, None]).T @ source_centred)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    R = (U * signs) @ Vt
    variance = float(w @ (source_centred**2).sum(axis=1))
    scale = float((singular * signs).sum()) / variance if with_scale and variance > 0 else 1.0
    return matrix(R, target_mean - scale * R @ source_mean), scale


def ray_map(
    T_world_camera: np.ndarray, T_world_first: np.ndarray, K: np.ndarray, width: int, height: int
) -> np.ndarray:
    """
    Return the ray map of a virtual camera, the query of CUT3R.

    Pixels are integer coordinates. As in the public reference, the camera's translation is added
    to the direction before the normalisation, because networks are trained with it.

    :param T_world_camera: pose of the virtual camera.
    :param T_world_first: pose of the first camera of the stream, the world of the network.
    :param K: camera matrix at network resolution, [3, 3].
    :return: origin and direction of each pixel's ray, [height, width, 6] float32.
    """
    T_first_camera = invert(np.asarray(T_world_first, np.float64)) @ T_world_camera
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
    rays_camera = pixels @ np.linalg.inv(np.asarray(K, np.float64)).T
    directions = rays_camera @ T_first_camera[:3, :3].T + T_first_camera[:3, 3]
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origins = np.broadcast_to(T_first_camera[:3, 3], directions.shape)
    return np.concatenate([origins, directions], axis=-1).astype(np.float32)
