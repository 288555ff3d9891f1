# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Behaviour of tf_transformations that the node relies on; valid for the real one, too."""

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


def test_there_are_24_orders_of_axes():
    assert len(AXES) == 24


@pytest.mark.parametrize('axes', AXES)
def test_every_order_of_axes_agrees_with_scipy_and_is_inverted(axes):
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
def test_a_pitch_of_90_degrees_still_gives_the_same_rotation(pitch):
    quaternion = tf.quaternion_from_euler(0.3, pitch, -0.4)

    angles = tf.euler_from_quaternion(quaternion)

    assert same_rotation(quaternion, tf.quaternion_from_euler(*angles))
    assert angles[2] == pytest.approx(0.0, abs=1e-6)


def test_roll_pitch_yaw_are_returned_as_given():
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


def test_a_quaternion_of_any_norm_gives_a_rotation_and_zero_the_identity():
    quaternion = np.array(tf.quaternion_from_euler(0.1, 0.2, 0.3))

    expected = tf.quaternion_matrix(quaternion)

    np.testing.assert_allclose(tf.quaternion_matrix(3.0 * quaternion), expected, atol=1e-12)
    np.testing.assert_array_equal(tf.quaternion_matrix((0, 0, 0, 0)), np.identity(4))


def test_a_quaternion_with_nan_gives_a_matrix_with_nan():
    assert np.isnan(tf.quaternion_matrix((math.nan, 0, 0, 1))[:3, :3]).all()
