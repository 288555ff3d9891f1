# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Behaviour of tf2_ros that users rely on; holds for the real package and for the stand-in."""

import math

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


def test_the_way_back_is_the_inverse(buffer):
    buffer.set_transform_static(transform('odom', 'base', x=2.0, yaw=math.pi / 2), 'me')

    found = buffer.lookup_transform('base', 'odom', at(0))

    assert (0.0, 2.0, -math.pi / 2) == xy_yaw(found)


def test_siblings_meet_at_their_common_parent(buffer):
    buffer.set_transform_static(transform('base', 'left', y=0.5, yaw=math.pi / 2), 'me')
    buffer.set_transform_static(transform('base', 'right', y=-0.5), 'me')

    found = buffer.lookup_transform('left', 'right', at(0))

    assert (-1.0, 0.0, -math.pi / 2) == xy_yaw(found)


def test_between_two_stamps_it_goes_straight_and_turns_the_shorter_way(buffer):
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
    assert buffer.get_latest_common_time('odom', 'arm').nanoseconds == 2 * S


@pytest.mark.parametrize(('second', 'word'), [(9, 'future'), (1, 'past')])
def test_nothing_is_extrapolated(buffer, second, word):
    for known in (4, 5):
        buffer.set_transform(transform('odom', 'base', stamp_ns=known * S), 'me')

    with pytest.raises(tf2_ros.ExtrapolationException, match=word):
        buffer.lookup_transform('odom', 'base', at(second * S))


def test_one_stamp_alone_answers_for_that_stamp_only(buffer):
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
def test_names_that_tf2_forbids_are_refused(buffer, frame):
    with pytest.raises(tf2_ros.InvalidArgumentException):
        buffer.lookup_transform(frame, 'odom', at(0))


def test_every_exception_is_a_transform_exception():
    for name in ('Lookup', 'Connectivity', 'Extrapolation', 'InvalidArgument', 'Timeout'):
        assert issubclass(getattr(tf2_ros, f'{name}Exception'), tf2_ros.TransformException)


def test_a_frame_seen_from_itself_is_the_identity_even_when_unknown(buffer):
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
        lambda message: setattr(message.transform.rotation, 'w', 0.5),
    ],
)
def test_faulty_transforms_are_ignored(buffer, change):
    message = transform('odom', 'base')
    change(message)

    buffer.set_transform(message, 'me')

    assert not buffer.can_transform('odom', 'base', at(0))


def test_transforms_older_than_the_cache_are_forgotten():
    buffer = tf2_ros.Buffer(cache_time=Duration(seconds=2.0))
    for second in range(1, 9):
        buffer.set_transform(transform('odom', 'base', stamp_ns=second * S), 'me')

    buffer.set_transform(transform('odom', 'base', stamp_ns=1 * S), 'late')

    assert buffer.can_transform('odom', 'base', at(6 * S))
    assert not buffer.can_transform('odom', 'base', at(4 * S))


def test_clearing_keeps_what_never_moves(buffer):
    buffer.set_transform(transform('odom', 'base', stamp_ns=1 * S), 'me')
    buffer.set_transform_static(transform('base', 'camera'), 'me')

    buffer.clear()

    assert buffer.can_transform('base', 'camera', at(5 * S))
    assert not buffer.can_transform('odom', 'base', at(1 * S))


def test_a_frame_that_is_hung_elsewhere_follows_its_parent_of_that_time(buffer):
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


def test_a_full_lookup_goes_through_the_frame_that_stands_still(buffer):
    for second in (1, 2):
        buffer.set_transform(transform('odom', 'base', x=second * 3.0, stamp_ns=second * S), 'me')

    found = buffer.lookup_transform_full('base', at(2 * S), 'base', at(1 * S), 'odom')

    assert found.transform.translation.x == pytest.approx(-3.0)
    assert found.header.stamp.sec == 2
    assert buffer.can_transform_full('base', at(2 * S), 'base', at(1 * S), 'odom')


def test_can_transform_tells_why_not_when_asked(buffer):
    possible, reason = buffer.can_transform('odom', 'base', at(0), return_debug_tuple=True)

    assert not possible
    assert 'odom' in reason


def test_time_may_be_a_message(buffer):
    message = transform('odom', 'base', x=1.0, stamp_ns=3 * S)
    buffer.set_transform(message, 'me')

    found = buffer.lookup_transform('odom', 'base', message.header.stamp)

    assert found.transform.translation.x == 1.0


def test_waiting_ends_when_the_transform_comes(buffer):
    future = buffer.wait_for_transform_async('odom', 'base', at(1 * S))
    assert not future.done()

    buffer.set_transform(transform('odom', 'base', x=1.0, stamp_ns=1 * S), 'me')

    assert future.done()


def test_the_tree_can_be_printed(buffer):
    buffer.set_transform_static(transform('odom', 'base'), 'me')

    assert 'base exists with parent odom' in buffer.all_frames_as_string()
    assert "parent: 'odom'" in buffer.all_frames_as_yaml()
    assert "broadcaster: 'me'" in buffer.all_frames_as_yaml()


def test_a_type_without_a_registered_function_is_a_type_exception(buffer):
    with pytest.raises(tf2_ros.TypeException):
        buffer.transform(object(), 'odom')


def test_what_is_broadcast_arrives_in_the_buffer_of_a_late_listener(make_node, spin_until):
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


def test_the_buffer_forgets_when_the_clock_of_its_node_jumps_back(make_node, spin_until):
    from rclpy.parameter import Parameter
    from rosgraph_msgs.msg import Clock

    node = make_node('jumper', parameter_overrides=[Parameter('use_sim_time', value=True)])
    clock = make_node('clock').create_publisher(Clock, '/clock', 10)
    buffer = tf2_ros.Buffer(node=node)
    assert spin_until(lambda: clock.get_subscription_count() == 1)

    def tell(second):
        message = Clock()
        message.clock.sec = second
        clock.publish(message)
        return spin_until(lambda: node.get_clock().now().nanoseconds == second * S)

    assert tell(100)
    buffer.set_transform(transform('odom', 'base', stamp_ns=100 * S), 'me')
    assert tell(3)

    assert not buffer.can_transform('odom', 'base', at(100 * S))
