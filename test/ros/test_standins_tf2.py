# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Behaviour of tf2_ros that the node relies on; valid for the real package and the stand-in."""

import math
import threading

from geometry_msgs.msg import TransformStamped
import pytest
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.time import Time

import mem3r_ros.ros  # noqa: F401  the stand-ins come with it

tf2_ros = pytest.importorskip('tf2_ros')

S = 1_000_000_000


def transform(parent, child, x=0.0, y=0.0, yaw=0.0, stamp_ns=0):
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, S)
    message.transform.translation.x, message.transform.translation.y = x, y
    message.transform.rotation.z = math.sin(yaw / 2)
    message.transform.rotation.w = math.cos(yaw / 2)
    return message


def at(stamp_ns):
    return Time(nanoseconds=stamp_ns)


def xy_yaw(message):
    t, q = message.transform.translation, message.transform.rotation
    return pytest.approx((t.x, t.y, 2 * math.atan2(q.z, q.w)), abs=1e-9)


@pytest.fixture
def buffer():
    return tf2_ros.Buffer()


def test_a_chain_of_moving_and_fixed_links_is_composed(buffer):
    buffer.set_transform(transform('odom', 'base', x=2.0, yaw=math.pi / 2, stamp_ns=5 * S), 'me')
    buffer.set_transform_static(transform('base', 'camera', x=1.0), 'me')

    found = buffer.lookup_transform('odom', 'camera', at(5 * S))

    assert (2.0, 1.0, math.pi / 2) == xy_yaw(found)
    assert (found.header.frame_id, found.child_frame_id) == ('odom', 'camera')
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (5, 0)


def test_the_opposite_direction_is_the_inverse(buffer):
    buffer.set_transform_static(transform('odom', 'base', x=2.0, yaw=math.pi / 2), 'me')

    found = buffer.lookup_transform('base', 'odom', at(0))

    assert (0.0, 2.0, -math.pi / 2) == xy_yaw(found)


def test_siblings_are_connected_by_their_common_parent(buffer):
    buffer.set_transform_static(transform('base', 'left', y=0.5, yaw=math.pi / 2), 'me')
    buffer.set_transform_static(transform('base', 'right', y=-0.5), 'me')

    found = buffer.lookup_transform('left', 'right', at(0))

    assert (-1.0, 0.0, -math.pi / 2) == xy_yaw(found)


