# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Camera at rest: no drift, and motion is detected at once."""

from dataclasses import replace

import cv2
import numpy as np
from oracle import OracleNetwork, Scene, rendered_scene, run
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, se3_exp
from mem3r_ros.tracker import Status, Tracker, TrackerConfig
from mem3r_ros.tracker.config import StillnessConfig

OFF = TrackerConfig(stillness=StillnessConfig(enabled=False))


def noisy(image, seed, sigma=4.0):
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def standing(scene, num_frames, index=0):
    """Return the scene with the camera at rest at one frame; each image has new noise."""
    return Scene(
        np.stack([noisy(scene.images[index], seed) for seed in range(num_frames)]),
        np.repeat(scene.depth[index : index + 1], num_frames, axis=0),
        np.repeat(scene.T_world_camera[index : index + 1], num_frames, axis=0),
        scene.camera,
    )


def textured_plane(pixels_per_frame, num_frames=30, size=(160, 120)):
    """Return a camera that slides along a textured wall 2 m away."""
    random = np.random.default_rng(1)
    wall = cv2.GaussianBlur(
        random.integers(0, 256, (size[1], 4 * size[0], 3)).astype(np.float32), (0, 0), 1.5
    )
    wall = (wall - wall.mean()) * 4 + 128
    camera = Intrinsics(150.0, 150.0, (size[0] - 1) / 2, (size[1] - 1) / 2, *size)
    images, poses = [], []
    for index in range(num_frames):
        shift = pixels_per_frame[index] if np.ndim(pixels_per_frame) else pixels_per_frame * index
        M = np.array([[1.0, 0.0, -10.0 - shift], [0.0, 1.0, 0.0]])
        images.append(cv2.warpAffine(wall, M, size, flags=cv2.INTER_CUBIC).clip(0, 255))
        poses.append(se3_exp(np.array([2.0 * shift / 150.0, 0, 0, 0, 0, 0])))
    images = np.stack([noisy(image, seed, 2.0) for seed, image in enumerate(images)])
    depth = np.full((num_frames, size[1], size[0]), 2.0, np.float32)
    return Scene(images, depth, np.stack(poses), camera)


def test_a_noisy_camera_at_rest_does_not_drift_in_a_thousand_frames():
    scene = standing(rendered_scene(0, 4, (128, 96)), 1000)
    oracle = OracleNetwork(scene, pose_noise=0.01)
    tracker = Tracker(oracle)

    tracked = run(tracker, oracle, range(1000), ())

    assert all((t.T_odom_camera == tracked[0].T_odom_camera).all() for t in tracked)
    assert all((t.twist == 0).all() for t in tracked[1:])
    assert tracked[-1].status is Status.TRACKING
    assert tracked[-1].health.is_still


@pytest.mark.parametrize('index', range(4))
def test_rest_is_detected_in_many_worlds(index):
    scene = standing(rendered_scene(index, 4, (128, 96)), 30)
    oracle = OracleNetwork(scene, pose_noise=0.01)

    tracked = run(Tracker(oracle), oracle, range(30), ())

    assert (tracked[-1].T_odom_camera == tracked[0].T_odom_camera).all()


def test_without_the_detector_the_same_camera_drifts():
    scene = standing(rendered_scene(0, 4, (128, 96)), 50)
    oracle = OracleNetwork(scene, pose_noise=0.01)

    tracked = run(Tracker(oracle, OFF), oracle, range(50), ())

    assert np.linalg.norm(tracked[-1].T_odom_camera[:3, 3]) > 1e-3


def test_the_network_state_does_not_change_at_rest():
    scene = standing(rendered_scene(0, 4, (128, 96)), 20)
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle)
    run(tracker, oracle, [0])
    before = tracker.state

    run(tracker, oracle, range(1, 20))

    assert oracle.updates == [True] + [False] * 19
    assert tracker.state is before


def test_the_first_motion_is_detected_at_once_and_without_a_jump():
    shifts = np.concatenate([np.zeros(15), 1.5 * np.arange(1, 16)])
    scene = textured_plane(shifts)
    oracle = OracleNetwork(scene)

    tracked = run(Tracker(oracle), oracle, range(30), ())

    assert [t.health.is_still for t in tracked[1:15]] == [True] * 14
    assert not any(t.health.is_still for t in tracked[15:])
    step = 2.0 * 1.5 / 150.0
    for index in range(15, 30):
        moved = invert(tracked[index - 1].T_odom_camera) @ tracked[index].T_odom_camera
        assert np.allclose(moved[:3, 3], [step, 0, 0], atol=0.1 * step)
    assert tracked[15].twist[0] == pytest.approx(step / 0.1, rel=0.1)


def test_slow_motion_is_measured():
    scene = textured_plane(0.05, num_frames=100)
    oracle = OracleNetwork(scene)

    tracked = run(Tracker(oracle), oracle, range(100), ())

    held = np.array([t.health.is_still for t in tracked])
    assert held.sum() > 20
    true = scene.T_odom_camera(99)[:3, 3]
    # The missing motion is below the threshold: here a quarter of a pixel in 320.
    assert np.linalg.norm(tracked[-1].T_odom_camera[:3, 3] - true) < 0.004


def test_a_change_of_brightness_is_not_motion():
    scene = standing(rendered_scene(0, 4, (128, 96)), 20)
    gains = np.linspace(0.75, 1.1, 20)[:, None, None, None]
    scene = replace(scene, images=(scene.images * gains).clip(0, 255).astype(np.uint8))
    oracle = OracleNetwork(scene, pose_noise=0.01)

    tracked = run(Tracker(oracle), oracle, range(20), ())

    assert (tracked[-1].T_odom_camera == tracked[0].T_odom_camera).all()


def test_a_person_walking_past_is_not_camera_motion():
    scene = standing(rendered_scene(1, 4, (128, 96)), 20)
    images = scene.images.copy()
    person = np.random.default_rng(5).integers(0, 255, (60, 30, 3), dtype=np.uint8)
    for index in range(20):
        images[index, 20:80, 4 * index : 4 * index + 30] = person[:, : 128 - 4 * index]
    oracle = OracleNetwork(replace(scene, images=images), pose_noise=0.01)

    tracked = run(Tracker(oracle), oracle, range(20), ())

    assert sum(t.health.is_still for t in tracked) >= 15


def test_covariance_does_not_grow_at_rest():
    scene = standing(rendered_scene(0, 4, (128, 96)), 20)
    oracle = OracleNetwork(scene)

    tracked = run(Tracker(oracle), oracle, range(20), ())

    assert np.allclose(tracked[-1].covariance, tracked[1].covariance)
