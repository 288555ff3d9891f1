# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What the path estimation of a frame reports to the measurement of later frames.

A frame uses the report of the frame before the last one. The newest report may not exist yet,
because a frame may be finished while the next one is measured; with this delay the results do not
depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

_DELAY = 2  # frames
_NUM_KEPT = 3
BEFORE_FIRST = -_DELAY  # number of a report that the first frame uses


class Report(NamedTuple):
    """The report of one frame."""

    metres_per_unit: float  # of the first segment; for the limits of the motion
    wants_depth: bool  # a keyframe of the window or of the places waits for a frame with depth


@dataclass(slots=True)
class Feedback:
    """The newest reports of a stream."""

    num_begun: int = 0  # frames
    # Number of the frame, metres per unit, 1 if depth is wanted.
    reports: list[list[float]] = field(default_factory=list)

    def next_number(self) -> int:
        """Return the number of a frame that begins."""
        self.num_begun += 1
        return self.num_begun - 1

    def report_for(self, number: int) -> Report | None:
        """Return the report that a frame uses; None in the first frames."""
        for of, metres_per_unit, wants_depth in reversed(tuple(self.reports)):
            if of <= number - _DELAY:
                return Report(metres_per_unit, bool(wants_depth))
        return None

    def add(self, number: int, report: Report) -> None:
        """Add the report of a frame that is finished."""
        self.reports.append([number, report.metres_per_unit, float(report.wants_depth)])
        del self.reports[:-_NUM_KEPT]
