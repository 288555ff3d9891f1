# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The topics that the node sends: their names, types, and who listens to them."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.qos import qos_profile

# Under policy all a recorder compares each image with its status: none may be overwritten.
_STATUS_DEPTH = 10


class Publishers:
    """All publishers of results; while the node is inactive they send nothing."""

    def __init__(self, node: LifecycleNode, config: NodeConfig) -> None:
        """
        Create them.

        :param node: their owner.
        :param config: quality of service by name.
        """
        self._node = node
        odom, depth = qos_profile(config.odom_qos), qos_profile(config.depth_qos)
        create = node.create_lifecycle_publisher
        self.odom = create(Odometry, 'odom', odom)
        self.pose = create(PoseWithCovarianceStamped, 'pose', odom)
        self.path = create(Path, 'path', odom)
        self.depth = create(Image, 'depth/image', depth)
        self.depth_info = create(CameraInfo, 'depth/camera_info', depth)
        self.confidence = create(Image, 'confidence/image', depth)
        self.points = create(PointCloud2, 'points', qos_profile(config.points_qos))
        self.map = create(PointCloud2, 'map/points', qos_profile(config.map_qos, 'LATCHED'))
        # Latched, so that who comes later still learns the state of a node that stands still.
        latched = QoSProfile(depth=_STATUS_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.status = create(DiagnosticArray, 'status', latched)

    def wanted(self, config: NodeConfig) -> frozenset[str]:
        """
        Return what the tracker shall compute: only what somebody listens to.

        :param config: publish switches in force.
        """
        wanted = set()
        if config.publish_depth:
            if has_listener(self.depth) or has_listener(self.depth_info):
                wanted.add('depth')
            if has_listener(self.confidence):
                wanted.add('confidence')
        if config.publish_points and has_listener(self.points):
            wanted.add('points')
        if self.map_grows(config):
            wanted.add('points')
        return frozenset(wanted)

    def map_grows(self, config: NodeConfig) -> bool:
        """Return whether the points of the next frame go into the map."""
        accumulate = config.map.accumulate
        if accumulate == 'subscribed':
            return config.publish_points and has_listener(self.map)
        return accumulate == 'always'

    def close(self) -> None:
        """Destroy them all."""
        for publisher in list(vars(self).values()):
            if publisher is not self._node:
                self._node.destroy_lifecycle_publisher(publisher)


def has_listener(publisher: Publisher) -> bool:
    """Return whether anybody subscribes to a topic."""
    return publisher.get_subscription_count() > 0
