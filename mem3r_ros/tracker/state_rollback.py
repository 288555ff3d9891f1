# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Older memories of the network, to go back to when the newest one has gone bad.

Two are kept, so memory stays constant; states are values that no step changes, so keeping one
costs nothing but its size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

_INTERVAL = 30  # remembered frames between two kept states
_RETRY = 10  # doubtful frames between two attempts: each costs another run of the network


@dataclass(slots=True)
class RecoveryMemory:
    """Counters; the states themselves are saved beside them."""

    num_since_kept: int = _INTERVAL
    num_doubtful: int = 0


def with_motion_of(kept: Any, newest: Any) -> Any:
    """
    Return a kept state that goes on from the newest frame.

    Networks that measure motion from image to image keep the last image and its pose in their
    state. What is rolled back is the memory of the place; an image seconds old would be compared
    with the new one, too far away to find anything again, and the answer would be a jump.

    :param kept: the state whose memory is wanted.
    :param newest: the state after the last remembered frame.
    """
    motion = getattr(newest, 'motion', None)
    return kept if motion is None else replace(kept, motion=motion)


class Recovery:
    """Keeps states and says when they are worth a try."""

    def __init__(self) -> None:
        """Keep none yet."""
        self.kept: list[Any] = []  # oldest first, at most two
        self.memory = RecoveryMemory()

    def note(self, state: Any) -> None:
        """See the state after a good frame."""
        self.memory.num_doubtful = 0
        self.memory.num_since_kept += 1
        if self.memory.num_since_kept >= _INTERVAL:
            self.kept = [*self.kept[-1:], state]
            self.memory.num_since_kept = 0

    def candidates(self) -> list[Any]:
        """Return the states to try for a doubtful frame, newest first."""
        self.memory.num_doubtful += 1
        if self.memory.num_doubtful % _RETRY != 1:
            return []
        return self.kept[::-1]

    def adopt(self, state: Any) -> None:
        """Forget what was kept after ``state``: it may be spoilt too."""
        self.kept = self.kept[: [id(kept) for kept in self.kept].index(id(state)) + 1]
        self.memory.num_since_kept = 0
        self.memory.num_doubtful = 0
