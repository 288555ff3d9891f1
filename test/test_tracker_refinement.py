# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pose refinement by corners and predicted depth."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from oracle import OracleNetwork, rendered_scene, run
import pytest

from mem3r_ros.geometry import invert, rotation_angle
from mem3r_ros.tracker import Tracker, TrackerConfig
from mem3r_ros.tracker.config import RefinementConfig, ScaleConfig, StillnessConfig

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


def test_refinement_is_skipped_for_images_too_small_for_corners():
    scene = rendered_scene(6, 4, (96, 72))
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


def test_the_window_has_a_bounded_size():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2, pose_noise=0.005)
    tracker, stamp = Tracker(oracle, ON), 0
    for _ in range(2):
        for index in [*range(24), *range(22, 0, -1)]:
            oracle.now = index
            stamp += 100_000_000
            tracked = tracker.track(scene.frame(index, stamp))
        window = tracker._stream.window
        assert len(window.keyframes) <= 12
        assert len(window.landmarks) <= 2000

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
