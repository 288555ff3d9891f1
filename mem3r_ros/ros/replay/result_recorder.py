# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Subscribes to the results of the node and passes them to a recorder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_ros import Buffer, TransformException, TransformListener

from mem3r_ros.data.camera_info import camera_from_info
from mem3r_ros.data.message_decoding import depth_from_message
from mem3r_ros.refusals import Refusals
from mem3r_ros.reports import RunRecorder
from mem3r_ros.ros.conversions import (
    matrix_from_pose_message,
    matrix_from_transform,
    points_from_message,
    stamp_ns,
)
from mem3r_ros.ros.qos import qos_profile

# An image is answered when those of these topics that its status lists have arrived.
RECORDED = ('odom', 'depth/image', 'depth/camera_info', 'points')


@dataclass(slots=True)
class _Pending:
    """The messages that have arrived for one image."""

    received: set[str] = field(default_factory=set)
    expected: frozenset[str] | None = None  # known from the status
    odom: Odometry | None = None
    depth: Image | None = None
    info: CameraInfo | None = None
    points: PointCloud2 | None = None
    status: dict[str, str] = field(default_factory=dict)

    def is_complete(self) -> bool:
        return self.expected is not None and self.expected <= self.received


class ResultRecorder:
    """Subscriptions to the results of the node; counts the images that are fully answered."""

    def __init__(
        self, node: Node, recorder: RunRecorder, base_frame: str, camera_frame: str
    ) -> None:
        """
        Subscribe.

        :param node: owner of the subscriptions.
        :param recorder: receives the results, image by image.
        :param base_frame: of the odometry.
        :param camera_frame: of the images; the recorder needs the pose of the camera.
        """
        self.num_answered = 0
        self.num_skipped = 0
        self.num_published = 0  # odometry
        self.refused = Refusals()
        self.without_pose = Refusals()
        self.last_problem = ''
        self.on_answer: Callable[[], None] = lambda: None
        self._recorder = recorder
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._frames = base_frame, camera_frame
        self._without_mount: list[tuple[int, np.ndarray]] = []
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node, spin_thread=False)
        self._node = node
        qos = qos_profile('KEEP_ALL')
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        create = node.create_subscription
        self._subscriptions = [
            create(Odometry, 'odom', self._on_odom, qos),
            create(Image, 'depth/image', self._on_depth, qos),
            create(CameraInfo, 'depth/camera_info', self._on_info, qos),
            create(PointCloud2, 'points', self._on_points, qos),
            create(DiagnosticArray, 'status', self._on_status, latched),
        ]

    def is_connected(self) -> bool:
        """Return whether all topics have a publisher."""
        return all(self._node.count_publishers(s.topic_name) for s in self._subscriptions)

    def place_cameras(self) -> None:
        """Record the pose of the camera for all odometry for which TF has the mount."""
        waiting, self._without_mount = self._without_mount, []
        for stamp, T_odom_base in waiting:
            try:
                link = self._buffer.lookup_transform(*self._frames, Time(nanoseconds=stamp))
            except TransformException as error:
                # The static transform may arrive after the first odometry.
                self._without_mount.append((stamp, T_odom_base))
                self.last_problem = str(error)
                continue
            T_base_camera = matrix_from_transform(link.transform)
            self._recorder.add_pose(stamp, T_odom_base @ T_base_camera)

    def _on_odom(self, message: Odometry) -> None:
        self._part(message, 'odom').odom = message
        self._finish(message)

    def _on_depth(self, message: Image) -> None:
        self._part(message, 'depth/image').depth = message
        self._finish(message)

    def _on_info(self, message: CameraInfo) -> None:
        self._part(message, 'depth/camera_info').info = message
        self._finish(message)

    def _on_points(self, message: PointCloud2) -> None:
        self._part(message, 'points').points = message
        self._finish(message)

    def _on_status(self, message: DiagnosticArray) -> None:
        status = {pair.key: pair.value for pair in message.status[0].values}
        if status.get('state') == 'SKIPPED':
            # Nothing else comes; an image of the same stamp may still have parts to come.
            self.num_answered += 1
            self.num_skipped += 1
            self.last_problem = status.get('reason', '')
            self.refused.add(self.last_problem)
            self.on_answer()
            return
        pending = self._part(message, 'status')
        pending.status = status
        published = pending.status.get('published', '').split()
        pending.expected = frozenset(RECORDED).intersection(published)
        self._finish(message)

    def _part(self, message: Any, topic: str) -> _Pending:
        pending = self._pending.setdefault(stamp_ns(message.header.stamp), _Pending())
        pending.received.add(topic)
        return pending

    def _finish(self, message: Any) -> None:
        """Record an image when all messages that the node has published for it have arrived."""
        stamp = stamp_ns(message.header.stamp)
        pending = self._pending[stamp]
        if not pending.is_complete():
            return
        del self._pending[stamp]
        self.num_answered += 1
        self._record(stamp, pending)
        self.on_answer()

    def _record(self, stamp: int, pending: _Pending) -> None:
        recorder, status = self._recorder, pending.status
        state = status.get('state', '')
        if pending.odom is not None:
            self.num_published += 1
            self._without_mount.append((stamp, matrix_from_pose_message(pending.odom.pose.pose)))
            self.place_cameras()
        else:
            self.last_problem = status.get('reason') or 'the node sent no odometry'
            self.without_pose.add(self.last_problem)
        if pending.depth is not None:
            intrinsics = None if pending.info is None else camera_from_info(pending.info)
            recorder.add_depth(stamp, depth_from_message(pending.depth, keep_far=True), intrinsics)
        if pending.points is not None:
            recorder.add_points(stamp, *points_from_message(pending.points))
        recorder.add_status(stamp, state, status.get('reason', ''))
        times = {n[3:]: float(value) for n, value in status.items() if n.startswith('ms.')}
        if 'total' in times:
            # Images of a recording wait for their turn; the node does not need that time.
            times['total'] -= times.pop('wait', 0.0)
        recorder.add_timings(times)
