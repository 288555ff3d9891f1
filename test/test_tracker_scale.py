# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Scale: every source measures it, and a correction does not move the robot."""

from dataclasses import replace

import numpy as np
from oracle import (
    FRAME_NS,
    OracleNetwork,
    Scene,
    moving_scene,
    position_error,
    rendered_scene,
    run,
)
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.geometry import invert, se3_exp
from mem3r_ros.tracker import Tracker, TrackerConfig
from mem3r_ros.tracker.config import CovarianceConfig, ScaleConfig, StillnessConfig
from mem3r_ros.tracker.scale import Scale
from mem3r_ros.tracker.scale_sources import ground_height

UNIT = 2.5  # true metres per unit of the oracle
GUESSED = CovarianceConfig().model_scale_spread  # spread of an unknown unit


def config(**values):
    return TrackerConfig(scale=ScaleConfig(**values))


def half_scale_oracle(scene):
    return OracleNetwork(scene, unit=lambda start: UNIT)


def ground_scene(height=0.8, tilt_rad=0.15, num_frames=30):
    """Return a camera over a plane, tilted down slightly, with distant walls."""
    scene = moving_scene(num_frames)
    camera = Intrinsics(50.0, 50.0, 31.5, 23.5, 64, 48)
    normal = np.array([0.0, np.cos(tilt_rad), np.sin(tilt_rad)])
    with np.errstate(divide='ignore'):
        depth = height / (camera.rays() @ normal)
    depth = np.where((depth > 0) & (depth < 15.0), depth, 15.0).astype(np.float32)
    return Scene(scene.images, np.stack([depth] * num_frames), scene.T_world_camera, camera)


def test_a_fixed_factor_scales_pose_depth_and_points():
    scene = moving_scene()
    oracle = half_scale_oracle(scene)

    tracked = run(Tracker(oracle, config(source='fixed', factor=UNIT)), oracle, range(20))

    assert position_error(tracked[-1], scene.T_odom_camera(19)) < 1e-6
    assert np.allclose(tracked[-1].depth, scene.depth[19], rtol=1e-5)
    assert np.allclose(tracked[-1].points[:, 2].max(), scene.depth[19].max(), rtol=0.05)
    assert tracked[-1].scale == UNIT
    assert tracked[-1].health.scale_spread == 0.0


def test_camera_height_gives_the_scale():
    scene = ground_scene()
    oracle = half_scale_oracle(scene)
    tracker = Tracker(oracle, config(source='camera_height', camera_height_m=0.8))

    tracked = run(tracker, oracle, range(20))

    assert abs(tracked[-1].scale / UNIT - 1) < 0.01
    assert tracked[-1].health.scale_spread < 0.02


def test_ground_is_found_among_obstacles_and_noise_and_only_if_there_is_one():
    random = np.random.default_rng(0)
    ground = random.uniform([-3, 1.2, 1], [3, 1.2, 8], (600, 3)) + random.normal(0, 0.01, (600, 3))
    boxes = random.uniform([-3, 0.2, 1], [3, 1.1, 8], (500, 3))
    wall = random.uniform([-3, -2, 8], [3, 1.2, 8], (400, 3))

    assert abs(ground_height(np.concatenate([ground, boxes, wall])) - 1.2) < 0.02
    assert ground_height(random.uniform([-3, -2, 8], [3, 1.2, 8.01], (900, 3))) is None
    assert ground_height(random.uniform(-4, 4, (900, 3))) is None
    assert ground_height(ground[:10]) is None


def test_wheel_odometry_gives_the_scale():
    scene = moving_scene()
    oracle = half_scale_oracle(scene)
    tracker = Tracker(oracle, config(source='wheel'))
    path, tracked = 0.0, None
    for index in range(40):
        if index:
            step = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
            path += float(np.linalg.norm(step[:3, 3]))
        oracle.now = index
        tracked = tracker.track(scene.frame(index, wheel_path_m=5.0 + path))

    assert abs(tracked.scale / UNIT - 1) < 0.02
    assert tracked.health.scale_spread < 0.05


def test_one_measured_distance_gives_the_scale():
    scene = moving_scene()
    oracle = half_scale_oracle(scene)
    distance = float(np.median(scene.depth[0][22:27, 30:35]))

    tracked = run(
        Tracker(oracle, config(source='distance', distance_m=distance)), oracle, range(20)
    )

    assert abs(tracked[-1].scale / UNIT - 1) < 0.02
    assert position_error(tracked[-1], scene.T_odom_camera(19)) < 0.03


