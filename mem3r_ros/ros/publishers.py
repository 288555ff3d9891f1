# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The topics that the node publishes: names, types and quality of service."""

from __future__ import annotations

from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.qos import qos_profile

# A recorder under input_policy all waits for the status of each image: none may be overwritten.
_STATUS_DEPTH = 10
# Each event of each publisher is checked, in Python, whenever a message arrives. Subscribers whose
# quality of service does not fit log it themselves.
NO_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)


class Publishers:
    """All publishers of results; while the node is inactive they publish nothing."""

    def __init__(self, node: LifecycleNode, config: NodeConfig) -> None:
        """
        Create the publishers.

        :param node: owner of the publishers.
        :param config: names of the quality-of-service profiles.
        """
        self._node = node
        odom, depth = qos_profile(config.odom_qos), qos_profile(config.depth_qos)
        create = partial(node.create_lifecycle_publisher, event_callbacks=NO_EVENTS)
        self.odom = create(Odometry, 'odom', odom)
        self.pose = create(PoseWithCovarianceStamped, 'pose', odom)
        self.path = create(Path, 'path', odom)
        self.depth = create(Image, 'depth/image', depth)
        self.depth_colored = create(Image, 'depth/colored', depth)
        self.depth_info = create(CameraInfo, 'depth/camera_info', depth)
        self.confidence = create(Image, 'confidence/image', depth)
        self.rgb = create(Image, 'rgb/image', depth)
        self.rgb_info = create(CameraInfo, 'rgb/camera_info', depth)
        self.scan = create(LaserScan, 'scan', depth)
        self.points = create(PointCloud2, 'points', qos_profile(config.points_qos))
        self.map = create(PointCloud2, 'map/points', qos_profile(config.map_qos, 'LATCHED'))
        self.map_pose = create(PoseWithCovarianceStamped, 'map/pose', odom)
        self.map_path = create(Path, 'map/path', odom)
        # Latched, so late subscribers get the last status.
        latched = QoSProfile(depth=_STATUS_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.status = create(DiagnosticArray, 'status', latched)

    def wanted_outputs(self, config: NodeConfig) -> frozenset[str]:
        """
        Return the outputs that the tracker must compute: those with subscribers.

        :param config: current parameters.
        """
        wanted = set()
        if config.publish_depth:
            if any(
                map(has_subscriber, (self.depth, self.depth_colored, self.depth_info, self.scan))
            ):
                wanted.add('depth')
            if has_subscriber(self.rgb) or has_subscriber(self.rgb_info):
                wanted.add('image')
            if has_subscriber(self.confidence):
                wanted.add('confidence')
        if config.publish_points and has_subscriber(self.points):
            wanted.add('points')
        if self.map_grows(config):
            wanted.add('points')
        return frozenset(wanted)

    def map_grows(self, config: NodeConfig) -> bool:
        """Return whether the points of the next frame are added to the map."""
        accumulate = config.map.accumulate
        if accumulate == 'subscribed':
            return config.publish_points and has_subscriber(self.map)
        return accumulate == 'always'

    def close(self) -> None:
        """Destroy all publishers."""
        for publisher in list(vars(self).values()):
            if publisher is not self._node:
                self._node.destroy_lifecycle_publisher(publisher)


def has_subscriber(publisher: Publisher) -> bool:
    """Return whether a topic has a subscriber."""
    return publisher.get_subscription_count() > 0
