# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The remembered places and the measured motions between them, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from mem3r_ros.geometry import matrix
from mem3r_ros.places.odometry_sigma import seen_sigma
from mem3r_ros.places.pose_graph import Edges, Poses, optimised, residuals
from mem3r_ros.places.sighting import Features
from mem3r_ros.places.similarity import Placed, change_between, inverse_of

MAX_BLIND_S = 6.0  # after a longer time without a measured motion the camera may be anywhere
_FEW_FEATURES = 10  # fewer say nothing about the usual depth
_LOOPS_PER_PLACE = 4  # more edges would only cost time
_SAME_VIEW = (0.3, 0.35)  # usual depths and rad within which two places are redundant
_FAST = 0.9  # quantile of the speeds between two places
_NO_TIME_S = 1e-9  # a link of no length would be none
_NEWEST_KEPT = 8  # places that are never forgotten: those of pending recognitions


@dataclass(slots=True)
class Place:
    """One remembered keyframe."""

    number: int  # counts all places of the stream; never used twice
    stamp_ns: int
    stretch: int
    path_m: float
    T_odom_camera: np.ndarray  # [4, 4]
    features: Features
    token: np.ndarray | None  # [E]
    placed: Placed
    covariance: np.ndarray  # [6, 6] of the pose in the map, about its fixed axes
    blind_s: float = 0.0  # since the place before, time without a measured motion; inf: unknown


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """A measured motion from one place to another."""

    first: int  # number of a place
    second: int
    motion: Placed  # the second in the first
    sigma: np.ndarray  # [3] rotation rad, position m of the first, log scale
    is_loop: bool
    is_weak: bool = False  # across a break: too little to say that two places are linked

    def seen_from(self, number: int) -> tuple[int, Placed]:
        """Return the other place, and its pose in the one with this number."""
        if number == self.first:
            return self.second, self.motion
        return self.first, inverse_of(self.motion)


