# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The place memory as plain values and arrays, for snapshots."""

from __future__ import annotations

from dataclasses import dataclass, field
import typing

import numpy as np

from mem3r_ros.places.graph import Edge, Place, PlaceGraph
from mem3r_ros.places.look_alikes import LookAlikes
from mem3r_ros.places.place_map import PlaceMap
from mem3r_ros.places.retrieval import words_of
from mem3r_ros.places.sighting import Features
from mem3r_ros.places.similarity import Placed
from mem3r_ros.snapshot_fields import ADDED

# K places, F features of the richest one, E channels of a token, L edges, A pairs that look alike


def _zeros(*shape: int, dtype: type = np.float64) -> typing.Any:
    return field(default_factory=lambda: np.zeros(shape, dtype))


@dataclass(slots=True)
class PlaceRecord:
    """All places and edges; the names of the fields are those of the snapshot."""

    number: np.ndarray = _zeros(0, dtype=np.int64)  # [K]
    stamp_ns: np.ndarray = _zeros(0, dtype=np.int64)  # [K]
    stretch: np.ndarray = _zeros(0, dtype=np.int64)  # [K]
    path_m: np.ndarray = _zeros(0)  # [K]
    T_odom_camera: np.ndarray = _zeros(0, 4, 4)  # [K, 4, 4]
    T_map_camera: np.ndarray = _zeros(0, 4, 4)  # [K, 4, 4]
    log_scale: np.ndarray = _zeros(0)  # [K]
    covariance: np.ndarray = _zeros(0, 6, 6)  # [K, 6, 6]
    num_features: np.ndarray = _zeros(0, dtype=np.int64)  # [K]
    rays: np.ndarray = _zeros(0, 0, 2, dtype=np.float32)  # [K, F, 2]
    depth: np.ndarray = _zeros(0, 0, dtype=np.float32)  # [K, F], 0 behind the last feature
    descriptors: np.ndarray = _zeros(0, 0, 32, dtype=np.uint8)  # [K, F, 32]
    bounds: np.ndarray = _zeros(0, 4)  # [K, 4]
    pixel: np.ndarray = _zeros(0)  # [K]
    token: np.ndarray = _zeros(0, 0, dtype=np.float32)  # [K, E]; E is 0 without tokens
    edge_ends: np.ndarray = _zeros(0, 2, dtype=np.int64)  # [L, 2] numbers of places
    edge_T: np.ndarray = _zeros(0, 4, 4)  # [L, 4, 4]
    edge_log_scale: np.ndarray = _zeros(0)  # [L]
    edge_sigma: np.ndarray = _zeros(0, 3)  # [L, 3]
    edge_is_loop: np.ndarray = _zeros(0, dtype=bool)  # [L]
    num_taken: int = 0
    num_recognised: int = 0
    num_alike: int = 0
    alike_m: np.ndarray = field(default_factory=lambda: np.zeros(0), metadata=ADDED)  # [A] m
    last_recognised_ns: int | None = None
    stretch_now: int = 0
    path_now_m: float = 0.0

    def flaw(self) -> str:
        """Return what does not fit together; empty if all does."""
        known = set(self.number.tolist())
        if len(known) != len(self.number) or (np.diff(self.number) <= 0).any():
            return 'numbers that do not increase'
        if len(self.number) and not self.number[-1] < self.num_taken:
            return f'number {self.number[-1]} of {self.num_taken}'
        if not known.issuperset(self.edge_ends.ravel().tolist()):
            return 'edges to places that do not exist'
        if len(self.number) and self.num_features.max(initial=0) > self.rays.shape[1]:
            return f'{self.num_features.max()} features of {self.rays.shape[1]}'
        used = np.arange(self.depth.shape[1]) < self.num_features[:, None]
        if (self.depth[used] <= 0.0).any():
            return 'depths that are not positive'
        return ''


