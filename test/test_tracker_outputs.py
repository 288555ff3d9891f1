# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Outputs: depth, intrinsics, points, masks, twist."""

from dataclasses import replace

import numpy as np
from oracle import (
    FRAME_NS,
    OracleConfig,
    OracleNetwork,
    moving_scene,
    position_error,
    rendered_scene,
    run,
)
import pytest
import torch

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import invert, se3_log
from mem3r_ros.model import ModelConfig, build_model
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.tracker.config import DepthConfig, ScaleConfig, StillnessConfig

SCENE = moving_scene()


def tiny():
    return build_model(ModelConfig.preset('mem3r-tiny')).eval()


def camera_resolution(**values):
    return TrackerConfig(depth=DepthConfig(resolution='camera', **values))


def test_depth_and_points_equal_the_truth_in_metres():
    oracle = OracleNetwork(SCENE)

    tracked = run(Tracker(oracle), oracle, [0])[0]

    assert tracked.depth.dtype == np.float32
    assert np.allclose(tracked.depth, SCENE.depth[0], rtol=1e-6)
    pixels = np.rint(SCENE.camera.project(tracked.points.astype(float))).astype(int)
    assert np.allclose(tracked.points[:, 2], SCENE.depth[0][pixels[:, 1], pixels[:, 0]])
    assert (tracked.colours == SCENE.images[0][pixels[:, 1], pixels[:, 0]]).all()


def test_heads_of_unwanted_outputs_are_not_computed():
    oracle = OracleNetwork(SCENE)
    tracker = Tracker(oracle)

    tracked = run(tracker, oracle, range(3), ())[-1]

    assert all('points_camera' not in asked for asked in oracle.asked)
    assert tracked.depth is None
    assert tracked.points is None
    assert run(tracker, oracle, [3], {'depth'})[0].points is None


def test_an_unknown_output_is_refused():
    with pytest.raises(UserError, match='choose of'):
        Tracker(OracleNetwork(SCENE)).track(SCENE.frame(0), {'normals'})


def test_depth_at_camera_resolution_has_the_camera_s_own_intrinsics():
    oracle = OracleNetwork(SCENE)
    oracle.config = OracleConfig(img_size=(64, 48))
    image = np.repeat(np.repeat(SCENE.images[0], 10, axis=0), 10, axis=1)
    camera = SCENE.camera.resized(640, 480)

    tracked = Tracker(oracle, camera_resolution()).track(CameraFrame(1, image, camera))

    assert tracked.depth.shape == (480, 640)
    assert np.allclose(tracked.intrinsics.K, camera.K)
    assert np.allclose(tracked.depth[5::10, 5::10], SCENE.depth[0])
    points = tracked.points
    pixels = np.rint(camera.project(points.astype(float))).astype(int)
    assert (tracked.colours == image[pixels[:, 1], pixels[:, 0]]).all()


def test_a_distorted_camera_gives_rectified_depth_with_its_own_k():
    camera = Intrinsics(300.0, 300.0, 160.0, 120.0, 320, 240, 'plumb_bob', (0.3, 0.1, 0, 0))
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)

    tracked = Tracker(tiny(), camera_resolution()).track(CameraFrame(1, image, camera))

    assert not tracked.intrinsics.is_distorted
    assert np.allclose(tracked.intrinsics.K, camera.K)
    assert np.isnan(tracked.depth[0, 0])  # outside the source image
    assert np.isfinite(tracked.depth[120, 160])


def test_without_calibration_the_focal_length_is_estimated_with_its_spread():
    oracle = OracleNetwork(SCENE)
    tracker = Tracker(oracle)

    tracked = run(tracker, oracle, range(10), camera=None)

    assert tracked[-1].intrinsics.fx == pytest.approx(SCENE.camera.fx, rel=0.01)
    assert tracked[-1].health.focal_spread < 0.02
    assert run(Tracker(oracle), oracle, [0])[0].health.focal_spread == 0.0


def test_each_frame_counts_once_in_the_focal_estimate():
    oracle = OracleNetwork(rendered_scene(6, 24, (320, 240)), shrink=2)
    scale = ScaleConfig(source='camera_height')
    tracker = Tracker(oracle, TrackerConfig(scale=scale))

    tracked = run(tracker, oracle, range(8), camera=None)

    assert 'refinement' in tracked[-1].health.stage_ms
    assert len(tracker.snapshot().values['focal.log_votes']) == 8


