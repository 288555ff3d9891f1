# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Diagnostics: problems with their remedy, and figures of a working node."""

import threading
import time

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from node_harness import FRAME, START_NS, Camera
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mem3r_ros.ros.doctor import Examination, examine
from mem3r_ros.ros.finding import Level
from mem3r_ros.ros.graph_checks import (
    check_dds_profile,
    check_publishers,
    check_stamp,
)
from mem3r_ros.ros.package_files import share_file
from mem3r_ros.ros.qos import QOS_NAMES, qos_profile

FAST = {'diagnostics__rate': 10.0, 'diagnostics__silence': 0.2}


@pytest.fixture
def wait_for_status(listener, spin_until):
    """Return a function that waits for a status that contains the texts; $ is its end."""
    received = listener.subscribe(DiagnosticArray, '/diagnostics')

    def wait(*texts):
        def found():
            for message in received[-3:]:
                for status in message.status:
                    said = f'{status.name} {status.message}$'
                    if all(text in said for text in texts):
                        return True
            return False

        assert spin_until(found, 15.0), [(s.name, s.message) for s in received[-1].status]
        return True

    return wait


def test_a_missing_publisher_is_reported_with_the_topics_of_the_type(
    start_node, make_node, wait_for_status
):
    make_node('driver').create_publisher(Image, '/usb_cam/image_raw', 10)

    start_node(**FAST)

    assert wait_for_status('/image: nobody publishes', 'remap image to one of /usb_cam/image_raw')


def test_a_camera_with_only_compressed_images_is_reported_with_the_remedy(
    start_node, make_node, wait_for_status
):
    make_node('driver').create_publisher(CompressedImage, '/cam/image/compressed', 10)

    start_node(**FAST)

    assert wait_for_status(
        'set image_transport to compressed and remap image to one of /cam/image'
    )


def test_compressed_topics_are_listed_in_the_form_of_the_launch_file(
    start_node, make_node, wait_for_status
):
    driver = make_node('driver')
    driver.create_publisher(CompressedImage, '/cam/image/compressed', 10)
    driver.create_publisher(CompressedImage, '/depth/image/compressedDepth', 10)

    start_node(image_transport='compressed', **FAST)

    assert wait_for_status('remap image to one of /cam/image$')


def test_incompatible_qos_is_reported_with_the_name_of_the_publisher(
    start_node, make_node, wait_for_status
):
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    make_node('shy_driver').create_publisher(Image, 'image', qos)

    start_node(**FAST)  # policy all wants reliable images

    assert wait_for_status('/shy_driver does not match', 'image_qos to SENSOR_DATA')


@pytest.mark.parametrize(
    ('kind', 'topic', 'remedy'),
    [
        (CameraInfo, 'camera_info', 'set camera_info_qos to SENSOR_DATA'),
        (PoseWithCovarianceStamped, 'pose_hint', 'change that of the publisher'),
    ],
)
def test_incompatible_qos_of_a_side_input_is_reported_and_logged(
    kind, topic, remedy, start_node, make_node, spin_until, wait_for_status
):
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    make_node('shy_driver').create_publisher(kind, topic, qos)

    node = start_node(**(FAST | {'diagnostics__silence': 30.0}))
    logged = []
    node.log.warn = lambda message, details='': logged.append(message)

    line = f'/{topic}: quality of service of /shy_driver does not match'
    assert wait_for_status('mem3r: input', line, remedy)
    assert spin_until(lambda: any(line in message for message in logged))


@pytest.fixture
def foreign_node(ros_domain):
    """Return a node of another participant: within one, DDS refuses a second type on a topic."""
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = Node('driver', context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_a_topic_of_another_type_is_reported(start_node, foreign_node, wait_for_status):
    foreign_node.create_publisher(CompressedImage, 'image', 10)

    start_node(**FAST)

    assert wait_for_status('sends sensor_msgs/msg/CompressedImage', 'change image_transport')


@pytest.mark.parametrize('topic', ['mask', 'wheel_odom'])
def test_a_side_input_of_another_type_is_reported(
    topic, start_node, foreign_node, wait_for_status
):
    foreign_node.create_publisher(CompressedImage, topic, 10)

    start_node(**(FAST | {'diagnostics__silence': 30.0}))

    assert wait_for_status(
        'mem3r: input',
        f'/{topic}: /driver sends sensor_msgs/msg/CompressedImage',
        f'remap {topic} to another topic$',
    )


def test_old_stamps_are_reported(start_node, camera, spin_until, wait_for_status):
    start_node(**(FAST | {'diagnostics__silence': 30.0}))
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    camera.send(START_NS)

    assert wait_for_status('s old', 'use_sim_time')


def test_unused_side_inputs_are_in_the_diagnostics_and_logged_once(
    start_node, camera, make_node, spin_until, wait_for_status
):
    node = start_node(**(FAST | {'diagnostics__silence': 30.0}))
    logged = []
    node.log.warn = lambda message, details='': logged.append(message)
    masks = make_node('masker').create_publisher(Image, 'mask', 10)
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)
    assert spin_until(lambda: masks.get_subscription_count() > 0)
    masks.publish(Image(encoding='rgb8'))
    camera.send_info(width=640, height=100)
    assert spin_until(lambda: node.inputs.camera is not None and node.refusals.current('mask'))

    camera.send(START_NS)

    assert wait_for_status('s old', 'camera_info is for 640x100', 'mask not used')
    assert wait_for_status('camera_info is for 640x100')
    assert sum('camera_info is for 640x100' in message for message in logged) == 1
    assert sum('mask not used' in message for message in logged) == 1


def test_simulated_time_without_a_clock_is_reported(start_node, wait_for_status):
    start_node(use_sim_time=True, **FAST)

    assert wait_for_status('/clock', 'nobody publishes the time')


