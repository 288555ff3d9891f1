# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pose refinement by corners and predicted depth."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from oracle import OracleNetwork, rendered_scene, run
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, rotation_angle, se3_exp
from mem3r_ros.tracker import Tracker, TrackerConfig
from mem3r_ros.tracker.config import RefinementConfig, ScaleConfig, StillnessConfig
from mem3r_ros.tracker.window_adjustment import Bundle, _System, adjust

STILL = StillnessConfig(enabled=False)
ON = TrackerConfig(stillness=STILL)
OFF = replace(ON, refinement=RefinementConfig(enabled=False))
# A rendered clip of a hand-held camera in a room, about 1 degree and 2 cm a frame.
SCENE = (6, 24, (320, 240))


def errors(tracked, scene):
    """Return the mean error of increments, m and rad."""
    wrong = [
        invert(invert(a.T_odom_camera) @ b.T_odom_camera)
        @ (invert(scene.T_world_camera[i]) @ scene.T_world_camera[i + 1])
        for i, (a, b) in enumerate(pairwise(tracked))
    ]
    translation = np.mean([np.linalg.norm(T[:3, 3]) for T in wrong])
    return translation, np.mean([rotation_angle(T[:3, :3]) for T in wrong])


@pytest.mark.parametrize('depth_noise', [0.0, 0.03])
def test_refinement_halves_the_errors_of_a_noisy_network(depth_noise):
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2, pose_noise=0.02, depth_noise=depth_noise)

    rough = errors(run(Tracker(oracle, OFF), oracle, range(24)), scene)
    fine = errors(run(Tracker(oracle, ON), oracle, range(24)), scene)

    assert fine[0] < 0.5 * rough[0]
    assert fine[1] < 0.5 * rough[1]


def test_refinement_keeps_the_accuracy_of_a_perfect_network():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2)

    translation, rotation = errors(run(Tracker(oracle, ON), oracle, range(24)), scene)

    assert translation < 0.005
    assert rotation < 0.002


def test_refinement_is_skipped_if_the_network_has_the_resolution_of_the_image():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, pose_noise=0.02)

    tracked = run(Tracker(oracle, ON), oracle, range(4))

    assert 'refinement' not in tracked[-1].health.stage_ms


def test_depth_is_computed_for_keyframes_only():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2)

    run(Tracker(oracle, ON), oracle, range(24), ())

    num_dense = sum('points_camera' in asked for asked in oracle.asked)
    assert 0 < num_dense < 20


def test_without_corners_the_predicted_pose_is_kept():
    scene = rendered_scene(*SCENE)
    images = np.full_like(scene.images, 120)
    images[:, ::40] = 200
    oracle = OracleNetwork(replace(scene, images=images), shrink=2)

    tracked = run(Tracker(oracle, ON), oracle, range(10))

    assert errors(tracked, scene)[0] < 1e-9


def test_a_snapshot_restores_the_window():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2, pose_noise=0.01)
    tracker = Tracker(oracle, ON)
    run(tracker, oracle, range(10))
    snapshot = tracker.snapshot()
    expected = run(tracker, oracle, range(10, 14))[-1]

    restored = Tracker(oracle, ON)
    restored.restore(snapshot)

    again = run(restored, oracle, range(10, 14))[-1]
    assert (again.T_odom_camera == expected.T_odom_camera).all()


def room(num_frames=4, num_corners=120):
    """Return true poses, depths and camera, and a bundle of corners seen in all frames."""
    random = np.random.default_rng(0)
    camera = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
    rays = np.column_stack([random.uniform(-0.5, 0.5, (num_corners, 2)), np.ones(num_corners)])
    depth = random.uniform(1.5, 5.0, num_corners)
    step = se3_exp(np.array([0.08, 0.02, 0.04, 0.01, -0.02, 0.005]))
    poses = [np.eye(4)]
    for _ in range(num_frames - 1):
        poses.append(poses[-1] @ step)
    corner, frame = np.divmod(np.arange(num_corners * (num_frames - 1)), num_frames - 1)
    frame = frame + 1
    points = rays * depth[:, None]
    pixels = np.stack(
        [camera.project(points @ invert(T)[:3, :3].T + invert(T)[:3, 3]) for T in poses]
    )[frame, corner]
    bundle = Bundle(
        T_window_camera=np.stack(poses),
        log_depth=np.log(depth),
        anchor=np.zeros(num_corners, np.int64),
        rays=rays,
        corner=corner,
        frame=frame,
        pixels=pixels + random.normal(0, 0.3, pixels.shape),
        prior_depth=np.log(depth) + random.normal(0, 0.2, num_corners),
        prior_sigma=np.full(num_corners, 0.2),
        T_motion=np.stack([step] * num_frames),
        information=np.stack([np.eye(6)] * num_frames),
    )
    return np.stack(poses), depth, camera, bundle


