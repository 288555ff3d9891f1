# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The state of the node at one moment, as plain values for diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rclpy.qos import QoSProfile

from mem3r_ros.ros.frame_statistics import FrameCounts, StageTimes
from mem3r_ros.ros.skipped_images import SkippedSnapshot
from mem3r_ros.tracker import Status

# Roles whose quality of service is a parameter, ROLE_qos.
_ROLES_WITH_QOS = ('image', 'camera_info')


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription of the node."""

    role: str  # name of the topic before remapping
    topic: str  # full name
    type_name: str  # as in sensor_msgs/msg/Image
    qos: QoSProfile

    @property
    def has_parameter(self) -> bool:
        """Whether a parameter of the node sets the quality of service."""
        return self.role in _ROLES_WITH_QOS


@dataclass(frozen=True, slots=True)
class InputSnapshot:
    """State of the subscriptions."""

    subscribed: tuple[Subscribed, ...]  # that of the images first
    is_paused: bool
    rate_hz: float
    silence_s: float  # since the last image
    last_stamp_ns: int | None
    encoding: str
    frame_id: str
    is_calibrated: bool
    warnings: tuple[str, ...]  # side inputs that do not fit the last image, with the reason

    @property
    def image(self) -> Subscribed:
        """The subscription of the images."""
        return self.subscribed[0]


@dataclass(frozen=True, slots=True)
class TrackingSnapshot:
    """State of the published results."""

    problem: str  # why there is no odometry, or ''
    status: Status | None  # of the last tracked image
    num_poses: int
    num_map_points: int
    first_odometry_s: float | None  # from activation; None before the first odometry
    transform_age_s: float | None  # of the camera mount; None: static, or never received
    places: str = ''  # what is known of the places; empty without a place memory


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """State of the whole node."""

    lifecycle_state: str
    configure_error: str
    model: str
    device: str
    dtype: str
    update_rule: str
    max_silence_s: float  # parameter diagnostics.silence
    counts: FrameCounts
    skipped: SkippedSnapshot
    refusals: tuple[str, ...]  # why messages beside the images were refused, lately
    refused: Mapping[str, int]  # number of refused messages by input
    stage_times: StageTimes
    input: InputSnapshot | None  # None while the node is not active
    tracking: TrackingSnapshot | None  # None while the node is not configured
