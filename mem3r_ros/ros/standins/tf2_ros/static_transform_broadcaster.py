# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Publishes transforms that never change on /tf_static, also to those who come later."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from tf2_ros.transform_broadcaster import transform_list


class StaticTransformBroadcaster:
    """Tells everybody, now and later, how fixed frames are mounted."""

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        """
        Advertise /tf_static.

        :param node: which node publishes.
        :param qos: reliable and latched, 1 deep by default.
        """
        latched = QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, history=HistoryPolicy.KEEP_LAST
        )
        self.pub_tf = node.create_publisher(
            TFMessage, '/tf_static', latched if qos is None else qos
        )
        self.net_message = TFMessage()

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """
        Publish transforms together with all that were sent before: only one message is latched.

        :param transform: one or several; the first one of each child frame counts.
        """
        known = {kept.child_frame_id for kept in self.net_message.transforms}
        for new in transform_list(transform):
            if new.child_frame_id not in known:
                known.add(new.child_frame_id)
                self.net_message.transforms.append(new)
        self.pub_tf.publish(self.net_message)
