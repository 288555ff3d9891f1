# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms as tensors, against the numpy functions of the same name."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mem3r_ros import geometry, se3

TWISTS = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 2.0, 3.0, 1e-5, 0.0, -1e-5],
        [-0.3, 0.1, 0.2, 0.4, -0.2, 0.1],
        [1.0, 0.0, -1.0, 1.5, 2.0, -1.0],
    ],
    dtype=torch.float64,
)


def turn(axis: int, angle: float) -> torch.Tensor:
    vector = torch.zeros(3, dtype=torch.float64)
    vector[axis] = angle
    return torch.linalg.matrix_exp(se3.hat(vector))


@pytest.mark.parametrize('row', range(len(TWISTS)))
def test_exponentials_equal_those_of_numpy(row):
    twist = TWISTS[row]

    assert np.allclose(se3.se3_exp(twist), geometry.se3_exp(twist.numpy()), atol=1e-9)
    assert np.allclose(se3.so3_exp(twist[3:]), geometry.so3_exp(twist[3:].numpy()), atol=1e-9)
    assert np.allclose(se3.hat(twist[3:]), geometry.hat(twist[3:].numpy()))


def test_poses_give_their_transforms_back_in_batches():
    T = se3.se3_exp(TWISTS)

    pose = se3.pose_wxyz_from_matrix(T)

    assert pose.shape == (len(TWISTS), 7)
    assert torch.allclose(se3.matrix_from_pose_wxyz(pose), T)
    assert torch.allclose(se3.orthonormalise(T), T)
    assert torch.allclose(se3.invert_rigid(T) @ T, torch.eye(4, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize('angle', [1e-4, 1e-3, 0.1, 3.0])
def test_angles_are_exact_from_small_to_large(angle):
    assert float(se3.rotation_angle(turn(1, angle))) == pytest.approx(angle, rel=1e-2)


@pytest.mark.parametrize('axis', [0, 1, 2])
@pytest.mark.parametrize('angle', [0.0, 0.3, 2.0, 3.1])
def test_quaternions_have_a_nonnegative_real_part_first(axis, angle):
    w, *vector = se3.quaternion_wxyz_from_matrix(turn(axis, angle))

    expected = [0.0, 0.0, 0.0]
    expected[axis] = math.sin(angle / 2)
    assert float(w) == pytest.approx(math.cos(angle / 2), abs=1e-9)
    assert [float(value) for value in vector] == pytest.approx(expected, abs=1e-9)


def test_relative_poses_compose_to_the_next_pose():
    poses = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    poses[1, :3, :3], poses[1, :3, 3] = turn(2, 0.3), torch.tensor([1.0, 2.0, 3.0])
    poses[2, :3, :3], poses[2, :3, 3] = turn(0, -0.2), torch.tensor([0.5, 0.0, 1.0])

    relative = se3.relative_poses(poses)

    assert torch.allclose(relative[0], torch.eye(4, dtype=torch.float64))
    assert torch.allclose(poses[1] @ relative[2], poses[2])
    assert torch.allclose(se3.invert_rigid(poses[1]) @ poses[1], torch.eye(4, dtype=torch.float64))
