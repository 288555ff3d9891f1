# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
How the camera has moved lately, and what of a new motion that cannot explain.

A network may answer anything, and a fixed top speed that suits a car lets a handheld camera jump.
A body, though, goes on as it went but for its acceleration. Velocities are kept in units of the
network, so that another scale factor is no acceleration.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.tracker.config import CovarianceConfig

_WINDOW = 10  # velocities
_MIN_VELOCITIES = 3  # the first answers of a stream are its worst; they judge nobody
_NOISE_SIGMAS = 3.0
# Stamps of some cameras jitter: a shorter interval than this part of the usual is none.
_SHORTEST = 0.5


@dataclass(slots=True)
class PaceMemory:
    """The newest believed motions."""

    # Units of the first segment per second, each in the camera of its time.
    velocities: list[list[float]] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)


class Pace:
    """Compares each step with the steps before."""

    def __init__(self) -> None:
        """Know nothing yet: every motion is plausible."""
        self.memory = PaceMemory()

    def acceleration(
        self,
        increment: np.ndarray | None,
        duration_s: float,
        factor: float,
        covariance: CovarianceConfig,
    ) -> float:
        """
        Return the least acceleration that leads to a step, noise left aside.

        :param increment: ``T_last_camera`` since the last believed frame, m; None at first.
        :param duration_s: time since that frame.
        :param factor: metres per unit of the first segment.
        :param covariance: how noisy increments are.
        :return: m/s^2; 0 for what noise alone explains, and as long as too little is known.
        """
        memory = self.memory
        if increment is None or len(memory.velocities) < _MIN_VELOCITIES:
            return 0.0
        shortest_s = _SHORTEST * float(np.median(memory.durations_s))
        duration_s = max(duration_s, shortest_s)
        velocities = factor * np.array(memory.velocities)
        # Whichever it continues: one noisy step in between must not condemn the next.
        likely = np.stack([velocities[-1], np.median(velocities, axis=0)])
        departure = float(np.linalg.norm(increment[:3, 3] - likely * duration_s, axis=1).min())
        speeds = np.linalg.norm(velocities, axis=1)
        expected_m = max(float(speeds[-1]), float(np.median(speeds))) * duration_s
        noise = np.hypot(covariance.position_floor_m, covariance.position_share * expected_m)
        # From the middle of the last interval to the middle of this one.
        apart_s = 0.5 * (duration_s + max(memory.durations_s[-1], shortest_s))
        unexplained = max(0.0, departure - _NOISE_SIGMAS * float(noise))
        return unexplained / (duration_s * apart_s)

    def note(self, increment: np.ndarray | None, duration_s: float, factor: float) -> None:
        """Take a believed motion for what is usual; the identity while the camera stands."""
        if increment is None:
            return
        memory = self.memory
        memory.velocities.append((increment[:3, 3] / (factor * duration_s)).tolist())
        memory.durations_s.append(duration_s)
        del memory.velocities[:-_WINDOW], memory.durations_s[:-_WINDOW]
