# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Snapshots: a restored stream gives the results of one that never stopped."""

from dataclasses import replace

import numpy as np
from oracle import (
    FRAME_NS,
    OracleNetwork,
    adversarial_origin,
    adversarial_unit,
    moving_scene,
    rendered_scene,
    run,
)
import pytest
from safetensors.torch import load_file, save_file

from mem3r_ros.errors import UserError
from mem3r_ros.odometry.fusion_config import DepthFusionConfig
from mem3r_ros.tracker import Status, Tracker, TrackerConfig
from mem3r_ros.tracker.config import DepthConfig, ScaleConfig

CONFIG = TrackerConfig(reset_interval=7, scale=ScaleConfig(source='distance', distance_m=3.0))


def same(first, second):
    assert first.stamp_ns == second.stamp_ns
    assert (first.T_odom_camera == second.T_odom_camera).all()
    assert (first.covariance == second.covariance).all()
    assert (first.twist == second.twist).all()
    assert first.status is second.status
    assert first.segment == second.segment
    assert first.scale == second.scale
    if first.depth is not None:
        assert np.array_equal(first.depth, second.depth, equal_nan=True)


def stormy_oracle():
    scene = moving_scene(80)
    images = scene.images.copy()
    images[[22, 23, 24, 45]] = 1
    return OracleNetwork(
        replace(scene, images=images), unit=adversarial_unit, pose_noise=0.002, poison=[60]
    )


@pytest.mark.parametrize('at', [1, 10, 23, 40, 62])
def test_a_restored_stream_gives_identical_results(tmp_path, at):
    oracle = stormy_oracle()
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(at))
    tracker.snapshot(tmp_path / 'stream.safetensors')
    expected = run(tracker, oracle, range(at, 80))

    restored = Tracker(oracle, CONFIG)
    restored.restore(tmp_path / 'stream.safetensors')

    for first, second in zip(expected, run(restored, oracle, range(at, 80))):
        same(first, second)


def test_an_old_snapshot_keeps_pose_and_scale_and_begins_a_new_segment():
    oracle = OracleNetwork(moving_scene(), origin=adversarial_origin)
    tracker = Tracker(oracle, CONFIG)
    saved = run(tracker, oracle, range(20))[-1]
    snapshot = tracker.snapshot()
    restored, hour_ns = Tracker(oracle, CONFIG), 3600 * 10**9
    restored.restore(snapshot)

    tracked = []
    for index in (30, 31, 32):
        oracle.now = index
        frame = oracle.scene.frame(index, (index + 1) * FRAME_NS + hour_ns)
        tracked.append(restored.track(frame))

    assert np.allclose(tracked[0].T_odom_camera, saved.T_odom_camera, atol=1e-12)
    assert tracked[0].status is Status.DEGRADED
    assert tracked[0].reason == 'new segment: the loaded state is 3601.1 s old'
    assert (tracked[0].twist == 0).all()
    assert np.trace(tracked[0].covariance) > 100 * np.trace(saved.covariance)
    assert tracked[0].segment == saved.segment + 1
    assert tracked[0].scale == saved.scale
    assert [t.status for t in tracked[1:]] == [Status.TRACKING] * 2
    moved = np.linalg.inv(tracked[0].T_odom_camera) @ tracked[2].T_odom_camera
    assert 0.05 < np.linalg.norm(moved[:3, 3]) / saved.scale < 0.15


def test_an_old_snapshot_does_not_move_with_a_dark_first_image():
    oracle = OracleNetwork(moving_scene(), origin=adversarial_origin)
    tracker = Tracker(oracle, CONFIG)
    saved = run(tracker, oracle, range(20))[-1]
    snapshot = tracker.snapshot()
    restored, hour_ns = Tracker(oracle, CONFIG), 3600 * 10**9
    restored.restore(snapshot)

    tracked = []
    for index in (30, 31, 32, 33):
        oracle.now = index
        frame = oracle.scene.frame(index, (index + 1) * FRAME_NS + hour_ns)
        if index < 32:
            frame = replace(frame, image_rgb_uint8=np.zeros_like(frame.image_rgb_uint8))
        tracked.append(restored.track(frame))

    for dark in tracked[:3]:
        assert np.allclose(dark.T_odom_camera, saved.T_odom_camera, atol=1e-12)
        assert (dark.twist == 0).all()
    assert [t.segment - saved.segment for t in tracked] == [0, 0, 1, 1]
    assert tracked[2].reason == 'new segment: the loaded state is 3601.1 s old'
    assert tracked[3].status is Status.TRACKING


def test_a_recent_snapshot_keeps_its_state_and_measures_the_motion_since():
    oracle = OracleNetwork(moving_scene())
    tracker = Tracker(oracle)
    run(tracker, oracle, range(20))
    snapshot = tracker.snapshot()
    run(tracker, oracle, range(20, 24))

    tracker.restore(snapshot)
    tracked = run(tracker, oracle, [26])[0]

    assert tracked.status is Status.TRACKING
    assert tracked.segment == 0
    assert np.allclose(tracked.T_odom_camera, oracle.scene.T_odom_camera(26), atol=1e-6)


