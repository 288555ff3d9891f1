# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checks each prediction, and derives the status of the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

import numpy as np

from mem3r_ros.geometry import rotation_angle
from mem3r_ros.tracker.config import HealthConfig
from mem3r_ros.tracker.frame import Status

_WINDOW = 100  # frames that the usual values are computed from
_MIN_FRAMES = 5
_MAX_SETTLING = 10  # frames; a camera at rest must not wait for ever


@dataclass(frozen=True, slots=True)
class Problem:
    """The problem of a prediction; no reason: none."""

    reason: str = ''
    is_unusable: bool = False  # the pose must not be used
    is_implausible: bool = False  # it is too far from the last one, by the present scale


@dataclass(slots=True)
class HealthMonitor:
    """Compares each prediction with fixed limits and with the recent values of the stream."""

    confidences: list[float] = field(default_factory=list)  # over 1, newest frames
    state_changes: list[float] = field(default_factory=list)  # newest frames
    unusable_since_ns: int | None = None  # no frame has given a pose since
    doubtful_since_ns: int | None = None  # predictions have been uncertain since
    last_good_ns: int | None = None  # newest frame with a pose
    num_good: int = 0  # frames with a measured increment

    def check(
        self,
        increment: np.ndarray | None,
        duration_s: float,
        acceleration: float,
        confidence: float,
        telemetry: dict[str, float],
        config: HealthConfig,
    ) -> Problem:
        """
        Check a prediction before it is used.

        :param increment: ``T_last_camera`` since the last accepted frame, m; None at first.
        :param duration_s: time since that frame.
        :param acceleration: smallest one that explains the increment, m/s^2.
        :param confidence: of the frame, over 1; NaN if unknown.
        :param telemetry: statistics of the network's memories.
        """
        if increment is not None:
            if not np.isfinite(increment).all():
                return Problem('predicted pose is not finite', True)
            speed = float(np.linalg.norm(increment[:3, 3])) / duration_s
            if speed > config.max_speed:
                return Problem(f'implausible motion ({speed:.1f} m/s)', True, True)
            if 0 < config.max_acceleration < acceleration:
                return Problem(f'implausible motion ({acceleration:.0f} m/s^2)', True, True)
            turn_rate = float(rotation_angle(increment[:3, :3])) / duration_s
            if turn_rate > config.max_turn_rate:
                return Problem(f'implausible motion ({turn_rate:.1f} rad/s)', True, True)
        usual = self.usual_confidence
        if confidence < config.min_confidence * usual:
            return Problem(f'low confidence ({100 * confidence / usual:.0f} % of the median)')
        change = telemetry.get('state_change', float('nan'))
        changes = self.state_changes
        if config.max_state_change > 0 and len(changes) > _MIN_FRAMES:
            usual_change = median(changes)
            if change > config.max_state_change * usual_change:
                return Problem(f'large state update ({change / usual_change:.1f} x median)')
        cosine = telemetry.get('tracking_cosine', float('nan'))
        if cosine < config.min_tracking_cosine:
            return Problem(f'large tracking residual (cosine {cosine:.2f})')
        return Problem()

    def since_good_s(self, stamp_ns: int) -> float:
        """Return the time since the last accepted frame; a second where there is none."""
        last_ns = self.last_good_ns
        return 1.0 if last_ns is None else (stamp_ns - last_ns) * 1e-9

    @property
    def usual_confidence(self) -> float:
        """Median confidence over 1 of the newest frames; NaN until there are a few."""
        confidences = self.confidences
        return median(confidences) if len(confidences) > _MIN_FRAMES else float('nan')

    @property
    def is_uncertain(self) -> bool:
        """Whether the newest predictions were uncertain."""
        return self.doubtful_since_ns is not None

    def add(self, confidence: float, telemetry: dict[str, float]) -> None:
        """Add a frame to the usual values; flawed ones too, so a lasting change is accepted."""
        for window, value in (
            (self.confidences, confidence),
            (self.state_changes, telemetry.get('state_change', float('nan'))),
        ):
            if np.isfinite(value):
                window.append(float(value))
                del window[:-_WINDOW]

    def report_pose(self, stamp_ns: int, is_measured: bool, warning: str) -> None:
        """
        Register a frame whose pose is used.

        :param is_measured: whether it gave an increment; a first frame does not.
        :param warning: why the pose is less reliable than usual; empty if it is not.
        """
        self.unusable_since_ns = None
        self.last_good_ns = stamp_ns
        self.num_good += is_measured
        if not warning:
            self.doubtful_since_ns = None

    def report_uncertain(self, stamp_ns: int, config: HealthConfig) -> bool:
        """Register an uncertain prediction; return whether they have lasted too long."""
        if self.doubtful_since_ns is None:
            self.doubtful_since_ns = stamp_ns
        return (stamp_ns - self.doubtful_since_ns) * 1e-9 >= config.lost_after_s

    def report_no_pose(
        self, stamp_ns: int, reason: str, config: HealthConfig
    ) -> tuple[Status, str]:
        """Register a frame that gave no pose; return status of the stream and its reason."""
        if self.unusable_since_ns is None:
            last = self.last_good_ns
            self.unusable_since_ns = stamp_ns if last is None else last
        if self.is_lost(stamp_ns, config):
            return Status.LOST, reason
        return Status.DEGRADED if self.num_good else Status.INITIALISING, reason

    def is_lost(self, stamp_ns: int, config: HealthConfig) -> bool:
        """Return whether there has been no pose for too long."""
        since = self.unusable_since_ns
        return since is not None and (stamp_ns - since) * 1e-9 >= config.lost_after_s

    def forget_usual(self) -> None:
        """Forget the usual values: those of a new segment may differ."""
        self.confidences = []
        self.state_changes = []
        self.doubtful_since_ns = None


def status_of_pose(num_good: int, warning: str, is_settled: bool) -> tuple[Status, str]:
    """
    Return the status of the stream after a frame whose pose is used, and its reason.

    :param num_good: frames with a measured increment so far.
    :param warning: as in :meth:`HealthMonitor.report_pose`.
    :param is_settled: whether the scale of the path has settled.
    """
    if num_good == 0:
        return Status.INITIALISING, warning or 'waiting for the second frame'
    if warning:
        return Status.DEGRADED, warning
    if not is_settled and num_good < _MAX_SETTLING:
        return Status.INITIALISING, 'the scale settles: the camera has hardly moved yet'
    return Status.TRACKING, ''
