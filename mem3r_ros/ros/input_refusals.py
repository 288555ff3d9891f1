# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Messages beside the images that were refused: logged once, counted, shown in diagnostics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
import threading
import time

from mem3r_ros.refusals import Refusals

# A refusal is shown at least this long, so that /diagnostics reports a single bad message, too.
_SHOWN_S = 3.0


@dataclass(slots=True)
class _Current:
    """The newest refusal of one input."""

    reason: str
    refused_s: float  # monotonic clock
    is_over: bool = False  # a good message has come since


class InputRefusals:
    """
    One place for the refusals of all inputs beside the images; usable from several threads.

    The inputs are camera_info, mask, wheel_odom, pose_hint, set_pose and tf. A refused message
    changes no stored value.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        """
        Start without a refusal.

        :param warn: logs the first refusal of each kind.
        """
        self._warn = warn
        self._lock = threading.Lock()
        self._kinds = Refusals()
        self._counts: Counter[str] = Counter()
        self._current: dict[str, _Current] = {}

    def refuse(self, source: str, reason: object) -> None:
        """Count a refused message of an input; log the first one of its kind."""
        text = f'{source} not used: {reason}'
        with self._lock:
            self._counts[source] += 1
            self._current[source] = _Current(text, time.monotonic())
            is_first = self._kinds.add(text) == 1
        if is_first:
            self._warn(text)

    def accept(self, source: str) -> None:
        """Register a good message of an input: the last refusal is over."""
        current = self._current.get(source)
        if current is not None:
            current.is_over = True

    def forget(self, source: str) -> None:
        """Show the last refusal of an input no longer: it belongs to the time before a jump."""
        with self._lock:
            self._current.pop(source, None)

    def current(self, source: str) -> str:
        """Return why the newest message of an input was refused, or ''."""
        current = self._current.get(source)
        return '' if current is None or current.is_over else current.reason

    def warnings(self) -> tuple[str, ...]:
        """Return the refusals that hold now or are only seconds old, with their counts."""
        now_s = time.monotonic()
        with self._lock:
            return tuple(
                f'{current.reason} ({self._counts[source]} refused)'
                for source, current in sorted(self._current.items())
                if not current.is_over or now_s - current.refused_s < _SHOWN_S
            )

    def counts(self) -> dict[str, int]:
        """Return the number of refused messages of each input."""
        with self._lock:
            return dict(sorted(self._counts.items()))