def test_a_missing_transform_is_reported(start_node, camera, spin_until, wait_for_status):
    start_node(mount='tf', wait_for_transform=0.0, **FAST)
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    camera.send()

    assert wait_for_status('mem3r: tracking', f'no transform from base_link to {FRAME}')


def test_a_working_node_reports_rate_tracking_latency_memory_and_model(
    start_node, camera, listener, spin_until
):
    received = listener.subscribe(DiagnosticArray, '/diagnostics')
    start_node(**FAST)
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)
    for _ in range(3):
        camera.send()

    def values(name):
        for status in received[-1].status if received else []:
            if status.name == f'mem3r: {name}':
                return {pair.key: pair.value for pair in status.values}
        return {}

    assert spin_until(lambda: values('input').get('tracked') == '3')
    assert values('input')['received'] == '3'
    assert float(values('memory')['host_mib']) > 50
    assert values('model')['device'] == 'cpu'
    assert spin_until(lambda: 'total_ms_p95' in values('latency'))
    names = {status.name for status in received[-1].status}
    assert {'mem3r: lifecycle', 'mem3r: transport', 'mem3r: tracking'} <= names


@pytest.mark.parametrize(
    ('stamp_s', 'level', 'said'),
    [(0, Level.ERROR, 'zero'), (110, Level.WARN, 'future'), (50, Level.WARN, 'old')],
)
def test_wrong_stamps_are_a_finding_with_a_remedy(stamp_s, level, said):
    (finding,) = check_stamp('/image', stamp_s * 10**9, 100 * 10**9)

    assert finding.level is level
    assert said in finding.message
    assert ': ' in str(finding)


def test_good_stamps_are_no_finding():
    assert check_stamp('/image', 99_900_000_000, 100_000_000_000) == []


def test_a_missing_profile_is_a_finding_and_the_shipped_one_is_not(tmp_path):
    weak = tmp_path / 'weak.xml'
    weak.write_text('<profiles><segment_size>500000</segment_size></profiles>')
    variable = 'FASTRTPS_DEFAULT_PROFILES_FILE'

    assert 'no Fast DDS profile' in check_dds_profile({})[0].message
    assert 'does not exist' in check_dds_profile({variable: '/nowhere.xml'})[0].message
    assert 'less than two images' in check_dds_profile({variable: str(weak)})[0].message
    assert check_dds_profile({variable: str(share_file('config/fastdds.xml'))}) == []


def test_a_compatible_publisher_is_no_finding(make_node, spin_until):
    node = make_node('asker')
    make_node('driver').create_publisher(Image, '/here', qos_profile('SENSOR_DATA'))
    assert spin_until(lambda: node.count_publishers('/here'))

    findings = check_publishers(
        node, '/here', 'sensor_msgs/msg/Image', qos_profile('SENSOR_DATA'), 'image'
    )

    assert findings == []


@pytest.mark.parametrize(
    ('name', 'reliability', 'durability', 'history', 'depth'),
    [
        ('AUTO', 'RELIABLE', 'VOLATILE', 'KEEP_LAST', 10),
        ('SYSTEM_DEFAULT', 'SYSTEM_DEFAULT', 'SYSTEM_DEFAULT', 'SYSTEM_DEFAULT', 0),
        ('DEFAULT', 'RELIABLE', 'VOLATILE', 'KEEP_LAST', 10),
        ('SENSOR_DATA', 'BEST_EFFORT', 'VOLATILE', 'KEEP_LAST', 1),
        ('KEEP_ALL', 'RELIABLE', 'VOLATILE', 'KEEP_ALL', None),  # the depth is ignored
        ('LATCHED', 'RELIABLE', 'TRANSIENT_LOCAL', 'KEEP_LAST', 1),
    ],
)
def test_every_name_of_a_quality_of_service_gives_a_profile(
    name, reliability, durability, history, depth
):
    profile = qos_profile(name)

    assert profile.reliability.name == reliability
    assert profile.durability.name == durability
    assert profile.history.name == history
    assert depth is None or profile.depth == depth


def test_no_name_of_a_quality_of_service_is_untested():
    (marks,) = test_every_name_of_a_quality_of_service_gives_a_profile.pytestmark

    assert [row[0] for row in marks.args[1]] == list(QOS_NAMES)


def test_auto_is_the_profile_that_the_topic_names():
    assert qos_profile('AUTO', 'LATCHED') == qos_profile('LATCHED')


@pytest.fixture
def live_camera(make_node, ros_executor):
    """Return a camera that publishes on a thread until the test ends."""
    camera = Camera(make_node('live'))
    over = threading.Event()

    def publish():
        while not over.wait(0.05):
            stamp_ns = time.time_ns()
            camera.send_info()
            camera.send(stamp_ns)

    thread = threading.Thread(target=publish)
    thread.start()
    yield camera
    over.set()
    thread.join()


def test_the_doctor_finds_a_working_camera_and_names_the_missing_transform(
    live_camera, model_file
):
    examination = Examination(model=str(model_file), image_topic='/image', duration_s=1.0)

    lines = [str(finding) for finding in examine(examination)]

    text = '\n'.join(lines)
    assert f'ok: model: {model_file}' in text
    assert f"frame '{FRAME}'" in text
    assert 'ok: /camera_info: focal length 60 px' in text
    assert f'error: /tf: no transform from base_link to {FRAME}' in text


def test_the_doctor_names_a_missing_model_and_a_missing_camera(ros_domain):
    examination = Examination(model='/nowhere.safetensors', duration_s=0.1)

    lines = [str(finding) for finding in examine(examination)]

    assert any(line.startswith('error: model: ') and '/nowhere' in line for line in lines)
    assert any('nobody publishes images' in line for line in lines)
