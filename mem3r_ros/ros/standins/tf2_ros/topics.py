# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Publish transforms on /tf and /tf_static, and fill a buffer from them."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from tf2_ros.buffer import Buffer


class TransformBroadcaster:
    """Publishes moving transforms on /tf."""

    def __init__(self, node: Node) -> None:
        """Create the publisher."""
        self.pub_tf = node.create_publisher(TFMessage, '/tf', QoSProfile(depth=100))

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish one or several transforms in one message."""
        self.pub_tf.publish(TFMessage(transforms=_as_list(transform)))


class StaticTransformBroadcaster:
    """Publishes constant transforms on /tf_static, also to late subscribers."""

    def __init__(self, node: Node) -> None:
        """Create the latched publisher."""
        self.pub_tf = node.create_publisher(TFMessage, '/tf_static', _qos(1, is_latched=True))
        self.net_message = TFMessage()

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish transforms together with all earlier ones: only one message is latched."""
        known = {kept.child_frame_id for kept in self.net_message.transforms}
        for new in _as_list(transform):
            if new.child_frame_id not in known:
                known.add(new.child_frame_id)
                self.net_message.transforms.append(new)
        self.pub_tf.publish(self.net_message)


class TransformListener:
    """Subscribes to /tf and /tf_static and adds the transforms to a buffer."""

    def __init__(self, buffer: Buffer, node: Node, *, spin_thread: bool = False) -> None:
        """Subscribe; the caller spins the node, so spin_thread must be False."""
        assert not spin_thread, 'spin_thread needs the real tf2_ros'
        self.buffer = buffer
        self.node = node
        # Their own group: a callback that waits for a transform must not block them.
        group = ReentrantCallbackGroup()
        self.tf_sub = node.create_subscription(
            TFMessage, '/tf', self.callback, _qos(100), callback_group=group
        )
        latched = _qos(100, is_latched=True)
        self.tf_static_sub = node.create_subscription(
            TFMessage, '/tf_static', self.static_callback, latched, callback_group=group
        )

    def callback(self, data: TFMessage) -> None:
        """Add moving transforms."""
        for transform in data.transforms:
            self.buffer.set_transform(transform, 'default_authority')

    def static_callback(self, data: TFMessage) -> None:
        """Add static transforms."""
        for transform in data.transforms:
            self.buffer.set_transform_static(transform, 'default_authority')

    def unregister(self) -> None:
        """Unsubscribe."""
        self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)


def _as_list(given: TransformStamped | Iterable[TransformStamped]) -> list[TransformStamped]:
    return [given] if isinstance(given, TransformStamped) else list(given)


def _qos(depth: int, *, is_latched: bool = False) -> QoSProfile:
    durability = DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=depth, durability=durability)
