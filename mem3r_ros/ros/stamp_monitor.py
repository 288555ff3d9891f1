# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Classifies frames by their stamps: the next one, late, or the first of a new session.

Time can go back in two ways: ``/clock`` jumps (a bag loops), and the stamps of images jump. A
loop usually shows both, in either order; it must reset the node only once.

A stamp far ahead or far back is accepted only when the next one confirms it: a single wrong stamp
would otherwise hide all following images, or clear path and map.
"""

from __future__ import annotations

from enum import Enum

_NANOSECONDS = 1_000_000_000
# Jumps of /clock and of stamps within this wall time belong to the same loop.
_SAME_JUMP_S = 3.0
# A recording of slow images may be played fast: gaps up to this many usual steps are accepted.
_USUAL_STEPS = 4
# The frame that confirms a jump back follows within this time.
_CONFIRMS_NS = 10 * _NANOSECONDS


class Verdict(Enum):
    """Class of a frame by its stamp."""

    NEXT = 'next'
    REPEATED = 'repeated stamp'
    LATE = 'stamp before the last one'
    ZERO = 'stamp is zero'
    AHEAD = 'stamp far ahead of the last one'
    BEHIND = 'stamp far before the last one'
    STALE = 'stamp of the time before the clock jumped back'
    NEW_SESSION = 'time went back'


class StampMonitor:
    """Stamps of the current session, and the number of sessions so far."""

    def __init__(self, time_jump_s: float) -> None:
        """
        Start the first session.

        :param time_jump_s: stamps that go back by more start a new session.
        """
        self._time_jump_ns = int(time_jump_s * _NANOSECONDS)
        self._last_ns: int | None = None
        self._last_at = 0.0, 0  # wall time and ROS clock then
        self._step_ns: int | None = None  # between the last two accepted frames
        self._unconfirmed_ns: int | None = None  # a stamp far ahead or far back
        self._clock_jump: tuple[float, int] | None = None  # wall time, clock after the jump
        self._restarted_at_s = -float('inf')
        self.session = 1

    @property
    def last_stamp_ns(self) -> int | None:
        """Stamp of the last accepted frame of this session."""
        return self._last_ns

    def judge(self, stamp_ns: int, now_s: float, clock_ns: int = 0) -> Verdict:
        """
        Classify a frame by its stamp.

        :param stamp_ns: from the image's header.
        :param now_s: a monotonic clock.
        :param clock_ns: the ROS clock; in a recording it may run faster, or jump.
        :return: only frames of NEXT and NEW_SESSION are tracked.
        """
        if stamp_ns == 0:
            return Verdict.ZERO
        if self._is_stale(stamp_ns, now_s):
            return Verdict.STALE
        last = self._last_ns
        if last is not None and stamp_ns <= last:
            if stamp_ns == last:
                return Verdict.REPEATED
            if last - stamp_ns <= self._time_jump_ns:
                return Verdict.LATE
            if not self._confirms_jump_back(stamp_ns):
                self._unconfirmed_ns = stamp_ns
                return Verdict.BEHIND
            self._restart(now_s)
            self._take(stamp_ns, now_s, clock_ns)
            return Verdict.NEW_SESSION
        if self._is_leap(stamp_ns, now_s, clock_ns):
            self._unconfirmed_ns = stamp_ns
            return Verdict.AHEAD
        self._take(stamp_ns, now_s, clock_ns)
        return Verdict.NEXT

    def clock_jumped_back(self, clock_ns: int, now_s: float) -> bool:
        """
        Register a backward jump of the ROS clock.

        :param clock_ns: time after the jump.
        :param now_s: a monotonic clock.
        :return: whether a new session starts; False if the stamps have already started it.
        """
        last = self._last_ns
        by_stamps = now_s - self._restarted_at_s < _SAME_JUMP_S
        if by_stamps and (last is None or last <= clock_ns + self._time_jump_ns):
            return False
        self._clock_jump = (now_s, clock_ns)
        self._restart(now_s)
        return True

    def _restart(self, now_s: float) -> None:
        self.session += 1
        self._restarted_at_s = now_s
        self._last_ns = self._step_ns = self._unconfirmed_ns = None

    def _take(self, stamp_ns: int, now_s: float, clock_ns: int) -> None:
        self._step_ns = None if self._last_ns is None else stamp_ns - self._last_ns
        self._last_ns, self._unconfirmed_ns = stamp_ns, None
        self._last_at = now_s, clock_ns

    def _confirms_jump_back(self, stamp_ns: int) -> bool:
        """Return whether a stamp far back follows one that is as far back."""
        before_ns = self._unconfirmed_ns
        return before_ns is not None and before_ns < stamp_ns <= before_ns + _CONFIRMS_NS

    def _is_leap(self, stamp_ns: int, now_s: float, clock_ns: int) -> bool:
        """Return whether a stamp is ahead of the clocks and the usual step, and not confirmed."""
        if self._last_ns is None or self._step_ns is None:
            return False
        step_ns = stamp_ns - self._last_ns
        if self._unconfirmed_ns is not None and self._last_ns < self._unconfirmed_ns < stamp_ns:
            return False
        last_at_s, last_clock_ns = self._last_at
        passed_ns = max(int((now_s - last_at_s) * _NANOSECONDS), clock_ns - last_clock_ns)
        is_unusual = step_ns > _USUAL_STEPS * self._step_ns
        return is_unusual and step_ns - passed_ns > self._time_jump_ns

    def _is_stale(self, stamp_ns: int, now_s: float) -> bool:
        """Return whether an image was sent before the clock jumped back."""
        if self._clock_jump is None:
            return False
        jumped_at_s, clock_ns = self._clock_jump
        # A bag may play faster than real time: up to 30 s of it per second are allowed.
        ahead_ns = int((1.0 + 30.0 * (now_s - jumped_at_s)) * _NANOSECONDS)
        if now_s - jumped_at_s > _SAME_JUMP_S:
            self._clock_jump = None
            return False
        return stamp_ns > clock_ns + max(ahead_ns, self._time_jump_ns)
