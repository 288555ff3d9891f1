# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Replay: a bag through the real node in its own process, without losing an image."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from bag_writer import write_bag as write_messages
import cv2
from nav_msgs.msg import Odometry
from node_harness import FRAME, START_NS, STEP_NS
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from test_cli_faults import KINDS, bad, message
from tf2_msgs.msg import TFMessage

from mem3r_ros.data.ply import read_ply
from mem3r_ros.geometry import T_FLU_OPTICAL
from mem3r_ros.ros.conversions import (
    camera_info_message,
    header_at,
    stamp_ns,
    transform_message,
)
from mem3r_ros.ros.replay.bag_player import PlayedImage
from mem3r_ros.ros.replay.session import _ReplayRun
from mem3r_ros.trajectory import read_tum

NUM_IMAGES = 12
SIZE = (64, 48)


def write_bag(
    path,
    *,
    num_images=NUM_IMAGES,
    encoding='rgb8',
    is_compressed=False,
    mount=None,
    corrupt=(),
    storage='MCAP',
    mount_is_dynamic=False,
    mount_at=0,
    frame=FRAME,
    base='base_link',
):
    """Write a rosbag2 as a robot would record it."""
    from rclpy.serialization import serialize_message
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
    from sensor_msgs.msg import CompressedImage

    from mem3r_ros.camera import Intrinsics

    types = get_typestore(Stores.ROS2_JAZZY)
    width, height = SIZE
    texture = np.random.default_rng(1).integers(0, 255, (height, 400, 3), np.uint8)
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, width, height)
    image_topic = '/camera/image_raw' + ('/compressed' if is_compressed else '')
    kind = 'CompressedImage' if is_compressed else 'Image'
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage]) as writer:
        image = writer.add_connection(image_topic, f'sensor_msgs/msg/{kind}', typestore=types)
        info = writer.add_connection(
            '/camera/camera_info', 'sensor_msgs/msg/CameraInfo', typestore=types
        )
        tf_topic = '/tf' if mount_is_dynamic else '/tf_static'
        tf = writer.add_connection(tf_topic, 'tf2_msgs/msg/TFMessage', typestore=types)
        for i in range(num_images):
            stamp = START_NS + i * STEP_NS
            header = header_at(stamp, frame)
            if mount is not None and (mount_is_dynamic or i == mount_at):
                link = transform_message(header_at(stamp, base), FRAME, mount)
                writer.write(tf, stamp, serialize_message(TFMessage(transforms=[link])))
            pixels = np.ascontiguousarray(texture[:, 2 * i : 2 * i + width])
            if is_compressed:
                data = cv2.imencode('.jpg', pixels)[1].tobytes()
                message = CompressedImage(header=header, format='jpeg', data=data)
                if i in corrupt:
                    message.data = data[:200]
            else:
                message = Image(header=header, height=height, width=width, encoding=encoding)
                message.step, message.data = 3 * width, pixels.tobytes()
                if i in corrupt:
                    message.data = b'too short'
            writer.write(image, stamp, serialize_message(message))
            writer.write(info, stamp, serialize_message(camera_info_message(header, camera)))
    return path


@pytest.fixture
def replay(ros_domain, model_file, tmp_path):
    """Return a function that runs the command as a user does."""

    def run(bag, *arguments, timeout_s=240):
        output = tmp_path / 'output'
        command = [
            sys.executable, '-m', 'mem3r_ros.cli.main', 'replay', str(bag),
            '--output', str(output), '--model', str(model_file),
            '-p', 'num_threads:=1', '-p', 'warm_up_size:=[0, 0]', *arguments,
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=dict(os.environ)
        )
        return done, output

    return run


def test_every_image_of_a_bag_is_answered_and_written(replay, tmp_path):
    mount = np.array(T_FLU_OPTICAL)
    mount[:3, 3] = (0.3, 0.0, 1.2)
    bag = write_bag(tmp_path / 'bag', encoding='bgr8', mount=mount, mount_is_dynamic=True)

    done, output = replay(bag)

    assert done.returncode == 0, done.stderr
    trajectory = read_tum(output / 'trajectory.txt')
    stamps = [START_NS + i * STEP_NS for i in range(NUM_IMAGES)]
    assert list(trajectory.stamps_ns) == stamps
    # The bag contains the mount of the camera on the robot, which starts at the origin of odom.
    np.testing.assert_allclose(trajectory.poses[0], mount, atol=1e-6)
    assert len(list((output / 'depth').glob('*.png'))) == NUM_IMAGES
    for name in ('map.ply', 'index.html', 'summary.json', 'node.log'):
        assert (output / name).stat().st_size > 0
    summary = json.loads((output / 'summary.json').read_text())
    assert (summary['num_images'], summary['num_skipped']) == (NUM_IMAGES, 0)
    assert str(output) in done.stdout.replace('\n', '')


