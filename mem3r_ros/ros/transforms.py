# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""TF in and out: where the camera sits on the robot, and where the robot is in odom."""

from __future__ import annotations

import time

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
    TransformListener,
)

from mem3r_ros.geometry import T_FLU_OPTICAL
from mem3r_ros.ros.conversions import header_at, matrix_from_transform, transform_message
from mem3r_ros.ros.node_config import NodeConfig

_POLL_S = 0.002


class MissingTransform(Exception):
    """The link from base to camera is not on TF at that stamp; the message names it."""


class Transforms:
    """The node's TF listener and broadcasters."""

    def __init__(self, node: Node, config: NodeConfig) -> None:
        """
        Listen to TF, unless the camera stands alone.

        :param node: owner of the subscriptions and publishers.
        :param config: frames and mount.
        """
        self._node = node
        self._mount = config.mount
        self._base_frame = config.base_frame
        self._odom_frame = config.odom_frame
        self._broadcaster = TransformBroadcaster(node)
        self._static_broadcaster: StaticTransformBroadcaster | None = None
        self._standalone_frame = ''
        self._missing_frame = ''
        self._buffer: Buffer | None = None
        self._listener: TransformListener | None = None
        if self._mount == 'tf':
            self._buffer = Buffer(cache_time=Duration(seconds=10.0))
            self._listener = TransformListener(self._buffer, node, spin_thread=False)

    def T_base_camera(self, camera_frame: str, stamp_ns: int, wait_s: float) -> np.ndarray:
        """
        Look up where the camera sits at the stamp.

        :param camera_frame: optical frame of the image.
        :param stamp_ns: when the image was taken.
        :param wait_s: how long to wait for a transform that is still on its way; for a link that
            TF knows nothing of, only the first time.
        :return: ``T_base_camera``.
        :raises MissingTransform: TF has no such link at that time; there is no identity instead.
        """
        if not camera_frame:
            raise MissingTransform(
                "the image's header has no frame_id: set the driver's frame or input.camera_frame"
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
                # A link that is there and late comes soon. One that nobody has ever sent would
                # hold up every image, and with it the depth and points that need no link.
                is_there = isinstance(error, ExtrapolationException)
                may_come = is_there or camera_frame != self._missing_frame
                if may_come and time.monotonic() < deadline:
                    time.sleep(_POLL_S)
                    continue
                self._missing_frame = '' if is_there else camera_frame
                raise MissingTransform(self._explain(camera_frame, str(error))) from error
            self._missing_frame = ''
            return matrix_from_transform(found.transform)

    def broadcast(self, T_odom_base: np.ndarray, stamp_ns: int) -> None:
        """
        Tell TF where the base is.

        :param T_odom_base: pose of the base.
        :param stamp_ns: the image's stamp plus ``transform_time_offset``.
        """
        header = header_at(stamp_ns, self._odom_frame)
        self._broadcaster.sendTransform(transform_message(header, self._base_frame, T_odom_base))

    def forget(self) -> None:
        """Drop what belongs to a time that is over (the clock jumped back); static links stay."""
        if self._buffer is not None:
            self._buffer.clear()
        self._missing_frame = ''

    def close(self) -> None:
        """Give the subscriptions and publishers back to the node."""
        if self._listener is not None:
            self._listener.unregister()
            self._listener = None
        self._node.destroy_publisher(self._broadcaster.pub_tf)
        if self._static_broadcaster is not None:
            self._node.destroy_publisher(self._static_broadcaster.pub_tf)
            self._static_broadcaster = None

    def _broadcast_standalone(self, camera_frame: str) -> None:
        """Say once that the optical frame sits in the base and looks along its x axis."""
        if camera_frame == self._standalone_frame:
            return
        if self._static_broadcaster is None:
            self._static_broadcaster = StaticTransformBroadcaster(self._node)
        header = header_at(0, self._base_frame)
        message = transform_message(header, camera_frame, np.array(T_FLU_OPTICAL))
        self._static_broadcaster.sendTransform(message)
        self._standalone_frame = camera_frame

    def _explain(self, camera_frame: str, reason: str) -> str:
        return (
            f'no transform from {self._base_frame} to {camera_frame} ({reason.rstrip(".")}): '
            'publish that link (robot_state_publisher, static_transform_publisher) or set '
            'mount to standalone'
        )
