# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Metres: a factor on pose increments, depth and points together, and how sure it is.

Measured factors are medians of many votes in the logarithm; their spread is the standard error of
that median, neighbouring votes counted as the few that they are worth. Because the factor
multiplies increments and never a pose, correcting it cannot move the robot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import math

import numpy as np

from mem3r_ros.tracker.config import ScaleConfig

_WINDOW = 50  # votes
_WHEEL_CHORD_M = 0.3  # wheel path between two votes
_MIN_VOTES = 3  # fewer say nothing about their spread
_FEW_VOTES_SPREAD = 0.1


@dataclass(slots=True)
class ScaleMemory:
    """Votes for the factor, and the wheel path under measurement."""

    source: str = ''
    log_votes: list[float] = field(default_factory=list)
    is_unit_new: bool = False  # since the stream began; what was known is a guess now
    log_factor_before: float | None = None  # measured in an earlier unit
    wheel_start_m: float | None = None
    wheel_last_m: float | None = None
    visual_path: float = 0.0  # network units driven since wheel_start_m


class Scale:
    """Knows how many metres a unit of the network is."""

    def __init__(self) -> None:
        """Know nothing yet: the network's unit counts as a metre."""
        self.memory = ScaleMemory()

    def factor(self, config: ScaleConfig) -> float:
        """Return metres per unit of the first segment."""
        self._follow(config)
        if config.source == 'fixed':
            return config.factor
        if config.source == 'model':
            return 1.0
        if not self.memory.log_votes:
            return math.exp(self.memory.log_factor_before or 0.0)
        return math.exp(float(np.median(self.memory.log_votes)))

    def spread(self, config: ScaleConfig, model_spread: float) -> float:
        """
        Return the relative standard deviation of the factor.

        :param model_spread: that of the network's own scale, in force until something is measured.
        """
        self._follow(config)
        votes = np.asarray(self.memory.log_votes)
        if config.source == 'fixed' and not self.memory.is_unit_new:
            return 0.0
        if config.source in ('model', 'fixed') or len(votes) == 0:
            return model_spread
        if config.source == 'distance':
            return 0.05
        if len(votes) < _MIN_VOTES:
            return min(_FEW_VOTES_SPREAD, model_spread)
        deviation = 1.4826 * float(np.median(np.abs(votes - np.median(votes))))
        return max(1.25 * deviation / math.sqrt(_num_independent(votes)), 1e-3)

    @property
    def is_distance_wanted(self) -> bool:
        """Whether the first image is still to be compared with the measured distance."""
        return not self.memory.log_votes and self.memory.log_factor_before is None

    # Each of these returns whether the factor is measured with it.

    def observe_distance(self, distance_m: float, depth: float, config: ScaleConfig) -> bool:
        """Take one measured distance to what the network puts at ``depth``; the newest counts."""
        self._follow(config)
        is_measured = depth > 0 and math.isfinite(depth)
        if is_measured:
            self.memory.log_votes = [math.log(distance_m / depth)]
        return is_measured

    def observe_height(self, height: float, config: ScaleConfig) -> bool:
        """
        Take the ground plane's distance as the camera's height.

        :param height: units of the first segment.
        """
        self._follow(config)
        self._vote(config.camera_height_m / height)
        return True

    def observe_wheel(self, wheel_path_m: float, visual_step: float, config: ScaleConfig) -> bool:
        """
        Compare the path by wheel with the path by camera.

        :param wheel_path_m: length driven since the start.
        :param visual_step: length of the newest increment, units of the first segment.
        """
        self._follow(config)
        memory = self.memory
        if memory.wheel_last_m is None or wheel_path_m < memory.wheel_last_m:
            memory.wheel_start_m, memory.visual_path = wheel_path_m, 0.0
        else:
            memory.visual_path += visual_step
        memory.wheel_last_m = wheel_path_m
        driven = wheel_path_m - memory.wheel_start_m
        if driven < _WHEEL_CHORD_M or memory.visual_path <= 0:
            return False
        self._vote(driven / memory.visual_path)
        memory.wheel_start_m, memory.visual_path = wheel_path_m, 0.0
        return True

    def break_path(self) -> None:
        """Forget the running wheel chord: the camera did not see all of it."""
        self.memory.wheel_start_m = self.memory.wheel_last_m = None

    def forget_unit(self) -> None:
        """Start measuring anew; until then the present factor is a guess in an unknown unit."""
        self.break_path()
        memory = self.memory
        if memory.log_votes:
            memory.log_factor_before = float(np.median(memory.log_votes))
        memory.log_votes, memory.is_unit_new = [], True

    def _vote(self, factor: float) -> None:
        self.memory.log_votes.append(math.log(factor))
        del self.memory.log_votes[:-_WINDOW]

    def _follow(self, config: ScaleConfig) -> None:
        """Start the votes afresh when the user has chosen another source."""
        if self.memory.source != config.source:
            self.memory = ScaleMemory(source=config.source)


def _num_independent(votes: np.ndarray) -> float:
    """
    Return how many independent votes are worth as much as these.

    The network errs alike in neighbouring stretches of the way: by its correlation from one to
    the next (Priestley 1981), and one in five at the most.
    """
    centred = votes - votes.mean()
    power = float(centred @ centred)
    correlation = float(centred[1:] @ centred[:-1]) / power if power > 0 else 0.0
    correlation = min(max(correlation, 2 / 3), 0.95)
    return max(1.0, len(votes) * (1 - correlation) / (1 + correlation))
