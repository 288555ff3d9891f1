# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Segments: resets of the network state do not change the odometry."""

from itertools import pairwise

import numpy as np
from oracle import (
    OracleNetwork,
    adversarial_origin,
    adversarial_unit,
    moving_scene,
    position_error,
    run,
)
import pytest

from mem3r_ros.geometry import invert, rotation_angle
from mem3r_ros.tracker import Status, Tracker, TrackerConfig
from mem3r_ros.tracker.segments import depth_ratio, weighted_median

ADVERSARY = {'unit': adversarial_unit, 'origin': adversarial_origin}


def steps(poses):
    motions = [invert(a) @ b for a, b in pairwise(poses)]
    return np.array([np.linalg.norm(T[:3, 3]) for T in motions])


def test_the_path_starts_at_the_origin_with_the_camera_along_x():
    scene = moving_scene()

    tracked = run(Tracker(OracleNetwork(scene)), OracleNetwork(scene), [0])[0]

    assert np.allclose(tracked.T_odom_camera[:3, 2], [1.0, 0.0, 0.0])
    assert np.allclose(tracked.T_odom_camera[:3, 3], 0.0)
    assert tracked.status is Status.INITIALISING


def test_without_resets_the_path_is_true_in_any_world_frame():
    scene = moving_scene()
    oracle = OracleNetwork(scene, origin=lambda start: adversarial_origin(start + 1))

    tracked = run(Tracker(oracle), oracle, range(40))

    assert position_error(tracked[-1], scene.T_odom_camera(39)) < 1e-9
    assert tracked[-1].status is Status.TRACKING


@pytest.mark.parametrize('interval', [3, 7])
def test_segments_of_other_scale_and_origin_do_not_change_the_path(interval):
    scene = moving_scene()
    oracle = OracleNetwork(scene, **ADVERSARY)
    tracker = Tracker(oracle, TrackerConfig(reset_interval=interval))

    tracked = run(tracker, oracle, range(40))

    assert tracked[-1].segment >= 39 // interval - 1
    for index, frame in enumerate(tracked):
        assert position_error(frame, scene.T_odom_camera(index)) < 1e-6
    true_depth = scene.depth[39]
    assert np.allclose(tracked[-1].depth, true_depth, rtol=1e-5)


def test_with_noise_the_step_at_a_boundary_is_no_larger_than_elsewhere():
    scene = moving_scene()
    oracle = OracleNetwork(scene, **ADVERSARY, pose_noise=1e-3, depth_noise=0.2)
    tracker = Tracker(oracle, TrackerConfig(reset_interval=5))

    tracked = run(tracker, oracle, range(40))

    measured = steps([frame.T_odom_camera for frame in tracked])
    true = steps([scene.T_odom_camera(index) for index in range(40)])
    assert np.abs(measured - true).max() < 0.015
    assert position_error(tracked[-1], scene.T_odom_camera(39)) < 0.1


def test_ignoring_the_scale_gives_a_wrong_path(monkeypatch):
    scene = moving_scene()
    oracle = OracleNetwork(scene, **ADVERSARY)
    monkeypatch.setattr('mem3r_ros.tracker.acceptance.depth_ratio', lambda *_: (1.0, 0.0))

    tracked = run(Tracker(oracle, TrackerConfig(reset_interval=5)), oracle, range(40))

    assert position_error(tracked[-1], scene.T_odom_camera(39)) > 0.05


def test_a_requested_reset_begins_one_segment_without_a_jump():
    scene = moving_scene()
    oracle = OracleNetwork(scene, **ADVERSARY)
    tracker = Tracker(oracle)
    run(tracker, oracle, range(10))

    tracker.request_reset()
    tracked = run(tracker, oracle, range(10, 20))

    assert [frame.segment for frame in tracked][:1] == [1]
    assert tracked[-1].segment == 1
    assert position_error(tracked[-1], scene.T_odom_camera(19)) < 1e-6


def test_the_boundary_frame_runs_in_both_segments():
    scene = moving_scene()
    oracle = OracleNetwork(scene)

    run(Tracker(oracle, TrackerConfig(reset_interval=10)), oracle, range(31))

    assert oracle.num_steps == 31 + 3


def test_scale_uncertainty_grows_with_every_boundary():
    scene = moving_scene()
    oracle = OracleNetwork(scene, depth_noise=0.3)
    tracker = Tracker(oracle, TrackerConfig(reset_interval=3))

    tracked = run(tracker, oracle, range(30))

    spreads = {frame.segment: frame.health.scale_spread for frame in tracked}
    assert len(spreads) > 8
    assert all(later > earlier for earlier, later in pairwise(spreads.values()))


def test_depth_ratio_is_robust_to_a_third_of_wrong_depths_and_uses_the_weights():
    random = np.random.default_rng(0)
    new = random.uniform(1, 5, (48, 64))
    old = 1.7 * new * np.exp(random.normal(0, 0.05, new.shape))
    old[:16] = 9.0
    old[16:30] *= 3.0
    weights = np.ones_like(new)
    weights[16:30] = 0.1

    ratio, deviation = depth_ratio(old, new, weights)

    assert abs(np.log(ratio / 1.7)) < 0.05
    assert 0 < deviation < 0.1


def test_depth_ratio_needs_valid_pixels():
    assert depth_ratio(np.full((4, 4), np.nan), np.ones((4, 4)), np.ones((4, 4))) is None


def test_weighted_median_is_at_half_of_the_weight():
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 5.0])) == 2.0


def test_rotation_stays_orthonormal_over_many_frames():
    scene = moving_scene()
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle, TrackerConfig(reset_interval=50))
    order = [*range(40), *range(38, 0, -1)]
    stamp = 0
    for index in range(10_000 // 20):
        stamp += 100_000_000
        oracle.now = order[index % len(order)]
        tracked = tracker.track(scene.frame(oracle.now, stamp), ())

    R = tracked.T_odom_camera[:3, :3]
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-12)
    expected = scene.T_odom_camera(order[499 % len(order)])[:3, :3]
    assert rotation_angle(expected.T @ R) < 1e-6
