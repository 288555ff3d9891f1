# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The metric scale: one factor on pose increments, depth and points, and its uncertainty.

A measured factor is the median of many votes in the logarithm. Its spread is the standard error of
that median, corrected for the correlation of neighbouring votes. The factor multiplies increments
and never a pose, so a correction does not move the robot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import math

import numpy as np

from mem3r_ros.tracker.config import ScaleConfig

_WINDOW = 50  # votes
_WHEEL_CHORD_M = 0.3  # wheel path between two votes
_MIN_VOTES = 3  # fewer give no spread
_FEW_VOTES_SPREAD = 0.1


@dataclass(slots=True)
class Scale:
    """Votes for the factor, and the wheel path in progress; without votes, the factor is 1."""

    source: str = ''
    log_votes: list[float] = field(default_factory=list)
    is_unit_new: bool = False  # a segment without connection began; the factor is a guess
    log_factor_before: float | None = None  # measured in an earlier unit
    wheel_start_m: float | None = None
    wheel_last_m: float | None = None
    visual_path: float = 0.0  # path of the camera since wheel_start_m, network units

    def factor(self, config: ScaleConfig) -> float:
        """Return metres per unit of the first segment."""
        self._follow(config)
        if config.source == 'fixed':
            return config.factor
        if config.source == 'model':
            return 1.0
        if not self.log_votes:
            return math.exp(self.log_factor_before or 0.0)
        return math.exp(float(np.median(self.log_votes)))

    def spread(self, config: ScaleConfig, model_spread: float) -> float:
        """
        Return the relative standard deviation of the factor.

        :param model_spread: spread of the scale of the network, used until a source measures.
        """
        self._follow(config)
        votes = np.asarray(self.log_votes)
        if config.source == 'fixed' and not self.is_unit_new:
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
        """Whether the measured distance has not been compared with an image yet."""
        return not self.log_votes and self.log_factor_before is None

    # Each of these returns whether it added a measurement of the factor.

    def observe_distance(self, distance_m: float, depth: float, config: ScaleConfig) -> bool:
        """Compare one measured distance with the depth there; the newest replaces the others."""
        self._follow(config)
        is_measured = depth > 0 and math.isfinite(depth)
        if is_measured:
            self.log_votes = [math.log(distance_m / depth)]
        return is_measured

    def observe_height(self, height: float, config: ScaleConfig) -> bool:
        """
        Compare the distance of the ground plane with the height of the camera.

        :param height: distance of the plane, units of the first segment.
        """
        self._follow(config)
        self._vote(config.camera_height_m / height)
        return True

    def observe_wheel(self, wheel_path_m: float, visual_step: float, config: ScaleConfig) -> bool:
        """
        Compare the path of the wheels with the path of the camera.

        :param wheel_path_m: length driven since the start.
        :param visual_step: length of the newest increment, units of the first segment.
        """
        self._follow(config)
        if self.wheel_last_m is None or wheel_path_m < self.wheel_last_m:
            self.wheel_start_m, self.visual_path = wheel_path_m, 0.0
        else:
            self.visual_path += visual_step
        self.wheel_last_m = wheel_path_m
        driven = wheel_path_m - self.wheel_start_m
        if driven < _WHEEL_CHORD_M or self.visual_path <= 0:
            return False
        self._vote(driven / self.visual_path)
        self.wheel_start_m, self.visual_path = wheel_path_m, 0.0
        return True

    def break_path(self) -> None:
        """Drop the wheel path in progress: the camera did not measure all of it."""
        self.wheel_start_m = self.wheel_last_m = None

    def forget_unit(self) -> None:
        """Restart the measurement; until it has a vote, the present factor is a guess."""
        self.break_path()
        if self.log_votes:
            self.log_factor_before = float(np.median(self.log_votes))
        self.log_votes, self.is_unit_new = [], True

    def _vote(self, factor: float) -> None:
        self.log_votes.append(math.log(factor))
        del self.log_votes[:-_WINDOW]

    def _follow(self, config: ScaleConfig) -> None:
        """Restart when the user has chosen another source."""
        if self.source != config.source:
            self.__init__(source=config.source)


def _num_independent(votes: np.ndarray) -> float:
    """
    Return the effective number of independent votes.

    Errors of neighbouring votes are correlated: the number follows from the correlation of one
    vote with the next (Priestley 1981), and is one in five at most.
    """
    centred = votes - votes.mean()
    power = float(centred @ centred)
    correlation = float(centred[1:] @ centred[:-1]) / power if power > 0 else 0.0
    correlation = min(max(correlation, 2 / 3), 0.95)
    return max(1.0, len(votes) * (1 - correlation) / (1 + correlation))
