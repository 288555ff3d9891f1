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
from statistics import median

import numpy as np

from mem3r_ros.errors import BadFrame
from mem3r_ros.plausible import SCALE_RANGE
from mem3r_ros.tracker.config import ScaleConfig

_WINDOW = 50  # votes
MAX_WHEEL_PATH_M = 1e9  # no robot drives farther
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
    log_boundary_variance: float = 0.0  # of the boundaries of segments since the last measurement

    def factor(self, config: ScaleConfig) -> float:
        """Return metres per unit of the first segment."""
        self._follow(config)
        if config.source == 'fixed':
            return config.factor
        if config.source == 'model':
            return 1.0
        if not self.log_votes:
            return math.exp(self.log_factor_before or 0.0)
        return math.exp(median(self.log_votes))

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

    def is_guess(self, config: ScaleConfig) -> bool:
        """Return whether the factor is the network's guess, not given or measured."""
        self._follow(config)
        if config.source == 'fixed':
            return self.is_unit_new
        return config.source == 'model' or not self.log_votes

    @property
    def is_measured(self) -> bool:
        """Whether a source has measured the factor in the present unit."""
        return bool(self.log_votes)

    @property
    def is_distance_wanted(self) -> bool:
        """Whether the measured distance has not been compared with an image yet."""
        return not self.log_votes and self.log_factor_before is None

    # Each of these returns whether it added a measurement of the factor.

    def observe_distance(self, distance_m: float, depth: float, config: ScaleConfig) -> bool:
        """Compare one measured distance with the depth there; the newest replaces the others."""
        self._follow(config)
        factor = distance_m / depth if depth > 0 else math.nan
        is_measured = _is_plausible(factor)
        if is_measured:
            self.log_votes = [math.log(factor)]
            self.log_boundary_variance = 0.0
        return is_measured

    def observe_height(self, height: float, config: ScaleConfig) -> bool:
        """
        Compare the distance of the ground plane with the height of the camera.

        :param height: distance of the plane, units of the first segment.
        """
        self._follow(config)
        return self._vote(config.camera_height_m / height)

    def observe_wheel(
        self, wheel_path_m: float, visual_step: float, max_step_m: float, config: ScaleConfig
    ) -> bool:
        """
        Compare the path of the wheels with the path of the camera.

        :param wheel_path_m: length driven since the start.
        :param visual_step: length of the newest increment, units of the first segment.
        :param max_step_m: a longer step of the wheels is an error of theirs and ends the path.
        :raises BadFrame: it is one, or not a path.
        """
        self._follow(config)
        if not abs(wheel_path_m) <= MAX_WHEEL_PATH_M:
            self.break_path()
            raise BadFrame(f'wheel odometry is {wheel_path_m:g} m along; it is not used')
        if self.wheel_last_m is not None and wheel_path_m - self.wheel_last_m > max_step_m:
            step_m = wheel_path_m - self.wheel_last_m
            self.break_path()
            raise BadFrame(
                f'wheel odometry moved {step_m:.3g} m since the last image, '
                f'{max_step_m:.3g} m are possible; it is not used'
            )
        if self.wheel_last_m is None or wheel_path_m < self.wheel_last_m:
            self.wheel_start_m, self.visual_path = wheel_path_m, 0.0
        else:
            self.visual_path += visual_step
        self.wheel_last_m = wheel_path_m
        driven = wheel_path_m - self.wheel_start_m
        if driven < _WHEEL_CHORD_M or self.visual_path <= 0:
            return False
        is_measured = self._vote(driven / self.visual_path)
        self.wheel_start_m, self.visual_path = wheel_path_m, 0.0
        return is_measured

    def break_path(self) -> None:
        """Drop the wheel path in progress: the camera did not measure all of it."""
        self.wheel_start_m = self.wheel_last_m = None

    def cross_boundary(self, log_spread: float) -> None:
        """
        Add the uncertainty of a boundary of segments; the next measurement ends it.

        :param log_spread: standard deviation of the logarithm of the ratio of their units.
        """
        self.log_boundary_variance += log_spread**2

    def forget_unit(self) -> None:
        """Restart the measurement; until it has a vote, the present factor is a guess."""
        self.break_path()
        self.log_boundary_variance = 0.0
        if self.log_votes:
            self.log_factor_before = median(self.log_votes)
        self.log_votes, self.is_unit_new = [], True

    def give_up(self) -> bool:
        """
        Forget everything measured; the factor is 1 until there are new votes.

        A factor that is wrong makes every motion implausible, so that no frame could correct it.

        :return: whether there was anything to forget.
        """
        had_votes = bool(self.log_votes) or self.log_factor_before is not None
        self.break_path()
        # Zero rather than None: what was a measured distance once is somewhere else now.
        self.log_factor_before = 0.0 if had_votes else None
        self.log_votes, self.is_unit_new = [], True
        return had_votes

    def _vote(self, factor: float) -> bool:
        if not _is_plausible(factor):
            return False
        self.log_votes.append(math.log(factor))
        del self.log_votes[:-_WINDOW]
        self.log_boundary_variance = 0.0
        return True

    def _follow(self, config: ScaleConfig) -> None:
        """Restart when the user has chosen another source."""
        if self.source != config.source:
            self.__init__(source=config.source, log_boundary_variance=self.log_boundary_variance)


def _is_plausible(factor: float) -> bool:
    low, high = SCALE_RANGE
    return low <= factor <= high


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
