# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Clocks and stamps that go back, stand still, jump ahead or are late."""

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from node_harness import FRAME, START_NS, STEP_NS, values_of
import numpy as np
import pytest
from rosgraph_msgs.msg import Clock

from mem3r_ros.geometry import T_FLU_OPTICAL
from mem3r_ros.ros.conversions import (
    header_at,
    matrix_from_pose_message,
    stamp_message,
    transform_message,
)
from mem3r_ros.ros.stamp_monitor import StampMonitor, Verdict

SECOND = 1_000_000_000


def judge_all(session, stamps, now_s=0.0):
    return [session.judge(stamp, now_s) for stamp in stamps]


def test_a_small_step_back_is_a_late_image_a_large_one_a_new_session():
    session = StampMonitor(1.0)

    stamps = [10 * SECOND, 11 * SECOND, 10 * SECOND + 5, 2 * SECOND, 2 * SECOND + 5]
    verdicts = judge_all(session, stamps)

    assert verdicts == [
        Verdict.NEXT,
        Verdict.NEXT,
        Verdict.LATE,
        Verdict.BEHIND,
        Verdict.NEW_SESSION,
    ]
    assert session.session == 2


@pytest.mark.fault('one image stamp far back in the node', 'that image alone is refused')
def test_a_single_stamp_far_back_is_skipped_and_the_session_continues():
    session = StampMonitor(1.0)

    verdicts = judge_at(session, [(100, 0.0), (100.1, 0.1), (1, 0.2), (100.2, 0.2), (0.5, 0.3)])

    assert verdicts == [Verdict.NEXT, Verdict.NEXT, Verdict.BEHIND, Verdict.NEXT, Verdict.BEHIND]
    assert session.session == 1


@pytest.mark.fault('a first image stamp far ahead in the node', 'the second good image is tracked')
def test_a_first_stamp_far_ahead_hides_nothing():
    session = StampMonitor(1.0)

    verdicts = judge_at(session, [(10**9, 0.0), (10, 0.1), (10.1, 0.2), (10.2, 0.3)])

    assert verdicts == [Verdict.NEXT, Verdict.BEHIND, Verdict.NEW_SESSION, Verdict.NEXT]


def test_repeated_and_zero_stamps_are_named():
    session = StampMonitor(1.0)

    assert judge_all(session, [SECOND, SECOND, 0]) == [
        Verdict.NEXT,
        Verdict.REPEATED,
        Verdict.ZERO,
    ]


def test_a_loop_in_clock_and_stamps_is_one_new_session():
    session = StampMonitor(1.0)
    judge_all(session, [100 * SECOND])

    assert session.clock_jumped_back(10 * SECOND, 0.0)
    assert session.judge(10 * SECOND + 1, 0.1) is Verdict.NEXT

    assert session.session == 2


def test_a_loop_in_stamps_before_the_clock_is_one_new_session():
    session = StampMonitor(1.0)
    judge_all(session, [100 * SECOND, 10 * SECOND, 10 * SECOND + 1])

    assert not session.clock_jumped_back(10 * SECOND + 5, 0.1)

    assert session.session == 2


def test_an_image_from_before_the_jump_is_stale_after_it():
    session = StampMonitor(1.0)
    judge_all(session, [100 * SECOND])
    session.clock_jumped_back(10 * SECOND, 0.0)

    assert session.judge(100 * SECOND + 1, 0.01) is Verdict.STALE
    assert session.judge(10 * SECOND, 0.05) is Verdict.NEXT


def test_two_loops_are_two_new_sessions():
    session = StampMonitor(1.0)
    for now_s in (0.0, 60.0):
        judge_all(session, [100 * SECOND], now_s)
        assert session.clock_jumped_back(10 * SECOND, now_s + 30.0)

    assert session.session == 3


def judge_at(session, stamps_and_times):
    return [session.judge(int(stamp_s * SECOND), now_s) for stamp_s, now_s in stamps_and_times]


def test_a_single_stamp_far_ahead_is_skipped_and_the_session_continues():
    session = StampMonitor(1.0)

    verdicts = judge_at(session, [(10, 0.0), (10.1, 0.1), (3610, 0.2), (10.2, 0.2), (10.3, 0.3)])

    assert verdicts == [Verdict.NEXT, Verdict.NEXT, Verdict.AHEAD, Verdict.NEXT, Verdict.NEXT]
    assert session.session == 1


def test_stamps_that_stay_far_ahead_are_accepted_from_the_second_one():
    session = StampMonitor(1.0)

    verdicts = judge_at(session, [(10, 0.0), (10.1, 0.1), (3610, 0.2), (3610.1, 0.3)])

    assert verdicts == [Verdict.NEXT, Verdict.NEXT, Verdict.AHEAD, Verdict.NEXT]


def test_a_gap_in_stamps_is_accepted_at_once_after_the_same_gap_in_time():
    session = StampMonitor(1.0)

    assert judge_at(session, [(10, 0.0), (10.1, 0.1), (70, 60.0)]) == [Verdict.NEXT] * 3


def test_stamps_that_jump_with_the_clock_are_accepted_at_once():
    session = StampMonitor(1.0)

    verdicts = [session.judge(t * SECOND, 0.1 * i, t * SECOND) for i, t in enumerate((5, 6, 90))]

    assert verdicts == [Verdict.NEXT] * 3


def test_slow_images_that_are_played_fast_are_all_accepted():
    session = StampMonitor(1.0)

    stamps = [(10 + 5 * i, 0.01 * i) for i in range(1, 8)]

    assert judge_at(session, stamps) == [Verdict.NEXT] * 7