@dataclass(slots=True)
class PlaceGraph:
    """Places by number, oldest first, and the edges between them."""

    places: dict[int, Place] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    num_taken: int = 0

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.places)

    @property
    def newest(self) -> Place | None:
        """The newest place; None without any."""
        return self.places[next(reversed(self.places))] if self.places else None

    def append(self, place: Place) -> None:
        """Add a place; odometry links it to the last one, weakly across a break."""
        last, blind_s = self.newest, place.blind_s
        self.places[place.number] = place
        self.num_taken = place.number + 1
        is_weak = last is not None and last.stretch != place.stretch
        if last is None or (is_weak and blind_s > MAX_BLIND_S):
            return
        step = Placed(last.T_odom_camera, 0.0).of(place.T_odom_camera)
        seen = last.features, place.features
        sigma = seen_sigma(step, *seen, self._usual_depth_before(place), blind_s)
        edge = Edge(last.number, place.number, Placed(step, 0.0), sigma, False, is_weak)
        self.edges.append(edge)

    def _usual_depth_before(self, place: Place) -> float:
        """Return the usual depth of the newest other place that has enough features to know it."""
        before = [other for other in self.places.values() if other is not place]
        for other in reversed(before):
            if len(other.features) >= _FEW_FEATURES:
                return other.features.usual_depth
        return before[-1].features.usual_depth

    def add_loops(self, loops: Iterable[Edge]) -> None:
        """Add edges of recognised places; the older of two edges between two places goes."""
        for loop in loops:
            pair = {loop.first, loop.second}
            self.edges = [e for e in self.edges if not e.is_loop or {e.first, e.second} != pair]
            self.edges.append(loop)
        most = _LOOPS_PER_PLACE * len(self)
        spare = sum(edge.is_loop for edge in self.edges) - most
        if spare > 0:
            oldest = [edge for edge in self.edges if edge.is_loop][:spare]
            self.edges = [edge for edge in self.edges if edge not in oldest]

    def parts(self) -> dict[int, int]:
        """Return for each place the number of the oldest place that is linked with it."""
        return self._parts_by([edge for edge in self.edges if not edge.is_weak])

    def _parts_by(self, edges: list[Edge]) -> dict[int, int]:
        numbers = list(self.places)
        _, labels = connected_components(self._lengths(edges), directed=False)
        oldest: dict[int, int] = {}
        for number, label in zip(numbers, labels):
            oldest.setdefault(label, number)
        return {number: oldest[label] for number, label in zip(numbers, labels)}

    def distances_from(self, number: int) -> dict[int, float]:
        """Return the length of the shortest known way from a place to each other, m; inf: none."""
        numbers = list(self.places)
        strong = [edge for edge in self.edges if not edge.is_weak]
        found = dijkstra(self._lengths(strong), directed=False, indices=numbers.index(number))
        return dict(zip(numbers, found.tolist()))

    def extent_from(self, number: int) -> float:
        """Return the length of the longest way from a place within its part, m."""
        return max(way for way in self.distances_from(number).values() if np.isfinite(way))

    def blind_times_from(self, number: int) -> dict[int, float]:
        """
        Return the least time without a measured motion from a place to each other, s.

        :return: by number; infinite across a break after which the camera may be anywhere.
        """
        numbers = list(self.places)
        row = {number: index for index, number in enumerate(numbers)}
        links = [(a, b, self.places[b].blind_s) for a, b in pairwise(numbers)]
        for edge in self.edges:
            later = max(edge.first, edge.second)
            blind_s = 0.0 if edge.is_loop else self.places[later].blind_s
            links.append((edge.first, edge.second, blind_s))
        shortest = np.full((len(numbers), len(numbers)), np.inf)
        for first, second, blind_s in links:
            ends = row[first], row[second]
            if blind_s <= MAX_BLIND_S:
                shortest[ends] = min(shortest[ends], blind_s + _NO_TIME_S)
        found = dijkstra(csr_matrix(np.where(np.isfinite(shortest), shortest, 0.0)),
                         directed=False, indices=row[number])  # fmt: skip
        return dict(zip(numbers, found.tolist()))

    def usual_speed(self) -> float:
        """Return the speed of the camera where it moved fast, m/s of the map."""
        speeds = [0.0]
        for edge in self.edges:
            first, second = self.places[edge.first], self.places[edge.second]
            if not (edge.is_loop or edge.is_weak or second.blind_s):
                step = float(np.linalg.norm(edge.motion.T_map_camera[:3, 3]))
                time_s = 1e-9 * (second.stamp_ns - first.stamp_ns)
                speeds.append(step * np.exp(first.placed.log_scale) / max(time_s, 1e-3))
        return float(np.quantile(speeds, _FAST))

    def move_part(self, number: int, goal: Placed) -> None:
        """Move the part of a place so that the place comes to a goal."""
        parts = self.parts()
        change = change_between(self.places[number].placed, goal)
        turn = np.kron(np.eye(2), change.T_map_camera[:3, :3])
        for other, place in self.places.items():
            if parts[other] == parts[number]:
                place.placed = place.placed.moved(change)
                place.covariance = turn @ place.covariance @ turn.T

    def errors(self) -> np.ndarray:
        """Return the errors of the edges in standard deviations, [E, 7]."""
        return residuals(*self._arrays()) if self.edges else np.zeros((0, 7))

    def optimise(self) -> np.ndarray:
        """
        Bring all places into agreement.

        :return: the errors of the edges in standard deviations, [E, 7].
        """
        poses, edges = self._arrays()
        numbers, parts = list(self.places), self._parts_by(self.edges)
        is_fixed = np.array([parts[number] == number for number in numbers])
        best = optimised(poses, edges, is_fixed)
        for index, number in enumerate(numbers):
            T = matrix(best.rotation[index], best.position[index])
            self.places[number].placed = Placed(T, float(best.log_scale[index]))
        return residuals(best, edges)

    def _arrays(self) -> tuple[Poses, Edges]:
        numbers = list(self.places)
        row = {number: index for index, number in enumerate(numbers)}
        placed = [self.places[number].placed for number in numbers]
        poses = Poses(
            np.stack([one.T_map_camera[:3, :3] for one in placed]),
            np.stack([one.T_map_camera[:3, 3] for one in placed]),
            np.array([one.log_scale for one in placed]),
        )
        edges = Edges(
            np.array([row[edge.first] for edge in self.edges], int),
            np.array([row[edge.second] for edge in self.edges], int),
            np.stack([edge.motion.T_map_camera for edge in self.edges]),
            np.array([edge.motion.log_scale for edge in self.edges]),
            np.stack([edge.sigma for edge in self.edges]),
        )
        return poses, edges

    def forget_redundant(self, most: int) -> list[int]:
        """Forget the places that add least to the coverage until there are few enough."""
        gone = []
        while len(self) > most:
            number = self._most_redundant()
            self._remove(number)
            gone.append(number)
        return gone

    def _most_redundant(self) -> int:
        """Return the place with the most similar views; the oldest of equal ones."""
        numbers = list(self.places)[:-_NEWEST_KEPT] or list(self.places)[:1]
        placed = [self.places[number].placed for number in numbers]
        position = np.stack([one.T_map_camera[:3, 3] for one in placed])
        axis = np.stack([one.T_map_camera[:3, 2] for one in placed])
        depth = np.array(
            [self.places[n].features.usual_depth * np.exp(p.log_scale) for n, p in
             zip(numbers, placed)]
        )  # fmt: skip
        apart = np.linalg.norm(position[:, None] - position[None], axis=2)
        turned = np.arccos(np.clip(axis @ axis.T, -1.0, 1.0))
        shift = apart / (_SAME_VIEW[0] * np.minimum(depth[:, None], depth[None]))
        likeness = np.exp(-0.5 * (shift**2 + (turned / _SAME_VIEW[1]) ** 2))
        return numbers[int(np.argmax(likeness.sum(axis=1)))]

    def _remove(self, number: int) -> None:
        """Forget a place; its edges go over to its nearest neighbour by odometry."""
        own = [edge for edge in self.edges if number in (edge.first, edge.second)]
        self.edges = [edge for edge in self.edges if number not in (edge.first, edge.second)]
        later = next((other for other in self.places if other > number), None)
        if later is not None:
            self.places[later].blind_s += self.places[number].blind_s
        del self.places[number]
        links = sorted(own, key=lambda edge: (edge.is_weak, edge.is_loop, float(edge.sigma[1])))
        if not links:
            return
        heir, motion = links[0].seen_from(number)  # the heir in the place that goes
        to_heir = inverse_of(motion)
        for edge in links[1:]:
            other, seen = edge.seen_from(number)
            if other == heir:
                continue
            joined = to_heir.then(seen.T_map_camera, seen.log_scale)
            sigma = np.hypot(links[0].sigma, edge.sigma)
            is_loop = edge.is_loop or links[0].is_loop
            is_weak = edge.is_weak or links[0].is_weak
            self.edges.append(Edge(heir, other, joined, sigma, is_loop and not is_weak, is_weak))

    def _lengths(self, edges: list[Edge]) -> csr_matrix:
        """Return the lengths of edges in the map as a sparse matrix, [K, K]."""
        numbers = list(self.places)
        row = {number: index for index, number in enumerate(numbers)}
        length = []
        for edge in edges:
            scale = np.exp(self.places[edge.first].placed.log_scale)
            step = float(np.linalg.norm(edge.motion.T_map_camera[:3, 3])) * scale
            length.append(1e-6 if edge.is_loop else max(step, 1e-6))
        ends = [row[e.first] for e in edges], [row[e.second] for e in edges]
        # Two edges between two places would add up; the maximum is long enough to be safe.
        shape = (len(numbers), len(numbers))
        return csr_matrix((length, ends), shape)

    def copy_of_poses(self) -> dict[int, tuple[Placed, np.ndarray]]:
        """Return what an optimisation changes, to undo it."""
        return {n: (place.placed, place.covariance) for n, place in self.places.items()}

    def restore_poses(self, kept: dict[int, tuple[Placed, np.ndarray]]) -> None:
        """Undo an optimisation."""
        for number, (placed, covariance) in kept.items():
            self.places[number].placed = placed
            self.places[number].covariance = covariance
