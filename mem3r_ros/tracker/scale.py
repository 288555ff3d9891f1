# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Metres: a factor on pose increments, depth and points together, and how sure it is.

Measured factors are medians of many votes in the logarithm; their spread is the standard error of
that median. Because the factor multiplies increments and never a pose, correcting it cannot move
the robot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import math

import numpy as np

from mem3r_ros.tracker.config import ScaleConfig

_WINDOW = 50  # votes
_WHEEL_CHORD_M = 0.3  # wheel path between two votes


@dataclass(slots=True)
class ScaleMemory:
    """Votes for the factor, and the wheel path under measurement."""

    source: str = ''
    log_votes: list[float] = field(default_factory=list)
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
        if config.source == 'model' or not self.memory.log_votes:
            return 1.0
        return math.exp(float(np.median(self.memory.log_votes)))

    def spread(self, config: ScaleConfig, model_spread: float) -> float:
        """
        Return the relative standard deviation of the factor.

        :param model_spread: that of the network's own scale, in force until something is measured.
        """
        self._follow(config)
        votes = np.asarray(self.memory.log_votes)
        if config.source == 'fixed':
            return 0.0
        if config.source == 'model' or len(votes) == 0:
            return model_spread
        if len(votes) == 1:
            return 0.05 if config.source == 'distance' else min(0.1, model_spread)
        deviation = 1.4826 * float(np.median(np.abs(votes - np.median(votes))))
        return max(1.25 * deviation / math.sqrt(len(votes)), 1e-3)

    def observe_distance(self, distance_m: float, depth: float, config: ScaleConfig) -> None:
        """Take one measured distance to what the network puts at ``depth``; the newest counts."""
        self._follow(config)
        if depth > 0 and math.isfinite(depth):
            self.memory.log_votes = [math.log(distance_m / depth)]

    def observe_height(self, height: float, config: ScaleConfig) -> None:
        """
        Take the ground plane's distance as the camera's height.

        :param height: units of the first segment.
        """
        self._follow(config)
        self._vote(config.camera_height_m / height)

    def observe_wheel(self, wheel_path_m: float, visual_step: float, config: ScaleConfig) -> None:
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
        if driven >= _WHEEL_CHORD_M and memory.visual_path > 0:
            self._vote(driven / memory.visual_path)
            memory.wheel_start_m, memory.visual_path = wheel_path_m, 0.0

    def break_path(self) -> None:
        """Forget the running wheel chord: the camera did not see all of it."""
        self.memory.wheel_start_m = self.memory.wheel_last_m = None

    def forget_unit(self) -> None:
        """Start measuring anew from the present factor: the network's unit may have changed."""
        self.break_path()
        if self.memory.log_votes:
            self.memory.log_votes = [float(np.median(self.memory.log_votes))]

    def _vote(self, factor: float) -> None:
        self.memory.log_votes.append(math.log(factor))
        del self.memory.log_votes[:-_WINDOW]

    def _follow(self, config: ScaleConfig) -> None:
        """Start the votes afresh when the user has chosen another source."""
        if self.memory.source != config.source:
            self.memory = ScaleMemory(source=config.source)
