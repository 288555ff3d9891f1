# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rigid motions: round trips, hand-computed cases, agreement with the recorded reference."""

import numpy as np
import pytest
import torch

from mem3r_ros import geometry, se3


@pytest.fixture(scope='module')
def recorded(shared_dir):
    from safetensors.numpy import load_file

    return load_file(shared_dir / 'parity' / 'public_aux.safetensors')


def random_twist(seed, size=1.0):
    return np.random.default_rng(seed).normal(0, size, 6)


def test_body_axes_see_the_optical_axis_as_forward():
    forward = geometry.R_FLU_OPTICAL @ [0.0, 0.0, 1.0]
    down = geometry.R_FLU_OPTICAL @ [0.0, 1.0, 0.0]

    assert forward.tolist() == [1.0, 0.0, 0.0]
    assert down.tolist() == [0.0, 0.0, -1.0]


@pytest.mark.parametrize('seed', range(5))
def test_inverse_undoes_a_transform(seed):
    T = geometry.se3_exp(random_twist(seed))

    assert np.allclose(geometry.invert(T) @ T, np.eye(4), atol=1e-12)
    assert np.allclose(geometry.invert(np.stack([T, T]))[1], np.linalg.inv(T))


@pytest.mark.parametrize('size', [0.0, 1e-9, 1e-5, 0.01, 1.0, 1.7])
def test_logarithm_undoes_the_exponential(size):
    twist = size * random_twist(3)

    assert np.allclose(geometry.se3_log(geometry.se3_exp(twist)), twist, atol=1e-9)


def test_rotations_by_half_a_turn_have_a_logarithm():
    for axis in np.eye(3):
        R = geometry.so3_exp(np.pi * axis)

        assert np.isclose(np.linalg.norm(geometry.so3_log(R)), np.pi)
        assert np.allclose(geometry.so3_exp(geometry.so3_log(R)), R, atol=1e-9)


@pytest.mark.parametrize('seed', range(8))
def test_quaternions_survive_the_round_trip_with_w_not_negative(seed):
    quaternion = np.random.default_rng(seed).normal(size=4)
    quaternion /= np.linalg.norm(quaternion)

    _, again = geometry.pose_from_matrix(geometry.matrix_from_pose(np.zeros(3), quaternion))

    assert again[3] >= 0
    assert np.allclose(again, quaternion * np.sign(quaternion[3]))


def test_a_quarter_turn_to_the_left_is_the_known_quaternion():
    T = geometry.matrix_from_pose([1.0, 2.0, 3.0], [0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)])

    assert np.allclose(T[:3, 0], [0.0, 1.0, 0.0])
    translation, quaternion = geometry.pose_from_matrix(T)
    assert np.allclose(translation, [1.0, 2.0, 3.0])
    assert np.allclose(quaternion, [0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)])


def test_the_angle_of_a_tiny_rotation_is_exact():
    R = geometry.so3_exp(np.array([0.0, 1e-7, 0.0]))

    assert np.isclose(geometry.rotation_angle(R), 1e-7, rtol=1e-6)


def test_adjoint_moves_a_twist_to_another_frame():
    T_a_b, twist_b = geometry.se3_exp(random_twist(1)), 0.1 * random_twist(2)

    moved = T_a_b @ geometry.se3_exp(twist_b) @ geometry.invert(T_a_b)

    assert np.allclose(geometry.se3_log(moved), geometry.adjoint(T_a_b) @ twist_b)


def test_orthonormalise_returns_the_nearest_rotation():
    T = geometry.se3_exp(random_twist(4))
    rough = T + np.pad(1e-4 * np.random.default_rng(0).normal(size=(3, 3)), ((0, 1), (0, 1)))

    R = geometry.orthonormalise(rough)[:3, :3]

    assert np.allclose(R @ R.T, np.eye(3), atol=1e-14)
    assert np.isclose(np.linalg.det(R), 1.0)


def test_composed_covariance_is_that_of_sampled_motions():
    random = np.random.default_rng(0)
    T_start, T_step = geometry.se3_exp(random_twist(5)), geometry.se3_exp(random_twist(6))
    before, step = np.diag([1e-4] * 3 + [4e-4] * 3), np.diag([2e-4] * 3 + [1e-4] * 3)
    samples = []
    for _ in range(4000):
        first, second = random.multivariate_normal(np.zeros(6), before), random.normal(size=6)
        second *= np.sqrt(np.diag(step))
        p = T_start[:3, 3] + first[:3]
        R = geometry.so3_exp(first[3:]) @ T_start[:3, :3]
        p = p + R @ (T_step[:3, 3] + second[:3])
        R = R @ geometry.so3_exp(second[3:]) @ T_step[:3, :3]
        truth = T_start @ T_step
        rotation = geometry.so3_log(R @ truth[:3, :3].T)
        samples.append(np.concatenate([p - truth[:3, 3], rotation]))

    composed = geometry.compose_covariance(before, T_start, T_step, step)

    sampled = np.cov(np.array(samples).T)
    assert np.abs(composed - sampled).max() < 0.1 * np.abs(sampled).max()


def test_procrustes_finds_motion_and_scale_and_trusts_the_weights():
    random = np.random.default_rng(0)
    T, source = geometry.se3_exp(random_twist(7)), random.normal(size=(50, 3))
    target = 2.5 * source @ T[:3, :3].T + T[:3, 3]
    target[:10] += 5.0
    weights = np.where(np.arange(50) < 10, 0.0, 1.0)

    fitted, scale = geometry.weighted_procrustes(source, target, weights, with_scale=True)

    assert np.allclose(fitted, T, atol=1e-9)
    assert np.isclose(scale, 2.5)


def test_recorded_procrustes_cases_agree(recorded):
    for batch in range(len(recorded['procrustes/src'])):
        source, target, weights = (recorded[f'procrustes/{n}'][batch] for n in ('src', 'dst', 'w'))

        fitted, _ = geometry.weighted_procrustes(source, target, weights)

        assert np.allclose(fitted, recorded['procrustes/c2w'][batch], atol=1e-5)


def test_recorded_pose_encodings_agree(recorded):
    T = se3.matrix_from_pose_wxyz(torch.from_numpy(recorded['pose/camera_pose']))
    encoded = se3.pose_wxyz_from_matrix(torch.from_numpy(recorded['pose/c2w']))

    assert np.allclose(T.numpy(), recorded['pose/c2w'], atol=1e-5)
    assert np.allclose(encoded.numpy(), recorded['pose/camera_pose_from_c2w'], atol=1e-5)


def test_recorded_ray_map_agrees(recorded):
    height, width = recorded['ray/ray_map'].shape[:2]

    rays = geometry.ray_map(
        recorded['ray/c2w'], recorded['ray/c2w_first'], recorded['ray/K'], width, height
    )

    assert np.allclose(rays, recorded['ray/ray_map'], atol=1e-5)
