# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Behaviour of tf_transformations that users rely on; holds for the real one and the stand-in."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import mem3r_ros.ros  # noqa: F401  the stand-ins come with it

tf = pytest.importorskip('tf_transformations')

AXES = [
    frame + first + second + third
    for frame in 'sr'
    for first, second, third in itertools.product('xyz', repeat=3)
    if first != second != third
]


def same_rotation(first, second):
    return abs(np.dot(first, second)) == pytest.approx(1.0)


def test_quaternions_are_x_y_z_w():
    assert tf.quaternion_from_euler(0, 0, 0) == pytest.approx((0, 0, 0, 1))
    half = math.sqrt(0.5)
    assert tf.quaternion_from_euler(0, 0, math.pi / 2) == pytest.approx((0, 0, half, half))
    assert tf.quaternion_about_axis(math.pi / 2, (3, 0, 0)) == pytest.approx((half, 0, 0, half))


def test_there_are_24_orders_of_axes():
    assert len(AXES) == 24


@pytest.mark.parametrize('axes', AXES)
def test_every_order_of_axes_agrees_with_scipy_and_comes_back(axes):
    # scipy writes turning axes in capitals and lists both kinds in the order of turning.
    name = axes[1:].upper() if axes[0] == 'r' else axes[1:]
    for angles in np.random.default_rng(0).uniform(-math.pi, math.pi, (20, 3)):
        expected = Rotation.from_euler(name, angles)

        quaternion = tf.quaternion_from_euler(*angles, axes)
        again = tf.quaternion_from_euler(*tf.euler_from_quaternion(quaternion, axes), axes)

        assert same_rotation(quaternion, expected.as_quat())
        assert same_rotation(quaternion, again)
        np.testing.assert_allclose(
            tf.euler_matrix(*angles, axes)[:3, :3], expected.as_matrix(), atol=1e-12
        )


@pytest.mark.parametrize('pitch', [math.pi / 2, -math.pi / 2])
def test_looking_straight_up_or_down_still_gives_that_rotation(pitch):
    quaternion = tf.quaternion_from_euler(0.3, pitch, -0.4)

    angles = tf.euler_from_quaternion(quaternion)

    assert same_rotation(quaternion, tf.quaternion_from_euler(*angles))
    assert angles[2] == pytest.approx(0.0, abs=1e-6)


def test_roll_pitch_yaw_come_back_as_given():
    angles = (0.1, -0.2, 3.0)

    assert tf.euler_from_quaternion(tf.quaternion_from_euler(*angles)) == pytest.approx(angles)


def test_matrices_and_quaternions_agree_with_scipy():
    for rotation in Rotation.random(20, random_state=0):
        quaternion = rotation.as_quat()

        matrix = tf.quaternion_matrix(quaternion)

        np.testing.assert_allclose(matrix[:3, :3], rotation.as_matrix(), atol=1e-12)
        assert matrix[3].tolist() == [0, 0, 0, 1]
        assert same_rotation(tf.quaternion_from_matrix(matrix), quaternion)
        assert tf.quaternion_from_matrix(matrix)[3] >= 0


def test_products_turn_the_right_one_first():
    first = tf.quaternion_from_euler(math.pi / 2, 0, 0)
    second = tf.quaternion_from_euler(0, 0, math.pi / 2)

    both = tf.quaternion_multiply(second, first)

    expected = tf.quaternion_matrix(second) @ tf.quaternion_matrix(first)
    np.testing.assert_allclose(tf.quaternion_matrix(both), expected, atol=1e-12)


def test_the_inverse_undoes():
    quaternion = np.array((0.2, -0.4, 0.6, 0.9))

    identity = tf.quaternion_multiply(quaternion, tf.quaternion_inverse(quaternion))

    assert identity == pytest.approx((0, 0, 0, 1))
    assert tf.quaternion_conjugate(quaternion).tolist() == [-0.2, 0.4, -0.6, 0.9]


def test_slerp_turns_at_a_constant_rate_and_the_shorter_way():
    start = np.array(tf.quaternion_from_euler(0, 0, 0.2))
    end = np.array(tf.quaternion_from_euler(0, 0, 1.0))

    quarter = tf.quaternion_slerp(start, -end, 0.25)

    assert same_rotation(quarter, tf.quaternion_from_euler(0, 0, 0.4))
    np.testing.assert_allclose(tf.quaternion_slerp(start, end, 0.0), start)
    np.testing.assert_allclose(tf.quaternion_slerp(start, end, 1.0), end)


def test_matrices_are_concatenated_from_the_left():
    shift, turn = tf.translation_matrix((1, 2, 3)), tf.rotation_matrix(math.pi / 2, (0, 0, 1))

    both = tf.concatenate_matrices(shift, turn)

    np.testing.assert_allclose(both @ (1, 0, 0, 1), (1, 3, 3, 1), atol=1e-12)
    np.testing.assert_allclose(tf.translation_from_matrix(both), (1, 2, 3))
    assert tf.is_same_transform(tf.inverse_matrix(both) @ both, tf.identity_matrix())
    assert tf.concatenate_matrices().tolist() == np.identity(4).tolist()


def test_a_turn_about_a_point_leaves_the_point():
    matrix = tf.rotation_matrix(1.0, (0, 1, 1), point=(1, 2, 3))

    np.testing.assert_allclose(matrix @ (1, 2, 3, 1), (1, 2, 3, 1))
    angle, direction, point = tf.rotation_from_matrix(matrix)
    again = tf.rotation_matrix(angle, direction, point)
    assert tf.is_same_transform(matrix, again)


def test_unit_vectors_have_length_one():
    assert tf.unit_vector((3, 0, 4)).tolist() == [0.6, 0, 0.8]
    assert tf.vector_norm((3, 0, 4)) == pytest.approx(5.0)
    np.testing.assert_allclose(tf.vector_norm(tf.unit_vector(np.eye(3) * 7, axis=1), axis=1), 1)


def test_random_rotations_are_rotations():
    assert np.linalg.norm(tf.random_quaternion()) == pytest.approx(1.0)
    assert np.linalg.det(tf.random_rotation_matrix()[:3, :3]) == pytest.approx(1.0)
