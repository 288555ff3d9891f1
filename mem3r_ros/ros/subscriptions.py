# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: images, and the latest camera_info, mask and wheel odometry."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
import time

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.camera_info import camera_from_info
from mem3r_ros.errors import UserError
from mem3r_ros.ros.conversions import frame_name, mask_from_message, stamp_ns
from mem3r_ros.ros.frame_result import InputFrame
from mem3r_ros.ros.frame_statistics import FrameCounts, RateMeter
from mem3r_ros.ros.input_refusals import InputRefusals
from mem3r_ros.ros.mailbox import Mailbox
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.node_snapshot import InputSnapshot, Subscribed
from mem3r_ros.ros.qos import qos_profile
from mem3r_ros.ros.skipped_images import SkippedImages
from mem3r_ros.ros.wheel_path import WINDOW, WheelPath

_POLL_S = 0.005
# As in publishers.py. The diagnostics name each publisher that does not fit, once per second.
NO_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)
_LOOK_S = 0.5  # between two looks for a latched camera_info


def compressed_topic(node: Node) -> str:
    """
    Return the topic of compressed images: the one beside ``image``, also where that is remapped.

    :param node: its remappings are used; ``image/compressed`` may be remapped by itself.
    """
    own = node.resolve_topic_name('image/compressed')
    if own != node.resolve_topic_name('image/compressed', only_expand=True):
        return own
    image = node.resolve_topic_name('image')
    return image if image.endswith('/compressed') else f'{image}/compressed'


def _subscribed(role: str, subscription: Subscription, kind: type, qos: QoSProfile) -> Subscribed:
    package = kind.__module__.partition('.')[0]
    return Subscribed(role, subscription.topic_name, f'{package}/msg/{kind.__name__}', qos)


