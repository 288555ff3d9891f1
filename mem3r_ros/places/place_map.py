# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The place memory of one stream: takes keyframes in, recognises places, corrects the map.

The map begins as the odometry. A recognised place adds an edge to the pose graph, whose least
squares moves all places; the odometry itself never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.geometry import compose_covariance
from mem3r_ros.places.config import PlacesConfig
from mem3r_ros.places.correction import Correction, led_on_covariance
from mem3r_ros.places.features import find_features
from mem3r_ros.places.graph import MAX_BLIND_S, Place, PlaceGraph
from mem3r_ros.places.look_alikes import LookAlikes
from mem3r_ros.places.odometry_prior import Break, OdometryPrior, Verdict, apart
from mem3r_ros.places.recognition import (
    Recogniser,
    Recognition,
    are_satisfied,
    is_possible,
    is_same_place,
)
from mem3r_ros.places.retrieval import WordIndex, best_of, token_scores, words_of
from mem3r_ros.places.sighting import Features, Sighting
from mem3r_ros.places.similarity import Placed
from mem3r_ros.places.verification import verify

_RECENT = 12  # newest places of the same stretch, which are not recognised
# Of them, which ones and how many are compared to learn whether places look alike.
_BESIDE = 4
_NUM_COMPARED = 2
_MIN_PLACES = 6  # a map of fewer places is not worth to be found again after a break
# Covariance of a camera whose place is unknown.
LOST_COVARIANCE = np.diag([1e6] * 3 + [10.0] * 3)
LOST_COVARIANCE.setflags(write=False)


