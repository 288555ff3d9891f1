# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How long each stage of a frame took; the only place of the core that looks at a clock."""

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
        """Count the time of the block for ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - start) * 1e3
            self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + spent
