# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one process: a node each, with its own parameters, and one network."""

import signal
import subprocess
import sys
import time

from nav_msgs.msg import Odometry
from node_harness import Camera, Listener
import pytest

from mem3r_ros.ros.graph_checks import topics_of
from mem3r_ros.ros.launch_settings import node_settings
from mem3r_ros.ros.network_pool import NetworkPool
from mem3r_ros.ros.node import NEXT_NODE, split_arguments

COMMAND = [sys.executable, '-m', 'mem3r_ros.ros.node']


def arguments_of(name, model_file, **values):
    """Return the arguments of one node, as cameras.launch.py makes them."""
    settings = node_settings(
        {
            'model': str(model_file),
            'mount': 'standalone',
            'input_policy': 'all',
            'image': f'/{name}/image',
            'camera_info': f'/{name}/camera_info',
        }
        | values
    )
    *arguments, end = settings.ros_arguments('mem3r', name, 'config/default.yaml')
    return [*arguments, '-p', 'warm_up_size:=[0, 0]', '-p', 'input.camera_info_wait:=0.0', end]


@pytest.fixture
def process(ros_domain, model_file, tmp_path):
    """Return a running process with one node for raw and one for compressed images."""
    log = tmp_path / 'nodes.log'
    front = arguments_of('front', model_file)
    rear = arguments_of('rear', model_file, image_transport='compressed', publish_tf='false')
    with open(log, 'wb') as file:
        started = subprocess.Popen([*COMMAND, *front, NEXT_NODE, *rear], stdout=file, stderr=file)
    started.log = log
    yield started
    started.kill()
    started.wait(10.0)


@pytest.mark.parametrize('repeat', [False, True])
def test_each_camera_has_its_own_topics_and_parameters_in_one_process(
    process, make_node, spin_until, repeat
):
    peer = make_node('peer')
    front, rear = Camera(peer, prefix='/front/'), Camera(peer, prefix='/rear/')
    listener = Listener(peer)
    odom = {name: listener.subscribe(Odometry, f'/{name}/odom') for name in ('front', 'rear')}
    assert spin_until(lambda: front.raw.get_subscription_count() > 0, 90.0)
    assert spin_until(lambda: rear.compressed.get_subscription_count() > 0, 90.0)
    assert rear.raw.get_subscription_count() == 0

    for _ in range(4):
        front.send()
        rear.send_compressed()

    assert spin_until(lambda: len(odom['front']) == len(odom['rear']) == 4, 60.0)
    process.send_signal(signal.SIGINT)
    if repeat:
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    assert process.wait(15.0) == 0
    log = process.log.read_text()
    for word in ('Traceback', 'ERROR', 'skipped'):
        assert word not in log, log


def test_nodes_with_the_same_network_settings_share_one(start_node, ros_context):
    pool = NetworkPool()
    options = {'load_network': pool.load}

    front = start_node(options=options | {'namespace': 'front'})
    rear = start_node(options=options | {'namespace': 'rear'})
    other = start_node(options=options | {'namespace': 'other'}, dtype='bfloat16')

    assert front.tracker.model is rear.tracker.model
    assert other.tracker.model is not front.tracker.model
    assert (front.dtype, other.dtype) == ('float32', 'bfloat16')


def test_both_nodes_of_a_shared_network_track(start_node, make_node, spin_until):
    options = {'load_network': NetworkPool().load}
    peer = make_node('peer')
    cameras, odometry = [], []
    for name in ('front', 'rear'):
        start_node(options=options | {'namespace': name})
        cameras.append(Camera(peer, prefix=f'/{name}/'))
        odometry.append(Listener(peer).subscribe(Odometry, f'/{name}/odom'))
    assert spin_until(lambda: all(c.raw.get_subscription_count() > 0 for c in cameras))

    for _ in range(5):
        for camera in cameras:
            camera.send()

    assert spin_until(lambda: [len(received) for received in odometry] == [5, 5], 60.0)


def test_results_of_another_camera_are_not_named_as_a_camera(start_node, make_node, spin_until):
    options = {'load_network': NetworkPool().load}
    front = start_node(options=options | {'namespace': 'front'})
    start_node(options=options | {'namespace': 'rear'})
    driver = Camera(make_node('driver'), prefix='/left/')

    def images():
        return topics_of(front, 'sensor_msgs/msg/Image')

    assert spin_until(lambda: '/left/image' in images())
    assert images() == [driver.raw.topic_name]


def test_two_nodes_of_one_name_are_refused(ros_domain, model_file):
    same = arguments_of('front', model_file)

    done = subprocess.run(
        [*COMMAND, *same, NEXT_NODE, *same], capture_output=True, text=True, timeout=90
    )

    assert done.returncode == 2
    assert 'two nodes of this process are /front/mem3r' in done.stderr


def test_the_arguments_of_the_process_are_split_between_its_nodes():
    assert split_arguments(['a', '-p', 'b']) == [['a', '-p', 'b']]
    assert split_arguments(['a', NEXT_NODE, 'b']) == [['a'], ['b']]


def test_an_argument_that_is_given_precedes_the_preset_of_the_camera():
    settings = node_settings({'camera': 'usb_cam', 'image': '/mine', 'publish_tf': 'false'})

    assert settings.image == '/mine'
    assert settings.camera_info == '/camera/camera_info'
    assert settings.parameters == {
        'use_sim_time': False, 'mount': 'standalone', 'publish_tf': False
    }  # fmt: skip
    assert settings.expected_frame == ''
    assert node_settings({'camera': 'gazebo'}).parameters['use_sim_time'] is True
