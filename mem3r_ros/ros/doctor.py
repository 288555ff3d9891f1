# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checks a system from outside: machine, model, middleware, camera, TF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
import os
import time
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_ros import Buffer, TransformException, TransformListener
import torch

from mem3r_ros.data.camera_info import camera_from_info
from mem3r_ros.data.message_decoding import image_from_message
from mem3r_ros.errors import UserError
from mem3r_ros.model import load_model
from mem3r_ros.ros.conversions import stamp_ns
from mem3r_ros.ros.finding import Finding, Level
from mem3r_ros.ros.graph_checks import (
    check_clock,
    check_dds_profile,
    check_publishers,
    check_stamp,
    topics_of,
)
from mem3r_ros.ros.log_directory import prepare_log_directory
from mem3r_ros.ros.qos import qos_profile

_TYPES = {'sensor_msgs/msg/Image': Image, 'sensor_msgs/msg/CompressedImage': CompressedImage}
_DISCOVERY_S = 4.0
_TF_S = 2.0
_END_S = 2.0
_MIN_RATE_HZ = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What to check."""

    model: str
    image_topic: str = ''  # empty: that of a running node, else the only image topic
    camera_info_topic: str = ''  # empty: beside the image
    base_frame: str = 'base_link'
    use_sim_time: bool = False
    duration_s: float = 3.0
    args: list[str] = field(default_factory=list)  # of ROS


def examine(examination: Examination) -> Iterator[Finding]:
    """Yield one finding for each check, in the order in which to fix the problems."""
    yield _cuda()
    yield _model(examination.model)
    if warning := prepare_log_directory():
        yield Finding(Level.WARN, 'log files', warning)
    rclpy.init(args=examination.args, signal_handler_options=SignalHandlerOptions.NO)
    overrides = [Parameter('use_sim_time', value=examination.use_sim_time)]
    node = Node('mem3r_doctor', parameter_overrides=overrides, use_global_arguments=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        domain = os.environ.get('ROS_DOMAIN_ID', '0')
        transport = check_dds_profile()
        yield from transport
        if not transport:
            yield Finding(Level.OK, 'middleware', f'ready for images, ROS_DOMAIN_ID {domain}')
        topic = examination.image_topic
        _spin(
            executor,
            _DISCOVERY_S,
            lambda: bool(node.count_publishers(topic) if topic else _image_topic(node)),
        )
        yield from check_clock(node)
        yield from _camera(node, executor, examination)
    finally:
        executor.shutdown(timeout_sec=_END_S)
        node.destroy_node()
        rclpy.try_shutdown()


def _cuda() -> Finding:
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        return Finding(Level.OK, 'cuda', f'{name}, torch {torch.__version__}')
    message = (
        f'torch {torch.__version__} sees no CUDA device, so the network runs on the CPU: install '
        'the driver and a torch built for this GPU (on a Jetson: the one of its JetPack)'
    )
    return Finding(Level.WARN, 'cuda', message)


def _model(source: str) -> Finding:
    try:
        model = load_model(source)
    except UserError as error:
        return Finding(Level.ERROR, 'model', str(error))
    millions = sum(weights.numel() for weights in model.parameters()) / 1e6
    return Finding(Level.OK, 'model', f'{source}, {millions:.1f} million parameters')


def _camera(
    node: Node, executor: SingleThreadedExecutor, examination: Examination
) -> Iterator[Finding]:
    topic = examination.image_topic or _image_topic(node)
    if not topic:
        message = 'nobody publishes images in this domain: start the driver, compare ROS_DOMAIN_ID'
        yield Finding(Level.ERROR, 'image', message)
        return
    kind = 'sensor_msgs/msg/Image'
    if topic in topics_of(node, 'sensor_msgs/msg/CompressedImage'):
        kind = 'sensor_msgs/msg/CompressedImage'
    qos = qos_profile('SENSOR_DATA')
    findings = check_publishers(node, topic, kind, qos, 'image')
    yield from findings
    if findings:
        return
    images = _listen(node, executor, _TYPES[kind], topic, examination.duration_s)
    yield from _pictures(node, topic, images, examination.duration_s)
    if not images:
        return
    frame_id = images[-1][1].header.frame_id
    info_topic = examination.camera_info_topic or _info_topic(topic)
    yield _calibration(node, executor, info_topic, topic, images[-1][1])
    yield _mount(node, executor, examination.base_frame, frame_id)


def _image_topic(node: Node) -> str:
    """Return the image topic of a running node, or else the first image topic."""
    for name, namespace in node.get_node_names_and_namespaces():
        if name == 'mem3r':
            for topic, kinds in node.get_subscriber_names_and_types_by_node(name, namespace):
                if kinds[0] in _TYPES and not topic.endswith('/mask'):
                    return topic
    topics = [topic for kind in _TYPES for topic in topics_of(node, kind)]
    pictures = [topic for topic in topics if 'depth' not in topic and 'confidence' not in topic]
    return pictures[0] if pictures else ''


def _info_topic(image_topic: str) -> str:
    folder = image_topic.removesuffix('/compressed').rpartition('/')[0]
    return f'{folder}/camera_info'


def _listen(
    node: Node, executor: SingleThreadedExecutor, kind: type, topic: str, duration_s: float
) -> list[tuple[int, Any]]:
    """Return the messages of a topic with their time of arrival, ns."""
    received: list[tuple[int, Any]] = []

    def on_message(message: Any) -> None:
        received.append((node.get_clock().now().nanoseconds, message))

    subscription = node.create_subscription(kind, topic, on_message, qos_profile('SENSOR_DATA'))
    _spin(executor, duration_s)
    node.destroy_subscription(subscription)
    return received


def _pictures(
    node: Node, topic: str, images: list[tuple[int, Any]], duration_s: float
) -> Iterator[Finding]:
    if not images:
        message = (
            f'published, but nothing arrived in {duration_s:.0f} s: check that the camera runs, '
            'that the Fast DDS profile is set, and that no firewall blocks the messages'
        )
        yield Finding(Level.ERROR, topic, message)
        return
    rate_hz = len(images) / duration_s
    if rate_hz < _MIN_RATE_HZ:
        message = f'only {rate_hz:.1f} images/s arrive: odometry needs at least {_MIN_RATE_HZ:.0f}'
        yield Finding(Level.WARN, topic, message)
    stamps = [stamp_ns(message.header.stamp) for _, message in images]
    findings = check_stamp(topic, stamps[-1], images[-1][0])
    if any(later <= earlier for earlier, later in pairwise(stamps)):
        message = 'stamps repeat or go back: check that only one driver publishes here'
        findings.append(Finding(Level.WARN, topic, message))
    yield from findings
    try:
        picture = image_from_message(images[-1][1])
    except UserError as error:
        yield Finding(Level.ERROR, topic, str(error))
        return
    frame_id = images[-1][1].header.frame_id
    if not frame_id:
        message = 'the header has no frame_id: set the frame of the driver or input.camera_frame'
        yield Finding(Level.ERROR, topic, message)
    height, width = picture.shape[:2]
    yield Finding(Level.OK, topic, f'{width}x{height}, {rate_hz:.1f} images/s, frame {frame_id!r}')


def _calibration(
    node: Node, executor: SingleThreadedExecutor, topic: str, image_topic: str, image: Any
) -> Finding:
    infos = _listen(node, executor, CameraInfo, topic, 1.0)
    if not infos:
        message = (
            'no calibration: the focal length is estimated; publish camera_info beside the image '
            'or remap camera_info'
        )
        return Finding(Level.WARN, topic, message)
    try:
        camera = camera_from_info(infos[-1][1], image_topic)
    except UserError as error:
        return Finding(Level.ERROR, topic, str(error))
    if camera is None:
        return Finding(Level.WARN, topic, 'K is zero (uncalibrated): calibrate the camera')
    height, width = image_from_message(image).shape[:2]
    if camera.matched(width, height) is None:
        message = (
            f'is for {camera.width}x{camera.height}, the image is {width}x{height}: remap '
            'camera_info to the topic beside the image'
        )
        return Finding(Level.ERROR, topic, message)
    return Finding(Level.OK, topic, f'focal length {camera.fx:.0f} px, {camera.distortion_model}')


def _mount(
    node: Node, executor: SingleThreadedExecutor, base_frame: str, camera_frame: str
) -> Finding:
    buffer = Buffer()
    listener = TransformListener(buffer, node, spin_thread=False)
    _spin(executor, _TF_S, lambda: buffer.can_transform(base_frame, camera_frame, Time()))
    listener.unregister()
    try:
        buffer.lookup_transform(base_frame, camera_frame, Time())
    except TransformException as error:
        message = (
            f'no transform from {base_frame} to {camera_frame} ({str(error).rstrip(".")}): '
            'publish this transform (robot_state_publisher, static_transform_publisher) or set '
            'mount to standalone'
        )
        return Finding(Level.ERROR, '/tf', message)
    return Finding(Level.OK, '/tf', f'{base_frame} to {camera_frame}')


def _spin(
    executor: SingleThreadedExecutor,
    duration_s: float,
    is_done: Callable[[], bool] = lambda: False,
) -> None:
    deadline = time.monotonic() + duration_s
    while time.monotonic() < deadline and not is_done():
        executor.spin_once(timeout_sec=0.05)
