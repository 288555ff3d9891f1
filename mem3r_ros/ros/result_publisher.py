# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Publishes results as messages: odometry, TF, depth, points, path, map, status."""

from __future__ import annotations

from pathlib import Path as FilePath
import time

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
import numpy as np
from std_msgs.msg import Header

from mem3r_ros.errors import UserError
from mem3r_ros.geometry import se3_exp
from mem3r_ros.laser_scan import scan_from_depth
from mem3r_ros.ros.base_odometry import BaseMotion, BaseOdometry
from mem3r_ros.ros.coloured_depth import coloured_depth
from mem3r_ros.ros.conversions import (
    camera_info_message,
    cloud_message,
    float_image_message,
    header_at,
    matrix_from_xyz_rpy,
    odometry_message,
    pose_message,
    rgb_image_message,
    scan_message,
)
from mem3r_ros.ros.diagnostics import image_status
from mem3r_ros.ros.frame_result import FrameResult, Start
from mem3r_ros.ros.frame_statistics import FrameCounts, StageTimes
from mem3r_ros.ros.map_publisher import MapPublisher, place_sentence
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.node_snapshot import TrackingSnapshot
from mem3r_ros.ros.pose_history import PoseHistory
from mem3r_ros.ros.publishers import Publishers, has_subscriber
from mem3r_ros.ros.transforms import MissingTransform, Transforms
from mem3r_ros.tracker import Status, TrackedFrame
from mem3r_ros.tracker.stage_clock import StageClock
from mem3r_ros.trajectory import Trajectory, write_tum


