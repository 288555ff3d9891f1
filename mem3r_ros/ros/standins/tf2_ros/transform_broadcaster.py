# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Publishes moving transforms on /tf."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage


class TransformBroadcaster:
    """Tells everybody where moving frames are."""

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        """
        Advertise /tf.

        :param node: which node publishes.
        :param qos: reliable, 100 deep by default.
        """
        self.pub_tf = node.create_publisher(
            TFMessage, '/tf', QoSProfile(depth=100) if qos is None else qos
        )

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """
        Publish one or several transforms in one message.

        :param transform: what to publish.
        """
        self.pub_tf.publish(TFMessage(transforms=transform_list(transform)))


def transform_list(
    transform: TransformStamped | Iterable[TransformStamped],
) -> list[TransformStamped]:
    """
    Return one or several transforms as a list.

    :param transform: one, or any iterable of them.
    :return: list.
    """
    return [transform] if isinstance(transform, TransformStamped) else list(transform)
