# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The shipped recording, and the command that makes it."""

from pathlib import Path

import numpy as np
import pytest

from mem3r_ros.cli.main import main
from mem3r_ros.data import open_sequence
from mem3r_ros.worlds import sample_recording as sample

BAG = Path(sample.__file__).parents[1] / 'samples' / sample.SAMPLE


def test_the_shipped_recording_has_the_topics_of_a_camera_and_its_truth():
    reader = pytest.importorskip('rosbags.rosbag2')

    with reader.Reader(BAG) as bag:
        counts = {topic: (info.msgtype, info.msgcount) for topic, info in bag.topics.items()}

    assert counts == {
        '/camera/image_raw/compressed': ('sensor_msgs/msg/CompressedImage', sample.NUM_FRAMES),
        '/camera/camera_info': ('sensor_msgs/msg/CameraInfo', sample.NUM_FRAMES),
        '/tf': ('tf2_msgs/msg/TFMessage', sample.NUM_FRAMES),
    }
    assert sum(file.stat().st_size for file in BAG.iterdir()) <= sample.MAX_BYTES


def test_the_shipped_recording_reads_back_with_even_stamps_poses_and_focal_length():
    pytest.importorskip('rosbags')

    frames = list(open_sequence(BAG))

    assert len(frames) == sample.NUM_FRAMES
    assert set(np.diff([frame.stamp_ns for frame in frames])) == {sample.PERIOD_NS}
    truth = sample.loop_path(sample.NUM_FRAMES)
    for frame, pose in zip(frames, truth, strict=False):
        assert frame.image.shape == (sample.SIZE[1], sample.SIZE[0], 3)
        assert frame.camera.fx == frame.camera.fy == sample.FOCAL_PX
        assert np.allclose(frame.T_world_camera, pose, atol=1e-6)
    assert np.allclose(truth[0], truth[-1])  # a loop


def test_the_command_renders_the_shipped_room(tmp_path, monkeypatch, capsys):
    pytest.importorskip('rosbags')
    monkeypatch.setattr(sample, 'NUM_FRAMES', 2)
    monkeypatch.setattr(sample, 'OVERSAMPLING', 1)
    monkeypatch.setattr(sample, 'loop_path', lambda count, path=sample.loop_path: path(150)[:3])

    assert main(['sample', '--output', str(tmp_path / 'bag')]) == 0

    assert 'MiB' in capsys.readouterr().out
    made, shipped = list(open_sequence(tmp_path / 'bag')), iter(open_sequence(BAG))
    for frame in made:
        difference = np.abs(frame.image.astype(int) - next(shipped).image.astype(int))
        assert difference.mean() < 8


def test_a_folder_that_is_not_a_recording_is_not_overwritten(tmp_path, capsys):
    (tmp_path / 'precious').write_text('data')

    assert main(['sample', '--output', str(tmp_path)]) == 2

    assert 'not a recording' in capsys.readouterr().err
    assert (tmp_path / 'precious').exists()