class ResultPublisher:
    """
    Publishes one result after another; used only on the publishing thread.

    The most urgent messages come first: odometry and TF, then depth, points, path and map. The
    status comes last and lists everything that was published for the image.
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
        Start with no pose and an empty map.

        :param config: parameters; ``config`` may be replaced while running.
        :param publishers: publishers of the topics.
        :param transforms: TF of the camera mount, and the broadcaster.
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
        self.map = MapPublisher(config, publishers, transforms)
        self.problem = ''
        self.last_status: Status | None = None
        self._last_motion: tuple[int, BaseMotion] | None = None
        self._hint: np.ndarray | None = None
        self.next_pose: np.ndarray | None = None  # of set_pose; used with the next image
        self._started_s = time.monotonic()
        self.first_odometry_s: float | None = None  # from activation to the first odometry
        self._sent_ns: dict[str, int] = {}
        self._places = ''

    def handle(self, result: FrameResult) -> None:
        """Publish one result on the topics that have subscribers, and always its status."""
        published: list[str] = []
        try:
            self._publish(result, published)
        except Exception as error:
            self.problem = f'cannot publish: {type(error).__name__}: {error}'
            self._counts.unpublished += 1
            raise
        finally:
            self._publish_status(result, published)

    def _publish(self, result: FrameResult, published: list[str]) -> None:
        clock = StageClock()
        if result.start is Start.SESSION:
            self.start_over()
        elif result.start is Start.GOES_ON:
            self.odometry.continue_from(self._expected_pose(result.stamp_ns))
            self.map.continue_elsewhere()
        tracked = result.tracked
        if tracked is not None:
            with clock('odometry'):
                motion = self._motion(result, tracked)
                if motion is not None:
                    self._publish_motion(result, tracked, motion, published)
                    self.map.publish_pose(result, tracked, motion, self.config, published)
                    self._counts.published += bool(published)
            with clock('publish'):
                self._publish_images(result, tracked, published)
                self._publish_points(result, tracked, published)
                if motion is not None:
                    self._publish_path(result, published)
                    self.map.publish_points(result, tracked, motion, self.config, published)
            self.last_status = tracked.status
            self._places = place_sentence(tracked)
        result.stage_ms |= clock.stage_ms
        result.stage_ms['total'] = 1e3 * (time.monotonic() - result.arrived_s)
        for stage, milliseconds in result.stage_ms.items():
            self._stage_times.add(stage, milliseconds)

    def _publish_status(self, result: FrameResult, published: list[str]) -> None:
        self._publishers.status.publish(
            image_status(result, self._counts, tuple(published), self.problem)
        )

    def snapshot(self) -> TrackingSnapshot:
        """Return the state for diagnostics; may be called on any thread."""
        return TrackingSnapshot(
            self.problem,
            self.last_status,
            len(self.trajectory),
            self.map.num_points,
            self.first_odometry_s,
            self._transforms.age_s(),
            self._places,
        )

    def start_over(self) -> None:
        """Start a new session: odometry at the initial pose, path and map empty."""
        if self.odometry.T_odom_base is not None:
            self._hint = self.next_pose = None  # they belong to the previous session
        self._last_motion = None
        self.odometry.start_over(matrix_from_xyz_rpy(self.config.initial_base_pose))
        self.clear()
        self.map.start_over()

    def take_hint(self, T_odom_base: np.ndarray) -> str:
        """
        Use a pose from outside, unless it would make odometry jump.

        :param T_odom_base: pose of the base.
        :return: one sentence about how it is used.
        """
        if self.odometry.T_odom_base is None:
            self._hint = T_odom_base
            return 'odometry will start at this pose'
        if self.last_status is Status.LOST:
            self._hint = T_odom_base
            return 'odometry will continue from this pose when tracking recovers'
        return 'ignored: tracking works, and odometry must not jump'

    def reset(self) -> None:
        """Clear path, trajectory and map, and the moving transforms; odometry continues."""
        self.clear()
        self._transforms.forget()

    def set_pose(self, T_odom_base: np.ndarray) -> str:
        """
        Move odometry to a pose with the next image, although it jumps; clear path and map.

        :param T_odom_base: pose of the base.
        :return: one sentence about how it is used.
        """
        self.next_pose = T_odom_base
        self.clear()
        x, y, z = T_odom_base[:3, 3]
        return f'odometry is at ({x:.3f}, {y:.3f}, {z:.3f}) m from the next image on'

    def set_initial_pose(self) -> str:
        """Move odometry to the parameter ``initial_base_pose``."""
        return self.set_pose(matrix_from_xyz_rpy(self.config.initial_base_pose))

    def start_clock(self) -> None:
        """Measure the time to the first odometry from now on."""
        self._started_s, self.first_odometry_s = time.monotonic(), None

    def save_trajectory(self, path: FilePath) -> str:
        """Write the poses of the base as a TUM file."""
        if not len(self.trajectory):
            raise UserError('the trajectory is empty: no image has given odometry yet')
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tum(path, Trajectory(self.trajectory.stamps_ns(), self.trajectory.poses()))
        return f'{len(self.trajectory)} poses of {self.config.base_frame} written to {path}'

    def save_map(self, path: FilePath) -> str:
        """Write the map as a PLY file."""
        return self.map.save(path, self.config)

    def clear(self) -> None:
        """Clear path, trajectory and map."""
        self.path.clear()
        self.trajectory.clear()
        self.map.clear()
        self._sent_ns.clear()

    def _motion(self, result: FrameResult, tracked: TrackedFrame) -> BaseMotion | None:
        """Return the motion of the base; without it None, and ``problem`` is set."""
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
            self.odometry.continue_from(self._hint)
            self._hint = None
        if self.next_pose is not None:
            self.odometry.continue_from(self.next_pose)
            self._hint = self.next_pose = None
        motion = self.odometry.motion(
            tracked.T_odom_camera,
            T_base_camera,
            tracked.covariance,
            tracked.twist,
            tracked.twist_covariance,
            is_planar=config.two_d_mode,
        )
        self._last_motion = result.stamp_ns, motion
        self._counts.posed += 1
        if self.first_odometry_s is None:
            self.first_odometry_s = time.monotonic() - self._started_s
        return motion

    def _expected_pose(self, stamp_ns: int) -> np.ndarray | None:
        """Return the pose extrapolated at the last velocity; None before the first pose."""
        if self._last_motion is None:
            return None
        last_ns, motion = self._last_motion
        passed_s = (stamp_ns - last_ns) * 1e-9
        moving_s = min(max(passed_s, 0.0), self.config.tracking.health.coast_s)
        return motion.T_odom_base @ se3_exp(motion.twist * moving_s)

    def _publish_motion(
        self, result: FrameResult, tracked: TrackedFrame, motion: BaseMotion, published: list[str]
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
        if has_subscriber(publishers.pose):
            publishers.pose.publish(PoseWithCovarianceStamped(header=header, pose=message.pose))
            published.append('pose')

    def _publish_images(
        self, result: FrameResult, tracked: TrackedFrame, published: list[str]
    ) -> None:
        publishers, config, depth = self._publishers, self.config, tracked.depth
        if not config.publish_depth:
            return
        header = header_at(result.stamp_ns, result.camera_frame)
        if tracked.intrinsics is not None and has_subscriber(publishers.depth_info):
            publishers.depth_info.publish(camera_info_message(header, tracked.intrinsics))
            published.append('depth/camera_info')
        if tracked.depth is not None and has_subscriber(publishers.depth):
            invalid = config.depth.invalid_value
            publishers.depth.publish(float_image_message(header, tracked.depth, invalid))
            published.append('depth/image')
        if depth is not None and has_subscriber(publishers.depth_colored):
            publishers.depth_colored.publish(rgb_image_message(header, coloured_depth(depth)))
            published.append('depth/colored')
        if tracked.confidence is not None and has_subscriber(publishers.confidence):
            publishers.confidence.publish(float_image_message(header, tracked.confidence))
            published.append('confidence/image')
        if tracked.image is not None:
            self._publish_rgb(header, tracked, published)
        if tracked.depth is not None and has_subscriber(publishers.scan):
            self._publish_scan(result, tracked, published)

    def _publish_rgb(self, header: Header, tracked: TrackedFrame, published: list[str]) -> None:
        """Publish the colours of the depth image: same stamp, same size, same camera."""
        publishers = self._publishers
        if has_subscriber(publishers.rgb_info):
            publishers.rgb_info.publish(camera_info_message(header, tracked.intrinsics))
            published.append('rgb/camera_info')
        if has_subscriber(publishers.rgb):
            publishers.rgb.publish(rgb_image_message(header, tracked.image))
            published.append('rgb/image')

    def _publish_scan(
        self, result: FrameResult, tracked: TrackedFrame, published: list[str]
    ) -> None:
        config = self.config.scan
        frame = config.frame or self._transforms.scan_frame(result.camera_frame)
        if not frame:  # the image has no frame; the status reports it
            return
        scan = scan_from_depth(
            tracked.depth, tracked.intrinsics, config.rows, config.range_min, config.range_max
        )
        last_ns = self._sent_ns.get('scan', result.stamp_ns)
        self._sent_ns['scan'] = result.stamp_ns
        self._publishers.scan.publish(
            scan_message(
                header_at(result.stamp_ns, frame),
                scan,
                config.range_min,
                config.range_max,
                max(0.0, (result.stamp_ns - last_ns) * 1e-9),
            )
        )
        published.append('scan')

    def _publish_points(
        self, result: FrameResult, tracked: TrackedFrame, published: list[str]
    ) -> None:
        publisher = self._publishers.points
        if (
            tracked.points is None
            or not self.config.publish_points
            or not has_subscriber(publisher)
        ):
            return
        header = header_at(result.stamp_ns, result.camera_frame)
        publisher.publish(cloud_message(header, tracked.points, tracked.colours, tracked.weights))
        published.append('points')

    def _publish_path(self, result: FrameResult, published: list[str]) -> None:
        publisher, config = self._publishers.path, self.config
        if not config.publish_odom or not has_subscriber(publisher):
            return
        if not self._is_due('path', result.stamp_ns, config.path.rate):
            return
        message = Path(header=header_at(result.stamp_ns, config.odom_frame))
        for stamp_ns, pose in zip(self.path.stamps_ns(), self.path.poses(), strict=True):
            header = header_at(int(stamp_ns), config.odom_frame)
            message.poses.append(PoseStamped(header=header, pose=pose_message(pose)))
        publisher.publish(message)
        published.append('path')

    def _is_due(self, topic: str, stamp_ns: int, rate_hz: float) -> bool:
        """Return whether a throttled topic is due again, by the stamps of the images."""
        last_ns = self._sent_ns.get(topic)
        if rate_hz > 0 and last_ns is not None and stamp_ns - last_ns < 1e9 / rate_hz:
            return False
        self._sent_ns[topic] = stamp_ns
        return True
