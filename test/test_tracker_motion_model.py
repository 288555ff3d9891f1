# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Motion model: implausible accelerations are rejected, real motions accepted."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from oracle import OracleNetwork, moving_scene, run
import pytest

from mem3r_ros.geometry import invert, matrix
from mem3r_ros.tracker import Status, Tracker, TrackerConfig
from mem3r_ros.tracker.config import CovarianceConfig, HealthConfig, ScaleConfig
from mem3r_ros.tracker.motion_model import MotionModel

NOISE = CovarianceConfig()


def forward(step_m):
    return matrix(np.eye(3), np.array([0.0, 0.0, step_m]))


def driving(speeds, rate_hz):
    """Return a scene with a camera that moves forward at the given speeds (m/s)."""
    scene = moving_scene(len(speeds))
    path = np.cumsum(speeds) / rate_hz
    return replace(scene, T_world_camera=np.stack([forward(z) for z in path]))


def tracked_at(scene, rate_hz, config=None, **errors):
    oracle = OracleNetwork(scene, **errors)
    tracker, tracked = Tracker(oracle, config), []
    for index in range(len(scene)):
        oracle.now = index
        frame = scene.frame(index, round((index + 1) * 1e9 / rate_hz))
        tracked.append(tracker.track(frame, ()))
    return tracked


def largest_step(tracked):
    poses = [t.T_odom_camera for t in tracked]
    return max(np.linalg.norm((invert(a) @ b)[:3, 3]) for a, b in pairwise(poses))


@pytest.mark.parametrize(('rate_hz', 'wild_m'), [(10, 0.6), (15, 0.5), (30, 0.2)])
def test_one_wrong_pose_below_the_speed_limit_causes_no_jump(rate_hz, wild_m):
    scene = driving([0.5] * 40, rate_hz)

    tracked = tracked_at(scene, rate_hz, wild=[20], wild_m=wild_m)

    assert wild_m * rate_hz < HealthConfig().max_speed
    assert tracked[20].status is Status.DEGRADED
    assert 'm/s^2' in tracked[20].reason
    assert [t.status for t in tracked[21:]] == [Status.TRACKING] * 19
    assert largest_step(tracked) < 0.06


def test_without_the_limit_the_wrong_pose_is_accepted():
    config = TrackerConfig(health=HealthConfig(max_acceleration=0.0))

    tracked = tracked_at(driving([0.5] * 40, 10), 10, config, wild=[20], wild_m=0.6)

    assert tracked[20].status is Status.TRACKING


@pytest.mark.parametrize(
    ('rate_hz', 'speeds'),
    [
        (15, [0.0] * 15 + [0.5, 0.9, 1.3, 1.8] + [2.0] * 20),  # a robot starts within 0.3 s
        (30, [0.0] * 15 + list(np.linspace(0.2, 2.0, 9)) + [2.0] * 20),
        (10, [15.0] * 15 + list(np.arange(14.1, 0.0, -0.9)) + [0.0] * 5),  # a car brakes
        (10, [0.0] * 5 + list(np.arange(0.0, 15.0, 0.5)) + [15.0] * 5),  # and starts
        (5, [1.0] * 10 + [-1.0] * 10 + [1.0] * 10),  # back and forth
        (30, ([0.8] * 4 + [-0.8] * 4) * 5),  # a shaking hand
    ],
)
def test_motions_of_robots_cars_and_hands_are_accepted(rate_hz, speeds):
    tracked = tracked_at(driving(speeds, rate_hz), rate_hz)

    assert [t.status for t in tracked[1:]] == [Status.TRACKING] * (len(speeds) - 1)


@pytest.mark.parametrize('rate_hz', [5, 15, 30, 60])
def test_noise_of_small_steps_is_no_acceleration(rate_hz):
    scene = driving([0.02] * 40, rate_hz)

    tracked = tracked_at(scene, rate_hz, pose_noise=0.002)

    assert [t.status for t in tracked[1:]] == [Status.TRACKING] * 39


def test_dropped_frames_are_no_acceleration():
    scene = driving([1.0] * 40, 15)
    oracle = OracleNetwork(scene)
    tracker, random, index, tracked = Tracker(oracle), np.random.default_rng(0), 0, []
    while index < len(scene):
        oracle.now = index
        tracked.append(tracker.track(scene.frame(index, round((index + 1) * 1e9 / 15)), ()))
        index += int(random.choice([1, 1, 2, 3, 7]))

    assert all(t.status is Status.TRACKING for t in tracked[1:])


def test_another_scale_factor_is_no_acceleration():
    scene = driving([1.0] * 40, 10)
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle, TrackerConfig(scale=ScaleConfig(source='fixed')))
    run(tracker, oracle, range(20), ())
    tracker.configure(TrackerConfig(scale=ScaleConfig(source='fixed', factor=10.0)))

    tracked = run(tracker, oracle, range(20, 40), ())

    assert [t.status for t in tracked] == [Status.TRACKING] * 20


def test_a_lasting_change_of_speed_is_accepted_after_a_while():
    scene = driving([0.5] * 20 + [25.0] * 60, 10)

    tracked = tracked_at(scene, 10)

    assert tracked[20].status is Status.DEGRADED
    lost = [index for index, t in enumerate(tracked) if t.status is Status.LOST]
    assert len(lost) <= 2
    assert [t.status for t in tracked[35:]] == [Status.TRACKING] * 45
    assert largest_step(tracked[:30]) < 0.1


def test_jitter_of_stamps_is_no_acceleration():
    model = MotionModel()
    for _ in range(5):
        model.add(forward(0.033), 0.033)

    assert model.acceleration(forward(0.033), 0.003, 1.0, NOISE) < HealthConfig().max_acceleration


def test_nothing_is_rejected_with_fewer_than_three_velocities():
    model = MotionModel()
    assert model.acceleration(None, 0.1, 1.0, NOISE) == 0.0
    model.add(None, 0.1)
    for _ in range(2):
        model.add(forward(0.05), 0.1)

    assert model.acceleration(forward(3.0), 0.1, 1.0, NOISE) == 0.0


def test_acceleration_is_in_metres():
    model = MotionModel()
    for _ in range(5):
        model.add(forward(0.0), 0.1)

    # From rest to 10 m/s between the middles of two intervals of 0.1 s.
    found = model.acceleration(forward(1.0 + 3 * NOISE.position_floor_m), 0.1, 2.0, NOISE)

    assert found == pytest.approx(100.0)