@dataclass(slots=True)
class PlaceMap:
    """Places, their graph, and the recognitions that wait for agreement."""

    graph: PlaceGraph = field(default_factory=PlaceGraph)
    recogniser: Recogniser = field(default_factory=Recogniser)
    words: WordIndex = field(default_factory=WordIndex)
    num_recognised: int = 0
    num_rejected: int = 0  # recognitions that the optimised map contradicted
    look_alikes: LookAlikes = field(default_factory=LookAlikes)
    last_recognised_ns: int | None = None
    version: int = 0
    blind_s: float = 0.0  # since the newest place, time without a measured motion
    # Before the present stretch; None if it may have begun anywhere.
    last_break: Break | None = None
    history: list[Recognition] = field(default_factory=list)  # accepted, the newest few

    @property
    def has_look_alikes(self) -> bool:
        """Whether views repeat, so that a view alone does not identify the place."""
        return self.look_alikes.are_many(self.num_recognised)

    def process(self, sighting: Sighting, config: PlacesConfig) -> None:
        """Take one keyframe in."""
        self._forget_a_false_start(sighting.stretch)
        self._note_break(sighting)
        self.blind_s += sighting.blind_s
        features = find_features(sighting, config.num_features)
        words = words_of(features.descriptors)
        placed, covariance = self._led_on(sighting)
        found = self._recognised(sighting, features, words, placed, config)
        if not (sighting.has_moved or found or not len(self.graph)):
            return
        number = self.graph.num_taken
        self.graph.append(
            Place(
                number,
                sighting.stamp_ns,
                sighting.stretch,
                sighting.path_m,
                sighting.T_odom_camera,
                features,
                sighting.token,
                placed,
                covariance,
                self.blind_s,
            )
        )
        self.blind_s = 0.0
        self.words.add(number, words)
        if found is not None:
            self.recogniser.recent.append(found)
            self._accept(
                self.recogniser.agreeing(self.graph, config.num_agreeing, config.min_inliers)
            )
        gone = self.graph.forget_redundant(config.max_places)
        for other in gone:
            self.words.remove(other)
        self.recogniser.forget(gone)

    def correction(self) -> Correction:
        """Return the map as it is known now."""
        places = list(self.graph.places.values())
        if not places:
            return Correction(version=self.version)
        parts = self.graph.parts()
        return Correction(
            np.array([place.number for place in places], np.int64),
            np.array([place.stamp_ns for place in places], np.int64),
            np.stack([place.T_odom_camera for place in places]),
            np.stack([place.placed.T_map_camera for place in places]),
            np.array([place.placed.log_scale for place in places]),
            places[-1].covariance.copy(),
            places[-1].features.usual_depth,
            places[-1].stretch,
            parts[places[-1].number] == places[0].number,
            self.num_recognised,
            self.last_recognised_ns,
            self.version,
            has_look_alikes=self.has_look_alikes,
        )

    def _forget_a_false_start(self, stretch: int) -> None:
        """Forget the few places before an early break; the map begins after it."""
        last = self.graph.newest
        if last is None or last.stretch == stretch or len(self.graph) >= _MIN_PLACES:
            return
        numbers = list(self.graph.places)
        for number in numbers:
            self.words.remove(number)
        self.recogniser.forget(numbers)
        self.graph = PlaceGraph(num_taken=self.graph.num_taken)

    def _note_break(self, sighting: Sighting) -> None:
        """Keep what is known of the break before the first keyframe of a stretch."""
        last = self.graph.newest
        if last is None or last.stretch == sighting.stretch:
            return
        self.last_break = None
        if sighting.blind_s <= MAX_BLIND_S:
            self.last_break = Break(last.number, sighting)

    def _led_on(self, sighting: Sighting) -> tuple[Placed, np.ndarray]:
        """Return where odometry puts a keyframe in the map, and the covariance."""
        last = self.graph.newest
        if last is None:
            return Placed(sighting.T_odom_camera.copy(), 0.0), np.eye(6) * 1e-12
        step = Placed(last.T_odom_camera, 0.0).of(sighting.T_odom_camera)
        placed = last.placed.then(step)
        if last.stretch != sighting.stretch:
            return placed, LOST_COVARIANCE.copy()
        usual = last.features.usual_depth
        return placed, led_on_covariance(last.covariance, last.placed, step, usual)

    def _recognised(
        self,
        sighting: Sighting,
        features: Features,
        words: np.ndarray,
        expected: Placed,
        config: PlacesConfig,
    ) -> Recognition | None:
        """Return the place that a keyframe shows, unless nothing or too much is found."""
        recent = self._recent(sighting.stretch)
        older = [number for number in self.graph.places if number not in recent]
        beside = best_of(self.words.scores(words, recent[:-_BESIDE]), _NUM_COMPARED)
        compared = [*self.candidates(sighting.token, words, older, config),
                    *(recent[row] for row in beside)]  # fmt: skip
        prior = OdometryPrior(self.graph, sighting, expected, self.last_break)
        matches = {
            number: verify(features, self.graph.places[number].features, config.min_inliers)
            for number in compared
        }
        matches = {number: match for number, match in matches.items() if match is not None}
        unseen_m = self._unseen_motions() if matches else {}
        found: list[Recognition] = []
        for number, match in matches.items():
            place = self.graph.places[number]
            where = place.placed.then(match.T_place_query, match.log_scale)
            verdict, (shift_m, _) = prior.judge(number, where), apart(where, expected)
            if verdict is Verdict.IMPOSSIBLE:
                self.look_alikes.note(shift_m)
                continue
            is_blind = verdict is Verdict.UNKNOWN
            ambiguity = self._ambiguity(number, is_blind, shift_m, unseen_m[number])
            if number not in recent and ambiguity < 1.0:
                query = self.graph.num_taken
                found.append(Recognition(query, number, match, where, is_blind, ambiguity))
        if not found:
            return None
        best = max(found, key=lambda one: one.match.num_inliers)
        usual = features.usual_depth * np.exp(best.placed.log_scale)
        if not all(is_same_place(one.placed, best.placed, usual) for one in found):
            return None  # two places explain the view
        return best

    def _unseen_motions(self) -> dict[int, float]:
        """Return for each place how far the camera moved since without a measurement, m."""
        newest, speed = self.graph.newest, self.graph.usual_speed()
        if newest is None or self.blind_s > MAX_BLIND_S:
            return dict.fromkeys(self.graph.places, np.inf)
        times = self.graph.blind_times_from(newest.number)
        return {
            number: (time_s + self.blind_s) * speed if np.isfinite(time_s) else np.inf
            for number, time_s in times.items()
        }

    def _ambiguity(self, number: int, is_blind: bool, shift_m: float, unseen_m: float) -> float:
        """Return how far a view leaves its place open, by the look-alikes that are known."""
        if is_blind and self.has_look_alikes:
            return np.inf
        if is_blind and not np.isfinite(unseen_m):  # after a long break the view is all there is
            return 0.0
        return self.look_alikes.ambiguity(
            self.graph, number, shift_m, unseen_m, self.num_recognised
        )

    def _recent(self, stretch: int) -> list[int]:
        """Return the newest places of the present stretch: too near to be recognised."""
        newest = list(self.graph.places.values())[-_RECENT:]
        is_linked = bool(newest) and newest[-1].stretch == stretch
        return [place.number for place in newest if is_linked and place.stretch == stretch]

    def candidates(
        self,
        token: np.ndarray | None,
        words: np.ndarray,
        numbers: list[int],
        config: PlacesConfig,
    ) -> list[int]:
        """Return the places that resemble an image most, the best first."""
        rankings: list[np.ndarray] = []
        if not numbers:
            return []
        if config.retrieval != 'tokens' or token is None:
            rankings.append(best_of(self.words.scores(words, numbers), config.num_candidates))
        if config.retrieval != 'features' and token is not None:
            rows = [i for i, n in enumerate(numbers) if self.graph.places[n].token is not None]
            if rows:
                tokens = np.stack([self.graph.places[numbers[row]].token for row in rows])
                best = best_of(token_scores(token, tokens), config.num_candidates)
                rankings.append(np.array(rows)[best])
        return list(dict.fromkeys(numbers[row] for ranking in rankings for row in ranking))

    def _accept(self, group: list[Recognition]) -> None:
        """Link the keyframes of a group with their places, and bring the map into agreement."""
        if not group:
            return
        graph, newest = self.graph, group[-1]
        kept, edges = graph.copy_of_poses(), list(graph.edges)
        parts, before = graph.parts(), graph.errors()
        weak_before = before[np.array([edge.is_weak for edge in edges], bool)]
        if parts[newest.query] != parts[newest.place]:
            if parts[newest.query] > parts[newest.place]:
                graph.move_part(newest.query, newest.placed)
            else:  # the place belongs to the newer part
                self._move_place_to(newest)
        loops = [one.edge() for one in group]
        graph.add_loops(loops)
        errors = graph.optimise()
        is_new = np.array([edge in loops for edge in graph.edges])
        is_weak = np.array([edge.is_weak for edge in graph.edges])
        strain = errors[is_weak] - weak_before
        if not (are_satisfied(errors[is_new]) and is_possible(strain, newest)):
            graph.edges = edges
            graph.restore_poses(kept)
            self.recogniser.recent.clear()
            self.num_rejected += 1
            return
        self._update_covariance(newest)
        self.num_recognised += 1
        self.last_recognised_ns = graph.places[newest.query].stamp_ns
        self.version += 1
        self.history = [*self.history[-50:], newest]

    def _move_place_to(self, newest: Recognition) -> None:
        """Move the part of the place to where the keyframe sees it."""
        query, place = self.graph.places[newest.query], self.graph.places[newest.place]
        seen = Placed(newest.placed.T_map_camera, newest.placed.log_scale)
        step = seen.of(place.placed.T_map_camera)
        log_scale = place.placed.log_scale - seen.log_scale
        self.graph.move_part(newest.place, query.placed.then(step, log_scale))

    def _update_covariance(self, newest: Recognition) -> None:
        """Give the keyframe the covariance by its place, if that is the smaller one."""
        place, query = self.graph.places[newest.place], self.graph.places[newest.query]
        scale, match = np.exp(place.placed.log_scale), newest.match
        own = np.diag([(scale * match.sigma_m) ** 2] * 3 + [match.sigma_rad**2] * 3)
        step = match.T_place_query.copy()
        step[:3, 3] *= scale
        found = compose_covariance(place.covariance, place.placed.T_map_camera, step, own)
        if np.trace(found) < np.trace(query.covariance):
            query.covariance = found