def test_a_later_distance_corrects_the_scale_from_then_on():
    scene = moving_scene()
    oracle = half_scale_oracle(scene)
    tracker = Tracker(oracle, config(source='distance', distance_m=1.0))
    with pytest.raises(UserError, match='no depth yet'):
        tracker.measure_distance(2.0)
    before = run(tracker, oracle, range(10))[-1]

    tracker.measure_distance(float(scene.depth[9][10, 20]), (20, 10))
    after = run(tracker, oracle, [10])[0]

    assert abs(after.scale / UNIT - 1) < 0.02
    step = np.linalg.norm(after.T_odom_camera[:3, 3] - before.T_odom_camera[:3, 3])
    assert abs(step - 0.05) < 0.005


def test_a_new_factor_scales_only_later_increments():
    scene = moving_scene()
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle, config(source='fixed', factor=1.0))
    before = run(tracker, oracle, range(20))[-1]

    scale = replace(tracker.config.scale, factor=0.3)
    tracker.configure(replace(tracker.config, scale=scale))
    after = run(tracker, oracle, [20])[0]

    moved = invert(before.T_odom_camera) @ after.T_odom_camera
    true = invert(scene.T_world_camera[19]) @ scene.T_world_camera[20]
    assert np.allclose(moved[:3, 3], 0.3 * true[:3, 3], atol=1e-9)
    assert np.allclose(after.depth, 0.3 * scene.depth[20], rtol=1e-5)


def test_without_a_source_the_spread_is_that_of_the_network_scale():
    scene = moving_scene()
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle)

    tracked = run(tracker, oracle, range(3))[-1]

    assert tracked.scale == 1.0
    assert tracked.health.scale_spread == tracker.config.covariance.model_scale_spread


def test_scale_is_right_across_segments_of_other_units():
    scene = ground_scene(num_frames=40)
    oracle = OracleNetwork(scene, unit=lambda start: UNIT * (1.0 + 0.1 * (start % 5)))
    values = ScaleConfig(source='camera_height', camera_height_m=0.8)

    tracked = run(
        Tracker(oracle, TrackerConfig(scale=values, reset_interval=6)), oracle, range(40)
    )

    assert tracked[-1].segment >= 5
    assert np.allclose(tracked[-1].depth[40:], scene.depth[39][40:], rtol=0.02)


def test_ground_is_found_by_a_tilted_camera():
    points = ground_scene(tilt_rad=0.4).depth[0][..., None] * ground_scene().camera.rays()

    assert abs(ground_height(points[::2, ::2].reshape(-1, 3).astype(float)) - 0.8) < 0.01
    roll = se3_exp(np.array([0, 0, 0, 0, 0, 0.2]))[:3, :3]
    rolled = (points[::2, ::2].reshape(-1, 3) @ roll.T).astype(float)
    assert abs(ground_height(rolled) - 0.8) < 0.01


