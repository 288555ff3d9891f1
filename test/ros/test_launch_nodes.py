# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402 - what may be missing is asked for before it is imported
"""Launch files that run: the node starts, receives images, answers its services."""

from pathlib import Path

import pytest

_REASON = 'needs launch_pytest of a ROS distribution'
launch_pytest = pytest.importorskip('launch_pytest', reason=_REASON)
pytest.importorskip('launch_ros', reason=_REASON)
if int(pytest.__version__.split('.')[0]) >= 9:
    pytest.skip('launch_pytest of Jazzy needs pytest 8 or older', allow_module_level=True)

from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_pytest.actions import ReadyToTest
from nav_msgs.msg import Odometry
from node_harness import Camera, Listener, call, save_small_model
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

from launch import LaunchDescription

ROOT = Path(__file__).resolve().parents[2]
COMMON = {'mount': 'standalone', 'input_policy': 'all', 'rviz': 'false'}


def including(name, **arguments):
    """Return a description with one launch file, ready at once."""
    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / name))
    include = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    return LaunchDescription([include, ReadyToTest()])


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return str(save_small_model(tmp_path_factory.mktemp('launched') / 'small.safetensors'))


@launch_pytest.fixture
def raw(ros_domain, model):
    return including('mem3r.launch.py', model=model, image='/eye/image_raw', **COMMON)


@launch_pytest.fixture
def compressed(ros_domain, model):
    return including(
        'mem3r.launch.py', model=model, image='/image', image_transport='compressed', **COMMON
    )


@launch_pytest.fixture
def waiting(ros_domain, model):
    return including('mem3r.launch.py', model=model, autostart='false', **COMMON)


@launch_pytest.fixture(params=['true', 'false'], ids=['one process', 'a process for each'])
def two_cameras(request, ros_domain, model):
    arguments = {'model': model, 'mount': 'standalone', 'input_policy': 'all'}
    return including(
        'cameras.launch.py',
        cameras='front rear',
        image_transport='raw compressed',
        shared_network=request.param,
        **arguments,
    )


@pytest.fixture
def peer(make_node):
    return make_node('peer')


@pytest.mark.launch(fixture=raw)
def test_raw_images_from_a_remapped_topic_give_odometry(raw, peer, spin_until):
    camera = Camera(peer, prefix='/eye/')
    camera.raw = peer.create_publisher(type(camera.send()), '/eye/image_raw', 50)
    odom = Listener(peer).subscribe(Odometry, 'odom')
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0, 90.0)

    camera.send()

    assert spin_until(lambda: odom, 60.0)
    assert odom[0].child_frame_id == 'base_link'


@pytest.mark.launch(fixture=compressed)
def test_compressed_images_give_odometry(compressed, peer, spin_until):
    camera = Camera(peer)
    odom = Listener(peer).subscribe(Odometry, 'odom')
    assert spin_until(lambda: camera.compressed.get_subscription_count() > 0, 90.0)

    camera.send_compressed()

    assert spin_until(lambda: odom, 60.0)


@pytest.mark.launch(fixture=waiting)
@pytest.mark.parametrize('name', ['reset', 'pause', 'save_map'])
def test_services_answer_before_the_node_is_configured(waiting, peer, spin_until, name):
    client = peer.create_client(Trigger, f'mem3r/{name}')
    assert spin_until(client.service_is_ready, 90.0)

    answer = call(peer, spin_until, Trigger, f'mem3r/{name}')

    assert 'unconfigured' in answer.message


@pytest.mark.launch(fixture=two_cameras)
def test_two_cameras_have_a_node_each_with_their_own_transport(two_cameras, peer, spin_until):
    front, rear = Camera(peer, prefix='/front/'), Camera(peer, prefix='/rear/')
    front.raw = peer.create_publisher(type(front.send()), '/front/image_raw', 50)
    rear.compressed = peer.create_publisher(CompressedImage, '/rear/image_raw/compressed', 50)
    odom = [Listener(peer).subscribe(Odometry, f'/{name}/odom') for name in ('front', 'rear')]
    assert spin_until(lambda: front.raw.get_subscription_count() > 0, 90.0)
    assert spin_until(lambda: rear.compressed.get_subscription_count() > 0, 90.0)

    front.send()
    rear.send_compressed()

    assert spin_until(lambda: all(odom), 60.0)
