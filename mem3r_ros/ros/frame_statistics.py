# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Counts and durations of the frames that the node processes."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
import time

import numpy as np

_WINDOW = 100


@dataclass(slots=True)
class FrameCounts:
    """
    Images by outcome; received = tracked + failed + late + dropped + waiting.

    Of the tracked ones, posed + without_transform + unpublished have passed the publishing thread.
    """

    received: int = 0  # images that arrived
    tracked: int = 0  # gave a pose of the camera
    failed: int = 0  # not usable: corrupt, wrong size, stamp zero, far ahead or far back
    late: int = 0  # repeated or older than the one before
    dropped: int = 0  # replaced by a newer one, beyond max_rate, or the node was paused
    without_transform: int = 0  # tracked, but TF had no transform to the base: no odometry
    posed: int = 0  # gave a pose of the base
    published: int = 0  # odometry or TF was published
    unpublished: int = 0  # an exception while publishing

    def answered(self) -> int:
        """Return how many images have an outcome."""
        return self.tracked + self.failed + self.late + self.dropped

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {**asdict(self), 'answered': self.answered()}

    def line(self) -> str:
        """Return the way of the images as one line."""
        refused = self.failed + self.late
        return (
            f'{self.received} received, {self.dropped} dropped, {refused} refused, '
            f'{self.tracked} tracked, {self.posed} with a pose, {self.published} published'
        )


class StageTimes:
    """Milliseconds of each stage over the last 100 frames."""

    def __init__(self) -> None:
        """Start empty."""
        self._windows: dict[str, deque[float]] = {}

    def add(self, stage: str, milliseconds: float) -> None:
        """Add one measurement."""
        self._windows.setdefault(stage, deque(maxlen=_WINDOW)).append(milliseconds)

    def summary(self) -> dict[str, tuple[float, float]]:
        """Return median and 95th percentile of each stage, ms."""
        # dict() first: another thread may add a stage meanwhile.
        return {
            stage: tuple(np.percentile(list(window), (50, 95)))
            for stage, window in dict(self._windows).items()
        }


class RateMeter:
    """Events per second over the last few seconds of the wall clock."""

    def __init__(self, window_s: float = 5.0) -> None:
        """Start empty; only events of the last ``window_s`` count."""
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=1000)
        self._started_s = time.monotonic()

    def tick(self) -> None:
        """Count an event now."""
        self._times.append(time.monotonic())

    @property
    def silence_s(self) -> float:
        """Seconds since the last event, or since the start if there was none."""
        return time.monotonic() - (self._times[-1] if self._times else self._started_s)

    def rate_hz(self) -> float:
        """Return events per second; 0 if there were fewer than two in the window."""
        now = time.monotonic()
        recent = [t for t in list(self._times) if now - t <= self._window_s]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-9)
