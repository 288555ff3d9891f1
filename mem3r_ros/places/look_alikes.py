# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Whether a view identifies the place, by what the memory knows of places that look alike.

Where geometry confirms a view and odometry rules it out, two places look alike, and odometry gives
the distance between them. Where odometry is weak, a view of one could be a view of the other. A
place without a known look-alike is unique only within the area that the camera has seen; beyond, a
corridor may repeat itself. So odometry must limit the motion to less than that.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.places.graph import PlaceGraph

_MAX_DISTANCES = 50  # that are kept, the newest
_FEW = 2  # views that odometry rules out, before places count as looking alike
_RECOGNISED_PER_VIEW = 10  # recognitions that make one such view an accident
_NEAREST = 0.1  # quantile of the distances that counts as the smallest
_NEGLIGIBLE_M = 1e-3
# Beyond these a view could be one of another place.
_MAX_SHIFT = 0.5  # of the odometry, of the distance of look-alikes
_MAX_UNSEEN = 0.25  # of the motion that was not measured, of the same distance
_MAX_UNSEEN_OF_EXTENT = 1.1  # of the same motion, of the way without a known look-alike


@dataclass(slots=True)
class LookAlikes:
    """Distances between places that look alike."""

    num_seen: int = 0  # views that geometry confirmed and odometry ruled out
    distances_m: deque[float] = field(default_factory=lambda: deque(maxlen=_MAX_DISTANCES))

    @classmethod
    def of(cls, num_seen: int, distances_m: np.ndarray) -> LookAlikes:
        """Return what a snapshot [A] holds."""
        return cls(num_seen, deque(distances_m.tolist(), maxlen=_MAX_DISTANCES))

    def note(self, distance_m: float) -> None:
        """Note a view of a place that the camera cannot have seen from where it is."""
        self.num_seen += 1
        self.distances_m.append(distance_m)

    def are_many(self, num_recognised: int) -> bool:
        """Return whether views repeat, so that a view alone does not identify the place."""
        return self.num_seen > _FEW + num_recognised // _RECOGNISED_PER_VIEW

    def ambiguity(
        self, graph: PlaceGraph, number: int, shift_m: float, unseen_m: float, num_recognised: int
    ) -> float:
        """
        Return how far odometry leaves open which of several equal places a view shows.

        :param number: of the place.
        :param shift_m: distance from where odometry puts the camera to where the place puts it.
        :param unseen_m: motion between the place and the camera that was not measured.
        :return: below 1 the place is the only one.
        """
        if self.num_seen > num_recognised // _RECOGNISED_PER_VIEW and self.distances_m:
            nearest_m = float(np.quantile(self.distances_m, _NEAREST))
            return max(shift_m / _MAX_SHIFT, unseen_m / _MAX_UNSEEN) / nearest_m
        if unseen_m < _NEGLIGIBLE_M:
            return 0.0
        return unseen_m / max(_MAX_UNSEEN_OF_EXTENT * graph.extent_from(number), _NEGLIGIBLE_M)
