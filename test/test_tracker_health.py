# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Health: bad frames are reported, and never give a pose of small covariance."""

from dataclasses import replace
from itertools import pairwise
import time

import cv2
import numpy as np
from oracle import (
    FRAME_NS,
    ImageToImageOracle,
    OracleNetwork,
    adversarial_origin,
    moving_scene,
    position_error,
    run,
)
import pytest

from mem3r_ros.errors import BadFrame
from mem3r_ros.geometry import invert
from mem3r_ros.tracker import Status, Tracker, TrackerConfig
from mem3r_ros.tracker.config import HealthConfig, ScaleConfig


def darkened(scene, indices):
    images = scene.images.copy()
    images[list(indices)] = 1
    return replace(scene, images=images)


def step_sizes(tracked):
    poses = [t.T_odom_camera for t in tracked]
    return [np.linalg.norm((invert(a) @ b)[:3, 3]) for a, b in pairwise(poses)]


def test_the_first_frame_initialises_and_the_second_tracks():
    scene = moving_scene()
    oracle = OracleNetwork(scene)

    tracked = run(Tracker(oracle), oracle, range(3))

    assert [t.status for t in tracked] == [Status.INITIALISING, Status.TRACKING, Status.TRACKING]


def test_a_dark_frame_is_reported_and_the_pose_is_extrapolated():
    scene = darkened(moving_scene(), [20])
    oracle = OracleNetwork(scene)

    tracked = run(Tracker(oracle), oracle, range(30))

    assert tracked[20].status is Status.DEGRADED
    assert tracked[20].reason.startswith('dark')
    assert tracked[20].depth is None
    assert position_error(tracked[20], scene.T_odom_camera(20)) < 0.002
    assert tracked[21].status is Status.TRACKING
    assert oracle.num_steps == 29


def test_after_a_few_dark_frames_the_pose_returns_to_the_true_path_without_a_jump():
    scene = darkened(moving_scene(), range(15, 20))
    oracle = OracleNetwork(scene)

    tracked = run(Tracker(oracle), oracle, range(40))

    # The scene has nearly constant velocity; the small difference decays.
    assert max(step_sizes(tracked)) < 0.06
    assert position_error(tracked[39], scene.T_odom_camera(39)) < 0.01
    assert tracked[39].segment == 0


def test_covariance_grows_with_every_dark_frame():
    scene = darkened(moving_scene(), range(15, 25))
    oracle = OracleNetwork(scene)

    tracked = run(
        Tracker(oracle, TrackerConfig(scale=ScaleConfig(source='fixed'))), oracle, range(30)
    )

    variances = [np.trace(t.covariance[:3, :3]) for t in tracked]
    assert all(b > a for a, b in pairwise(variances[14:25]))
    assert variances[24] > 5 * variances[14]
    assert np.isfinite(tracked[24].covariance).all()


def test_many_dark_frames_are_lost_then_the_pose_is_held_and_a_new_segment_begins():
    scene = darkened(moving_scene(), range(10, 30))
    oracle = OracleNetwork(scene, origin=adversarial_origin)

    tracked = run(Tracker(oracle), oracle, range(40))

    assert tracked[12].status is Status.DEGRADED
    assert tracked[25].status is Status.LOST
    assert (tracked[29].T_odom_camera == tracked[20].T_odom_camera).all()  # held
    assert (tracked[29].twist == 0).all()
    assert tracked[30].status is Status.DEGRADED
    assert tracked[30].segment == 1
    assert tracked[31].status is Status.TRACKING
    moved = invert(tracked[31].T_odom_camera) @ tracked[39].T_odom_camera
    true = invert(scene.T_world_camera[31]) @ scene.T_world_camera[39]
    assert np.allclose(moved, true, atol=1e-6)
    assert max(step_sizes(tracked)) < 0.06


def test_covariance_is_bounded_after_an_hour_without_tracking():
    scene = darkened(moving_scene(), range(5, 40))
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle)
    run(tracker, oracle, range(5))
    oracle.now = 5

    for minute in range(60):
        tracked = tracker.track(scene.frame(5, 10 * FRAME_NS + minute * 60 * 10**9))

    assert tracked.status is Status.LOST
    assert np.linalg.eigvalsh(tracked.covariance).min() > -1e-9
    assert np.diag(tracked.covariance).max() <= 1e4 + 1e-6
    assert np.diag(tracked.covariance)[:3].min() > 100.0


def test_a_blurred_frame_is_degraded_and_not_remembered():
    scene = moving_scene()
    images = scene.images.copy()
    images[20] = cv2.GaussianBlur(images[20], (0, 0), 4)
    oracle = OracleNetwork(replace(scene, images=images))

    tracked = run(Tracker(oracle), oracle, range(25))

    assert tracked[20].status is Status.DEGRADED
    assert tracked[20].reason.startswith('blurred')
    assert oracle.updates[20] is False
    assert tracked[20].depth is not None
    assert tracked[21].status is Status.TRACKING
    assert position_error(tracked[24], scene.T_odom_camera(24)) < 1e-6


