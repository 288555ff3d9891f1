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
from mem3r_ros.geometry import T_FLU_OPTICAL
from mem3r_ros.plausible import MAX_LINK_M
from mem3r_ros.ros.checked_listener import CheckedListener
from mem3r_ros.ros.conversions import (
    frame_name,
    header_at,
    matrix_from_transform,
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
        self._broadcaster = TransformBroadcaster(node)
        self._static_broadcaster: StaticTransformBroadcaster | None = None
        self._standalone_frame = ''
        self._missing_frame = ''
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

    def T_base_camera(self, camera_frame: str, stamp_ns: int, wait_s: float) -> np.ndarray:
        """
        Look up the mount of the camera at a stamp.

        :param camera_frame: optical frame of the image.
        :param stamp_ns: stamp of the image.
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
        deadline = time.monotonic() + wait_s
        stamp = Time(nanoseconds=stamp_ns)
        while True:
            try:
                found = self._buffer.lookup_transform(self._base_frame, camera_frame, stamp)
            except TransformException as error:
                # A late transform of a known frame comes soon. Waiting for one that was never
                # published would delay every image, and the depth that does not need it.
                is_known = isinstance(error, ExtrapolationException)
                may_come = is_known or camera_frame != self._missing_frame
                if may_come and time.monotonic() < deadline:
                    time.sleep(_POLL_S)
                    continue
                self._missing_frame = '' if is_known else camera_frame
                raise MissingTransform(self._explain(camera_frame, str(error))) from error
            self._missing_frame = ''
            return self._checked(found.transform, camera_frame)

    def broadcast(self, T_odom_base: np.ndarray, stamp_ns: int) -> None:
        """
        Broadcast the pose of the base.

        :param T_odom_base: pose of the base.
        :param stamp_ns: the image's stamp plus ``transform_time_offset``.
        """
        header = header_at(stamp_ns, self._odom_frame)
        self._broadcaster.sendTransform(transform_message(header, self._base_frame, T_odom_base))

    def forget(self) -> None:
        """Drop moving transforms of the old time after a clock jump; static ones stay."""
        if self._listener is not None:
            self._listener.forget()
        self._missing_frame = ''

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
        if camera_frame == self._standalone_frame:
            return
        if self._static_broadcaster is None:
            self._static_broadcaster = StaticTransformBroadcaster(self._node)
        header = header_at(0, self._base_frame)
        message = transform_message(header, camera_frame, np.array(T_FLU_OPTICAL))
        self._static_broadcaster.sendTransform(message)
        self._standalone_frame = camera_frame

    def _checked(self, transform: Transform, camera_frame: str) -> np.ndarray:
        """Return the matrix of a transform that a camera on a robot can have."""
        name = f'transform from {self._base_frame} to {camera_frame}'
        try:
            return matrix_from_transform(transform, name, MAX_LINK_M)
        except UserError as error:
            raise MissingTransform(f'{error}: correct this transform') from error

    def _explain(self, camera_frame: str, reason: str) -> str:
        refused = self._listener.refusals() if self._listener is not None else ()
        reason = '; refused: '.join([reason.rstrip('.'), *refused[:3]])
        return (
            f'no transform from {self._base_frame} to {camera_frame} ({reason}): '
            'publish this transform (robot_state_publisher, static_transform_publisher) or set '
            'mount to standalone'
        )