def test_another_process_in_the_domain_receives_all_results(
    ros_domain, model_file, tmp_path, listener, spin_until
):
    """Plain rclpy in another process: types, stamps, frames and TF, checked by hand."""
    bag = write_bag(tmp_path / 'bag', is_compressed=True)
    kinds = {'/odom': Odometry, '/depth/image': Image, '/depth/camera_info': CameraInfo,
             '/points': PointCloud2, '/tf': TFMessage}  # fmt: skip
    received = {topic: listener.subscribe(kind, topic) for topic, kind in kinds.items()}
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = listener.subscribe(TFMessage, '/tf_static', latched)
    command = [sys.executable, '-m', 'mem3r_ros.cli.main', 'replay', str(bag),
               '--output', str(tmp_path / 'output'), '--model', str(model_file),
               '-p', 'warm_up_size:=[0, 0]', '--domain', str(ros_domain)]  # fmt: skip
    for _ in range(3):  # now and then DDS takes longer to find a stranger than this bag lasts
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert spin_until(lambda process=process: process.poll() is not None, 200.0)
        assert process.returncode == 0, process.stderr.read()
        spin_until(lambda: False, 0.5)
        if all(len(messages) >= NUM_IMAGES // 2 for messages in received.values()):
            break
        for messages in received.values():
            messages.clear()

    stamps = [START_NS + i * STEP_NS for i in range(NUM_IMAGES)]
    transforms = [t for message in received.pop('/tf') for t in message.transforms]
    for messages in (*received.values(), transforms):
        found = [stamp_ns(m.header.stamp) for m in messages]
        # On a busy machine the two may find each other only after the first messages.
        assert found == stamps[-len(found) :] and len(found) >= NUM_IMAGES // 2
    for topic in ('/depth/image', '/depth/camera_info', '/points'):
        assert {message.header.frame_id for message in received[topic]} == {FRAME}
    both = min(len(received['/odom']), len(transforms))
    for odom, transform in zip(received['/odom'][-both:], transforms[-both:], strict=True):
        ids = (odom.header.frame_id, odom.child_frame_id)
        assert ids == (transform.header.frame_id, transform.child_frame_id)
        assert odom.pose.pose.position.x == transform.transform.translation.x
        assert odom.pose.pose.orientation == transform.transform.rotation
    (mount,) = static[0].transforms
    assert (mount.header.frame_id, mount.child_frame_id) == ('base_link', FRAME)
    depth = received['/depth/image'][0]
    assert (depth.encoding, len(depth.data)) == ('32FC1', depth.step * depth.height)


def test_damaged_images_are_skipped_and_counted(replay, tmp_path):
    bag = write_bag(tmp_path / 'bag', is_compressed=True, corrupt=(3, 7), storage='SQLITE3')

    done, output = replay(bag)

    assert done.returncode == 0, done.stderr
    trajectory = read_tum(output / 'trajectory.txt')
    assert len(trajectory) == NUM_IMAGES - 2
    np.testing.assert_allclose(trajectory.poses[0], T_FLU_OPTICAL, atol=1e-6)
    assert json.loads((output / 'summary.json').read_text())['num_skipped'] == 2


@pytest.mark.parametrize(
    ('make', 'said'),
    [
        (lambda path: path / 'nothing', 'no such file'),
        (lambda path: write_bag(path / 'bag', num_images=0), 'no images'),
        (lambda path: write_bag(path / 'bag', encoding='thermal7', num_images=2), 'thermal7'),
    ],
    ids=['missing', 'empty', 'encoding'],
)
def test_an_unusable_bag_is_one_sentence_and_exit_code_two(replay, tmp_path, make, said):
    done, _ = replay(make(tmp_path))

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.strip().startswith('error: ')
    assert 'Traceback' not in done.stderr


def test_a_model_that_does_not_load_is_reported_in_the_words_of_the_node(replay, tmp_path):
    bag = write_bag(tmp_path / 'bag', num_images=2)

    done, _ = replay(bag, '--model', '/nowhere/model.safetensors')

    assert done.returncode == 2
    assert '/nowhere/model.safetensors' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_node_that_crashes_is_reported_with_its_last_log_lines(ros_domain, model_file, tmp_path):
    bag = write_bag(tmp_path / 'bag', num_images=400)
    output = tmp_path / 'output'
    command = [sys.executable, '-m', 'mem3r_ros.cli.main', 'replay', str(bag),
               '--output', str(output), '--model', str(model_file)]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    child = None
    while time.monotonic() < deadline and not list((output / 'depth').glob('*.png')):
        time.sleep(0.1)
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            if int(stat.read_text().rpartition(')')[2].split()[1]) == process.pid:
                child = int(stat.parent.name)
        except OSError:
            continue
    assert child is not None

    os.kill(child, signal.SIGKILL)
    _, error = process.communicate(timeout=60)

    assert process.returncode == 2
    assert 'ended with code -9' in error
    assert 'node: ' in error
    assert 'node.log' in error


@pytest.mark.fault('Ctrl-C during `mem3r replay`', 'path, map and page so far are written')
def test_an_interrupted_replay_leaves_all_its_results_so_far(ros_domain, model_file, tmp_path):
    bag, output = write_bag(tmp_path / 'bag', num_images=1200), tmp_path / 'output'
    command = [sys.executable, '-m', 'mem3r_ros.cli.main', 'replay', str(bag),
               '--output', str(output), '--model', str(model_file)]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list((output / 'depth').glob('*.png'))) < 5:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)

    assert process.returncode == 130 and 'Traceback' not in error, error
    summary = json.loads((output / 'summary.json').read_text())
    balance = summary['balance']
    assert balance['promised'] == 1200 and balance['is_interrupted']
    assert 5 <= balance['posed'] == balance['published'] <= balance['found'] < 1200
    assert summary['notes'][0] == f'The run was interrupted after {balance["found"]} images.'
    assert len(read_tum(output / 'trajectory.txt')) == balance['posed']
    assert len(read_ply(output / 'map.ply')[0]) > 0
    assert '</html>' in (output / 'index.html').read_text()


