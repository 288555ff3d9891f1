# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The results of a run as plain data, for reports and summaries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mem3r_ros.evaluation.depth_error import DepthError
from mem3r_ros.evaluation.timing import TimingSummary, timing_summary
from mem3r_ros.evaluation.trajectory_error import TrajectoryError
from mem3r_ros.reports.balance import Balance
from mem3r_ros.trajectory import Trajectory

TOTAL = 'total'  # the stage whose time is that of the whole frame


@dataclass(frozen=True, slots=True)
class StripFrame:
    """One moment of the run for the report: image and depth, both small."""

    stamp_ns: int
    depth_m: np.ndarray  # [h, w] float32
    image: np.ndarray | None = None  # [h, w, 3] uint8
    true_depth_m: np.ndarray | None = None  # [h, w] float32, at the pixels of depth_m
    confidence: np.ndarray | None = None  # [h, w] float32, above 1


@dataclass(frozen=True, slots=True)
class StatusSpan:
    """Consecutive frames with the same status and reason."""

    status: str
    reason: str
    start_ns: int
    end_ns: int
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run over one recording."""

    title: str
    source: str  # name of the recording
    trajectory: Trajectory  # T_odom_camera
    model: str = ''
    device: str = ''
    truth: Trajectory | None = None
    error: TrajectoryError | None = None
    depth_error: DepthError | None = None
    strip: tuple[StripFrame, ...] = ()
    moments: tuple[StripFrame, ...] = ()  # those of the slider, more than in the strip
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.float32))  # odom, m
    colours: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.uint8))
    weights: np.ndarray | None = None  # [P] summed confidence of each point
    timings_ms: dict[str, np.ndarray] = field(default_factory=dict)  # stage -> one a frame
    statuses: tuple[StatusSpan, ...] = ()
    num_images: int = 0
    num_skipped: int = 0
    wall_time_s: float = float('nan')
    notes: tuple[str, ...] = ()  # remarks for the reader of the figures
    config: dict[str, Any] = field(default_factory=dict)
    balance: Balance | None = None
    in_map: Trajectory | None = None  # corrected by recognised places

    @property
    def rate_hz(self) -> float:
        """Return frames per second, including reading and writing."""
        return self.num_images / self.wall_time_s if self.wall_time_s > 0 else float('nan')

    @property
    def timing(self) -> TimingSummary | None:
        """Return the time of one frame from image to result."""
        return timing_summary(self.timings_ms.get(TOTAL, ()))
