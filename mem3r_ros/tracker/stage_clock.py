# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Time spent in each stage of a frame; no other module of the core reads a clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import time


class StageClock:
    """Adds up the milliseconds of one frame by stage."""

    def __init__(self) -> None:
        """Start with no time spent."""
        self.stage_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - start) * 1e3
            self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + spent
