# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Decides when a place counts as recognised.

A wrong recognition bends the whole map, a missed one costs nothing but time. So one image is never
enough: several keyframes in a row must be confirmed by geometry, and their poses must agree with
the odometry between them. What the odometry rules out is not recognised, and neither is a view
that two different places explain.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.geometry import rotation_angle
from mem3r_ros.places.graph import Edge, PlaceGraph
from mem3r_ros.places.odometry_prior import apart
from mem3r_ros.places.similarity import Placed
from mem3r_ros.places.verification import Match

_WINDOW = 8  # keyframes within which those that agree must lie
_MORE_IF_BLIND = 2  # keyframes in addition that must agree if odometry says nothing
# Limits of the disagreement of two recognitions, relative to the motion between them.
_AGREE_DEPTHS = 0.06  # usual depths
_AGREE_SHARE = 0.15  # of the distance
_AGREE_RAD = 0.06
_AGREE_RAD_SHARE = 0.1  # of the angle
_AGREE_LOG_SCALE = 0.35
# Two poses that differ by more belong to two places.
_SAME_DEPTHS = 0.3
_SAME_RAD = 0.25
# A camera at rest gives the same evidence again and again; then it must be stronger.
_MOVED_DEPTHS = 0.02
_MOVED_RAD = 0.02
_AT_REST_INLIERS = 1.5  # times the least number
_AT_REST_SHARE = 0.4
_MAX_ERROR = 4.0  # standard deviations of a recognition after the optimisation
_STRAIN = 3.0  # standard deviations of the motion across breaks that count as an ambiguity of 1
_MAX_STRAIN_AND_AMBIGUITY = 1.45


@dataclass(frozen=True, slots=True)
class Recognition:
    """A keyframe that geometry found in a remembered place."""

    query: int  # number of the place of the keyframe
    place: int
    match: Match
    placed: Placed  # the keyframe in the map, by the place
    is_blind: bool = False  # odometry says nothing about it
    ambiguity: float = 0.0  # of the place by the odometry; below 1, see LookAlikes

    def edge(self) -> Edge:
        """Return the measured motion from the place to the keyframe."""
        match = self.match
        sigma = np.array([match.sigma_rad, match.sigma_m, match.sigma_log_scale])
        motion = Placed(match.T_place_query, match.log_scale)
        return Edge(self.place, self.query, motion, sigma, True)


@dataclass(slots=True)
class Recogniser:
    """Collects recognitions until enough of them agree."""

    recent: deque[Recognition] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def forget(self, gone: list[int]) -> None:
        """Drop recognitions with places that are forgotten."""
        kept = [r for r in self.recent if r.place not in gone and r.query not in gone]
        self.recent = deque(kept, maxlen=_WINDOW)

    def agreeing(
        self, graph: PlaceGraph, num_agreeing: int, min_inliers: int
    ) -> list[Recognition]:
        """Return the newest recognition and those that agree with it; empty unless enough."""
        if not self.recent:
            return []
        newest = self.recent[-1]
        oldest_allowed = list(graph.places)[-_WINDOW:][0]
        group = [
            other
            for other in self.recent
            if other.query >= oldest_allowed and _do_agree(other, newest, graph)
        ]
        needed = num_agreeing + (_MORE_IF_BLIND if newest.is_blind else 0)
        if len({one.query for one in group}) < needed:
            return []
        return group if _is_enough(group, graph, min_inliers) else []


def is_same_place(first: Placed, second: Placed, usual_depth: float) -> bool:
    """Return whether two poses of one keyframe, by different places, are the same."""
    shift, turn = apart(first, second)
    return shift < _SAME_DEPTHS * usual_depth and turn < _SAME_RAD


def are_satisfied(errors: np.ndarray) -> bool:
    """Return whether the optimised map agrees with the recognitions; errors [E, 7] in sigmas."""
    rotation = np.linalg.norm(errors[:, :3], axis=1)
    position = np.linalg.norm(errors[:, 3:6], axis=1)
    return bool((rotation < _MAX_ERROR).all() and (position < _MAX_ERROR).all())


def is_possible(strain: np.ndarray, newest: Recognition) -> bool:
    """
    Return whether a camera can have moved across breaks as a recognition demands.

    A motion that is just possible to a place that is just unique is not likely, so both add up.

    :param strain: what it changes the errors of the breaks by, [E, 7] in standard deviations.
    """
    size = float(np.linalg.norm(strain)) / _STRAIN + newest.ambiguity
    return size < _MAX_STRAIN_AND_AMBIGUITY


def _do_agree(first: Recognition, second: Recognition, graph: PlaceGraph) -> bool:
    """Return whether two recognitions agree with the odometry between their keyframes."""
    if first is second:
        return True
    one, two = graph.places[first.query], graph.places[second.query]
    if one.stretch != two.stretch:
        return False
    step = Placed(one.T_odom_camera, 0.0).of(two.T_odom_camera)
    predicted = first.placed.then(step)
    scale = np.exp(second.placed.log_scale)
    shift, turn = apart(predicted, second.placed)
    usual, moved = scale * two.features.usual_depth, scale * np.linalg.norm(step[:3, 3])
    tolerance = first.match.tolerance_m + second.match.tolerance_m
    angle = float(rotation_angle(step[:3, :3]))
    return (
        shift < _AGREE_DEPTHS * usual + _AGREE_SHARE * moved + tolerance
        and turn < _AGREE_RAD + _AGREE_RAD_SHARE * angle
        and abs(first.placed.log_scale - second.placed.log_scale) < _AGREE_LOG_SCALE
    )


def _is_enough(group: list[Recognition], graph: PlaceGraph, min_inliers: int) -> bool:
    """Return whether the camera has moved between the recognitions, or they are strong."""
    first, last = graph.places[group[0].query], graph.places[group[-1].query]
    step = Placed(first.T_odom_camera, 0.0).of(last.T_odom_camera)
    moved = float(np.linalg.norm(step[:3, 3])) > _MOVED_DEPTHS * last.features.usual_depth
    if moved or float(rotation_angle(step[:3, :3])) > _MOVED_RAD:
        return True
    return all(
        one.match.num_inliers >= _AT_REST_INLIERS * min_inliers
        and one.match.share >= _AT_REST_SHARE
        for one in group
    )