def test_later_frames_do_not_change_a_snapshot_in_memory():
    oracle = stormy_oracle()
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(10))
    snapshot = tracker.snapshot()
    expected = run(tracker, oracle, range(10, 20))

    for _ in range(2):
        tracker.restore(snapshot)
        for first, second in zip(expected, run(tracker, oracle, range(10, 20))):
            same(first, second)


def test_the_real_network_continues_with_identical_results(tmp_path):
    from mem3r_ros.model import ModelConfig, build_model

    model = build_model(ModelConfig.preset('mem3r-tiny')).eval()
    scene = moving_scene(12, (128, 96))
    config = TrackerConfig(reset_interval=4, update_rule='filt3r')
    tracker = Tracker(model, config)
    for index in range(6):
        tracker.track(scene.frame(index))
    tracker.snapshot(tmp_path / 'stream.safetensors')
    expected = [tracker.track(scene.frame(index)) for index in range(6, 10)]

    restored = Tracker(model, config)
    restored.restore(tmp_path / 'stream.safetensors')

    for index, first in enumerate(expected):
        same(first, restored.track(scene.frame(6 + index)))


def test_a_failed_write_does_not_change_the_old_file(tmp_path, monkeypatch):
    oracle = stormy_oracle()
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(3))
    path = tmp_path / 'stream.safetensors'
    tracker.snapshot(path)
    before = path.read_bytes()

    def full_disk(_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', full_disk)
    with pytest.raises(UserError, match='No space left'):
        tracker.snapshot(path)

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_snapshot_written_by_version_0_1_continues_its_stream(repository_dir):
    oracle = OracleNetwork(
        rendered_scene(6, 24, (192, 128)), shrink=2, pose_noise=0.005, depth_noise=0.01
    )
    # Version 0.1 had no fused depth.
    depth = DepthConfig(fusion=DepthFusionConfig(enabled=False))
    config = TrackerConfig(reset_interval=8, depth=depth)
    tracker, restored = Tracker(oracle, config), Tracker(oracle, config)
    run(tracker, oracle, range(12))

    restored.restore(repository_dir / 'test/data/stream_0_1.safetensors')

    expected = run(tracker, oracle, range(12, 24))
    for first, second in zip(expected, run(restored, oracle, range(12, 24))):
        assert second.segment == first.segment
        assert second.status is first.status
        # The window of keyframes is not in it and starts anew.
        assert np.allclose(second.T_odom_camera, first.T_odom_camera, atol=0.02)
    assert first.segment == 3


def test_files_that_are_not_snapshots_are_refused(tmp_path):
    oracle = stormy_oracle()
    tracker = Tracker(oracle, CONFIG)
    path = tmp_path / 'stream.safetensors'
    with pytest.raises(UserError, match='cannot read'):
        tracker.restore(path)
    path.write_bytes(b'not a snapshot at all')
    with pytest.raises(UserError, match='cannot read'):
        tracker.restore(path)
    tracker.snapshot(path)
    tensors = load_file(path)
    save_file(tensors, path, {'format': 'something else'})
    with pytest.raises(UserError, match='not a snapshot'):
        tracker.restore(path)
    save_file(tensors, path, {'format': 'mem3r_ros stream', 'version': '0', 'values': '{}'})
    with pytest.raises(UserError, match='version 0'):
        tracker.restore(path)


def test_a_snapshot_of_another_network_is_refused():
    oracle, other = stormy_oracle(), OracleNetwork(moving_scene(10, (96, 64)))
    snapshot = Tracker(oracle, CONFIG).snapshot()

    with pytest.raises(UserError, match='another network'):
        Tracker(other, CONFIG).restore(snapshot)


def test_a_refused_snapshot_does_not_change_the_stream(tmp_path):
    oracle = stormy_oracle()
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(5))
    snapshot = tracker.snapshot()
    del snapshot.values['segments.index']

    with pytest.raises(UserError, match=r'lacks segments\.index'):
        tracker.restore(snapshot)

    assert run(tracker, oracle, [5])[0].stamp_ns == 600_000_000


def test_a_snapshot_without_the_fields_that_were_added_later_is_restored():
    oracle = stormy_oracle()
    tracker = Tracker(oracle, CONFIG)
    run(tracker, oracle, range(5))
    snapshot = tracker.snapshot()
    for name in ('window.num_flawed', 'window.velocity_error_px'):
        del snapshot.values[name]
    del snapshot.tensors['places.alike_m']

    tracker.restore(snapshot)

    assert run(tracker, oracle, [5])[0].stamp_ns == 600_000_000


def test_snapshots_do_not_grow_with_the_stream():
    oracle = OracleNetwork(moving_scene(80))
    tracker = Tracker(oracle)
    sizes = []
    for start in range(0, 80, 20):
        run(tracker, oracle, range(start, start + 20), ())
        tensors = tracker.snapshot().tensors.values()
        sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))

    assert sizes[-1] - sizes[1] <= 40  # corners of the newest image