def packed(places: PlaceMap, stretch: int, path_m: float) -> PlaceRecord:
    """Return a record of a place memory; later keyframes do not change it."""
    graph, all_places = places.graph, list(places.graph.places.values())
    record = PlaceRecord(
        num_taken=graph.num_taken,
        num_recognised=places.num_recognised,
        num_alike=places.look_alikes.num_seen,
        alike_m=np.array(places.look_alikes.distances_m),
        last_recognised_ns=places.last_recognised_ns,
        stretch_now=stretch,
        path_now_m=path_m,
    )
    if not all_places:
        return record
    for name in ('number', 'stamp_ns', 'stretch'):
        setattr(record, name, np.array([getattr(p, name) for p in all_places], np.int64))
    record.path_m = np.array([place.path_m for place in all_places])
    record.T_odom_camera = np.stack([place.T_odom_camera for place in all_places])
    record.T_map_camera = np.stack([place.placed.T_map_camera for place in all_places])
    record.log_scale = np.array([place.placed.log_scale for place in all_places])
    record.covariance = np.stack([place.covariance for place in all_places])
    features = [place.features for place in all_places]
    record.num_features = np.array([len(one) for one in features], np.int64)
    most = int(record.num_features.max())
    record.rays = np.stack([_padded(one.rays, most) for one in features])
    record.depth = np.stack([_padded(one.depth, most) for one in features])
    record.descriptors = np.stack([_padded(one.descriptors, most) for one in features])
    record.bounds = np.stack([one.bounds for one in features])
    record.pixel = np.array([one.pixel for one in features])
    tokens = [place.token for place in all_places]
    size = max(0 if token is None else len(token) for token in tokens)
    record.token = np.stack(
        [np.zeros(size, np.float32) if token is None else token for token in tokens]
    ).astype(np.float32)
    # Across a restart nothing is known, so what is known across a break may go, too.
    edges = [edge for edge in graph.edges if not edge.is_weak]
    if edges:
        record.edge_ends = np.array([(edge.first, edge.second) for edge in edges], np.int64)
        record.edge_T = np.stack([edge.motion.T_map_camera for edge in edges])
        record.edge_log_scale = np.array([edge.motion.log_scale for edge in edges], np.float64)
        record.edge_sigma = np.stack([edge.sigma for edge in edges])
        record.edge_is_loop = np.array([edge.is_loop for edge in edges])
    return record


def unpacked(record: PlaceRecord) -> PlaceMap:
    """Return the place memory of a record."""
    places = PlaceMap(
        graph=PlaceGraph(num_taken=record.num_taken),
        num_recognised=record.num_recognised,
        look_alikes=LookAlikes.of(record.num_alike, record.alike_m),
        last_recognised_ns=record.last_recognised_ns,
    )
    for row, number in enumerate(record.number.tolist()):
        count = int(record.num_features[row])
        token = record.token[row]
        places.graph.places[number] = Place(
            number,
            int(record.stamp_ns[row]),
            int(record.stretch[row]),
            float(record.path_m[row]),
            record.T_odom_camera[row].copy(),
            Features(
                record.rays[row, :count].copy(),
                record.depth[row, :count].copy(),
                record.descriptors[row, :count].copy(),
                record.bounds[row].copy(),
                float(record.pixel[row]),
            ),
            token.copy() if token.any() else None,
            Placed(record.T_map_camera[row].copy(), float(record.log_scale[row])),
            record.covariance[row].copy(),
        )
        places.words.add(number, words_of(record.descriptors[row, :count]))
    for row, (first, second) in enumerate(record.edge_ends.tolist()):
        motion = Placed(record.edge_T[row].copy(), float(record.edge_log_scale[row]))
        sigma, is_loop = record.edge_sigma[row].copy(), bool(record.edge_is_loop[row])
        places.graph.edges.append(Edge(first, second, motion, sigma, is_loop))
    _mark_breaks(places.graph)
    return places


def _mark_breaks(graph: PlaceGraph) -> None:
    """Note at which places the odometry began anew: those without an edge to an earlier one."""
    linked = {max(edge.first, edge.second) for edge in graph.edges if not edge.is_loop}
    for number, place in graph.places.items():
        place.blind_s = 0.0 if number in linked else np.inf


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    """Return an array with zero rows appended."""
    made = np.zeros((count, *rows.shape[1:]), rows.dtype)
    made[: len(rows)] = rows
    return made
