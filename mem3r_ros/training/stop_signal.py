# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM stop a run between two batches, where its state is consistent."""

from __future__ import annotations

from collections.abc import Callable
import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """True after the first signal; the second one raises KeyboardInterrupt."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._is_set = False
        self._before: dict[int, object] = {}

    def __bool__(self) -> bool:
        return self._is_set

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():  # Python allows it only there
            self._before = {number: signal.signal(number, self._stop) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._is_set:
            signal.default_int_handler(number, frame)
        self._is_set = True
        self._report('stopping after this batch; a second signal stops at once')