def test_a_scene_with_little_detail_is_accepted_after_a_while():
    scene = moving_scene(120)
    images = scene.images.copy()
    images[20:] = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in images[20:]])
    oracle = OracleNetwork(replace(scene, images=images))

    tracked = run(Tracker(oracle), oracle, range(120), ())

    assert tracked[21].status is Status.DEGRADED
    assert tracked[119].status is Status.TRACKING


def test_an_implausible_pose_is_rejected():
    scene = moving_scene()
    oracle = OracleNetwork(scene, wild=[20])

    tracked = run(Tracker(oracle), oracle, range(30))

    assert tracked[20].status is Status.DEGRADED
    assert 'implausible motion' in tracked[20].reason
    assert max(step_sizes(tracked)) < 0.06
    assert position_error(tracked[29], scene.T_odom_camera(29)) < 0.01


@pytest.mark.parametrize(('name', 'value'), [('max_speed', 0.1), ('max_turn_rate', 0.05)])
def test_motion_limits_are_settings(name, value):
    scene = moving_scene()
    oracle = OracleNetwork(scene)
    config = TrackerConfig(health=HealthConfig(**{name: value}))

    tracked = run(Tracker(oracle, config), oracle, range(3))

    assert 'implausible motion' in tracked[2].reason


def test_repeated_implausible_poses_cause_no_jump_and_grow_the_covariance():
    scene = moving_scene()
    oracle = OracleNetwork(scene, wild=range(10, 40, 2))

    tracked = run(Tracker(oracle), oracle, range(40))

    assert max(step_sizes(tracked)) < 0.1
    assert np.trace(tracked[39].covariance) > 10 * np.trace(tracked[9].covariance)


def test_a_frame_of_low_confidence_is_reported_and_not_remembered():
    scene = moving_scene()
    oracle = OracleNetwork(scene, confidence=lambda index: 1.2 if index == 20 else 3.0)
    tracker = Tracker(oracle)
    run(tracker, oracle, range(20))
    before = tracker.state

    degraded = run(tracker, oracle, [20])[0]

    assert degraded.status is Status.DEGRADED
    assert 'low confidence' in degraded.reason
    assert tracker.state is before
    assert run(tracker, oracle, [21])[0].status is Status.TRACKING


@pytest.mark.parametrize(
    ('telemetry', 'config', 'word'),
    [
        ({'state_change': 2.0}, {'max_state_change': 5.0}, 'large state update'),
        ({'tracking_cosine': 0.1}, {'min_tracking_cosine': 0.5}, 'large tracking residual'),
    ],
)
def test_network_statistics_can_degrade_a_frame(telemetry, config, word):
    scene = moving_scene()
    oracle = OracleNetwork(scene, telemetry=lambda index: telemetry if index == 20 else {})
    tracker = Tracker(oracle, TrackerConfig(health=HealthConfig(**config)))

    tracked = run(tracker, oracle, range(25))

    assert tracked[20].status is Status.DEGRADED
    assert word in tracked[20].reason
    assert tracked[21].status is Status.TRACKING
    assert run(Tracker(oracle), oracle, range(25))[20].status is Status.TRACKING


def test_telemetry_is_reported():
    scene = moving_scene()
    numbers = {'fast_weight_norm': 3.0, 'gate_mean': 0.5, 'learning_rate_mean': 0.001}
    oracle = OracleNetwork(scene, telemetry=lambda index: numbers)

    health = run(Tracker(oracle), oracle, range(3))[-1].health

    assert health.fast_weight_norm == pytest.approx(3.0)
    assert health.gate_mean == pytest.approx(0.5)
    assert health.learning_rate_mean == pytest.approx(0.001)
    assert health.state_change == pytest.approx(0.1)
    assert health.segment_age == 3
    assert health.confidence == pytest.approx(3.0)


def test_lasting_low_confidence_starts_a_new_segment_without_a_jump():
    scene = moving_scene()
    oracle = OracleNetwork(scene, confidence=lambda index: 1.2 if index >= 15 else 3.0)

    tracked = run(Tracker(oracle), oracle, range(40))

    assert tracked[20].status is Status.DEGRADED
    assert tracked[39].segment >= 1
    assert tracked[39].status is Status.TRACKING
    assert position_error(tracked[39], scene.T_odom_camera(39)) < 1e-6


def test_a_bad_network_state_is_rolled_back():
    scene = moving_scene(80)
    oracle = OracleNetwork(scene, poison=[50])

    tracked = run(Tracker(oracle), oracle, range(80))

    assert tracked[50].status is Status.TRACKING  # the frame itself is good
    assert all(t.status is Status.TRACKING for t in tracked[51:])
    assert tracked[79].segment == 0
    assert position_error(tracked[79], scene.T_odom_camera(79)) < 1e-6


