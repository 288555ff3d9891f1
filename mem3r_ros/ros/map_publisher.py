# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Publishes what lies in the map: map to odom on TF, map/pose, map/path and map/points.

Without places the frames map and odom are one: only map/points is published, in odom. With places
map to odom has a stamp in the future, as that of amcl: it holds until the next image comes.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path as FilePath

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
import numpy as np

from mem3r_ros.cloud import VoxelMap
from mem3r_ros.data.ply import write_ply
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import T_FLU_OPTICAL, hat, invert, orthonormalise, transform_points
from mem3r_ros.places import Correction
from mem3r_ros.ros.base_odometry import BaseMotion, planar_pose
from mem3r_ros.ros.conversions import (
    cloud_message,
    header_at,
    matrix_from_xyz_rpy,
    pose_message,
    pose_with_covariance,
)
from mem3r_ros.ros.frame_result import FrameResult
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.pose_history import PoseHistory
from mem3r_ros.ros.publishers import Publishers, has_subscriber
from mem3r_ros.ros.transforms import Transforms
from mem3r_ros.tracker import Status, TrackedFrame

_PLACES_PER_PART = 10  # parts of the map move as wholes


class MapPublisher:
    """Keeps and publishes the map; used only on the publishing thread."""

    def __init__(self, config: NodeConfig, publishers: Publishers, transforms: Transforms) -> None:
        """
        Start with an empty map.

        :param config: parameters at the start.
        :param publishers: publishers of the topics.
        :param transforms: the broadcaster of TF.
        """
        self._publishers = publishers
        self._transforms = transforms
        self._points = MapPoints(config.map.voxel_size, config.map.max_points)
        self._history = PoseHistory(config.path.max_poses)
        self._T_map_first: np.ndarray | None = None  # frame of the tracker's map in the map
        self.num_points = 0  # read by other threads
        self._sent_ns: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of points of the map."""
        return len(self._points.merged())

    def clear(self) -> None:
        """Remove all points and poses."""
        self._points.clear()
        self._history.clear()
        self._sent_ns.clear()
        self.num_points = 0

    def start_over(self) -> None:
        """Begin a new session: its map begins where its odometry does."""
        self.clear()
        self._T_map_first = None

    def continue_elsewhere(self) -> None:
        """Forget path and corrected points: the tracker has another origin and other places."""
        self._history.clear()
        if self._points.is_corrected:
            self._points.clear()

    def publish_pose(
        self,
        result: FrameResult,
        tracked: TrackedFrame,
        motion: BaseMotion,
        config: NodeConfig,
        published: list[str],
    ) -> None:
        """Broadcast map to odom, and publish the pose and path in the map."""
        if tracked.correction is None:
            return
        T_base_camera = invert(motion.T_odom_base) @ motion.T_odom_camera
        if self._T_map_first is None:
            start = matrix_from_xyz_rpy(config.initial_base_pose)
            self._T_map_first = start @ T_base_camera @ invert(np.array(T_FLU_OPTICAL))
        self._history.add(result.stamp_ns, tracked.T_odom_camera)
        if tracked.T_map_camera is None:
            return  # restarted, and the place is not recognised yet
        T_map_camera = self._T_map_first @ tracked.T_map_camera
        T_map_base = T_map_camera @ invert(T_base_camera)
        if config.two_d_mode:
            T_map_base = planar_pose(T_map_base)
        if config.publish_tf:
            T_map_odom = orthonormalise(T_map_base @ invert(motion.T_odom_base))
            sent_ns = result.stamp_ns + round(config.map.transform_tolerance * 1e9)
            self._transforms.broadcast_map(T_map_odom, sent_ns)
            published.append('tf map')
        if not config.publish_odom:
            return
        if has_subscriber(self._publishers.map_pose):
            lever = T_map_camera[:3, :3] @ invert(T_base_camera)[:3, 3]
            covariance = self._covariance(tracked.map_covariance, lever)
            header = header_at(result.stamp_ns, config.map_frame)
            pose = pose_with_covariance(T_map_base, covariance)
            self._publishers.map_pose.publish(PoseWithCovarianceStamped(header=header, pose=pose))
            published.append('map/pose')
        self._publish_path(result, tracked.correction, T_base_camera, config, published)

    def publish_points(
        self,
        result: FrameResult,
        tracked: TrackedFrame,
        motion: BaseMotion,
        config: NodeConfig,
        published: list[str],
    ) -> None:
        """Add the points of a frame to the map, and publish the map when it is due."""
        publisher = self._publishers.map
        if tracked.points is None or not self._publishers.map_grows(config):
            return
        T, frame, correction = motion.T_odom_camera, config.odom_frame, tracked.correction
        if correction is not None:
            T, frame = tracked.T_odom_camera, config.map_frame
            self._points.correct(correction, self._T_map_first)
        if tracked.status is not Status.LOST:
            points = transform_points(T, tracked.points)
            self._points.add(points, tracked.colours, tracked.weights, correction)
        if not config.publish_points or not has_subscriber(publisher):
            return
        if not self._is_due('map/points', result.stamp_ns, config.map.rate):
            return
        merged = self._points.merged()
        points = merged.points()
        self.num_points = len(points)
        header = header_at(result.stamp_ns, frame)
        publisher.publish(cloud_message(header, points, merged.colours()))
        published.append('map/points')

    def save(self, path: FilePath, config: NodeConfig) -> str:
        """Write the map as a PLY file."""
        merged = self._points.merged()
        if not len(merged):
            raise UserError(
                'the map is empty; subscribe to map/points or set map.accumulate to always'
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        points = merged.points()
        self.num_points = len(points)
        write_ply(path, points, merged.colours())
        frame = config.map_frame if config.tracking.places.enabled else config.odom_frame
        return f'{len(points)} points in {frame} written to {path}'

    def _publish_path(
        self,
        result: FrameResult,
        correction: Correction,
        T_base_camera: np.ndarray,
        config: NodeConfig,
        published: list[str],
    ) -> None:
        publisher = self._publishers.map_path
        if not has_subscriber(publisher):
            return
        if not self._is_due('map/path', result.stamp_ns, config.path.rate):
            return
        stamps = self._history.stamps_ns()
        cameras = correction.path(stamps, self._history.poses())
        poses = self._T_map_first @ cameras @ invert(T_base_camera)
        message = Path(header=header_at(result.stamp_ns, config.map_frame))
        for stamp_ns, pose in zip(stamps, poses, strict=True):
            header = header_at(int(stamp_ns), config.map_frame)
            message.poses.append(PoseStamped(header=header, pose=pose_message(pose)))
        publisher.publish(message)
        published.append('map/path')

    def _covariance(self, covariance: np.ndarray, lever: np.ndarray) -> np.ndarray:
        """Return the covariance of the base from that of the camera; lever: to the base, map."""
        turn = np.kron(np.eye(2), self._T_map_first[:3, :3])
        carry = np.eye(6)
        carry[:3, 3:] = -hat(lever)
        carry = carry @ turn
        return carry @ covariance @ carry.T

    def _is_due(self, topic: str, stamp_ns: int, rate_hz: float) -> bool:
        """Return whether a throttled topic is due again, by the stamps of the images."""
        last_ns = self._sent_ns.get(topic)
        if rate_hz > 0 and last_ns is not None and stamp_ns - last_ns < 1e9 / rate_hz:
            return False
        self._sent_ns[topic] = stamp_ns
        return True


class MapPoints:
    """
    Points of the map in parts that follow the corrections.

    Each part has the points seen near a few places, in the frame of the tracker's odometry. A
    correction moves the parts; they are merged again only when the points are read.
    """

    def __init__(self, voxel_size_m: float, max_points: int) -> None:
        """
        Start empty.

        :param voxel_size_m: edge of a voxel.
        :param max_points: maximum number of voxels of all parts.
        """
        self._voxel_size_m, self._max_points = voxel_size_m, max_points
        self.clear()

    def clear(self) -> None:
        """Remove all points."""
        self._parts: OrderedDict[int, VoxelMap] = OrderedDict()
        self._correction: Correction | None = None
        self._T_map_first: np.ndarray | None = None

    @property
    def is_corrected(self) -> bool:
        """Whether the points lie in the map, not in odom."""
        return self._correction is not None

    def correct(self, correction: Correction, T_map_first: np.ndarray | None) -> None:
        """Use a newer correction, and the frame of the tracker's map in the map."""
        self._correction, self._T_map_first = correction, T_map_first

    def add(
        self,
        points_odom: np.ndarray,
        colours: np.ndarray,
        weights: np.ndarray,
        correction: Correction | None,
    ) -> None:
        """Add points [P, 3] to the part of the newest place."""
        newest = -1
        if correction is not None and len(correction):
            newest = int(correction.numbers[-1]) // _PLACES_PER_PART
        if newest not in self._parts:
            self._drop_oldest()
            self._parts[newest] = VoxelMap(self._voxel_size_m, self._max_points)
        self._parts[newest].add(points_odom, colours, weights)

    def merged(self) -> VoxelMap:
        """Return all points where the newest correction puts them."""
        if self._correction is None:
            if self._parts:
                return next(iter(self._parts.values()))
            return VoxelMap(self._voxel_size_m, self._max_points)
        merged = VoxelMap(self._voxel_size_m, self._max_points)
        for part, points in self._parts.items():
            moved = self._correction.points(part * _PLACES_PER_PART, points.points())
            if self._T_map_first is not None:
                moved = transform_points(self._T_map_first, moved)
            merged.add(moved, points.colours(), points.weights())
        return merged

    def _drop_oldest(self) -> None:
        """Drop the oldest parts while all together are larger than the limit."""
        total = sum(len(part) for part in self._parts.values())
        while total > self._max_points and len(self._parts) > 1:
            _, gone = self._parts.popitem(last=False)
            total -= len(gone)


def place_sentence(tracked: TrackedFrame) -> str:
    """Return what is known of the places, for diagnostics; empty without a place memory."""
    correction = tracked.correction
    if correction is None:
        return ''
    where = 'located' if tracked.is_located else 'the place is not recognised yet'
    if correction.has_look_alikes:
        where += ', places look alike'
    if correction.num_failed:
        where += f', {correction.num_failed} keyframes failed (see the log)'
    return f'{where}; {len(correction)} places, recognised {correction.num_recognised} times'
