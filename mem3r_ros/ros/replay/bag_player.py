# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Publishes the camera of a bag on its topics, no faster than the node answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
import time

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from mem3r_ros.data.bag import Bag, BagMessage
from mem3r_ros.data.bag_topics import camera_info_topic, choose_image_topic
from mem3r_ros.data.encodings import DecodingState
from mem3r_ros.data.message_decoding import header_stamp_ns, image_from_message
from mem3r_ros.data.picture_files import MAX_PIXELS
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.ros.conversions import frame_name, stamp_message

_TYPES = {
    'sensor_msgs/msg/Image': Image,
    'sensor_msgs/msg/CompressedImage': CompressedImage,
    'sensor_msgs/msg/CameraInfo': CameraInfo,
    'tf2_msgs/msg/TFMessage': TFMessage,
}
_STATIC_TOPIC = '/tf_static'
_TF_TOPICS = ('/tf', _STATIC_TOPIC)
_DEPTH = 100
# Listeners of TF keep 100 messages: give them time to read before publishing more.
_BURST = 50
_BURST_PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class PlayedImage:
    """An image that was published."""

    stamp_ns: int
    image: np.ndarray | None  # [H, W, 3] uint8 RGB; None: not decodable


@dataclass(frozen=True, slots=True)
class CameraTopics:
    """The topics of a bag that are played."""

    image: str
    info: str | None
    is_compressed: bool
    frame_id: str
    has_mount: bool  # TF in the bag links the base to the image's frame
    num_images: int


def find_topics(path: Path, image_topic: str | None, base_frame: str) -> CameraTopics:
    """
    Choose the topics of a bag.

    :param path: rosbag2 folder or file.
    :param image_topic: choice of the user; None: the only or likeliest one.
    :param base_frame: frame of the robot.
    :raises UserError: it is no bag, or has no such images.
    """
    if not path.exists():
        raise UserError(f'no such file or folder: {path}')
    if path.suffix == '.bag' or (path.is_dir() and any(path.glob('*.bag'))):
        raise UserError(f'{path} is a ROS 1 bag; use mem3r run, or convert it to rosbag2')
    with Bag(path) as bag:
        topic = choose_image_topic(path, bag.types, bag.counts, image_topic)
        frame_id = _first_frame_id(bag, topic)
        return CameraTopics(
            topic,
            camera_info_topic(topic, bag.types),
            bag.types[topic] == 'sensor_msgs/msg/CompressedImage',
            frame_id,
            _has_link(bag, base_frame, frame_id),
            max(bag.counts[topic], bag.promised[topic]),
        )


class BagPlayer:
    """Publishers for the topics of one camera."""

    def __init__(
        self, node: Node, path: Path, topics: CameraTopics, max_pixels: int = MAX_PIXELS
    ) -> None:
        """
        Create the publishers.

        :param node: owner of the publishers.
        :param path: the bag.
        :param topics: as from ``find_topics``.
        :param max_pixels: of a compressed image that is decoded.
        """
        self._path = path
        self._topics = topics
        self._decoding = DecodingState(max_pixels)
        self._clock = node.create_publisher(Clock, '/clock', 10)
        self._publishers = {}
        with Bag(path) as bag:
            for topic in (topics.image, topics.info, *_TF_TOPICS):
                if topic in bag.types:
                    self._publishers[topic] = node.create_publisher(
                        _TYPES[bag.types[topic]], topic, _qos(topic)
                    )

    def has_subscribers(self) -> bool:
        """Return whether the images, and the calibration if any, have subscribers."""
        return all(
            self._publishers[topic].get_subscription_count() > 0
            for topic in (self._topics.image, self._topics.info)
            if topic in self._publishers
        )

    def play(self, wait_for_turn: Callable[[], None]) -> Iterator[PlayedImage]:
        """
        Publish the messages of the bag and yield each image after it was published.

        :param wait_for_turn: called before each image; returns when it may be published.
        """
        with Bag(self._path) as bag:
            self._send_first_calibration(bag)
            self._send_static_transforms(bag)
            unpaced = 0
            in_order = [topic for topic in self._publishers if topic != _STATIC_TOPIC]
            for message in bag.messages(*in_order):
                if message.topic != self._topics.image:
                    self._publishers[message.topic].publish(message.data)
                    unpaced += 1
                    if unpaced % _BURST == 0:
                        time.sleep(_BURST_PAUSE_S)
                    continue
                wait_for_turn()
                yield self._send_image(bag, message)

    def _send_image(self, bag: Bag, message: BagMessage) -> PlayedImage:
        self._clock.publish(Clock(clock=stamp_message(message.stamp_ns)))
        self._publishers[message.topic].publish(message.data)
        try:
            decoded = bag.decode(message)
        except BadFrame:
            return PlayedImage(0, None)
        stamp_ns = header_stamp_ns(decoded)
        try:
            return PlayedImage(stamp_ns, image_from_message(decoded, self._decoding))
        except UserError:
            return PlayedImage(stamp_ns, None)

    def _send_static_transforms(self, bag: Bag) -> None:
        """Publish all static transforms first: they hold for all of the recording."""
        if _STATIC_TOPIC in self._publishers:
            for message in bag.messages(_STATIC_TOPIC):
                self._publishers[_STATIC_TOPIC].publish(message.data)
                time.sleep(_BURST_PAUSE_S)

    def _send_first_calibration(self, bag: Bag) -> None:
        """Publish the calibration first: in the bag it may come after the first image."""
        if self._topics.info in self._publishers:
            for message in bag.messages(self._topics.info):
                self._publishers[message.topic].publish(message.data)
                return


def _qos(topic: str) -> QoSProfile:
    if topic == _STATIC_TOPIC:
        return QoSProfile(depth=_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    return QoSProfile(depth=_DEPTH)


def _first_frame_id(bag: Bag, topic: str) -> str:
    for message in bag.messages(topic):
        try:
            return frame_name(bag.decode(message).header.frame_id)
        except BadFrame:
            continue
    return ''


def _has_link(bag: Bag, base_frame: str, camera_frame: str) -> bool:
    """Return whether the recorded TF connects the two frames, at any time."""
    neighbours: dict[str, set[str]] = {}
    tf_topics = [topic for topic in _TF_TOPICS if topic in bag.types]
    if not tf_topics:
        return False
    for message in bag.messages(*tf_topics):
        try:
            transforms = bag.decode(message).transforms
        except BadFrame:
            continue
        for transform in transforms:
            parent = frame_name(transform.header.frame_id)
            child = frame_name(transform.child_frame_id)
            neighbours.setdefault(parent, set()).add(child)
            neighbours.setdefault(child, set()).add(parent)
    reached, waiting = {base_frame}, [base_frame]
    while waiting:
        for frame in neighbours.get(waiting.pop(), set()) - reached:
            reached.add(frame)
            waiting.append(frame)
    return camera_frame in reached
