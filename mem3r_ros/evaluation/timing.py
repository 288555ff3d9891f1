# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Statistics of processing time: percentiles, because a robot waits for the slowest frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class TimingSummary:
    """Durations of one stage over all frames."""

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rate_hz(self) -> float:
        """Return the frames per second of the mean duration."""
        return 1000.0 / self.mean_ms if self.mean_ms > 0 else float('nan')


def timing_summary(durations_ms: Sequence[float] | np.ndarray) -> TimingSummary | None:
    """
    Summarise durations.

    :param durations_ms: one per frame.
    :return: the summary, None without durations.
    """
    durations = np.asarray(durations_ms, dtype=np.float64)
    durations = durations[np.isfinite(durations)]
    if not durations.size:
        return None
    p50, p90, p99 = np.percentile(durations, (50, 90, 99))
    return TimingSummary(
        count=int(durations.size),
        mean_ms=float(durations.mean()),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        max_ms=float(durations.max()),
    )
