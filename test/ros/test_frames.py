# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The mount of the camera comes from TF at the stamp of the image."""

import time

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from node_harness import FRAME, START_NS, STEP_NS, values_of
import numpy as np
import pytest
from sensor_msgs.msg import Image
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
import tf_transformations

from mem3r_ros.geometry import T_FLU_OPTICAL, matrix
from mem3r_ros.ros.base_odometry import BaseOdometry
from mem3r_ros.ros.conversions import (
    header_at,
    matrix_from_pose_message,
    matrix_from_xyz_rpy,
    stamp_ns,
    transform_message,
)
from mem3r_ros.ros.transforms import MissingTransform
from mem3r_ros.tracker import Tracker

T_BASE_CAMERA = matrix_from_xyz_rpy((0.2, -0.1, 0.6, 0.0, 0.3, 0.5)) @ T_FLU_OPTICAL


@pytest.fixture
def run(start_node, camera, listener, spin_until, make_node):
    """Return a function that runs pictures through a node that takes its mount from TF."""

    def go(count, *, publish_mount, **parameters):
        node = start_node(mount='tf', **parameters)
        broadcaster_node = make_node('robot')
        publish_mount(broadcaster_node)
        received = {
            'odom': listener.subscribe(Odometry, 'odom'),
            'depth': listener.subscribe(Image, 'depth/image'),
            'status': listener.subscribe_status(),
            'diagnostics': listener.subscribe(DiagnosticArray, '/diagnostics'),
        }
        assert spin_until(lambda: camera.raw.get_subscription_count() > 0)
        # The mount must have arrived before the first picture asks for it.
        spin_until(lambda: False, 0.3)
        for i in range(count):
            camera.send()
            assert spin_until(lambda i=i: len(received['status']) > i)
        spin_until(lambda: len(received['depth']) >= count, 5.0)
        return node, received

    return go


def static_mount(node):
    broadcaster = StaticTransformBroadcaster(node)
    broadcaster.sendTransform(transform_message(header_at(0, 'base_link'), FRAME, T_BASE_CAMERA))
    node.broadcaster = broadcaster


def test_base_moves_as_the_camera_and_its_mount_say(run, monkeypatch):
    cameras, finish = [], Tracker.finish

    def finished(self, accepted):
        result = finish(self, accepted)
        cameras.append(result.T_odom_camera)
        return result

    monkeypatch.setattr(Tracker, 'finish', finished)

    _, received = run(4, publish_mount=static_mount)

    poses = [matrix_from_pose_message(m.pose.pose) for m in received['odom']]
    # The base starts at the origin of odom; the tracker's origin is at the first camera.
    T_odom_first = T_BASE_CAMERA @ np.linalg.inv(cameras[0])
    T_camera_base = np.linalg.inv(T_BASE_CAMERA)
    expected = [T_odom_first @ T_start_camera @ T_camera_base for T_start_camera in cameras]
    np.testing.assert_allclose(poses, expected, atol=1e-9)
    np.testing.assert_allclose(poses[0], np.eye(4), atol=1e-9)
    assert np.linalg.norm(poses[-1][:3, 3]) > 1e-4


def test_without_the_transform_there_is_no_odometry_and_the_status_names_it(run):
    node, received = run(
        2, publish_mount=lambda node: None, wait_for_transform=0.0, diagnostics__rate=10.0
    )

    assert not received['odom']
    assert len(received['depth']) == 2  # what needs no robot still comes
    status = received['status'][-1].status[0]
    assert status.level == b'\x02'
    for name in ('base_link', FRAME):
        assert name in status.message
    assert 'standalone' in status.message
    assert node.counts.without_transform == 2


def test_odometry_starts_when_the_transform_appears(run, camera, spin_until):
    broadcasters = []

    def late(node):
        broadcasters.append(node)

    _, received = run(2, publish_mount=late, wait_for_transform=0.0)
    assert not received['odom']

    static_mount(broadcasters[0])
    spin_until(lambda: False, 0.3)
    camera.send()

    assert spin_until(lambda: received['odom'])