class Subscriptions:
    """
    All subscriptions; exists only while the node is active.

    Images have their own callback group: under input_policy all their callback waits while the
    mailbox is full, and the other callbacks must still run.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        mailbox: Mailbox,
        counts: FrameCounts,
        skipped: SkippedImages,
        refusals: InputRefusals,
        take_hint: Callable[[PoseWithCovarianceStamped], None],
        set_pose: Callable[[PoseWithCovarianceStamped], None],
    ) -> None:
        """
        Subscribe.

        :param node: owner of the subscriptions.
        :param config: parameters; ``config`` may be replaced while running.
        :param mailbox: receives the images.
        :param counts: received and dropped images are counted here.
        :param skipped: gets the reason of each dropped image.
        :param refusals: gets each refused message beside the images.
        :param take_hint: called with each message of pose_hint.
        :param set_pose: called with each message of set_pose.
        """
        self.config = config
        self.is_paused = False
        self.rate = RateMeter()
        self.last_encoding = ''
        self.last_frame_id = ''
        self.last_stamp_ns: int | None = None
        self.camera: Intrinsics | None = None
        self._node = node
        self._mailbox = mailbox
        self._counts = counts
        self._skipped = skipped
        self._refusals = refusals
        self._mask: tuple[int, np.ndarray] | None = None
        self.wheel = WheelPath(config.input.time_jump)
        self._accepted_ns = 0
        self._waits_until_s: float | None = None
        self._is_latched = False  # the subscription of a latched camera_info exists
        self._looked_s = 0.0
        self._subscriptions = self._subscribe(take_hint, set_pose)

    def _subscribe(
        self,
        take_hint: Callable[[PoseWithCovarianceStamped], None],
        set_pose: Callable[[PoseWithCovarianceStamped], None],
    ) -> list:
        config, node = self.config, self._node
        is_compressed = config.image_transport == 'compressed'
        self.image_type = CompressedImage if is_compressed else Image
        topic = compressed_topic(node) if is_compressed else 'image'
        automatic = 'KEEP_ALL' if config.input_policy == 'all' else 'SENSOR_DATA'
        self.image_qos = qos_profile(config.image_qos, automatic)
        info_qos = qos_profile(config.camera_info_qos, automatic)
        images, others = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self._others = others
        sensor = qos_profile('SENSOR_DATA')
        # Each message adds to the path length: none may be overwritten.
        wheels = QoSProfile(depth=WINDOW, reliability=ReliabilityPolicy.BEST_EFFORT)
        create = partial(node.create_subscription, event_callbacks=NO_EVENTS)
        image = create(
            self.image_type, topic, self._on_image, self.image_qos, callback_group=images
        )
        self.image_topic = image.topic_name
        self._subscribed = [_subscribed('image', image, self.image_type, self.image_qos)]
        table = (
            (CameraInfo, 'camera_info', self._on_camera_info, info_qos),
            (Image, 'mask', self._on_mask, sensor),
            (Odometry, 'wheel_odom', self._on_wheel_odom, wheels),
            (PoseWithCovarianceStamped, 'pose_hint', take_hint, qos_profile('DEFAULT')),
            (PoseWithCovarianceStamped, 'set_pose', set_pose, qos_profile('DEFAULT')),
        )
        created = [image]
        for kind, name, callback, qos in table:
            created.append(create(kind, name, callback, qos, callback_group=others))
            self._subscribed.append(_subscribed(name, created[-1], kind, qos))
        self.camera_info_topic = created[1].topic_name
        return created

    def snapshot(self) -> InputSnapshot:
        """Return the state for diagnostics; may be called on any thread."""
        return InputSnapshot(
            subscribed=tuple(self._subscribed),
            is_paused=self.is_paused,
            rate_hz=self.rate.rate_hz(),
            silence_s=self.rate.silence_s,
            last_stamp_ns=self.last_stamp_ns,
            encoding=self.last_encoding,
            frame_id=self.last_frame_id,
            is_calibrated=self.camera is not None,
            warnings=(),
        )

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def forget(self) -> None:
        """Drop masks and wheel odometry of the old time after a clock jump."""
        self.wheel.forget()
        self._mask = None
        self._refusals.forget('mask')
        self._accepted_ns = 0

    def _on_image(self, message: Image | CompressedImage) -> None:
        """Pass the image to the worker, which owns the network."""
        arrived_s = time.monotonic()
        self._counts.received += 1
        self.rate.tick()
        stamp = stamp_ns(message.header.stamp)
        self.last_stamp_ns = stamp
        self.last_frame_id = frame_name(self.config.input.camera_frame or message.header.frame_id)
        self.last_encoding = getattr(message, 'encoding', '') or getattr(message, 'format', '')
        if self.camera is None:
            self._join_latched_info()
        if reason := self._reason_to_drop(stamp):
            self._counts.dropped += 1
            self._skipped.drop(reason)
            return
        frame = InputFrame(
            message,
            stamp,
            self.last_frame_id,
            self.camera,
            self._mask_at(stamp),
            self.wheel.at(stamp),
            arrived_s,
        )
        if not self._mailbox.put(frame):
            self._counts.dropped += 1
            self._skipped.drop('the node was deactivated')

    def _reason_to_drop(self, stamp: int) -> str:
        """Return why an image is left out on purpose, or ''."""
        if self.is_paused:
            return 'paused by ~/pause'
        if self._is_too_soon(stamp):
            return 'above input.max_rate'
        return '' if self._has_calibration() else 'waiting for camera_info'

    def _on_camera_info(self, message: CameraInfo) -> None:
        """Keep the newest good calibration; K of zeros means uncalibrated."""
        try:
            self.camera = camera_from_info(message, self.image_topic)
            self._refusals.accept('camera_info')
        except UserError as error:
            self._refusals.refuse('camera_info', error)

    def _on_mask(self, message: Image) -> None:
        try:
            self._mask = stamp_ns(message.header.stamp), mask_from_message(message)
            self._refusals.accept('mask')
        except UserError as error:
            self._refusals.refuse('mask', error)

    def _on_wheel_odom(self, message: Odometry) -> None:
        """Add up the length of the path; the wheel odometry is used only for that."""
        clock_ns = self._node.get_clock().now().nanoseconds
        try:
            self.wheel.add(message, self.config.tracking.health.max_speed, clock_ns)
            self._refusals.accept('wheel_odom')
        except UserError as error:
            self._refusals.refuse('wheel_odom', error)

    def _is_too_soon(self, stamp: int) -> bool:
        """Return whether the image exceeds ``input.max_rate``, by its stamp."""
        rate_hz = self.config.input.max_rate
        # A tenth of the period is tolerated: the rate of cameras is not exact.
        if rate_hz > 0 and 0 <= stamp - self._accepted_ns < 0.9e9 / rate_hz:
            return True
        self._accepted_ns = stamp
        return False

    def _has_calibration(self) -> bool:
        """
        Make the first images wait for a calibration if camera_info has a publisher.

        Otherwise the stream would start with an estimated focal length and change it at once.
        """
        wait_s = self.config.input.camera_info_wait
        if self._waits_until_s is None:
            self._waits_until_s = time.monotonic() + wait_s
        while self.camera is None and not self._refusals.current('camera_info'):
            if time.monotonic() >= self._waits_until_s:
                return True
            if not self._node.count_publishers(self.camera_info_topic):
                return True
            if self.config.input_policy == 'latest' or self._mailbox.is_closed:
                return False
            time.sleep(_POLL_S)
        return True

    def _join_latched_info(self) -> None:
        """
        Subscribe to a camera_info that was published once, latched, before the node started.

        The subscription of all drivers would not receive it, and a latched subscription would make
        the other drivers log a warning; so it is created only if there is such a publisher.
        """
        now_s = time.monotonic()
        if self._is_latched or now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        latched = DurabilityPolicy.TRANSIENT_LOCAL
        topic = self.camera_info_topic
        publishers = self._node.get_publishers_info_by_topic(topic)
        if any(info.qos_profile.durability is latched for info in publishers):
            self._is_latched = True
            subscription = self._node.create_subscription(
                CameraInfo,
                topic,
                self._on_camera_info,
                qos_profile('LATCHED'),
                callback_group=self._others,
            )
            self._subscriptions.append(subscription)

    def _mask_at(self, stamp: int) -> np.ndarray | None:
        if self._mask is None:
            return None
        mask_ns, mask = self._mask
        is_fresh = abs(stamp - mask_ns) <= self.config.input.mask_max_age * 1e9
        return mask if is_fresh else None
