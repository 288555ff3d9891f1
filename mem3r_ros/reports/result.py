# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Everything that one run told, as plain data: what reports and summaries are made from."""

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
    """One moment of the run to look at: the picture and what was made of it, both small."""

    stamp_ns: int
    depth_m: np.ndarray  # [h, w] float32
    image: np.ndarray | None = None  # [h, w, 3] uint8
    true_depth_m: np.ndarray | None = None  # [h, w] float32, at the pixels of depth_m


@dataclass(frozen=True, slots=True)
class StatusSpan:
    """Frames in a row with the same status and reason."""

    status: str
    reason: str
    start_ns: int
    end_ns: int
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run over one recording."""

    title: str
    source: str  # what was played
    trajectory: Trajectory  # T_odom_camera
    model: str = ''
    device: str = ''
    truth: Trajectory | None = None
    error: TrajectoryError | None = None
    depth_error: DepthError | None = None
    strip: tuple[StripFrame, ...] = ()
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.float32))  # odom, m
    colours: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.uint8))
    timings_ms: dict[str, np.ndarray] = field(default_factory=dict)  # stage -> one a frame
    statuses: tuple[StatusSpan, ...] = ()
    num_images: int = 0
    num_skipped: int = 0
    wall_time_s: float = float('nan')
    notes: tuple[str, ...] = ()  # what the reader should know about the numbers
    config: dict[str, Any] = field(default_factory=dict)
    balance: Balance | None = None

    @property
    def rate_hz(self) -> float:
        """Return frames a second, reading and writing included."""
        return self.num_images / self.wall_time_s if self.wall_time_s > 0 else float('nan')

    @property
    def timing(self) -> TimingSummary | None:
        """Return how long one frame took from image to result."""
        return timing_summary(self.timings_ms.get(TOTAL, ()))