def test_a_rollback_keeps_the_newest_image():
    scene = moving_scene(80)
    oracle = ImageToImageOracle(scene, poison=[50])
    anything_goes = TrackerConfig(health=HealthConfig(max_acceleration=0.0))

    tracked = run(Tracker(oracle, anything_goes), oracle, range(80))

    assert max(step_sizes(tracked)) < 0.06
    assert position_error(tracked[79], scene.T_odom_camera(79)) < 1e-6
    assert all(t.status is Status.TRACKING for t in tracked[51:])


def test_a_long_gap_is_stale_input_and_starts_a_new_segment():
    scene = moving_scene()
    oracle = OracleNetwork(scene, origin=adversarial_origin)
    tracker = Tracker(oracle)
    before = run(tracker, oracle, range(10))[-1]
    oracle.now = 30

    after = tracker.track(scene.frame(30, 10 * FRAME_NS + 5 * 10**9))

    assert after.status is Status.DEGRADED
    assert after.reason.startswith('stale input (5.0 s')
    assert after.segment == 1
    assert np.trace(after.covariance) > 10 * np.trace(before.covariance)
    coasted = np.linalg.norm(after.T_odom_camera[:3, 3] - before.T_odom_camera[:3, 3])
    assert coasted == pytest.approx(0.5 * np.linalg.norm(before.twist[:3]), rel=0.1)


@pytest.mark.parametrize('lost_after_s', [1.0, 1000.0])
def test_a_long_gap_before_a_dark_frame_starts_a_new_segment(lost_after_s):
    scene = darkened(moving_scene(), [10])
    oracle = OracleNetwork(scene, origin=adversarial_origin)
    tracker = Tracker(oracle, TrackerConfig(health=HealthConfig(lost_after_s=lost_after_s)))
    run(tracker, oracle, range(10))

    tracked = []
    for index in (10, 30, 31):
        oracle.now = index
        tracked.append(tracker.track(scene.frame(index, (index + 1) * FRAME_NS + 5 * 10**9)))

    assert [t.segment for t in tracked] == [0, 1, 1]
    assert tracked[0].reason.startswith('dark')
    assert tracked[1].reason.startswith('stale input (5.1 s')
    assert tracked[2].status is Status.TRACKING


def test_a_new_image_size_with_a_dark_first_frame_starts_a_new_segment():
    scene = moving_scene()
    oracle = OracleNetwork(scene, origin=adversarial_origin)
    tracker = Tracker(oracle)
    before = run(tracker, oracle, range(10))[-1]

    tracked = []
    for index in range(10, 22):
        oracle.now = index
        image = np.ascontiguousarray(np.rot90(scene.images[index]))
        if index == 19:  # the tenth of the new size, which the stream accepts
            image = np.zeros_like(image)
        frame = replace(scene.frame(index), image_rgb_uint8=image)
        try:
            tracked.append(tracker.track(frame, ()))
        except BadFrame:
            continue

    assert [t.segment - before.segment for t in tracked] == [0, 1, 1]
    assert tracked[1].reason == 'new segment: the image size has changed'


def test_a_camera_with_a_low_frame_rate_is_not_stale():
    scene = moving_scene()
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle)
    tracked = []
    for index in range(10):
        oracle.now = index
        tracked.append(tracker.track(scene.frame(index, (1 + index) * 2 * 10**9)))

    assert tracked[-1].segment == 1  # one interval is not enough to know the frame rate
    assert all(t.status is Status.TRACKING for t in tracked[3:])


def test_a_segment_without_connection_measures_its_scale_again():
    scene = moving_scene()
    oracle = OracleNetwork(scene, unit=lambda start: 2.0 if start < 20 else 3.0)
    config = TrackerConfig(scale=ScaleConfig(source='wheel'))
    tracker, path = Tracker(oracle, config), 0.0
    for index in range(40):
        if index:
            step = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
            path += float(np.linalg.norm(step[:3, 3]))
        oracle.now = index
        gap_ns = 10**10 if index >= 20 else 0
        tracked = tracker.track(
            scene.frame(index, (index + 1) * FRAME_NS + gap_ns, wheel_path_m=path)
        )

    assert tracked.segment == 1
    assert tracked.scale == pytest.approx(3.0, rel=0.1)


def test_each_stage_reports_its_time():
    scene = moving_scene()
    oracle = OracleNetwork(scene)

    start = time.perf_counter()
    tracked = run(Tracker(oracle), oracle, range(3))[-1]
    elapsed_ms = 1e3 * (time.perf_counter() - start)

    stages = ('prepare', 'continuity', 'stillness', 'network', 'health', 'odometry', 'depth')
    assert {*stages, 'outputs'} == set(tracked.health.stage_ms)
    assert min(tracked.health.stage_ms.values()) > 0
    assert sum(tracked.health.stage_ms.values()) < elapsed_ms
