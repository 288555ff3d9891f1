# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""TF: reads the mount of the camera, broadcasts the pose of the base."""

from __future__ import annotations

import time

from geometry_msgs.msg import Transform
import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import (
    Buffer,
    ExtrapolationException,
    StaticTransformBroadcaster,
    TransformBroadcaster,
    TransformException,
)

from mem3r_ros.errors import UserError
from mem3r_ros.geometry import T_FLU_OPTICAL, invert
from mem3r_ros.plausible import MAX_LINK_M, MAX_POSITION_M
from mem3r_ros.ros.checked_listener import CheckedListener
from mem3r_ros.ros.conversions import (
    frame_name,
    header_at,
    matrix_from_transform,
    stamp_ns,
    transform_message,
)
from mem3r_ros.ros.input_refusals import InputRefusals
from mem3r_ros.ros.node_config import NodeConfig

_POLL_S = 0.002
_CACHE_S = 10.0


class MissingTransform(Exception):
    """TF has no transform from base to camera at the stamp; the message names it."""


class Transforms:
    """The node's TF listener and broadcasters."""

    def __init__(self, node: Node, config: NodeConfig, refusals: InputRefusals) -> None:
        """
        Subscribe to TF, unless mount is standalone.

        :param node: owner of the subscriptions and publishers.
        :param config: frames and mount.
        :param refusals: gets each transform that is impossible.
        """
        self._node = node
        self._mount = config.mount
        self._base_frame = frame_name(config.base_frame)
        self._odom_frame = frame_name(config.odom_frame)
        self._map_frame = frame_name(config.map_frame)
        self._broadcaster = TransformBroadcaster(node)
        self._static_broadcaster: StaticTransformBroadcaster | None = None
        self._static_frames: set[str] = set()
        self._missing: set[tuple[str, str]] = set()  # links that were never published
        self._camera_frame = ''  # of the last image
        self._buffer: Buffer | None = None
        self._listener: CheckedListener | None = None
        if self._mount == 'tf':
            self._buffer = Buffer(cache_time=Duration(seconds=_CACHE_S))
            self._listener = CheckedListener(
                self._buffer,
                node,
                _CACHE_S,
                lambda reason: refusals.refuse('tf', reason),
                lambda: refusals.accept('tf'),
            )

    def T_base_camera(self, camera_frame: str, image_ns: int, wait_s: float) -> np.ndarray:
        """
        Look up the mount of the camera at a stamp.

        :param camera_frame: optical frame of the image.
        :param image_ns: stamp of the image.
        :param wait_s: longest wait for a transform that is late; for a transform that was never
            published, the wait happens only once.
        :return: ``T_base_camera``.
        :raises MissingTransform: TF has no such transform at that time, or an impossible one; no
            identity is assumed.
        """
        if not camera_frame:
            raise MissingTransform(
                "the image's header has no frame_id: set it in the driver or in input.camera_frame"
            )
        if self._mount == 'standalone':
            self._broadcast_standalone(camera_frame)
            return np.array(T_FLU_OPTICAL)
        self._camera_frame = camera_frame
        return self._look_up(self._base_frame, camera_frame, image_ns, wait_s)

    def T_outside_camera(
        self, outside_frame: str, camera_frame: str, image_ns: int, wait_s: float
    ) -> np.ndarray:
        """
        Look up the pose of the camera in the frame of another odometry; otherwise as the mount.

        :param outside_frame: fixed frame of that odometry.
        :return: ``T_outside_camera``.
        :raises MissingTransform: TF has no such transform at that time, or an impossible one.
        """
        return self._look_up(
            frame_name(outside_frame), camera_frame, image_ns, wait_s, MAX_POSITION_M
        )

    def _look_up(
        self,
        parent: str,
        camera_frame: str,
        image_ns: int,
        wait_s: float,
        max_m: float = MAX_LINK_M,
    ) -> np.ndarray:
        link = parent, camera_frame
        deadline = time.monotonic() + wait_s
        stamp = Time(nanoseconds=image_ns)
        while True:
            try:
                found = self._buffer.lookup_transform(parent, camera_frame, stamp)
            except TransformException as error:
                # A late transform of a known frame comes soon. Waiting for one that was never
                # published would delay every image, and the depth that does not need it.
                is_known = isinstance(error, ExtrapolationException)
                may_come = is_known or link not in self._missing
                if may_come and time.monotonic() < deadline:
                    time.sleep(_POLL_S)
                    continue
                if is_known:
                    self._missing.discard(link)
                else:
                    self._missing.add(link)
                raise MissingTransform(self._explain(*link, str(error))) from error
            self._missing.discard(link)
            return self._checked(found.transform, link, max_m)

    def broadcast(self, T_odom_base: np.ndarray, sent_ns: int) -> None:
        """
        Broadcast the pose of the base.

        :param T_odom_base: pose of the base.
        :param sent_ns: the image's stamp plus ``transform_time_offset``.
        """
        header = header_at(sent_ns, self._odom_frame)
        self._broadcaster.sendTransform(transform_message(header, self._base_frame, T_odom_base))

    def broadcast_map(self, T_map_odom: np.ndarray, sent_ns: int) -> None:
        """
        Broadcast where odometry lies in the map.

        :param sent_ns: the image's stamp plus ``map.transform_tolerance``.
        """
        header = header_at(sent_ns, self._map_frame)
        self._broadcaster.sendTransform(transform_message(header, self._odom_frame, T_map_odom))

    def forget(self) -> None:
        """Drop moving transforms of the old time after a clock jump; static ones stay."""
        if self._listener is not None:
            self._listener.forget()
        self._missing.clear()

    def close(self) -> None:
        """Destroy the subscriptions and publishers."""
        if self._listener is not None:
            self._listener.unregister()
            self._listener = None
        self._node.destroy_publisher(self._broadcaster.pub_tf)
        if self._static_broadcaster is not None:
            self._node.destroy_publisher(self._static_broadcaster.pub_tf)
            self._static_broadcaster = None

    def _broadcast_standalone(self, camera_frame: str) -> None:
        """Broadcast once the static mount: the optical axis is the x axis of the base."""
        self._broadcast_static(self._base_frame, camera_frame, np.array(T_FLU_OPTICAL))

    def scan_frame(self, camera_frame: str) -> str:
        """
        Return a frame at the camera with x forward and z up; it is broadcast once.

        A child of the optical frame, because a frame of TF has only one parent. Empty if the
        image has no frame.
        """
        if not camera_frame:
            return ''
        frame = f'{camera_frame}_scan'
        self._broadcast_static(camera_frame, frame, invert(np.array(T_FLU_OPTICAL)))
        return frame

    def age_s(self) -> float | None:
        """Return the age of the newest camera mount on TF, s; None: static, or never received."""
        if self._buffer is None or not self._camera_frame:
            return None
        try:
            found = self._buffer.lookup_transform(self._base_frame, self._camera_frame, Time())
        except TransformException:
            return None
        found_ns = stamp_ns(found.header.stamp)
        now_ns = self._node.get_clock().now().nanoseconds
        return (now_ns - found_ns) * 1e-9 if found_ns else None

    def _broadcast_static(self, parent: str, child: str, T_parent_child: np.ndarray) -> None:
        if child in self._static_frames:
            return
        if self._static_broadcaster is None:
            self._static_broadcaster = StaticTransformBroadcaster(self._node)
        message = transform_message(header_at(0, parent), child, T_parent_child)
        self._static_broadcaster.sendTransform(message)
        self._static_frames.add(child)

    def _checked(self, transform: Transform, link: tuple[str, str], max_m: float) -> np.ndarray:
        """Return the matrix of a transform that a camera on a robot can have."""
        name = f'transform from {link[0]} to {link[1]}'
        try:
            return matrix_from_transform(transform, name, max_m)
        except UserError as error:
            raise MissingTransform(f'{error}: correct this transform') from error

    def _explain(self, parent: str, camera_frame: str, reason: str) -> str:
        refused = self._listener.refusals() if self._listener is not None else ()
        reason = '; refused: '.join([reason.rstrip('.'), *refused[:3]])
        return (
            f'no transform from {parent} to {camera_frame} ({reason}): '
            'publish this transform (robot_state_publisher, static_transform_publisher) or set '
            'mount to standalone'
        )
