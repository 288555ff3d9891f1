# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Each script of examples/ does what its first line says."""

import importlib.util
from pathlib import Path
import sys

import cv2
import pytest
from tiny_networks import network

from mem3r_ros.cli.benchmark import moving_texture
from mem3r_ros.data import live_camera
from mem3r_ros.model import save_checkpoint
from mem3r_ros.trajectory import read_tum

EXAMPLES = Path(__file__).resolve().parent.parent / 'examples'


def load(name):
    spec = importlib.util.spec_from_file_location('example', EXAMPLES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'wall.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10.0, (64, 48))
    for picture in moving_texture(64, 48, 5):
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture
def model(tmp_path):
    path = tmp_path / 'small.safetensors'
    save_checkpoint(network('small'), path)
    return str(path)


def test_a_video_becomes_a_trajectory(video, model, tmp_path, monkeypatch, capsys):
    trajectory = tmp_path / 'trajectory.txt'
    words = ['example', str(video), str(trajectory), '--model', model]
    monkeypatch.setattr(sys, 'argv', words)

    load('video_to_trajectory.py').main()

    assert len(read_tum(trajectory)) == 5
    assert '5 poses' in capsys.readouterr().out


def test_a_camera_is_logged_for_rerun(video, model, tmp_path, monkeypatch):
    pytest.importorskip('rerun')
    monkeypatch.setattr(live_camera, 'device_number', lambda _: None)
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, 'VideoCapture', lambda *_: capture(str(video)))
    words = ['example', '0', '--save', str(tmp_path / 'run.rrd'), '--max-frames', '1']
    monkeypatch.setattr(sys, 'argv', [*words, '--model', model])

    load('live_camera_to_rerun.py').main()

    assert b'/odom/path' in (tmp_path / 'run.rrd').read_bytes()


def test_the_launch_file_starts_the_node_and_nav2():
    compile((EXAMPLES / 'nav2.launch.py').read_text(), 'nav2.launch.py', 'exec')
    pytest.importorskip('launch_ros', reason='needs launch and launch_ros of a ROS distribution')

    entities = load('nav2.launch.py').generate_launch_description().entities

    names = [type(entity).__name__ for entity in entities]
    assert names.count('IncludeLaunchDescription') == 2
    assert names.count('DeclareLaunchArgument') == 3