def test_an_interrupt_waits_until_the_received_result_is_recorded():
    class Receiver:
        num_answered = num_recorded = 0

        def is_connected(self):
            return True

        def place_cameras(self):
            pass

    class Executor:
        def spin_once(self, timeout_sec):
            receiver.num_answered += 1
            if receiver.num_answered == 3:
                signal.raise_signal(signal.SIGINT)
            receiver.num_recorded += 1

    class Player:
        def has_subscribers(self):
            return True

        def play(self, wait_for_turn):
            for index in range(9):
                wait_for_turn()
                yield PlayedImage(index, None)

    receiver = Receiver()
    run = _ReplayRun(None, Executor(), None, receiver)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run.play(Player(), None)
    finally:
        signal.signal(signal.SIGINT, before)

    assert receiver.num_answered == receiver.num_recorded == 3


@pytest.mark.fault(
    'a static transform recorded after the first images', 'it holds for all of the recording'
)
def test_a_late_static_mount_of_another_base_holds_for_all_images(replay, tmp_path):
    mount = np.array(T_FLU_OPTICAL)
    mount[:3, 3] = (0.3, 0.0, 1.2)
    bag = write_bag(
        tmp_path / 'bag', mount=mount, mount_at=7, frame=f'/{FRAME}', base='base_footprint'
    )
    robot = tmp_path / 'robot.yaml'
    robot.write_text('/**:\n  ros__parameters:\n    base_frame: base_footprint\n')

    done, output = replay(bag, '--params-file', str(robot))

    assert done.returncode == 0, done.stderr
    trajectory = read_tum(output / 'trajectory.txt')
    assert len(trajectory) == NUM_IMAGES
    np.testing.assert_allclose(trajectory.poses[0], mount, atol=1e-6)
    balance = json.loads((output / 'summary.json').read_text())['balance']
    assert balance['promised'] == balance['posed'] == NUM_IMAGES


@pytest.mark.fault(
    'thirty bad images of six kinds among good ones in `mem3r replay`',
    'each counted by its reason',
)
def test_every_bad_image_is_in_the_summary_of_a_replay(replay, tmp_path):
    messages = []
    for index in range(61):
        is_bad = index % 2 == 1
        kind = KINDS[index // 2 % len(KINDS)]
        messages.append(('/image/compressed', bad(kind, index) if is_bad else message(index)))

    done, output = replay(write_messages(tmp_path / 'bag', messages))

    assert done.returncode == 0, done.stderr
    balance = json.loads((output / 'summary.json').read_text())['balance']
    assert balance['promised'] == balance['found'] == 61
    assert (balance['tracked'], balance['posed'], balance['published']) == (31, 31, 31)
    assert sorted(balance['refused'].values()) == [5] * 6
    assert done.stdout.count('5 images were refused') == 6
