# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every launch file as a process: it starts, is used, and ends on Ctrl-C with clean exits."""

import importlib.util
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

from nav_msgs.msg import Odometry
from node_harness import Camera, Listener
import pytest

pytest.importorskip('launch_ros', reason='needs launch and launch_ros of a ROS distribution')

from mem3r_ros.cli.demo import sample_bag
from mem3r_ros.ros.package_files import missing_package
from mem3r_ros.ros.replay.bag_player import find_topics

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

file, *arguments = sys.argv[1:]
source = PythonLaunchDescriptionSource(file)
pairs = [argument.split(':=', 1) for argument in arguments]
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=pairs)])
)
sys.exit(service.run())
"""
# `ros2 bag play`, where that package is not installed: the images and the clock, in real time.
PLAY = """
import os, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
import rclpy
from rclpy.signals import SignalHandlerOptions
from mem3r_ros.ros.replay.bag_player import BagPlayer, find_topics
from pathlib import Path

_, _, bag, *rest = sys.argv[1:]
rate = float(rest[rest.index('--rate') + 1])
rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
node = rclpy.create_node('player')
player = BagPlayer(node, Path(bag), find_topics(Path(bag), None, 'base_link'))
time.sleep(float(rest[rest.index('--delay') + 1]))
for _ in player.play(lambda: time.sleep(0.1 / rate)):
    pass
time.sleep(1.0)
"""
TOPICS = find_topics(sample_bag(), None, 'base_link')
SAMPLE = {
    'bag': sample_bag(),
    'image': TOPICS.image.removesuffix('/compressed'),
    'camera_info': TOPICS.info,
    'image_transport': 'compressed' if TOPICS.is_compressed else 'raw',
}
COMMON = {'mount': 'standalone', 'input_policy': 'all'}
CAMERA = {'mem3r.launch.py': COMMON, 'cameras.launch.py': COMMON | {'cameras': 'front rear'}}


@pytest.fixture
def players(tmp_path):
    """Return the search path of programs, with a player of bags."""
    if shutil.which('ros2') and importlib.util.find_spec('ros2bag'):
        return os.environ['PATH']
    program = tmp_path / 'bin' / 'ros2'
    program.parent.mkdir()
    program.write_text(f'#!{sys.executable}\n{PLAY}')
    program.chmod(0o755)
    return f'{program.parent}:{os.environ["PATH"]}'


@pytest.fixture
def launch(ros_domain, tmp_path, players):
    """Return a function that starts a launch file as a terminal does, in a group of its own."""
    started = []

    def start(name, **arguments):
        log = tmp_path / f'{name}.log'
        given = [f'{argument}:={value}' for argument, value in arguments.items()]
        command = [sys.executable, '-c', LAUNCH, str(ROOT / 'launch' / name), *given]
        environment = os.environ | {'PATH': players, 'PYTHONUNBUFFERED': '1'}
        with open(log, 'wb') as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, start_new_session=True, env=environment
            )
        process.log = log
        started.append(process)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(10.0)


def wait_for(process, text, count=1):
    deadline = time.monotonic() + 120.0
    while process.log.read_text().count(text) < count:
        assert process.poll() is None, process.log.read_text()
        assert time.monotonic() < deadline, process.log.read_text()
        time.sleep(0.1)


def end(process, *, repeat):
    """Press Ctrl-C once or twice: all processes of the terminal get it."""
    os.killpg(process.pid, signal.SIGINT)
    if repeat:
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
    process.wait(30.0)
    log = process.log.read_text()
    for word in ('Traceback', 'process has died', 'ERROR'):
        assert word not in log, log
    return log


@pytest.mark.parametrize('repeat', [False, True], ids=['once', 'twice'])
@pytest.mark.parametrize('name', CAMERA)
def test_ctrl_c_ends_the_nodes_of_cameras(launch, model_file, name, repeat):
    process = launch(name, model=model_file, **CAMERA[name])
    wait_for(process, 'subscribed to', 1 + name.startswith('cameras'))

    assert 'has finished cleanly' in end(process, repeat=repeat)


@pytest.mark.parametrize('repeat', [False, True], ids=['once', 'twice'])
@pytest.mark.parametrize('name', ['replay.launch.py', 'demo.launch.py'])
def test_ctrl_c_ends_a_bag_that_plays(launch, model_file, make_node, spin_until, name, repeat):
    odom = Listener(make_node('peer')).subscribe(Odometry, 'odom')
    bag = SAMPLE if name.startswith('replay') else {}
    process = launch(name, model=model_file, rviz='false', **bag)
    assert spin_until(lambda: odom, 120.0), process.log.read_text()

    assert 'has finished cleanly' in end(process, repeat=repeat)


def test_a_replay_answers_every_image_of_the_bag(launch, model_file, make_node, spin_until):
    odom = Listener(make_node('peer')).subscribe(Odometry, 'odom')

    launch('replay.launch.py', model=model_file, rviz='false', **SAMPLE)

    assert spin_until(lambda: len(odom) >= TOPICS.num_images, 120.0), len(odom)


def test_images_give_odometry(launch, model_file, make_node, spin_until):
    peer = make_node('peer')
    camera = Camera(peer)
    odom = Listener(peer).subscribe(Odometry, 'odom')
    launch('mem3r.launch.py', model=model_file, image='/image', **COMMON)
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0, 120.0)

    camera.send()

    assert spin_until(lambda: odom, 60.0)


@pytest.mark.parametrize(
    ('name', 'package'),
    [
        ('robot_localization.launch.py', 'robot_localization'),
        ('usb_camera.launch.py', 'v4l2_camera'),
    ],
)
def test_a_launch_file_without_its_package_reports_it_and_ends(launch, name, package):
    if not missing_package(package, name):
        pytest.skip(f'{package} is installed')

    process = launch(name)

    process.wait(60.0)
    log = process.log.read_text()
    assert f'{name} needs the ROS package {package}' in log
    assert 'process started' not in log
    assert 'Traceback' not in log
