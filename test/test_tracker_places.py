# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tracker with a place memory: corrected path, restart in a known place, a camera moved."""

from dataclasses import replace
import threading

import numpy as np
from oracle import OracleNetwork, Scene, run
from plyfile import PlyData
import pytest
from revisited import FRAME_NS, drifting, path_error, rendered_walk
from safetensors.torch import load_file, save_file

from mem3r_ros.cli.in_map import corrected, map_notes
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import T_FLU_OPTICAL, invert
from mem3r_ros.odometry.config import RefinementConfig
from mem3r_ros.places import PlacesConfig
from mem3r_ros.places.place_map import PlaceMap
from mem3r_ros.reports import RunRecorder
from mem3r_ros.tracker import Tracker, TrackerConfig
from mem3r_ros.tracker.config import HealthConfig
from mem3r_ros.trajectory import Trajectory

# The walks are rendered with large steps, which the check of the images would refuse.
CONFIG = TrackerConfig(
    health=HealthConfig(check_continuity=False),
    refinement=RefinementConfig(enabled=False),
    places=PlacesConfig(enabled=True, wait=True),
)
WALK = ('loop', 10, 300, 3)
LAP = 80  # frames of the walk's first lap


def oracle_of(walk, share):
    """Return a network that gives drifting poses for the images of a walk."""
    poses, scale = drifting(walk, share)
    depth = walk.depth * scale[:, None, None].astype(np.float32)
    return OracleNetwork(Scene(walk.rgb, depth, poses, walk.camera), shrink=5)


def true_pose(walk, frame):
    """Return the true pose in the odom frame of a stream that began with the walk."""
    return T_FLU_OPTICAL @ invert(walk.T_world_camera[0]) @ walk.T_world_camera[frame]


def test_the_path_in_the_map_is_corrected_and_the_odometry_is_not():
    walk = rendered_walk(*WALK)
    oracle = oracle_of(walk, 0.03)
    plain = run(Tracker(oracle, replace(CONFIG, places=PlacesConfig())), oracle, range(len(walk)))

    tracker = Tracker(oracle, CONFIG)
    tracked = run(tracker, oracle, range(len(walk)))

    odom = np.stack([one.T_odom_camera for one in tracked])
    assert (odom == np.stack([one.T_odom_camera for one in plain])).all()
    assert all(one.T_map_camera is None and one.correction is None for one in plain)
    correction = tracked[-1].correction
    assert correction.num_recognised > 0 and tracked[-1].is_located
    in_map = correction.path(np.array([one.stamp_ns for one in tracked]), odom)
    assert path_error(in_map, walk.T_world_camera) < 0.4 * path_error(odom, walk.T_world_camera)
    np.testing.assert_allclose(in_map[-1], tracked[-1].T_map_camera, atol=1e-6)
    # The same path is what mem3r run writes, and its page has the error.
    stamps = np.array([one.stamp_ns for one in tracked])
    written = corrected(tracker.places, Trajectory(stamps, odom))
    np.testing.assert_array_equal(written.poses, in_map)
    notes = map_notes(written, correction, Trajectory(stamps, walk.T_world_camera))
    assert f'recognised {correction.num_recognised} times' in notes[0]
    assert 'ATE of the corrected path' in notes[1]


def test_a_restarted_stream_finds_its_place_within_two_seconds(tmp_path):
    walk = rendered_walk(*WALK)
    oracle = oracle_of(walk, 0.0)
    first = Tracker(oracle, CONFIG)
    run(first, oracle, range(LAP))
    first.snapshot(tmp_path / 'state.safetensors')

    second = Tracker(oracle, CONFIG)
    second.restore(tmp_path / 'state.safetensors')
    tracked = []
    for frame in range(15, 15 + 2_000_000_000 // FRAME_NS):
        oracle.now = frame
        stamp_ns = int(walk.stamps_ns[frame]) + 3_600 * 10**9
        tracked.append(second.track(oracle.scene.frame(frame, stamp_ns)))

    assert tracked[0].T_map_camera is None and not tracked[0].is_located
    last = tracked[-1]
    assert last.is_located
    true = true_pose(walk, 15 + len(tracked) - 1)
    assert np.linalg.norm(last.T_map_camera[:3, 3] - true[:3, 3]) < 0.15
    assert np.linalg.norm(last.T_odom_camera[:3, 3] - true[:3, 3]) > 0.4
    assert 0.0 < last.map_covariance[0, 0] < 0.1


def test_a_restored_place_memory_is_the_saved_one(tmp_path):
    walk = rendered_walk(*WALK)
    oracle = oracle_of(walk, 0.03)
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(90))
    tracker.snapshot(tmp_path / 'state.safetensors')
    expected = run(tracker, oracle, range(90, len(walk)))

    restored = Tracker(oracle, CONFIG)
    restored.restore(tmp_path / 'state.safetensors')
    tracked = run(restored, oracle, range(90, len(walk)))

    # Recognitions that wait for agreement are not saved; the rest of the memory is.
    for first, second in zip(expected, tracked):
        apart = first.T_map_camera[:3, 3] - second.T_map_camera[:3, 3]
        assert np.linalg.norm(apart) < 0.1
    assert tracked[-1].is_located
    assert tracked[-1].correction.num_recognised >= expected[-1].correction.num_recognised - 3


