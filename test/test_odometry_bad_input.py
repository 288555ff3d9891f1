# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Odometry with bad input: a larger covariance and a reason, never an exception or a jump."""

from dataclasses import replace
from itertools import pairwise

import cv2
from layered_scene import LayeredScene, sideways
import numpy as np
from oracle import OracleNetwork, Scene
import pytest
import tiny_networks

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, rotation_angle
from mem3r_ros.odometry import window
from mem3r_ros.tracker import Status, Tracker, TrackerConfig
from mem3r_ros.tracker.config import StillnessConfig
from mem3r_ros.worlds import WorldConfig, render_clip

CONFIG = TrackerConfig(stillness=StillnessConfig(enabled=False))
NUM_FRAMES = 26


def scene_of(config, num_frames=NUM_FRAMES):
    """Render a clip."""
    clip = render_clip(2, num_frames, (320, 240), config)
    camera = Intrinsics(*(float(value) for value in clip.intrinsics), 320, 240)
    return Scene(
        clip.image.numpy(), clip.depth_m.numpy(), clip.T_world_camera.double().numpy(), camera
    )


@pytest.fixture(scope='module')
def scene():
    """Return a hand-held camera in a room, 2 cm and 0.6 degrees a frame."""
    quiet = {'moving_share': 0.0, 'motion_blur_share': 0.0}
    return scene_of(WorldConfig(world='room', path='handheld', **quiet))


def track(scene, indices=None, **fields):
    """Track frames of a scene at 30 Hz with a network that knows the truth, a little noisy."""
    oracle = OracleNetwork(scene, shrink=2, pose_noise=0.003)
    tracker, tracked = Tracker(oracle, CONFIG), []
    for index in range(len(scene)) if indices is None else indices:
        oracle.now = index
        frame = scene.frame(index, 1 + index * 33_333_333, **fields)
        tracked.append(tracker.track(frame, {'confidence'}))
    return tracked


@pytest.fixture(scope='module')
def usual(scene):
    """Return all frames of the scene, tracked."""
    return track(scene)


def path_error(tracked, scene, indices):
    """Return the largest distance to the true path, m."""
    truth = [scene.T_odom_camera(index, indices[0]) for index in indices]
    return max(
        float(np.linalg.norm(frame.T_odom_camera[:3, 3] - T[:3, 3]))
        for frame, T in zip(tracked, truth)
    )


def longest_step(tracked):
    steps = [invert(a.T_odom_camera) @ b.T_odom_camera for a, b in pairwise(tracked)]
    return max(float(np.linalg.norm(T[:3, 3])) for T in steps)


def position_sigma(frame):
    return float(np.sqrt(np.trace(frame.covariance[:3, :3])))


def turn_sigma(frame):
    return float(np.sqrt(np.trace(frame.covariance[3:, 3:])))


def layered(plate_step_m, num_frames=24):
    """Return a camera that moves to the side, and a plate on a blank wall, still at first."""
    layers, poses = LayeredScene(wall_contrast=0.0), sideways(num_frames, 0.02)
    plate = np.maximum(np.arange(num_frames) - num_frames // 2, 0) * plate_step_m
    images, depth = zip(*(layers.view(T, x) for T, x in zip(poses, plate)))
    images = np.stack([cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB) for grey in images])
    return Scene(images, np.stack(depth), poses, layers.camera)


