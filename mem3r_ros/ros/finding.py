# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a check found; needs neither ROS nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """Severity of a finding."""

    OK = 'ok'
    WARN = 'warning'
    ERROR = 'error'


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, or one check that passed."""

    level: Level
    topic: str
    message: str

    def __str__(self) -> str:
        """Return the line as it is printed."""
        return f'{self.level.value}: {self.topic}: {self.message}'