def with_breaks(source, num_breaks, unit=lambda start: UNIT):
    """Track 40 frames before and after each gap; return all results."""
    scene = moving_scene(200)
    oracle = OracleNetwork(scene, unit=unit)
    tracker, tracked, path = Tracker(oracle, config(source=source)), [], 0.0
    for index in range(40 * (num_breaks + 1)):
        if index:
            step = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
            path += float(np.linalg.norm(step[:3, 3]))
        oracle.now = index
        stamp_ns = (index + 1) * FRAME_NS + (index // 40) * 5 * 10**9
        tracked.append(tracker.track(scene.frame(index, stamp_ns, wheel_path_m=path), ()))
    return tracked


@pytest.mark.parametrize('source', ['model', 'fixed'])
def test_several_breaks_add_the_uncertainty_of_one(source):
    tracked = with_breaks(source, 3)

    assert tracked[-1].segment == 3
    spread = TrackerConfig().covariance.model_scale_spread
    assert [tracked[at].health.scale_spread for at in (45, 85, 159)] == [spread] * 3


def test_a_wheel_measurement_ends_the_uncertainty_of_a_break():
    tracked = with_breaks('wheel', 2, unit=lambda start: 2.0 + start / 80)

    assert [tracked[at].health.scale_spread > 0.9 * GUESSED for at in (40, 80)] == [True] * 2
    assert tracked[41].scale == pytest.approx(2.0, rel=0.02)  # a guess
    assert [tracked[at].health.scale_spread < 0.11 for at in (39, 79, 119)] == [True] * 3
    assert tracked[119].scale == pytest.approx(3.0, rel=0.02)


def test_a_boundary_without_common_depth_leaves_the_unit_uncertain(monkeypatch):
    scene = moving_scene()
    oracle = OracleNetwork(scene)
    monkeypatch.setattr('mem3r_ros.tracker.acceptance.depth_ratio', lambda *_: None)
    tracker = Tracker(oracle, replace(config(source='fixed'), reset_interval=5))

    tracked = run(tracker, oracle, range(10))

    assert tracked[0].health.scale_spread == 0.0
    assert tracked[-1].health.scale_spread > 0.9 * GUESSED


def test_after_one_distance_later_boundaries_add_uncertainty():
    scene = moving_scene()
    oracle = OracleNetwork(scene, depth_noise=0.3)
    settings = replace(config(source='distance', distance_m=2.5), reset_interval=5)

    tracked = run(Tracker(oracle, settings), oracle, range(30))

    assert tracked[-1].health.scale_spread > tracked[1].health.scale_spread


def test_successive_votes_are_correlated():
    random, wheel = np.random.default_rng(0), ScaleConfig(source='wheel')
    claimed, wrong = [], []
    for _ in range(200):
        errors = np.zeros(40)
        for index in range(1, 40):  # correlated errors
            errors[index] = 0.9 * errors[index - 1] + random.normal(0, 0.05)
        scale, path = Scale(), 0.0
        for error in errors:
            path += 0.4
            scale.observe_wheel(path, 0.4 * np.exp(error), 100.0, wheel)
        claimed.append(scale.spread(wheel, 0.58))
        wrong.append(np.log(scale.factor(wheel)))

    # In units of the given spread; with 40 independent votes this is above 4.
    assert 0.6 < np.sqrt(np.mean(np.square(wrong) / np.square(claimed))) < 2.0


def test_wheel_odometry_is_compared_with_the_published_motion():
    scene = rendered_scene(6, 24, (320, 240))
    oracle = OracleNetwork(scene, shrink=2, pose_noise=0.02)
    still = StillnessConfig(enabled=False)
    tracker = Tracker(oracle, replace(config(source='wheel'), stillness=still))
    published = []
    for index in range(6):
        oracle.now = index
        frame = scene.frame(index, wheel_path_m=0.01 * index)
        published.append(tracker.track(frame, ()).T_odom_camera[:3, 3])

    way_m = np.linalg.norm(np.diff(published, axis=0), axis=1).sum()
    assert tracker._stream.scale.visual_path == pytest.approx(way_m)


def test_poses_from_outside_are_the_path_and_the_wheels_still_give_the_scale():
    scene = moving_scene()
    oracle = half_scale_oracle(scene)
    tracker = Tracker(oracle, config(source='wheel'))
    path, tracked = 0.0, None
    for index in range(30):
        if index:
            step = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
            path += float(np.linalg.norm(step[:3, 3]))
        oracle.now = index
        pose = scene.T_world_camera[index]
        tracked = tracker.track(scene.frame(index, wheel_path_m=path, T_outside_camera=pose))
        assert position_error(tracked, scene.T_odom_camera(index)) < 1e-6

    assert abs(tracked.scale / UNIT - 1) < 0.02


def test_an_outside_pose_that_is_not_finite_is_refused_and_a_missing_one_is_bridged():
    scene = moving_scene()
    oracle = half_scale_oracle(scene)
    tracker = Tracker(oracle, config())
    poses = [scene.T_world_camera[0], None, scene.T_world_camera[2], scene.T_world_camera[3]]
    results = []
    for index, pose in enumerate(poses):
        oracle.now = index
        results.append(tracker.track(scene.frame(index, T_outside_camera=pose)))

    step = invert(results[2].T_odom_camera) @ results[3].T_odom_camera
    np.testing.assert_allclose(
        step, invert(scene.T_world_camera[2]) @ scene.T_world_camera[3], atol=1e-6
    )
    oracle.now = 4
    with pytest.raises(BadFrame, match='T_outside_camera'):
        tracker.track(scene.frame(4, T_outside_camera=np.full((4, 4), np.nan)))
