# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pose refinement by corners and predicted depth."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from oracle import OracleNetwork, rendered_scene, run
import pytest

from mem3r_ros.geometry import invert, rotation_angle, se3_exp
from mem3r_ros.tracker import Tracker, TrackerConfig
from mem3r_ros.tracker.config import RefinementConfig, StillnessConfig
from mem3r_ros.tracker.refinement import Motion, fuse

STILL = StillnessConfig(enabled=False)
OFF = TrackerConfig(stillness=STILL)
ON = replace(OFF, refinement=RefinementConfig(enabled=True))
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
    oracle = OracleNetwork(scene, pose_noise=0.02, depth_noise=depth_noise)

    rough = errors(run(Tracker(oracle, OFF), oracle, range(24)), scene)
    fine = errors(run(Tracker(oracle, ON), oracle, range(24)), scene)

    assert fine[0] < 0.5 * rough[0]
    assert fine[1] < 0.5 * rough[1]


def test_refinement_does_not_spoil_a_perfect_network():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene)

    translation, rotation = errors(run(Tracker(oracle, ON), oracle, range(24)), scene)

    assert translation < 0.005
    assert rotation < 0.002


def test_without_corners_the_network_s_pose_is_kept():
    scene = rendered_scene(*SCENE)
    images = np.full_like(scene.images, 120)
    images[:, ::40] = 200
    oracle = OracleNetwork(replace(scene, images=images))

    tracked = run(Tracker(oracle, ON), oracle, range(10))

    assert errors(tracked, scene)[0] < 1e-9


def test_refinement_narrows_the_covariance_and_survives_a_snapshot():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, pose_noise=0.01)
    tracker = Tracker(oracle, ON)
    plain = run(Tracker(oracle, OFF), oracle, range(10))[-1]
    fine = run(tracker, oracle, range(10))[-1]
    snapshot = tracker.snapshot()
    expected = run(tracker, oracle, range(10, 14))[-1]

    restored = Tracker(oracle, ON)
    restored.restore(snapshot)

    assert np.trace(fine.covariance) < np.trace(plain.covariance)
    again = run(restored, oracle, range(10, 14))[-1]
    assert (again.T_odom_camera == expected.T_odom_camera).all()


def test_fusion_weighs_by_information():
    first = Motion(np.eye(4), np.diag([1.0, 1e-6, 1.0, 1.0, 1e-6, 1.0]))
    second = Motion(se3_exp(np.array([0.1, 0.1, 0, 0, 0.1, 0])), np.diag([1e-6, 1.0, 1, 1, 1, 1]))

    fused = fuse(first, second)

    assert fused.T_last_camera[0, 3] == pytest.approx(0.1, rel=0.1)
    assert fused.T_last_camera[1, 3] == pytest.approx(0.0, abs=1e-6)
    assert rotation_angle(fused.T_last_camera[:3, :3]) < 1e-6
    assert (np.diag(fused.covariance) <= np.diag(first.covariance) + 1e-15).all()