def test_a_loop_after_a_real_jump_ahead_is_a_new_session():
    session = StampMonitor(1.0)
    judge_at(session, [(10, 0.0), (10.1, 0.1), (70, 0.2), (70.1, 0.3)])

    assert judge_at(session, [(10, 0.4), (10.1, 0.5)]) == [Verdict.BEHIND, Verdict.NEW_SESSION]


@pytest.fixture
def played(start_node, camera, listener, spin_until, make_node):
    """Return a node under simulated time, a function that plays a bag's part, and what came."""
    node = start_node(use_sim_time=True)
    clock = node.test_clock = make_node('bag').create_publisher(Clock, '/clock', 10)
    odom = listener.subscribe(Odometry, 'odom')
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)
    assert spin_until(lambda: clock.get_subscription_count() > 0)

    def play(indices):
        for index in indices:
            stamp = START_NS + index * STEP_NS
            clock.publish(Clock(clock=stamp_message(stamp)))
            spin_until(lambda now=stamp: node.get_clock().now().nanoseconds == now, 5.0)
            answered = len(statuses)
            camera.count = index
            camera.send()
            assert spin_until(lambda before=answered: len(statuses) > before)

    return node, play, odom, statuses


def test_a_bag_that_loops_starts_one_new_session_at_the_initial_pose(played):
    node, play, odom, statuses = played

    play(range(30, 34))
    play(range(0, 4))

    sessions = [values_of(status)['session'] for status in statuses]
    assert sessions == ['1'] * 4 + ['2'] * 4
    np.testing.assert_allclose(matrix_from_pose_message(odom[4].pose.pose), np.eye(4), atol=1e-9)
    assert len(node.results.trajectory) == 4
    assert node.counts.tracked == 8


def test_the_same_bag_twice_gives_the_same_odometry_twice(played):
    _, play, odom, _ = played

    for _ in range(2):
        play(range(20, 24))
        play(range(0, 3))

    first, second = odom[4:7], odom[11:14]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(
            matrix_from_pose_message(one.pose.pose),
            matrix_from_pose_message(other.pose.pose),
            atol=1e-6,
        )


def test_a_paused_bag_is_not_lost(played, spin_until):
    _, play, odom, statuses = played
    play(range(3))

    spin_until(lambda: False, 1.5)
    play(range(3, 5))

    assert len(odom) == 5
    assert not [s for s in statuses if values_of(s)['state'] == 'LOST']
    assert values_of(statuses[-1])['session'] == '1'


@pytest.mark.parametrize('back_s', [0.001, 0.9])
def test_a_clock_that_steps_back_a_little_starts_no_new_session(played, spin_until, back_s):
    node, play, _, statuses = played
    play(range(3))

    stamp = START_NS + 2 * STEP_NS - int(back_s * SECOND)
    node.test_clock.publish(Clock(clock=stamp_message(stamp)))
    assert spin_until(lambda: node.get_clock().now().nanoseconds == stamp)
    play(range(3, 5))

    assert [values_of(status)['session'] for status in statuses] == ['1'] * 5
    assert len(node.results.trajectory) == 5


def test_a_jump_back_removes_moving_transforms_and_keeps_static_ones(start_node, camera):
    node = start_node(mount='tf')
    buffer = node._transforms._buffer
    moving = transform_message(header_at(START_NS, 'base_link'), 'arm', np.eye(4))
    fixed: TransformStamped = transform_message(header_at(0, 'base_link'), FRAME, T_FLU_OPTICAL)
    buffer.set_transform(moving, 'test')
    buffer.set_transform_static(fixed, 'test')

    node._transforms.forget()

    np.testing.assert_allclose(
        node._transforms.T_base_camera(FRAME, START_NS, 0.0), T_FLU_OPTICAL, atol=1e-12
    )
    with pytest.raises(Exception, match='arm'):
        node._transforms.T_base_camera('arm', START_NS, 0.0)


def test_one_image_from_the_future_does_not_change_odometry(
    start_node, camera, listener, spin_until
):
    node = start_node()
    odom = listener.subscribe(Odometry, 'odom')
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    for count, index in enumerate((0, 1, 2, 36_000, 3, 4)):
        camera.send(START_NS + index * STEP_NS)
        assert spin_until(lambda count=count: len(statuses) > count)

    assert [values_of(status)['session'] for status in statuses] == ['1'] * 6
    assert 'ahead of the last one' in values_of(statuses[3])['reason']
    assert spin_until(lambda: len(odom) == 5)
    assert len(node.results.trajectory) == 5
    positions = [matrix_from_pose_message(message.pose.pose)[:3, 3] for message in odom]
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() < 0.3


def test_stamps_that_go_back_without_a_clock_remove_moving_transforms_too(
    start_node, camera, listener, spin_until
):
    node = start_node(mount='tf', wait_for_transform=0.0)
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)
    moving = transform_message(header_at(START_NS, 'base_link'), 'arm', np.eye(4))
    node._transforms._buffer.set_transform(moving, 'test')
    camera.send(START_NS)
    assert spin_until(lambda: len(statuses) == 1)

    for count, back_s in enumerate((100, 99), 2):
        camera.send(START_NS - back_s * SECOND)
        assert spin_until(lambda count=count: len(statuses) == count)

    assert values_of(statuses[-1])['session'] == '2'
    with pytest.raises(Exception, match='arm'):
        node._transforms.T_base_camera('arm', START_NS, 0.0)
