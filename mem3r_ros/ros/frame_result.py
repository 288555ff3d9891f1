# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What travels between the node's threads: an image on its way in, a result on its way out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
import time
from typing import Any

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.tracker import TrackedFrame


@dataclass(frozen=True, slots=True)
class InputFrame:
    """An image as it came in, with what was known beside it at that moment."""

    message: Any  # Image or CompressedImage; decoded by the worker, dropped ones never are
    stamp_ns: int
    camera_frame: str
    camera: Intrinsics | None
    mask: np.ndarray | None
    wheel_path_m: float | None
    arrived_s: float  # monotonic clock


class Start(Enum):
    """Whether a frame begins something."""

    NO = 'no'
    GOES_ON = 'new memory, odometry goes on'
    SESSION = 'new session'


@dataclass(slots=True)
class Result:
    """The answer to one image."""

    stamp_ns: int
    camera_frame: str
    arrived_s: float
    tracked: TrackedFrame | None  # None: the image was of no use
    reason: str = ''
    start: Start = Start.NO
    session: int = 1
    milliseconds: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Command:
    """Something that a thread does between two frames, and the place for its answer."""

    action: Callable[[], Any]
    answer: Future = field(default_factory=Future)

    def run(self) -> None:
        """Do it; an exception goes to the one who asked."""
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self.action())
        except Exception as error:  # handed over, not swallowed
            self.answer.set_exception(error)


class Stopwatch:
    """Names the stages of one frame's way and how long each took."""

    def __init__(self) -> None:
        """Start now."""
        self._last_s = time.perf_counter()
        self.milliseconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Book the time since the last call under ``stage``."""
        now = time.perf_counter()
        self.milliseconds[stage] = 1e3 * (now - self._last_s)
        self._last_s = now
