# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Counts problems by reason; at most one message for the user in a second of the stream."""

from __future__ import annotations

from dataclasses import dataclass, field

_INTERVAL_NS = 1_000_000_000


@dataclass(slots=True)
class Notices:
    """Problems of one stream, in order."""

    counts: dict[str, int] = field(default_factory=dict)  # by reason
    last_notice_ns: int | None = None

    def count(self, reason: str, text: str, stamp_ns: int) -> str:
        """Count a problem; return ``text`` for the user, or '' if one was returned this second."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        last = self.last_notice_ns
        if last is not None and abs(stamp_ns - last) < _INTERVAL_NS:
            return ''
        self.last_notice_ns = stamp_ns
        return text
