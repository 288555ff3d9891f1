# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What the odometry says about where a keyframe can be.

Within a stretch of odometry the camera is where the odometry puts it, up to the drift. Across a
break it cannot have moved far either: no camera jumps along a corridor because one image was dark.
Where the images show another scene after the break it may have been set down elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from mem3r_ros.geometry import rotation_angle
from mem3r_ros.places.graph import Place, PlaceGraph
from mem3r_ros.places.sighting import Sighting
from mem3r_ros.places.similarity import Placed

# Limits of the drift of odometry: a place beyond is another one that looks alike.
_DRIFT_SHARE = 0.4  # of the way since the place was seen
_DRIFT_DEPTHS = 0.3  # usual depths, at least
_TURN_DRIFT_RAD = 0.3
_TURN_DRIFT_RAD_M = 0.05
# Motion of a camera during a break: a walk, or a drive that suits the distance to things.
_UNSEEN_DEPTHS_S = 1.0  # usual depths a second
_UNSEEN_DEPTHS = 0.2  # usual depths, at least
_UNSEEN_RAD_S = 1.5


class Verdict(Enum):
    """What the odometry says about a keyframe at a place."""

    POSSIBLE = 'possible'
    UNKNOWN = 'unknown'
    IMPOSSIBLE = 'impossible'


@dataclass(frozen=True, slots=True)
class Break:
    """A break of odometry, short enough to limit the motion in it."""

    before: int  # number of the last place before it
    first: Sighting  # the first keyframe after it


class OdometryPrior:
    """What the odometry says about one keyframe."""

    def __init__(
        self, graph: PlaceGraph, sighting: Sighting, expected: Placed, last_break: Break | None
    ) -> None:
        """
        Find the ways from the keyframe to all places.

        :param expected: the keyframe in the map, by the odometry.
        :param last_break: before the stretch of the keyframe; None if it may have begun anywhere.
        """
        self._graph, self._sighting, self._expected = graph, sighting, expected
        self._ways: dict[int, float] = {}
        self._ways_before: dict[int, float] = {}
        last = graph.newest
        if last is not None and last.stretch == sighting.stretch:
            self._ways = graph.distances_from(last.number)
        self._break = last_break
        if last_break is not None and last_break.before in graph.places:
            self._ways_before = graph.distances_from(last_break.before)

    def judge(self, number: int, found: Placed) -> Verdict:
        """
        Return whether the camera can be where it was found.

        :param number: of the place.
        :param found: the keyframe by the place.
        """
        place, way_m = self._graph.places[number], self._ways.get(number, np.inf)
        if np.isfinite(way_m):
            is_near = _is_drift(found, self._expected, place, way_m)
            return Verdict.POSSIBLE if is_near else Verdict.IMPOSSIBLE
        way_m = self._ways_before.get(number, np.inf)
        if not np.isfinite(way_m):
            return Verdict.UNKNOWN
        assert self._break is not None
        if self._is_reachable(found, way_m, self._break):
            return Verdict.POSSIBLE
        return Verdict.UNKNOWN if self._break.first.is_cut else Verdict.IMPOSSIBLE

    def _is_reachable(self, found: Placed, way_m: float, gap: Break) -> bool:
        """Return whether the camera can have come there from the break; way_m: before it."""
        sighting, first = self._sighting, gap.first
        before = self._graph.places[gap.before]
        usual = before.features.usual_depth * np.exp(before.placed.log_scale)
        # Odometry after the break has a scale of its own, which the match gives.
        since = Placed(first.T_odom_camera, 0.0).of(sighting.T_odom_camera)
        since[:3, 3] *= np.exp(found.log_scale - before.placed.log_scale)
        step = Placed(before.T_odom_camera, 0.0).of(first.T_odom_camera) @ since
        shift, _ = apart(found, before.placed.then(step))
        reach = (_UNSEEN_DEPTHS + _UNSEEN_DEPTHS_S * first.blind_s) * usual
        turned = 2.0 * np.sin(0.5 * min(_UNSEEN_RAD_S * first.blind_s, np.pi))
        driven = np.exp(found.log_scale) * (sighting.path_m - first.path_m)
        return bool(shift < reach + (_DRIFT_SHARE + turned) * driven + _DRIFT_SHARE * way_m)


def _is_drift(found: Placed, expected: Placed, place: Place, way_m: float) -> bool:
    """Return whether odometry can have drifted from where a keyframe is expected to a place."""
    usual = place.features.usual_depth * np.exp(place.placed.log_scale)
    shift, turn = apart(found, expected)
    is_near = shift < _DRIFT_DEPTHS * usual + _DRIFT_SHARE * way_m
    return is_near and turn < _TURN_DRIFT_RAD + _TURN_DRIFT_RAD_M * way_m


def apart(first: Placed, second: Placed) -> tuple[float, float]:
    """Return the distance (m) and the angle (rad) between two cameras of the map."""
    shift = first.T_map_camera[:3, 3] - second.T_map_camera[:3, 3]
    turn = first.T_map_camera[:3, :3].T @ second.T_map_camera[:3, :3]
    return float(np.linalg.norm(shift)), float(rotation_angle(turn))
