# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pose refinement by corners and predicted depth."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from oracle import OracleNetwork, Scene, rendered_scene, run
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, rotation_angle
from mem3r_ros.tracker import Status, Tracker, TrackerConfig
from mem3r_ros.tracker.config import RefinementConfig, ScaleConfig, StillnessConfig
from mem3r_ros.worlds import WorldConfig, render_clip

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
    fast = rendered_scene(*SCENE)
    slow = Scene(
        *(np.repeat(part[:12], 3, axis=0) for part in (fast.images, fast.depth)),
        np.repeat(fast.T_world_camera[:12], 3, axis=0),
        fast.camera,
    )
    oracle = OracleNetwork(slow, shrink=2)

    run(Tracker(oracle, ON), oracle, range(36), ())

    num_dense = sum('points_camera' in asked for asked in oracle.asked)
    assert 0 < num_dense < 27


def test_the_path_is_the_same_whether_depth_is_wanted_or_not():
    scene = rendered_scene(*SCENE)
    paths = []
    for outputs in ((), ('depth',)):
        oracle = OracleNetwork(scene, shrink=2)
        tracked = run(Tracker(oracle, ON), oracle, range(24), outputs)
        paths.append(np.array([frame.T_odom_camera for frame in tracked]))

    np.testing.assert_allclose(paths[0], paths[1], atol=1e-9)


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


def test_a_stream_initialises_until_the_scale_of_the_path_has_settled():
    clip = render_clip(2, 24, (320, 240), WorldConfig(world='room', path='handheld'))
    camera = Intrinsics(*(float(value) for value in clip.intrinsics), 320, 240)
    images, depth = clip.image.numpy(), clip.depth_m.numpy()
    scene = Scene(images, depth, clip.T_world_camera.double().numpy(), camera)
    oracle = OracleNetwork(scene, shrink=2)

    statuses = [t.status for t in run(Tracker(oracle, ON), oracle, range(24))]

    assert statuses[:3] == [Status.INITIALISING] * 3
    assert statuses[12:] == [Status.TRACKING] * 12


def test_the_covariance_is_that_of_the_window_and_of_the_network_without_corners():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2)
    blank = OracleNetwork(replace(scene, images=np.full_like(scene.images, 120)), shrink=2)
    blank.config = oracle.config

    seen = run(Tracker(oracle, ON), oracle, range(8))[-1]
    unseen = run(Tracker(blank, ON), blank, range(8))[-1]

    assert seen.health.window_covariance.shape == (6, 6)
    assert np.linalg.eigvalsh(seen.health.window_covariance).min() > 0
    assert unseen.health.window_covariance is None


def test_metres_are_a_guess_until_a_source_measures_them():
    scene = rendered_scene(*SCENE)
    oracle = OracleNetwork(scene, shrink=2)
    known = replace(ON, scale=ScaleConfig(source='fixed', factor=2.0))

    assert run(Tracker(oracle, ON), oracle, range(3))[-1].health.is_metric_guess
    assert not run(Tracker(oracle, known), oracle, range(3))[-1].health.is_metric_guess


class SettlingDepth(OracleNetwork):
    """An oracle whose depth is half too large in the first frames, as that of real networks."""

    def _answer(self, start, is_poisoned):
        T, depth, confidence = super()._answer(start, is_poisoned)
        return T, depth * (1.5 if self.now < 3 else 1.0), confidence


@pytest.mark.parametrize('source', ['distance', 'model'])
def test_a_measured_distance_holds_the_scale_at_once(source):
    scene = rendered_scene(*SCENE)
    oracle = SettlingDepth(scene, shrink=2)
    height, width = scene.depth.shape[1:]
    distance_m = float(scene.depth[0, height // 2, width // 2])
    config = replace(ON, scale=ScaleConfig(source=source, distance_m=distance_m))

    tracked = run(Tracker(oracle, config), oracle, range(24))

    late = [scene.T_world_camera[i] for i in (3, 23)]
    true = float(np.linalg.norm((invert(late[0]) @ late[1])[:3, 3]))
    moved = invert(tracked[3].T_odom_camera) @ tracked[23].T_odom_camera
    assert float(np.linalg.norm(moved[:3, 3])) == pytest.approx(true, rel=0.15)
    if source == 'distance':
        assert tracked[2].status is Status.TRACKING
