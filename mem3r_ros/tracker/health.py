# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Whether the newest prediction can be believed, and what is to be done when it cannot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.geometry import rotation_angle
from mem3r_ros.tracker.config import HealthConfig
from mem3r_ros.tracker.frame import Status

_WINDOW = 100  # frames that say what is usual
_MIN_FRAMES = 5


@dataclass(slots=True)
class HealthMemory:
    """How the stream has been doing."""

    confidences: list[float] = field(default_factory=list)
    state_changes: list[float] = field(default_factory=list)
    unusable_since_ns: int | None = None  # no frame has given a pose since
    doubtful_since_ns: int | None = None  # the network has doubted itself since
    last_good_ns: int | None = None
    num_good: int = 0  # frames with a measured increment


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a prediction."""

    reason: str = ''
    is_unusable: bool = False  # the pose must not be used


class HealthMonitor:
    """Compares each prediction with fixed limits and with what is usual in this stream."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.memory = HealthMemory()

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
        Judge a prediction before it is used.

        :param increment: ``T_last_camera`` since the last believed frame, m; None at first.
        :param duration_s: time since that frame.
        :param acceleration: the least that leads to it from the motion before, m/s^2.
        :param confidence: of the frame, over 1; NaN if unknown.
        :param telemetry: the network's own numbers.
        """
        if increment is not None:
            if not np.isfinite(increment).all():
                return Problem('network gave no finite pose', True)
            speed = float(np.linalg.norm(increment[:3, 3])) / duration_s
            if speed > config.max_speed:
                return Problem(f'implausible motion ({speed:.1f} m/s)', True)
            if 0 < config.max_acceleration < acceleration:
                return Problem(f'implausible motion ({acceleration:.0f} m/s^2)', True)
            turn_rate = float(rotation_angle(increment[:3, :3])) / duration_s
            if turn_rate > config.max_turn_rate:
                return Problem(f'implausible motion ({turn_rate:.1f} rad/s)', True)
        usual = self.usual_confidence
        if confidence < config.min_confidence * usual:
            return Problem(f'low confidence ({100 * confidence / usual:.0f} % of the usual)')
        change = telemetry.get('state_change', float('nan'))
        changes = self.memory.state_changes
        if config.max_state_change > 0 and len(changes) > _MIN_FRAMES:
            usual_change = float(np.median(changes))
            if change > config.max_state_change * usual_change:
                return Problem(f'memory in turmoil ({change / usual_change:.1f} x usual change)')
        cosine = telemetry.get('tracking_cosine', float('nan'))
        if cosine < config.min_tracking_cosine:
            return Problem(f'tracking residual (cosine {cosine:.2f})')
        return Problem()

    def since_good_s(self, stamp_ns: int) -> float:
        """Return the time since the last believed frame; a second where there is none."""
        last_ns = self.memory.last_good_ns
        return 1.0 if last_ns is None else (stamp_ns - last_ns) * 1e-9

    @property
    def usual_confidence(self) -> float:
        """Median confidence over 1 of the newest frames; NaN until a few have come."""
        confidences = self.memory.confidences
        return float(np.median(confidences)) if len(confidences) > _MIN_FRAMES else float('nan')

    def learn(self, confidence: float, telemetry: dict[str, float]) -> None:
        """Let a frame count for what is usual; flawed ones too, so that a lasting change is."""
        for window, value in (
            (self.memory.confidences, confidence),
            (self.memory.state_changes, telemetry.get('state_change', float('nan'))),
        ):
            if np.isfinite(value):
                window.append(float(value))
                del window[:-_WINDOW]

    def good(self, stamp_ns: int, is_measured: bool, doubt: str) -> tuple[Status, str]:
        """
        Note a frame whose pose is used.

        :param is_measured: whether it gave an increment; a first frame does not.
        :param doubt: why the pose is to be taken with care; empty if it is not.
        :return: the stream's status and reason.
        """
        memory = self.memory
        memory.unusable_since_ns = None
        memory.last_good_ns = stamp_ns
        memory.num_good += is_measured
        if not doubt:
            memory.doubtful_since_ns = None
        if memory.num_good == 0:
            return Status.INITIALISING, doubt or 'waiting for the second frame'
        return (Status.DEGRADED, doubt) if doubt else (Status.TRACKING, '')

    def doubt_lasts(self, stamp_ns: int, config: HealthConfig) -> bool:
        """Note that the network doubts itself; say whether it has for too long."""
        memory = self.memory
        if memory.doubtful_since_ns is None:
            memory.doubtful_since_ns = stamp_ns
        return (stamp_ns - memory.doubtful_since_ns) * 1e-9 >= config.lost_after_s

    def bad(self, stamp_ns: int, reason: str, config: HealthConfig) -> tuple[Status, str]:
        """Note a frame that gave no pose; return the stream's status and reason."""
        memory = self.memory
        if memory.unusable_since_ns is None:
            last = memory.last_good_ns
            memory.unusable_since_ns = stamp_ns if last is None else last
        if self.is_lost(stamp_ns, config):
            return Status.LOST, reason
        return Status.DEGRADED if memory.num_good else Status.INITIALISING, reason

    def is_lost(self, stamp_ns: int, config: HealthConfig) -> bool:
        """Say whether there has been no pose for too long."""
        since = self.memory.unusable_since_ns
        return since is not None and (stamp_ns - since) * 1e-9 >= config.lost_after_s

    def forget_usual(self) -> None:
        """Learn anew what is usual: a new segment may have another level."""
        self.memory.confidences = []
        self.memory.state_changes = []
        self.memory.doubtful_since_ns = None