def test_far_depth_is_infinite_and_depth_of_low_confidence_is_nan():
    oracle = OracleNetwork(SCENE, confidence=lambda index: 1.5)
    limit = float(np.median(SCENE.depth[0]))

    far = run(Tracker(oracle, TrackerConfig(depth=DepthConfig(max_range_m=limit))), oracle, [0])[0]
    unsure = Tracker(oracle, TrackerConfig(depth=DepthConfig(min_confidence=2.0)))

    assert np.isposinf(far.depth[SCENE.depth[0] > limit]).all()
    assert np.isfinite(far.points).all()
    assert np.isnan(run(unsure, oracle, [0])[0].depth).all()


def test_masked_pixels_have_no_depth_no_points_and_no_structure_in_the_input():
    seen = []

    class Watching(OracleNetwork):
        def step(self, frame, *rest, **named):
            seen.append(frame.image)
            return super().step(frame, *rest, **named)

    oracle = Watching(SCENE)
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :20] = 255

    tracked = run(Tracker(oracle), oracle, [0], mask=mask)[0]

    assert np.isnan(tracked.depth[:, :20]).all()
    assert np.isfinite(tracked.depth[:, 20:]).all()
    assert len(tracked.points) <= 48 * 44
    assert seen[0][0, :, :, :20].flatten(1).std(dim=1).max() == 0.0


def test_frames_that_are_not_remembered_are_tracked():
    oracle = OracleNetwork(SCENE)
    tracker = Tracker(oracle)
    run(tracker, oracle, range(10))
    before = tracker.state

    tracked = run(tracker, oracle, range(10, 20), remember=False)

    assert tracker.state is before
    assert oracle.updates[10:] == [False] * 10
    assert position_error(tracked[-1], SCENE.T_odom_camera(19)) < 1e-6


def test_twist_is_the_velocity_in_the_camera_frame():
    oracle = OracleNetwork(SCENE)

    tracked = run(Tracker(oracle), oracle, range(20))[-1]

    true = se3_log(invert(SCENE.T_world_camera[18]) @ SCENE.T_world_camera[19]) / 0.1
    assert np.allclose(tracked.twist, true, atol=1e-6)
    assert np.linalg.eigvalsh(tracked.twist_covariance).min() > 0


def test_twist_uses_past_frames_of_a_short_window():
    images = SCENE.images.copy()
    poses = SCENE.T_world_camera.copy()
    poses[20:] = poses[20]
    oracle = OracleNetwork(replace(SCENE, images=images, T_world_camera=poses))
    config = TrackerConfig(stillness=StillnessConfig(enabled=False))

    tracked = run(Tracker(oracle, config), oracle, range(30))

    assert np.linalg.norm(tracked[20].twist) > 0.1
    assert np.linalg.norm(tracked[23].twist) < 1e-9


def test_the_warm_up_does_not_change_the_stream():
    model = tiny()
    cold, warm = Tracker(model), Tracker(model)
    warm.warm_up(64, 48)

    first, second = cold.track(SCENE.frame(0)), warm.track(SCENE.frame(0))

    assert np.array_equal(first.depth, second.depth)


def test_a_reset_starts_a_new_stream():
    oracle = OracleNetwork(SCENE)
    tracker = Tracker(oracle)
    run(tracker, oracle, range(10))

    tracker.reset()
    oracle.now = 0
    tracked = tracker.track(SCENE.frame(0, FRAME_NS))

    assert np.allclose(tracked.T_odom_camera, SCENE.T_odom_camera(0))
    assert tracked.health.counts == {}


@pytest.mark.parametrize('rule', ['cut3r', 'ttt3r', 'ttsa3r', 'memix', 'filt3r'])
def test_every_update_rule_can_be_chosen(rule):
    model = tiny()
    tracker, plain = Tracker(model, TrackerConfig(update_rule=rule)), Tracker(model)

    for index in range(3):
        tracked = tracker.track(SCENE.frame(index))
        plain.track(SCENE.frame(index))

    assert np.isfinite(tracked.T_odom_camera).all()
    is_default = rule == TrackerConfig().update_rule
    assert torch.equal(tracker.state.tokens, plain.state.tokens) == is_default


@pytest.mark.parametrize('is_calibrated', [True, False])
def test_the_camera_of_the_image_is_given_with_and_without_calibration(is_calibrated):
    scene = moving_scene(3, (128, 96))
    oracle = OracleNetwork(scene, shrink=2)
    camera = scene.camera if is_calibrated else None

    config = TrackerConfig(depth=DepthConfig(resolution='network'))
    tracked = run(Tracker(oracle, config), oracle, range(3), camera=camera)[-1]

    assert (tracked.source_camera.width, tracked.source_camera.height) == (128, 96)
    assert tracked.source_camera.fx == pytest.approx(2 * tracked.intrinsics.fx)
    if is_calibrated:
        assert tracked.source_camera == scene.camera
