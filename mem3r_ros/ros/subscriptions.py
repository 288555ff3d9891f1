# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: images, and the latest camera_info, mask and wheel odometry."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import math
import time

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.message_decoding import camera_from_info
from mem3r_ros.errors import UserError
from mem3r_ros.ros.conversions import frame_name, mask_from_message, stamp_ns
from mem3r_ros.ros.frame_result import InputFrame
from mem3r_ros.ros.frame_statistics import FrameCounts, RateMeter
from mem3r_ros.ros.mailbox import Mailbox
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.node_snapshot import InputSnapshot
from mem3r_ros.ros.qos import qos_profile

_WHEEL_WINDOW = 500  # messages
_POLL_S = 0.005


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
        take_hint: Callable[[PoseWithCovarianceStamped], None],
    ) -> None:
        """
        Subscribe.

        :param node: owner of the subscriptions.
        :param config: parameters; ``config`` may be replaced while running.
        :param mailbox: receives the images.
        :param counts: received and dropped images are counted here.
        :param take_hint: called with each message of pose_hint.
        """
        self.config = config
        self.is_paused = False
        self.rate = RateMeter()
        self.last_encoding = ''
        self.last_frame_id = ''
        self.last_stamp_ns: int | None = None
        self.camera: Intrinsics | None = None
        self.camera_warning = ''
        self.mask_warning = ''
        self._node = node
        self._mailbox = mailbox
        self._counts = counts
        self._mask: tuple[int, np.ndarray] | None = None
        self._wheel: deque[tuple[int, float]] = deque(maxlen=_WHEEL_WINDOW)
        self._wheel_position: np.ndarray | None = None
        self._accepted_ns = 0
        self._waits_until_s: float | None = None
        self._subscriptions = self._subscribe(take_hint)

    def _subscribe(self, take_hint: Callable[[PoseWithCovarianceStamped], None]) -> list:
        config, node = self.config, self._node
        is_compressed = config.image_transport == 'compressed'
        self.image_type = CompressedImage if is_compressed else Image
        topic = 'image/compressed' if is_compressed else 'image'
        automatic = 'KEEP_ALL' if config.input_policy == 'all' else 'SENSOR_DATA'
        self.image_qos = qos_profile(config.image_qos, automatic)
        info_qos = qos_profile(config.camera_info_qos, automatic)
        images, others = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        sensor = qos_profile('SENSOR_DATA')
        # Each message adds to the path length: none may be overwritten.
        wheels = QoSProfile(depth=_WHEEL_WINDOW, reliability=ReliabilityPolicy.BEST_EFFORT)
        create = node.create_subscription
        image = create(
            self.image_type, topic, self._on_image, self.image_qos, callback_group=images
        )
        self.image_topic = image.topic_name
        table = (
            (CameraInfo, 'camera_info', self._on_camera_info, info_qos),
            (Image, 'mask', self._on_mask, sensor),
            (Odometry, 'wheel_odom', self._on_wheel_odom, wheels),
            (PoseWithCovarianceStamped, 'pose_hint', take_hint, qos_profile('DEFAULT')),
        )
        created = [image]
        for kind, name, callback, qos in table:
            created.append(create(kind, name, callback, qos, callback_group=others))
        self.camera_info_topic = created[1].topic_name
        return created

    def snapshot(self) -> InputSnapshot:
        """Return the state for diagnostics; may be called on any thread."""
        return InputSnapshot(
            topic=self.image_topic,
            type_name=f'sensor_msgs/msg/{self.image_type.__name__}',
            qos=self.image_qos,
            is_paused=self.is_paused,
            rate_hz=self.rate.rate_hz(),
            silence_s=self.rate.silence_s,
            last_stamp_ns=self.last_stamp_ns,
            encoding=self.last_encoding,
            frame_id=self.last_frame_id,
            is_calibrated=self.camera is not None,
            warnings=tuple(filter(None, (self.camera_warning, self.mask_warning))),
        )

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def forget(self) -> None:
        """Drop masks and wheel odometry of the old time after a clock jump."""
        self._wheel.clear()
        self._wheel_position = None
        self._mask = None
        self.mask_warning = ''
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
        if self.is_paused or self._is_too_soon(stamp) or not self._has_calibration():
            self._counts.dropped += 1
            return
        frame = InputFrame(
            message,
            stamp,
            self.last_frame_id,
            self.camera,
            self._mask_at(stamp),
            self._wheel_path_at(stamp),
            arrived_s,
        )
        if not self._mailbox.put(frame):
            self._counts.dropped += 1

    def _on_camera_info(self, message: CameraInfo) -> None:
        """Keep the newest calibration; K of zeros means uncalibrated."""
        try:
            self.camera = camera_from_info(message, self.image_topic)
            self.camera_warning = ''
        except UserError as error:
            self.camera = None
            self.camera_warning = f'camera_info not used: {error}'

    def _on_mask(self, message: Image) -> None:
        try:
            self._mask = stamp_ns(message.header.stamp), mask_from_message(message)
            self.mask_warning = ''
        except UserError as error:
            self.mask_warning = f'mask not used: {error}'

    def _on_wheel_odom(self, message: Odometry) -> None:
        """Add up the length of the path; the wheel odometry is used only for that."""
        p = message.pose.pose.position
        position = np.array([p.x, p.y, p.z])
        if not np.isfinite(position).all():
            return
        path_m = self._wheel[-1][1] if self._wheel else 0.0
        if self._wheel_position is not None:
            path_m += float(np.linalg.norm(position - self._wheel_position))
        self._wheel_position = position
        self._wheel.append((stamp_ns(message.header.stamp), path_m))

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
        while self.camera is None and not self.camera_warning:
            if time.monotonic() >= self._waits_until_s:
                return True
            if not self._node.count_publishers(self.camera_info_topic):
                return True
            if self.config.input_policy == 'latest' or self._mailbox.is_closed:
                return False
            time.sleep(_POLL_S)
        return True

    def _mask_at(self, stamp: int) -> np.ndarray | None:
        if self._mask is None:
            return None
        mask_ns, mask = self._mask
        is_fresh = abs(stamp - mask_ns) <= self.config.input.mask_max_age * 1e9
        return mask if is_fresh else None

    def _wheel_path_at(self, stamp: int) -> float | None:
        """Return the path length at a stamp, m, interpolated; None without wheel odometry."""
        if not self._wheel:
            return None
        stamps, paths = zip(*list(self._wheel), strict=True)
        path_m = float(np.interp(stamp, stamps, paths))
        return path_m if math.isfinite(path_m) else None
