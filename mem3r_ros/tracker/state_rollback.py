# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Older states of the network, to return to when the newest one gives bad predictions.

Two are kept, so memory stays constant. A step never changes a state in place, so keeping one costs
its size and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mem3r_ros.snapshot_fields import NOT_PACKED

_INTERVAL = 30  # remembered frames between two kept states
_RETRY = 10  # uncertain frames between two attempts: each costs another run of the network


def with_motion_of(kept: Any, newest: Any) -> Any:
    """
    Return an older state that continues from the newest frame.

    A network that measures motion between images keeps the last image and its pose in the state.
    Only the memory of the scene is rolled back. An image of seconds ago has too little in common
    with the new one, and the pose would jump.

    :param kept: the older state.
    :param newest: the state after the last remembered frame.
    """
    motion = getattr(newest, 'motion', None)
    return kept if motion is None else replace(kept, motion=motion)


@dataclass(slots=True)
class StateRollback:
    """Keeps states, and selects the ones to try."""

    num_since_kept: int = _INTERVAL  # remembered frames since the newest kept state
    num_doubtful: int = 0  # uncertain frames in a row
    kept: list[Any] = field(default_factory=list, metadata=NOT_PACKED)  # oldest first, two at most

    def add(self, state: Any) -> None:
        """Register the state after a good frame."""
        self.num_doubtful = 0
        self.num_since_kept += 1
        if self.num_since_kept >= _INTERVAL:
            self.kept = [*self.kept[-1:], state]
            self.num_since_kept = 0

    def candidates(self) -> list[Any]:
        """Return the states to try for an uncertain frame, newest first."""
        self.num_doubtful += 1
        if self.num_doubtful % _RETRY != 1:
            return []
        return self.kept[::-1]

    def adopt(self, state: Any) -> None:
        """Drop the states kept after ``state``: they may be bad too."""
        self.kept = self.kept[: [id(kept) for kept in self.kept].index(id(state)) + 1]
        self.num_since_kept = 0
        self.num_doubtful = 0