def test_adjustment_estimates_poses_and_depths_jointly():
    poses, depth, camera, bundle = room()
    pixels = bundle.pixels.copy()
    is_wrong = bundle.corner < 12
    stray = np.random.default_rng(1).uniform(-40, 40, pixels.shape)
    pixels[is_wrong] += stray[is_wrong]  # wrong correspondences
    standing = np.stack([np.eye(4)] * len(poses))
    bundle = replace(bundle, pixels=pixels, T_window_camera=standing, log_depth=bundle.prior_depth)

    adjusted = adjust(bundle, camera, 0.5)

    wrong = invert(adjusted.T_window_camera[-1]) @ poses[-1]
    assert rotation_angle(wrong[:3, :3]) < 0.004
    assert np.linalg.norm(wrong[:3, 3]) < 0.02
    before, after = (np.abs(d - np.log(depth)) for d in (bundle.prior_depth, adjusted.log_depth))
    assert np.median(after[12:]) < 0.4 * np.median(before[12:])
    assert np.median(adjusted.error_px[is_wrong]) > 10


def test_a_prior_of_high_certainty_is_kept():
    poses, _, camera, bundle = room()
    standing = np.stack([np.eye(4)] * len(poses))
    sure = np.stack([1e12 * np.eye(6)] * len(poses))
    bundle = replace(bundle, T_window_camera=standing, T_motion=standing, information=sure)

    adjusted = adjust(bundle, camera, 1.0)

    assert np.allclose(adjusted.T_window_camera, standing, atol=1e-6)


def test_normal_equations_have_the_derivatives_of_the_error():
    poses, _, camera, bundle = room(3, 40)
    rough = np.stack([T @ se3_exp(np.full(6, 0.01 * k)) for k, T in enumerate(poses)])
    depth = bundle.prior_depth

    def cost(move):
        moved = rough.copy()
        for index in (1, 2):
            part = move[6 * (index - 1) : 6 * index]
            turned = (
                se3_exp(np.concatenate([np.zeros(3), part[3:]]))[:3, :3] @ rough[index, :3, :3]
            )
            moved[index, :3, :3] = turned
            moved[index, :3, 3] += part[:3]
        *_, residual = system._observe(bundle, camera, 1e3, moved, depth + move[12:])
        return 0.5 * (residual**2).sum() / 1e6

    system = _System(
        replace(bundle, information=0 * bundle.information), camera, 1e3, rough, depth
    )
    gradient = np.concatenate([system._gradient, system._depth_gradient])
    step = 1e-6 * np.eye(12 + 40)
    numeric = np.array([(cost(e) - cost(-e)) / 2e-6 for e in step])

    assert np.allclose(gradient, numeric, rtol=1e-3, atol=1e-6 * np.abs(numeric).max())


def test_the_window_has_a_bounded_size():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2, pose_noise=0.005)
    tracker, stamp = Tracker(oracle, ON), 0
    for _ in range(2):
        for index in [*range(24), *range(22, 0, -1)]:
            oracle.now = index
            stamp += 100_000_000
            tracked = tracker.track(scene.frame(index, stamp))
        window = tracker._stream.refinement
        assert len(window.poses) <= 7
        assert window.pixels.shape[1] <= 7
        assert len(window.rays) <= 600

    assert np.isfinite(tracked.T_odom_camera).all()


def test_a_new_factor_applies_at_once_to_motion_and_window():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2)

    def steps(factor):
        tracker = Tracker(oracle, ON)
        tracked = run(tracker, oracle, range(12))[-1:]
        scale = ScaleConfig(source='fixed', factor=factor)
        tracker.configure(replace(ON, scale=scale))
        tracked += run(tracker, oracle, range(12, 24))
        motions = [invert(a.T_odom_camera) @ b.T_odom_camera for a, b in pairwise(tracked)]
        return np.array([np.linalg.norm(T[:3, 3]) for T in motions])

    usual = steps(1.0)
    for factor in (2.5, 0.5):
        assert np.allclose(steps(factor) / usual, factor, rtol=0.15)


def test_an_adjustment_far_from_the_prediction_is_rejected(monkeypatch):
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2)

    def wild(bundle, camera, pixel_noise):
        adjusted = adjust(bundle, camera, pixel_noise)
        poses = adjusted.T_window_camera.copy()
        poses[-1, :3, 3] += 0.7
        return replace(adjusted, T_window_camera=poses)

    monkeypatch.setattr('mem3r_ros.tracker.keyframe_refinement.adjust', wild)

    translation, _ = errors(run(Tracker(oracle, ON), oracle, range(8)), scene)

    assert translation < 0.005