def test_an_unknown_transform_is_waited_for_only_once(run):
    node, received = run(1, publish_mount=lambda node: None, wait_for_transform=0.3)
    transforms = node._transforms

    def waited(stamp=START_NS):
        start = time.monotonic()
        with pytest.raises(MissingTransform, match=FRAME):
            transforms.T_base_camera(FRAME, stamp, 0.3)
        return time.monotonic() - start

    assert not received['odom']
    assert max(waited() for _ in range(3)) < 0.2  # the image has waited for all that follow
    link = transform_message(header_at(START_NS, 'base_link'), FRAME, T_BASE_CAMERA)
    transforms._buffer.set_transform(link, 'test')
    transforms.T_base_camera(FRAME, START_NS, 0.3)
    # The link is there and its next one on the way: each image waits for it.
    assert min(waited(START_NS + STEP_NS) for _ in range(2)) >= 0.3
    transforms.forget()  # as a bag that loops: the link will be sent again
    assert waited() >= 0.3


def test_a_moving_mount_is_looked_up_at_the_stamp_of_the_image(run, camera):
    """A camera that pans while the base stands: TF knows the angle at each stamp."""

    def panning(node):
        broadcaster = TransformBroadcaster(node)
        for i in range(-1, 6):
            T_pan = matrix_from_xyz_rpy((0.0, 0.0, 0.5, 0.0, 0.0, 0.1 * i))
            header = header_at(START_NS + i * STEP_NS, 'base_link')
            broadcaster.sendTransform(transform_message(header, FRAME, T_pan @ T_FLU_OPTICAL))
        node.broadcaster = broadcaster

    node, received = run(3, publish_mount=panning)
    mounts = [node._transforms.T_base_camera(FRAME, START_NS + i * STEP_NS, 0.0) for i in range(3)]

    for i, mount in enumerate(mounts):
        expected = matrix_from_xyz_rpy((0.0, 0.0, 0.5, 0.0, 0.0, 0.1 * i)) @ T_FLU_OPTICAL
        np.testing.assert_allclose(mount, expected, atol=1e-9)
    assert len(received['odom']) == 3


def test_publish_tf_off_leaves_tf_to_a_filter(run, listener):
    from tf2_msgs.msg import TFMessage

    tf = listener.subscribe(TFMessage, '/tf')

    _, received = run(2, publish_mount=static_mount, publish_tf=False)

    assert len(received['odom']) == 2
    assert not tf


def test_time_offset_moves_tf_but_not_topics(run, listener, spin_until):
    from tf2_msgs.msg import TFMessage

    tf = listener.subscribe(TFMessage, '/tf')

    _, received = run(1, publish_mount=static_mount, transform_time_offset=0.25)

    assert spin_until(lambda: tf)
    assert stamp_ns(tf[0].transforms[0].header.stamp) == START_NS + 250_000_000
    assert stamp_ns(received['odom'][0].header.stamp) == START_NS


def test_an_image_without_a_frame_id_is_reported(run, camera, spin_until):
    camera.header_frame = ''
    send = camera.send
    camera.send = lambda: send(frame='')

    _, received = run(1, publish_mount=static_mount)

    assert not received['odom']
    assert 'frame_id' in received['status'][-1].status[0].message


def test_names_of_frames_follow_their_parameters(run):
    def mount(node):
        broadcaster = StaticTransformBroadcaster(node)
        header = header_at(0, 'robot2/base')
        broadcaster.sendTransform(transform_message(header, FRAME, T_BASE_CAMERA))
        node.broadcaster = broadcaster

    _, received = run(1, publish_mount=mount, odom_frame='robot2/odom', base_frame='robot2/base')

    message = received['odom'][0]
    assert (message.header.frame_id, message.child_frame_id) == ('robot2/odom', 'robot2/base')
    assert values_of(received['status'][0])['published'].startswith('tf odom')