def test_a_camera_that_was_carried_away_in_the_dark_is_located_again():
    walk = rendered_walk(*WALK)
    images = walk.rgb.copy()
    images[LAP:] = 1  # dark
    oracle = oracle_of(replace(walk, rgb=images), 0.0)
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(LAP + 20))
    tracked = []
    for step in range(20):
        oracle.now = 20 + step
        stamp_ns = int(walk.stamps_ns[-1]) + (step + 1) * FRAME_NS
        tracked.append(tracker.track(oracle.scene.frame(oracle.now, stamp_ns)))

    assert not tracked[0].is_located and tracked[0].map_covariance[0, 0] > 100.0
    assert tracked[-1].is_located and tracked[-1].map_covariance[0, 0] < 0.1
    error = tracked[-1].T_map_camera[:3, 3] - true_pose(walk, 39)[:3, 3]
    assert np.linalg.norm(error) < 0.15


def test_a_busy_recognition_never_makes_the_tracker_wait(monkeypatch):
    walk = rendered_walk(*WALK)
    oracle = oracle_of(walk, 0.0)
    released = threading.Event()
    process = PlaceMap.process
    monkeypatch.setattr(PlaceMap, 'process', lambda *given: (released.wait(), process(*given))[1])
    tracker = Tracker(oracle, replace(CONFIG, places=PlacesConfig(enabled=True)))

    tracked = run(tracker, oracle, range(30))
    released.set()
    tracker.places.flush()

    assert len(tracked) == 30
    assert tracker.places.num_left_out > 0
    assert len(tracker.places.correction) == 3


def test_a_keyframe_that_fails_does_not_end_the_stream(monkeypatch, caplog):
    walk = rendered_walk(*WALK)
    oracle = oracle_of(walk, 0.0)
    monkeypatch.setattr(PlaceMap, 'process', lambda *given: 1 / 0)
    tracker = Tracker(oracle, CONFIG)

    tracked = run(tracker, oracle, range(8))

    assert len(tracked) == 8 and tracker.places.num_failed > 0
    assert 'ZeroDivisionError' in caplog.text


def test_a_reset_forgets_all_places():
    walk = rendered_walk(*WALK)
    oracle = oracle_of(walk, 0.0)
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(10))

    tracker.request_reset()

    assert len(tracker.places.correction) == 0
    assert run(tracker, oracle, range(10, 12))[-1].is_located


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('places.edge_ends', lambda values: values + 1000, 'edges to places that do not exist'),
        ('places.log_scale', lambda values: values + 1e3, 'places.log_scale'),
        ('places.depth', lambda values: values * 0.0, 'depths that are not positive'),
        ('places.T_map_camera', lambda values: values * 2.0, 'places.T_map_camera'),
    ],
)
def test_a_damaged_place_memory_is_refused(tmp_path, name, change, message):
    walk = rendered_walk(*WALK)
    oracle = oracle_of(walk, 0.0)
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(10))
    path = tmp_path / 'state.safetensors'
    tracker.snapshot(path)
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, 'pt') as file:
        metadata = file.metadata()
    tensors[name] = change(tensors[name])
    save_file(tensors, path, metadata)

    with pytest.raises(UserError, match=message):
        Tracker(oracle, CONFIG).restore(path)


def test_the_points_of_a_run_follow_the_corrected_path(tmp_path):
    walk = rendered_walk(*WALK)
    oracle = oracle_of(walk, 0.03)
    tracker = Tracker(oracle, CONFIG)
    recorder = RunRecorder(tmp_path / 'out', title='walk', has_places=True)
    for frame in range(len(walk)):
        oracle.now = frame
        tracked = tracker.track(oracle.scene.frame(frame, int(walk.stamps_ns[frame])), ())
        recorder.add_pose(tracked.stamp_ns, tracked.T_odom_camera)
        # One point for each image, where the camera is.
        point, colour = np.zeros((1, 3)), np.full((1, 3), frame, np.uint8)
        recorder.add_points(tracked.stamp_ns, point, colour)
    in_map = corrected(tracker.places, recorder.trajectory())

    recorder.finish(in_map=in_map, correction=tracker.places.correction)

    cloud = PlyData.read(tmp_path / 'out' / 'map_corrected.ply')['vertex']
    assert len(cloud) > 50
    points = np.stack([cloud['x'], cloud['y'], cloud['z']], axis=1)
    apart = np.linalg.norm(points - in_map.poses[cloud['red'].astype(int), :3, 3], axis=1)
    moved = np.linalg.norm(in_map.poses[:, :3, 3] - recorder.trajectory().poses[:, :3, 3], axis=1)
    assert np.median(apart) < 0.3 * np.median(moved)
