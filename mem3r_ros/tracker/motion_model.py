# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Constant-velocity motion model: how much acceleration a new increment implies.

A limit on the speed that suits a car lets a handheld camera jump. Velocity changes only by
acceleration, so a limit on the acceleration suits both. Velocities are stored in units of the
network, so another scale factor is no acceleration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

import numpy as np

from mem3r_ros.tracker.config import CovarianceConfig

_WINDOW = 10  # velocities
_MIN_VELOCITIES = 3  # the first increments are unreliable; no check until there are three
_NOISE_SIGMAS = 3.0
# Stamps of some cameras jitter: intervals are at least this part of the median interval.
_SHORTEST = 0.5


@dataclass(slots=True)
class MotionModel:
    """The newest accepted velocities; a new increment is compared with them."""

    # Units of the first segment per second, each in the camera frame of its time.
    velocities: list[list[float]] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)

    def acceleration(
        self,
        increment: np.ndarray | None,
        duration_s: float,
        factor: float,
        covariance: CovarianceConfig,
    ) -> float:
        """
        Return the smallest acceleration that explains an increment beyond its noise.

        :param increment: ``T_last_camera`` since the last accepted frame, m; None at first.
        :param duration_s: time since that frame.
        :param factor: metres per unit of the first segment.
        :param covariance: noise of increments.
        :return: m/s^2; 0 if noise alone explains the increment, or with too few velocities.
        """
        if increment is None or len(self.velocities) < _MIN_VELOCITIES:
            return 0.0
        shortest_s = _SHORTEST * median(self.durations_s)
        duration_s = max(duration_s, shortest_s)
        velocities = factor * np.array(self.velocities)
        # The nearer of the two: one noisy increment must not cause the rejection of the next.
        likely = np.stack([velocities[-1], np.median(velocities, axis=0)])
        departure = float(np.linalg.norm(increment[:3, 3] - likely * duration_s, axis=1).min())
        speeds = np.linalg.norm(velocities, axis=1)
        expected_m = max(float(speeds[-1]), float(np.median(speeds))) * duration_s
        noise = np.hypot(covariance.position_floor_m, covariance.position_share * expected_m)
        # Time from the middle of the last interval to the middle of this one.
        between_s = 0.5 * (duration_s + max(self.durations_s[-1], shortest_s))
        unexplained = max(0.0, departure - _NOISE_SIGMAS * float(noise))
        return unexplained / (duration_s * between_s)

    def add(self, increment: np.ndarray | None, duration_s: float) -> None:
        """
        Add an accepted increment.

        :param increment: in units of the first segment; the identity for a camera at rest.
        """
        if increment is None:
            return
        self.velocities.append((increment[:3, 3] / duration_s).tolist())
        self.durations_s.append(duration_s)
        del self.velocities[:-_WINDOW], self.durations_s[:-_WINDOW]
