# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The values that the node's threads exchange: an input image and the result for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.tracker import TrackedFrame


@dataclass(frozen=True, slots=True)
class InputFrame:
    """A received image with the side inputs that were current when it arrived."""

    message: Any  # Image or CompressedImage; decoded by the worker, so dropped ones cost nothing
    stamp_ns: int
    camera_frame: str
    camera: Intrinsics | None
    mask: np.ndarray | None  # [H, W] uint8, nonzero = ignore
    wheel_path_m: float | None
    arrived_s: float  # monotonic clock


class Start(Enum):
    """Whether a frame starts a new origin of the tracker."""

    NO = 'no'
    GOES_ON = 'new memory, odometry continues'
    SESSION = 'new session'


@dataclass(slots=True)
class FrameResult:
    """The result for one image, tracked or skipped."""

    stamp_ns: int
    camera_frame: str
    arrived_s: float  # monotonic clock
    tracked: TrackedFrame | None  # None: the image was skipped
    reason: str = ''  # why it was skipped
    start: Start = Start.NO
    session: int = 1
    stage_ms: dict[str, float] = field(default_factory=dict)
