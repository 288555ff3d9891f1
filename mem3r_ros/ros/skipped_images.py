# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Why images were skipped: numbers by reason, and what has held since the last tracked image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import threading
import time

from mem3r_ros.refusals import Refusals

# A reason is shown at least this long, so that /diagnostics reports a single bad image, too.
_SHOWN_S = 3.0


@dataclass(frozen=True, slots=True)
class SkippedSnapshot:
    """State of the skipped images at one moment."""

    by_reason: Mapping[str, int]  # all, the most frequent first
    recent: tuple[str, ...]  # one sentence with its count for each reason of the last seconds
    since_tracked: int  # images refused since the last tracked one
    last_reason: str  # why the last image was refused, or ''
    untracked_s: float  # since the last tracked image, or since the start


class SkippedImages:
    """
    Counts refused and dropped images by reason; usable from several threads.

    Refused images are a fault of the input. Dropped ones are what the user has asked for: replaced
    by a newer one, above the maximum rate, or while the node was paused.
    """

    def __init__(self) -> None:
        """Start without an image."""
        self._lock = threading.Lock()
        self._reasons = Refusals()
        self._recent: dict[str, tuple[float, int]] = {}  # reason -> when, how many so far
        self._since_tracked = 0
        self._last_reason = ''
        self._tracked_s = time.monotonic()

    def refuse(self, reason: str) -> None:
        """Count an image that could not be used."""
        now_s = time.monotonic()
        with self._lock:
            count = self._reasons.add(reason)
            self._recent = {
                text: entry for text, entry in self._recent.items() if now_s - entry[0] < _SHOWN_S
            }
            self._recent[self._reasons.example(reason)] = now_s, count
            self._since_tracked += 1
            self._last_reason = reason

    def drop(self, reason: str) -> None:
        """Count an image that was left out on purpose."""
        with self._lock:
            self._reasons.add(reason)

    def tracked(self) -> None:
        """Register a tracked image."""
        with self._lock:
            self._since_tracked = 0
            self._last_reason = ''
            self._tracked_s = time.monotonic()

    def snapshot(self) -> SkippedSnapshot:
        """Return the state for diagnostics."""
        now_s = time.monotonic()
        with self._lock:
            return SkippedSnapshot(
                self._reasons.by_reason(),
                tuple(
                    f'{count} {"image" if count == 1 else "images"} refused: {reason}'
                    for reason, (at_s, count) in self._recent.items()
                    if now_s - at_s < _SHOWN_S
                ),
                self._since_tracked,
                self._last_reason,
                now_s - self._tracked_s,
            )