def test_between_two_stamps_translation_is_linear_and_rotation_takes_the_shorter_arc(buffer):
    buffer.set_transform(transform('odom', 'base', x=0.0, yaw=3.0, stamp_ns=1 * S), 'me')
    buffer.set_transform(transform('odom', 'base', x=4.0, yaw=-3.0, stamp_ns=2 * S), 'me')

    found = buffer.lookup_transform('odom', 'base', at(1 * S + S // 4))

    yaw = 3.0 + (2 * math.pi - 6.0) / 4
    assert found.transform.translation.x == pytest.approx(1.0)
    q = found.transform.rotation
    assert math.cos(2 * math.atan2(q.z, q.w) - yaw) == pytest.approx(1.0)
    assert q.x**2 + q.y**2 + q.z**2 + q.w**2 == pytest.approx(1.0)


def test_stamps_may_come_out_of_order(buffer):
    for second in (1, 3, 2):
        buffer.set_transform(
            transform('odom', 'base', x=second**2 * 1.0, stamp_ns=second * S), 'me'
        )

    found = buffer.lookup_transform('odom', 'base', at(2 * S + S // 2))

    assert found.transform.translation.x == pytest.approx(6.5)


def test_time_zero_is_the_latest_time_that_the_whole_chain_has(buffer):
    for second in (1, 2, 3):
        buffer.set_transform(transform('odom', 'base', x=second * 1.0, stamp_ns=second * S), 'me')
    for second in (1, 2):
        buffer.set_transform(transform('base', 'arm', y=second * 1.0, stamp_ns=second * S), 'me')

    found = buffer.lookup_transform('odom', 'arm', at(0))

    assert found.header.stamp.sec == 2
    assert xy_yaw(found) == (2.0, 2.0, 0.0)


@pytest.mark.parametrize(('second', 'word'), [(9, 'future'), (1, 'past')])
def test_nothing_is_extrapolated(buffer, second, word):
    for known in (4, 5):
        buffer.set_transform(transform('odom', 'base', stamp_ns=known * S), 'me')

    with pytest.raises(tf2_ros.ExtrapolationException, match=word):
        buffer.lookup_transform('odom', 'base', at(second * S))


def test_a_single_transform_is_valid_at_its_stamp_only(buffer):
    buffer.set_transform(transform('odom', 'base', stamp_ns=4 * S), 'me')

    assert buffer.can_transform('odom', 'base', at(4 * S))
    with pytest.raises(tf2_ros.ExtrapolationException):
        buffer.lookup_transform('odom', 'base', at(4 * S + 1))


def test_an_unknown_frame_is_a_lookup_exception_that_names_it(buffer):
    buffer.set_transform_static(transform('odom', 'base'), 'me')

    with pytest.raises(tf2_ros.LookupException, match='gripper'):
        buffer.lookup_transform('odom', 'gripper', at(0))


def test_two_trees_are_a_connectivity_exception(buffer):
    buffer.set_transform_static(transform('odom', 'base'), 'me')
    buffer.set_transform_static(transform('map', 'marker'), 'me')

    with pytest.raises(tf2_ros.ConnectivityException, match='marker'):
        buffer.lookup_transform('odom', 'marker', at(0))


@pytest.mark.parametrize('frame', ['', '/base'])
def test_invalid_frame_names_are_refused(buffer, frame):
    with pytest.raises(tf2_ros.InvalidArgumentException):
        buffer.lookup_transform(frame, 'odom', at(0))


def test_every_exception_is_a_transform_exception():
    for name in ('Lookup', 'Connectivity', 'Extrapolation', 'InvalidArgument'):
        assert issubclass(getattr(tf2_ros, f'{name}Exception'), tf2_ros.TransformException)


def test_a_frame_in_itself_is_the_identity_even_when_unknown(buffer):
    found = buffer.lookup_transform('nowhere', 'nowhere', at(3 * S))

    assert xy_yaw(found) == (0.0, 0.0, 0.0)
    assert found.header.stamp.sec == 3


@pytest.mark.parametrize(
    'change',
    [
        lambda message: setattr(message, 'child_frame_id', 'odom'),
        lambda message: setattr(message, 'child_frame_id', ''),
        lambda message: setattr(message.header, 'frame_id', ''),
        lambda message: setattr(message.transform.translation, 'x', math.nan),
        lambda message: setattr(message.transform.rotation, 'x', math.nan),
    ],
)
def test_faulty_transforms_are_ignored(buffer, change):
    message = transform('odom', 'base')
    change(message)

    buffer.set_transform(message, 'me')

    assert not buffer.can_transform('odom', 'base', at(0))


@pytest.mark.parametrize('norm', [1.2, 1.0005, 0.5])
def test_a_quaternion_of_another_norm_is_accepted_and_normalised(buffer, norm):
    message = transform('odom', 'base', yaw=0.8)
    message.transform.rotation.z *= norm
    message.transform.rotation.w *= norm

    buffer.set_transform_static(message, 'me')
    found = buffer.lookup_transform('odom', 'base', at(0))

    q = found.transform.rotation
    assert math.hypot(q.x, q.y, q.z, q.w) == pytest.approx(1.0, abs=1e-9)
    assert xy_yaw(found) == (0.0, 0.0, 0.8)


def test_a_repeated_stamp_keeps_the_first_transform(buffer):
    buffer.set_transform(transform('odom', 'base', x=1.0, stamp_ns=3 * S), 'first')
    buffer.set_transform(transform('odom', 'base', x=2.0, stamp_ns=3 * S), 'second')

    found = buffer.lookup_transform('odom', 'base', at(3 * S))

    assert found.transform.translation.x == 1.0


def test_a_lookup_waits_for_a_transform_that_comes_in_time(buffer):
    later = threading.Timer(
        0.1, buffer.set_transform, (transform('odom', 'base', x=1.0, stamp_ns=1 * S), 'me')
    )
    later.start()

    found = buffer.lookup_transform('odom', 'base', at(1 * S), Duration(seconds=20))
    later.join()

    assert found.transform.translation.x == 1.0


def test_transforms_older_than_the_cache_are_removed():
    buffer = tf2_ros.Buffer(cache_time=Duration(seconds=2.0))
    for second in range(1, 9):
        buffer.set_transform(transform('odom', 'base', stamp_ns=second * S), 'me')

    buffer.set_transform(transform('odom', 'base', stamp_ns=1 * S), 'late')

    assert buffer.can_transform('odom', 'base', at(6 * S))
    assert not buffer.can_transform('odom', 'base', at(4 * S))


def test_clearing_keeps_static_transforms(buffer):
    buffer.set_transform(transform('odom', 'base', stamp_ns=1 * S), 'me')
    buffer.set_transform_static(transform('base', 'camera'), 'me')

    buffer.clear()

    assert buffer.can_transform('base', 'camera', at(5 * S))
    assert not buffer.can_transform('odom', 'base', at(1 * S))


def test_a_frame_that_changes_its_parent_follows_the_parent_of_that_time(buffer):
    buffer.set_transform_static(transform('map', 'table', x=10.0), 'me')
    buffer.set_transform_static(transform('map', 'robot', x=20.0), 'me')
    buffer.set_transform(transform('table', 'cup', x=1.0, stamp_ns=1 * S), 'me')
    buffer.set_transform(transform('robot', 'cup', x=1.0, stamp_ns=2 * S), 'me')

    before = buffer.lookup_transform('map', 'cup', at(1 * S + S // 2))
    after = buffer.lookup_transform('map', 'cup', at(2 * S))

    assert before.transform.translation.x == pytest.approx(11.0)
    assert after.transform.translation.x == pytest.approx(21.0)


def test_a_loop_is_reported_and_does_not_hang(buffer):
    buffer.set_transform_static(transform('a', 'b'), 'me')
    buffer.set_transform_static(transform('b', 'a'), 'me')
    buffer.set_transform_static(transform('c', 'd'), 'me')

    with pytest.raises(tf2_ros.TransformException):
        buffer.lookup_transform('a', 'd', at(0))


def test_can_transform_returns_the_reason_on_request(buffer):
    possible, reason = buffer.can_transform('odom', 'base', at(0), return_debug_tuple=True)

    assert not possible
    assert 'odom' in reason


def test_time_may_be_a_message(buffer):
    message = transform('odom', 'base', x=1.0, stamp_ns=3 * S)
    buffer.set_transform(message, 'me')

    found = buffer.lookup_transform('odom', 'base', message.header.stamp)

    assert found.transform.translation.x == 1.0


def test_a_late_listener_receives_static_and_moving_transforms(make_node, spin_until):
    sender, receiver = make_node('sender'), make_node('receiver')
    moving, fixed = (
        tf2_ros.TransformBroadcaster(sender),
        tf2_ros.StaticTransformBroadcaster(sender),
    )
    fixed.sendTransform(transform('base', 'camera', x=1.0))
    fixed.sendTransform([transform('base', 'lidar', x=2.0)])
    buffer = tf2_ros.Buffer(node=receiver)
    listener = tf2_ros.TransformListener(buffer, receiver)

    assert spin_until(lambda: moving.pub_tf.get_subscription_count() == 1)
    moving.sendTransform([transform('odom', 'base', y=5.0, stamp_ns=7 * S)])

    assert spin_until(lambda: buffer.can_transform('odom', 'lidar', at(7 * S)))
    assert spin_until(lambda: buffer.can_transform('odom', 'camera', at(7 * S)))
    found = buffer.lookup_transform('odom', 'camera', at(7 * S))
    assert xy_yaw(found) == (1.0, 5.0, 0.0)
    listener.unregister()


def test_broadcasters_are_reliable_and_only_the_static_one_is_latched(make_node, spin_until):
    node = make_node('sender')
    moving, fixed = tf2_ros.TransformBroadcaster(node), tf2_ros.StaticTransformBroadcaster(node)
    assert moving.pub_tf.topic_name == '/tf'
    assert fixed.pub_tf.topic_name == '/tf_static'

    (tf,) = node.get_publishers_info_by_topic('/tf')
    (tf_static,) = node.get_publishers_info_by_topic('/tf_static')

    assert tf.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert tf.qos_profile.durability == DurabilityPolicy.VOLATILE
    assert tf_static.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert tf_static.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL


def test_the_buffer_is_cleared_when_the_clock_of_its_node_jumps_back(make_node, spin_until):
    from rclpy.parameter import Parameter
    from rosgraph_msgs.msg import Clock

    node = make_node('jumper', parameter_overrides=[Parameter('use_sim_time', value=True)])
    clock = make_node('clock').create_publisher(Clock, '/clock', 10)
    buffer = tf2_ros.Buffer(node=node)
    assert spin_until(lambda: clock.get_subscription_count() == 1)

    def set_clock(second):
        message = Clock()
        message.clock.sec = second
        clock.publish(message)
        return spin_until(lambda: node.get_clock().now().nanoseconds == second * S)

    assert set_clock(100)
    buffer.set_transform(transform('odom', 'base', stamp_ns=100 * S), 'me')
    assert set_clock(3)

    assert not buffer.can_transform('odom', 'base', at(100 * S))
