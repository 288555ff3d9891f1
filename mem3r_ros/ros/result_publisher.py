# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Turns results into messages, beside the worker: odometry, TF, depth, points, path, map."""

from __future__ import annotations

from pathlib import Path as FilePath
import time

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
import numpy as np

from mem3r_ros.cloud import VoxelMap
from mem3r_ros.data.ply import write_ply
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import se3_exp, transform_points
from mem3r_ros.ros.base_odometry import BaseMotion, BaseOdometry, matrix_from_xyz_rpy
from mem3r_ros.ros.conversions import (
    camera_info_message,
    cloud_message,
    float_image_message,
    header_at,
    odometry_message,
    pose_message,
)
from mem3r_ros.ros.frame_result import Result, Start, Stopwatch
from mem3r_ros.ros.frame_statistics import FrameCounts, StageTimes
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.pose_history import PoseHistory
from mem3r_ros.ros.publishers import Publishers, has_listener
from mem3r_ros.ros.status import status_message
from mem3r_ros.ros.transforms import MissingTransform, Transforms
from mem3r_ros.tracker import Status, TrackedFrame
from mem3r_ros.trajectory import Trajectory, write_tum


class Output:
    """
    Publishes one result after another; lives on the publishing thread.

    The order is that of urgency: odometry and TF first, then depth, points, path and map, and
    last the status, which tells that everything of this image has been sent.
    """

    def __init__(
        self,
        config: NodeConfig,
        publishers: Publishers,
        transforms: Transforms,
        counts: FrameCounts,
        stage_times: StageTimes,
    ) -> None:
        """
        Begin with no pose and an empty map.

        :param config: settings; ``config`` may be replaced while running.
        :param publishers: where messages go.
        :param transforms: where the camera sits, and the broadcaster.
        :param counts: shared with the worker.
        :param stage_times: shared with the worker.
        """
        self.config = config
        self._publishers = publishers
        self._transforms = transforms
        self._counts = counts
        self._stage_times = stage_times
        self.odometry = BaseOdometry(matrix_from_xyz_rpy(config.initial_base_pose))
        self.path = PoseHistory(config.path.max_poses)
        self.trajectory = PoseHistory(config.path.trajectory_max_poses)
        self.map = VoxelMap(config.map.voxel_size, config.map.max_points)
        # For other threads: the map itself belongs to this one, even its length.
        self.num_map_points = 0
        self.problem = ''
        self.last_state: Status | None = None
        self._last_motion: tuple[int, BaseMotion] | None = None
        self._hint: np.ndarray | None = None
        self._sent_ns: dict[str, int] = {}

    def handle(self, result: Result) -> None:
        """Publish what of one result somebody listens to, and in any case the status."""
        published: list[str] = []
        try:
            self._publish(result, published)
        except Exception as error:
            self.problem = f'cannot publish: {type(error).__name__}: {error}'
            raise
        finally:
            self._publish_status(result, published)

    def _publish(self, result: Result, published: list[str]) -> None:
        watch = Stopwatch()
        if result.start is Start.SESSION:
            self.start_over()
        elif result.start is Start.GOES_ON:
            self.odometry.go_on_from(self._expected_pose(result.stamp_ns))
        tracked = result.tracked
        if tracked is not None:
            motion = self._motion(result, tracked)
            if motion is not None:
                self._publish_motion(result, tracked, motion, published)
            watch.lap('odometry')
            self._publish_pictures(result, tracked, published)
            self._publish_points(result, tracked, published)
            if motion is not None:
                self._publish_path(result, published)
                self._publish_map(result, tracked, motion, published)
            self.last_state = tracked.status
        watch.lap('publish')
        result.milliseconds |= watch.milliseconds
        result.milliseconds['total'] = 1e3 * (time.monotonic() - result.arrived_s)
        for stage, milliseconds in result.milliseconds.items():
            self._stage_times.add(stage, milliseconds)

    def _publish_status(self, result: Result, published: list[str]) -> None:
        self._publishers.status.publish(
            status_message(
                result, self._counts, tuple(published), self.problem, result.camera_frame
            )
        )

    def start_over(self) -> None:
        """Begin a new session: odometry at the initial pose, nothing remembered."""
        if self.odometry.T_odom_base is not None:
            self._hint = None  # it was for the session that is over
        self._last_motion = None
        self.odometry.start_over()
        self.forget()

    def take_hint(self, T_odom_base: np.ndarray) -> str:
        """
        Use a pose that somebody else knows, where that cannot make odometry jump.

        :param T_odom_base: where the base is.
        :return: what was done with it.
        """
        if not np.isfinite(T_odom_base).all():
            return 'refused: its position or orientation is no number; give finite ones'
        if self.odometry.T_odom_base is None:
            self._hint = T_odom_base
            return 'odometry will start there'
        if self.last_state is Status.LOST:
            self._hint = T_odom_base
            return 'odometry will go on there as soon as tracking is back'
        return 'ignored: tracking is good, and odometry must not jump'

    def save_trajectory(self, path: FilePath) -> str:
        """Write the poses of the base as a TUM file and say so."""
        if not len(self.trajectory):
            raise UserError('there is no trajectory yet; no image has given odometry')
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tum(path, Trajectory(self.trajectory.stamps_ns(), self.trajectory.poses()))
        return f'{len(self.trajectory)} poses of {self.config.base_frame} written to {path}'

    def save_map(self, path: FilePath) -> str:
        """Write the map as PLY and say so."""
        if not len(self.map):
            raise UserError(
                'the map is empty; subscribe to map/points or set map.accumulate to always'
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        points = self.map.points()
        self.num_map_points = len(points)
        write_ply(path, points, self.map.colours())
        return f'{len(points)} points in {self.config.odom_frame} written to {path}'

    def forget(self) -> None:
        """Empty path, trajectory and map."""
        self.path.clear()
        self.trajectory.clear()
        self.map.clear()
        self.num_map_points = 0
        self._sent_ns.clear()

    def _motion(self, result: Result, tracked: TrackedFrame) -> BaseMotion | None:
        """Return the motion of the base, or None, with ``problem`` saying why."""
        config = self.config
        try:
            T_base_camera = self._transforms.T_base_camera(
                result.camera_frame, result.stamp_ns, config.wait_for_transform
            )
        except MissingTransform as error:
            self.problem = str(error)
            self._counts.without_transform += 1
            return None
        self.problem = ''
        if self._hint is not None and tracked.status is not Status.LOST:
            self.odometry.go_on_from(self._hint)
            self._hint = None
        motion = self.odometry.motion(
            tracked.T_odom_camera,
            T_base_camera,
            tracked.covariance,
            tracked.twist,
            tracked.twist_covariance,
            is_planar=config.two_d_mode,
        )
        self._last_motion = result.stamp_ns, motion
        return motion

    def _expected_pose(self, stamp_ns: int) -> np.ndarray | None:
        """Return where the base is by now if it went on as it did; None before the first pose."""
        if self._last_motion is None:
            return None
        last_ns, motion = self._last_motion
        passed_s = (stamp_ns - last_ns) * 1e-9
        moving_s = min(max(passed_s, 0.0), self.config.tracking.health.coast_s)
        return motion.T_odom_base @ se3_exp(motion.twist * moving_s)

    def _publish_motion(
        self, result: Result, tracked: TrackedFrame, motion: BaseMotion, published: list[str]
    ) -> None:
        config, publishers = self.config, self._publishers
        self.trajectory.add(result.stamp_ns, motion.T_odom_base)
        self.path.add(result.stamp_ns, motion.T_odom_base)
        if tracked.status is Status.LOST and config.when_lost == 'stop':
            return
        if config.publish_tf:
            offset_ns = round(config.transform_time_offset * 1e9)
            self._transforms.broadcast(motion.T_odom_base, result.stamp_ns + offset_ns)
            published.append('tf')
        if not config.publish_odom:
            return
        header = header_at(result.stamp_ns, config.odom_frame)
        message = odometry_message(
            header,
            config.base_frame,
            motion.T_odom_base,
            motion.covariance,
            motion.twist,
            motion.twist_covariance,
        )
        publishers.odom.publish(message)
        published.append('odom')
        if has_listener(publishers.pose):
            publishers.pose.publish(PoseWithCovarianceStamped(header=header, pose=message.pose))
            published.append('pose')

    def _publish_pictures(
        self, result: Result, tracked: TrackedFrame, published: list[str]
    ) -> None:
        publishers, config = self._publishers, self.config
        if not config.publish_depth:
            return
        header = header_at(result.stamp_ns, result.camera_frame)
        if tracked.intrinsics is not None and has_listener(publishers.depth_info):
            publishers.depth_info.publish(camera_info_message(header, tracked.intrinsics))
            published.append('depth/camera_info')
        if tracked.depth is not None and has_listener(publishers.depth):
            invalid = config.depth.invalid_value
            publishers.depth.publish(float_image_message(header, tracked.depth, invalid))
            published.append('depth/image')
        if tracked.confidence is not None and has_listener(publishers.confidence):
            publishers.confidence.publish(float_image_message(header, tracked.confidence))
            published.append('confidence/image')

    def _publish_points(self, result: Result, tracked: TrackedFrame, published: list[str]) -> None:
        publisher = self._publishers.points
        if tracked.points is None or not self.config.publish_points or not has_listener(publisher):
            return
        header = header_at(result.stamp_ns, result.camera_frame)
        publisher.publish(cloud_message(header, tracked.points, tracked.colours))
        published.append('points')

    def _publish_path(self, result: Result, published: list[str]) -> None:
        publisher, config = self._publishers.path, self.config
        if not config.publish_odom or not has_listener(publisher):
            return
        if not self._is_due('path', result.stamp_ns, config.path.rate):
            return
        message = Path(header=header_at(result.stamp_ns, config.odom_frame))
        for stamp_ns, pose in zip(self.path.stamps_ns(), self.path.poses(), strict=True):
            header = header_at(int(stamp_ns), config.odom_frame)
            message.poses.append(PoseStamped(header=header, pose=pose_message(pose)))
        publisher.publish(message)
        published.append('path')

    def _publish_map(
        self, result: Result, tracked: TrackedFrame, motion: BaseMotion, published: list[str]
    ) -> None:
        publisher, config = self._publishers.map, self.config
        if tracked.points is None or not self._publishers.map_grows(config):
            return
        if tracked.status is not Status.LOST:
            points_odom = transform_points(motion.T_odom_camera, tracked.points)
            self.map.add(points_odom, tracked.colours, tracked.weights)
        if not config.publish_points or not has_listener(publisher):
            return
        if not self._is_due('map/points', result.stamp_ns, config.map.rate):
            return
        header = header_at(result.stamp_ns, config.odom_frame)
        points = self.map.points()
        self.num_map_points = len(points)
        publisher.publish(cloud_message(header, points, self.map.colours()))
        published.append('map/points')

    def _is_due(self, topic: str, stamp_ns: int, rate_hz: float) -> bool:
        """Return whether a throttled topic may be sent again, by the stamps of the images."""
        last_ns = self._sent_ns.get(topic)
        if rate_hz > 0 and last_ns is not None and stamp_ns - last_ns < 1e9 / rate_hz:
            return False
        self._sent_ns[topic] = stamp_ns
        return True
