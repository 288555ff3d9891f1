# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Input and output of the tracker: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.places.correction import Correction


class Status(Enum):
    """Reliability of the newest pose."""

    INITIALISING = 'initialising'
    TRACKING = 'tracking'
    DEGRADED = 'degraded'
    LOST = 'lost'


@dataclass(frozen=True, slots=True)
class CameraFrame:
    """One image of one camera."""

    stamp_ns: int
    image_rgb_uint8: np.ndarray  # [H, W, 3]; grey [H, W] and uint16 are accepted too
    camera: Intrinsics | None = None  # of this image; None: the focal length is estimated
    mask: np.ndarray | None = None  # [H, W], nonzero = ignore these pixels
    remember: bool = True  # False: tracked, but the network state does not change
    wheel_path_m: float | None = None  # length driven since the start, by wheel odometry
    T_outside_camera: np.ndarray | None = None  # [4, 4] m, by another source; replaces the motion


@dataclass(slots=True)
class Health:
    """Statistics of the tracker after a frame; NaN where the network gives no value."""

    fast_weight_norm: float = float('nan')
    gate_mean: float = float('nan')
    learning_rate_mean: float = float('nan')
    state_change: float = float('nan')
    tracking_cosine: float = float('nan')
    confidence: float = float('nan')  # median over the image
    confidence_ratio: float = float('nan')  # confidence over 1, relative to the recent median
    segment_age: int = 0  # frames
    scale: float = 1.0
    scale_spread: float = float('nan')  # relative standard deviation
    is_metric_guess: bool = False  # whether metres are those of the network, not measured
    window_covariance: np.ndarray | None = None  # [6, 6] of the increment, by the sliding window
    focal_spread: float = float('nan')  # relative standard deviation; 0 when calibrated
    focal_departure: float = 0.0  # of the focal length from that of the calibration, relative
    is_still: bool = False
    brightness: float = float('nan')  # mean grey level of the image, 0-255
    stage_ms: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # bad frames by reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFrame:
    """Result of tracking one frame: pose, depth, points and status."""

    stamp_ns: int
    T_odom_camera: np.ndarray  # [4, 4] float64; odom is x forward, y left, z up
    covariance: np.ndarray  # [6, 6], x y z roll pitch yaw about odom's fixed axes
    twist: np.ndarray  # [6], m/s and rad/s in the camera frame, linear first
    twist_covariance: np.ndarray  # [6, 6]
    status: Status
    reason: str = ''
    depth: np.ndarray | None = None  # [H, W] float32, m; NaN: unknown, +inf: beyond the range
    intrinsics: Intrinsics | None = None  # of the depth image
    source_camera: Intrinsics | None = None  # of the rectified image; calibrated or estimated
    points: np.ndarray | None = None  # [P, 3] float32, m, camera frame
    colours: np.ndarray | None = None  # [P, 3] uint8
    weights: np.ndarray | None = None  # [P] float32, confidence of each point
    confidence: np.ndarray | None = None  # [H, W] float32
    image: np.ndarray | None = None  # [H, W, 3] uint8, the colours of the depth image's pixels
    health: Health = field(default_factory=Health)
    segment: int = 0
    scale: float = 1.0  # metres per unit of the network
    ignored: dict[str, str] = field(default_factory=dict)  # 'camera', 'mask' -> why not used
    notice: str = ''  # message for the user, at most one per second of the stream
    # With places.enabled; the pose is None after a restart, until the place is recognised.
    T_map_camera: np.ndarray | None = None  # [4, 4] float64
    map_covariance: np.ndarray | None = None  # [6, 6] about the fixed axes of map
    is_located: bool = False  # whether the position among the first places is known
    correction: Correction | None = None  # of the path so far
