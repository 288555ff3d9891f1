# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The length of the path of the wheels over time, from wheel odometry."""

from __future__ import annotations

from collections import deque
import time

from nav_msgs.msg import Odometry
import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.plausible import pose
from mem3r_ros.ros.conversions import stamp_ns
from mem3r_ros.ros.stamp_monitor import StampMonitor, Verdict

WINDOW = 500  # messages
_REASONS = {
    Verdict.REPEATED: 'its stamp is a repetition',
    Verdict.LATE: 'its stamp is before the last one',
    Verdict.ZERO: 'its stamp is zero',
    Verdict.AHEAD: 'its stamp is far ahead of the last one',
    Verdict.BEHIND: 'its stamp is far before the last one',
}


class WheelPath:
    """
    Adds up the distances between messages; used only by the callback of the subscription.

    A jump of the position, as after a reset of the wheel odometry, adds nothing: the path
    continues from the new position.
    """

    def __init__(self, time_jump_s: float) -> None:
        """
        Start without a message.

        :param time_jump_s: stamps that go back by more start a new path.
        """
        self._time_jump_s = time_jump_s
        self.forget()

    def forget(self) -> None:
        """Drop everything; the next message is the first."""
        self._stamps = StampMonitor(self._time_jump_s)
        self._samples: deque[tuple[int, float]] = deque(maxlen=WINDOW)
        self._position: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of messages that are kept."""
        return len(self._samples)

    def add(self, message: Odometry, max_speed: float, clock_ns: int) -> None:
        """
        Add a message; a refused one changes no distance.

        :param message: its position and stamp are used.
        :param max_speed: faster steps are jumps, m/s.
        :param clock_ns: the ROS clock.
        :raises UserError: position or stamp is impossible, or the step is a jump.
        """
        p = message.pose.pose.position
        position = pose((p.x, p.y, p.z), (0.0, 0.0, 0.0, 1.0), 'position')[:3, 3]
        stamp = stamp_ns(message.header.stamp)
        verdict = self._stamps.judge(stamp, time.monotonic(), clock_ns)
        if verdict is Verdict.NEW_SESSION:
            self._samples.clear()
            self._position = None
        elif verdict is not Verdict.NEXT:
            raise UserError(_REASONS.get(verdict, verdict.value))
        last_ns, path_m = self._samples[-1] if self._samples else (stamp, 0.0)
        step_m = (
            0.0 if self._position is None else float(np.linalg.norm(position - self._position))
        )
        self._position = position
        # A second at least: wheel odometry at a high rate has steps with noisy stamps.
        limit_m = max_speed * max((stamp - last_ns) * 1e-9, 1.0)
        is_jump = step_m > limit_m
        self._samples.append((stamp, path_m if is_jump else path_m + step_m))
        if is_jump:
            raise UserError(
                f'its position jumps by {step_m:.3g} m; at most {limit_m:.3g} m are possible '
                '(tracking.health.max_speed)'
            )

    def at(self, stamp: int) -> float | None:
        """Return the length at a stamp, m, interpolated; None without a message."""
        samples = list(self._samples)
        if not samples:
            return None
        stamps, lengths = zip(*samples, strict=True)
        return float(np.interp(stamp, stamps, lengths))
