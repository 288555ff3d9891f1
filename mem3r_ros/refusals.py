# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What was refused of a stream, counted by reason, so that nothing is lost without a word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import re

_NUMBER = re.compile(r'-?\d[\d.e+-]*')
_OTHER = 'other reasons'
_MAX_KINDS = 50  # reasons kept apart; a stream may run for weeks


@dataclass(slots=True)
class Refusals:
    """Counts of reasons; two that differ in their numbers alone are the same."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: object) -> int:
        """Count one; return how often its reason has come."""
        kind = self._kind(reason)
        self.counts[kind] += 1
        self.examples.setdefault(kind, kind if kind == _OTHER else str(reason))
        return self.counts[kind]

    def example(self, reason: object) -> str:
        """Return the first one of the same reason."""
        return self.examples[self._kind(reason)]

    def _kind(self, reason: object) -> str:
        kind = _NUMBER.sub('N', str(reason))
        return kind if kind in self.counts or len(self.counts) < _MAX_KINDS else _OTHER

    def total(self) -> int:
        """Return how many there are."""
        return self.counts.total()

    def by_reason(self) -> dict[str, int]:
        """Return first example and number of each reason, the most frequent first."""
        return {self.examples[kind]: count for kind, count in self.counts.most_common()}

    def sentences(self, what: str = 'images') -> list[str]:
        """Return one sentence for each reason."""
        return [
            f'{count} {what if count > 1 else what.removesuffix("s")} '
            f'{"were" if count > 1 else "was"} refused: {reason.rstrip(".")}'
            f'{" (the first)" if count > 1 and _NUMBER.search(reason) else ""}.'
            for reason, count in self.by_reason().items()
        ]