def test_roll_pitch_yaw_have_the_convention_of_tf_transformations():
    angles = (0.1, -0.7, 2.0)

    T = matrix_from_xyz_rpy((1.0, 2.0, 3.0, *angles))

    expected = tf_transformations.quaternion_matrix(
        tf_transformations.quaternion_from_euler(*angles)
    )
    np.testing.assert_allclose(T[:3, :3], expected[:3, :3], atol=1e-12)
    np.testing.assert_allclose(T[:3, 3], (1.0, 2.0, 3.0))


@pytest.mark.parametrize('is_planar', [False, True])
def test_the_lever_arm_of_the_camera_moves_the_base_by_hand_computed_amounts(is_planar):
    """A camera 1 m ahead of the base: when the base turns by 90 degrees, the camera swings."""
    T_base_camera = matrix(np.eye(3), np.array([1.0, 0.0, 0.0])) @ T_FLU_OPTICAL
    odometry = BaseOdometry(np.eye(4))
    none = np.zeros(6), np.zeros((6, 6))
    odometry.motion(T_FLU_OPTICAL, T_base_camera, np.zeros((6, 6)), *none)
    # In the tracker's frame (origin at the first camera) it moves to (-1, 1, 0) and turns left.
    T_start_camera = matrix_from_xyz_rpy((-1.0, 1.0, 0.0, 0.0, 0.0, np.pi / 2)) @ T_FLU_OPTICAL
    covariance = np.diag([0.0, 0.0, 0.0, 0.0, 0.0, 0.01])
    twist = np.array([0.0, 0.0, 0.0, 0.0, -1.0, 0.0])  # optical y is down: a turn to the left

    motion = odometry.motion(
        T_start_camera, T_base_camera, covariance, twist, np.eye(6), is_planar=is_planar
    )

    expected = matrix_from_xyz_rpy((0.0, 0.0, 0.0, 0.0, 0.0, np.pi / 2))
    np.testing.assert_allclose(motion.T_odom_base, expected, atol=1e-12)
    # Yaw is unknown by 0.1 rad and the base is 1 m from the camera: 0.1 m of uncertainty across.
    assert motion.covariance[0, 0] == pytest.approx(0.01)
    assert motion.covariance[1, 1] == pytest.approx(0.0, abs=1e-12)
    # The camera's centre stands still while it turns: the base 1 m behind moves to its right.
    np.testing.assert_allclose(motion.twist, (0, -1, 0, 0, 0, 1), atol=1e-12)


def test_odometry_continues_from_its_last_pose_when_the_tracker_is_reset():
    odometry = BaseOdometry(np.eye(4))
    none = np.zeros(6), np.zeros((6, 6))
    moved = matrix_from_xyz_rpy((2.0, 1.0, 0.0, 0.0, 0.0, 0.4)) @ T_FLU_OPTICAL
    odometry.motion(T_FLU_OPTICAL, T_FLU_OPTICAL, np.zeros((6, 6)), *none)
    before = odometry.motion(moved, T_FLU_OPTICAL, np.zeros((6, 6)), *none)

    odometry.continue_from()
    after = odometry.motion(T_FLU_OPTICAL, T_FLU_OPTICAL, np.zeros((6, 6)), *none)

    np.testing.assert_allclose(after.T_odom_base, before.T_odom_base, atol=1e-12)


def test_a_state_loaded_before_the_first_image_starts_at_the_saved_pose():
    odometry = BaseOdometry(np.eye(4))
    saved = matrix_from_xyz_rpy((2.0, 1.0, 0.0, 0.0, 0.0, 0.4))
    none = np.zeros(6), np.zeros((6, 6))

    motion = odometry.motion(saved @ T_FLU_OPTICAL, T_FLU_OPTICAL, np.zeros((6, 6)), *none)

    np.testing.assert_allclose(motion.T_odom_base, saved, atol=1e-12)
