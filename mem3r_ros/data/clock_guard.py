# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
One time line for a recording whose clock was set back, or showed one stamp far ahead.

The images after such a jump are as good as those before. A single stamp that goes back is not
believed: it may be an image out of order. When the next one confirms it, the clock was set back,
and from there on stamps are moved so that time goes on by one usual step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
import logging

from mem3r_ros.data.sequence import SequenceFrame
from mem3r_ros.trajectory import NANOSECONDS

LOGGER = logging.getLogger(__name__)

_NUM_STEPS = 15  # newest times between images that say what is usual
_DEFAULT_STEP_NS = NANOSECONDS // 30
# Images out of order come back by a few steps; a clock goes back by more.
_MAX_DISORDER = 3
# The next image follows the one that went back within this time.
_MAX_STEP_NS = 10 * NANOSECONDS


@dataclass(frozen=True, slots=True)
class ClockJump:
    """Where the clock was set back, and by how much later stamps were moved."""

    stamp_ns: int  # of the first image after it, as recorded
    back_ns: int  # from the stamp before it
    moved_ns: int  # added to its stamp and to all that follow


class ClockGuard:
    """Gives frames with stamps that go on; use one for each pass over a recording."""

    def __init__(self) -> None:
        """Expect the first frame."""
        self.jumps: list[ClockJump] = []
        self._moved_ns = 0
        self._last_ns: int | None = None
        self._steps_ns: list[int] = []
        self._held: SequenceFrame | None = None  # went back, not confirmed

    def passed(self, frame: SequenceFrame) -> Iterator[SequenceFrame]:
        """Take a frame as recorded; yield those that may go on, in order."""
        stamp_ns = frame.stamp_ns + self._moved_ns
        if self._held is not None:
            held, self._held = self._held, None
            held_ns = held.stamp_ns + self._moved_ns
            if held_ns < stamp_ns <= held_ns + _MAX_STEP_NS and stamp_ns < self._last_ns:
                self._set_back(held, held_ns)
                yield self._on(held)
                yield self._on(frame)
                return
            yield replace(held, stamp_ns=held_ns)  # refused by the tracker, and counted there
        limit_ns = _MAX_DISORDER * self._usual_step_ns()
        if self._last_ns is not None and self._last_ns - stamp_ns > limit_ns:
            self._held = frame
            return
        yield self._on(frame)

    def rest(self) -> Iterator[SequenceFrame]:
        """Yield the frame that still waits: no other will confirm it."""
        if self._held is not None:
            yield replace(self._held, stamp_ns=self._held.stamp_ns + self._moved_ns)
            self._held = None

    def sentences(self) -> list[str]:
        """Return one sentence for each time that the clock was set back."""
        return [
            f'The clock was set back by {jump.back_ns / NANOSECONDS:.3f} s at stamp '
            f'{jump.stamp_ns / NANOSECONDS:.3f} s; from there on '
            f'{jump.moved_ns / NANOSECONDS:.3f} s are added to the stamps.'
            for jump in self.jumps
        ]

    def _on(self, frame: SequenceFrame) -> SequenceFrame:
        stamp_ns = frame.stamp_ns + self._moved_ns
        if self._last_ns is None or stamp_ns > self._last_ns:
            if self._last_ns is not None:
                self._steps_ns = [*self._steps_ns[1 - _NUM_STEPS :], stamp_ns - self._last_ns]
            self._last_ns = stamp_ns
        return frame if not self._moved_ns else replace(frame, stamp_ns=stamp_ns)

    def _set_back(self, first: SequenceFrame, stamp_ns: int) -> None:
        back_ns = self._last_ns - stamp_ns
        self._moved_ns += back_ns + self._usual_step_ns()
        self.jumps.append(ClockJump(first.stamp_ns, back_ns, self._moved_ns))
        LOGGER.warning('%s', self.sentences()[-1])

    def _usual_step_ns(self) -> int:
        steps = sorted(self._steps_ns)
        return steps[(len(steps) - 1) // 2] if steps else _DEFAULT_STEP_NS