def test_corners_that_are_all_on_a_moving_object_are_reported(usual):
    moving, still = layered(0.08), layered(0.0)

    moved, kept = track(moving), track(still)

    during = moved[len(moved) // 2 + 2 :]
    assert any('disagree' in frame.reason for frame in during)
    assert not any('disagree' in frame.reason for frame in usual)
    assert position_sigma(moved[-1]) > 1.5 * position_sigma(kept[-1])
    assert longest_step(moved) < 0.2
    assert not any(frame.status is Status.LOST for frame in moved)


@pytest.mark.parametrize('factor', [0.9, 1.1])
def test_a_calibration_wrong_by_a_tenth_neither_jumps_nor_loses_the_path(scene, factor):
    wrong = replace(scene.camera, fx=factor * scene.camera.fx, fy=factor * scene.camera.fy)

    tracked = track(scene, camera=wrong)

    length = sum(np.linalg.norm((invert(a) @ b)[:3, 3]) for a, b in pairwise(scene.T_world_camera))
    assert path_error(tracked, scene, range(NUM_FRAMES)) < 0.4 * length
    assert longest_step(tracked) < 0.1
    assert {frame.status for frame in tracked} <= {Status.INITIALISING, Status.TRACKING}


def test_every_third_frame_dropped_keeps_the_path(scene):
    kept = [index for index in range(NUM_FRAMES) if index % 3 != 2]

    tracked = track(scene, kept)

    assert path_error(tracked, scene, kept) < 0.06
    assert tracked[-1].status is Status.TRACKING


def test_a_burst_of_ten_dropped_frames_is_no_jump_off_the_path(scene):
    kept = [*range(8), *range(18, NUM_FRAMES)]

    tracked = track(scene, kept)

    assert path_error(tracked, scene, kept) < 0.1
    assert position_sigma(tracked[8]) > 1.2 * position_sigma(tracked[7])
    assert tracked[-1].status is Status.TRACKING


@pytest.mark.parametrize('failure', ['singular', 'wild'])
def test_an_adjustment_that_fails_is_reported_with_a_larger_covariance(
    scene, usual, monkeypatch, failure
):
    adjusted = window.adjusted

    def wrong(*arguments):
        if failure == 'singular':
            raise np.linalg.LinAlgError('singular')
        solution = adjusted(*arguments)
        solution.T_window_camera[-1, :3, 3] += 50.0
        return solution

    monkeypatch.setattr(window, 'adjusted', wrong)
    tracked = track(scene)

    assert any('not adjusted' in frame.reason for frame in tracked)
    assert turn_sigma(tracked[-1]) > 1.2 * turn_sigma(usual[-1])
    assert longest_step(tracked) < 0.1
    assert path_error(tracked, scene, range(NUM_FRAMES)) < 0.15


def test_rolling_exposure_keeps_the_path():
    rolling = scene_of(WorldConfig(world='room', path='handheld', rolling_share=1.0), 20)

    tracked = track(rolling)

    assert path_error(tracked, rolling, range(20)) < 0.1
    assert longest_step(tracked) < 0.1
    turned = invert(rolling.T_odom_camera(19)) @ tracked[-1].T_odom_camera
    assert rotation_angle(turned[:3, :3]) < np.radians(3)


def test_a_network_without_two_view_geometry_and_training_gives_rotations_by_corners(
    scene, monkeypatch
):
    """
    Random networks of CUT3R's kind: the window works with any network.

    Some random motions and depths lead a window astray, on one processor and not on another, so
    the median of three networks counts.
    """
    small = replace(tiny_networks.CUT3R, img_size=(64, 48))
    monkeypatch.setitem(tiny_networks.CONFIGS, 'cut3r', small)
    ratios = []
    for seed in (3, 5, 6):
        tracker = Tracker(tiny_networks.network('cut3r', seed), CONFIG)
        tracked = [tracker.track(scene.frame(index), {'depth'}) for index in range(16)]

        errors, true = [], []
        for index in range(9, 16):  # the window has settled
            T = invert(tracked[index - 1].T_odom_camera) @ tracked[index].T_odom_camera
            T_true = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
            errors.append(rotation_angle(T[:3, :3].T @ T_true[:3, :3]))
            true.append(rotation_angle(T_true[:3, :3]))
        ratios.append(np.mean(errors) / np.mean(true))
        assert all(frame.health.window_covariance is not None for frame in tracked[9:])
        assert any('corners and network disagree' in frame.reason for frame in tracked)
        assert np.isfinite(tracked[-1].depth).any()
    assert np.median(ratios) < 0.35
