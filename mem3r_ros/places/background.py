# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The place memory beside the tracker: keyframes are taken in on a thread of its own.

The tracker gives keyframes and reads the newest correction; it never waits, unless the setting
``wait`` asks for results that do not depend on the speed of the computer.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
import logging

import numpy as np

from mem3r_ros.places.config import PlacesConfig
from mem3r_ros.places.correction import Correction
from mem3r_ros.places.place_map import LOST_COVARIANCE, PlaceMap
from mem3r_ros.places.record import PlaceRecord, packed, unpacked
from mem3r_ros.places.selection import Choice, Selection
from mem3r_ros.places.sighting import Sighting

LOGGER = logging.getLogger(__name__)

_MAX_PENDING = 3  # keyframes; more would only delay the newest recognition


class Places:
    """The places of one stream; used by the tracker's thread only."""

    def __init__(self) -> None:
        """Start without places; the thread starts with the first keyframe."""
        self.stretch = 0
        self.path_m = 0.0
        self.wants_depth = False  # a keyframe is due and waits for a frame with depth
        self.num_left_out = 0  # keyframes that found the thread busy
        self.num_failed = 0
        self.correction = Correction()
        self.is_cut = False  # the present stretch began with another scene
        self._has_keyframe = False  # of the present stretch
        self._is_restored = False  # the present stretch has no odometry from the places
        self._map = PlaceMap()
        self._selection = Selection()
        self.blind_s = 0.0  # since the last keyframe, time without a measured motion
        self._is_blind = False  # no motion is known since the last frame with a pose
        self._last_ns: int | None = None  # of the last frame with a pose
        self._last_position: np.ndarray | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._pending: list[Future] = []

    @property
    def is_located(self) -> bool:
        """Whether the position among the oldest places is known."""
        correction = self.correction
        is_same = correction.stretch == self.stretch or not len(correction)
        return is_same and correction.is_located

    def begin_stretch(self, is_restored: bool, is_cut: bool = False) -> None:
        """
        Note that the motion since the last frame is unknown.

        :param is_restored: the places come from a file, so odometry says nothing about them.
        :param is_cut: the images show another scene than before, so the camera may have been set
            down elsewhere; otherwise it cannot have moved far in the meantime.
        """
        self._is_restored = is_restored or (self._is_restored and not self.is_located)
        # A stretch without a keyframe leaves no trace, so what is known of it goes on.
        self.is_cut = is_cut or (self.is_cut and not self._has_keyframe)
        if is_restored:
            self.blind_s = np.inf
        self._has_keyframe, self._is_blind = False, True
        if self._last_position is not None or is_restored:
            self.stretch += 1
        self._selection, self._last_position = Selection(), None

    def note_blind(self) -> None:
        """Note a frame whose pose is only extrapolated."""
        self._is_blind = True

    def choose(self, stamp_ns: int, T_odom_camera: np.ndarray) -> Choice:
        """Return what a frame is for the memory; called once for each frame with a pose."""
        position = T_odom_camera[:3, 3]
        if self._is_blind and self._last_ns is not None:
            self.blind_s += 1e-9 * (stamp_ns - self._last_ns)
        self._is_blind, self._last_ns = False, stamp_ns
        if self._last_position is not None:
            self.path_m += float(np.linalg.norm(position - self._last_position))
        self._last_position = position.copy()
        return self._selection.choose(stamp_ns, T_odom_camera, self.is_located)

    def add(self, sighting: Sighting, config: PlacesConfig) -> None:
        """Take a keyframe in, on the other thread; leave it out if that is busy."""
        self._pending = [future for future in self._pending if not future.done()]
        if len(self._pending) >= _MAX_PENDING and not config.wait:
            self.num_left_out += 1
            return
        self._has_keyframe, self.blind_s = True, 0.0
        depth = sighting.depth[np.isfinite(sighting.depth)]
        usual = float(np.median(depth)) if len(depth) else 1.0
        choice = Choice.PLACE if sighting.has_moved else Choice.SEARCH
        self._selection.take(choice, sighting.stamp_ns, sighting.T_odom_camera, usual)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, 'places')
        self._pending.append(self._executor.submit(self._process, sighting, config))
        if config.wait:
            self.flush()

    def flush(self) -> None:
        """Wait until all keyframes are taken in."""
        for future in self._pending:
            future.result()
        self._pending = []

    def pose(self, T_odom_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """
        Return the pose in the map and its covariance about the fixed axes of the map.

        :return: [4, 4] and [6, 6]; None after a restart, until the place is recognised.
        """
        correction = self.correction
        T_map_camera = correction.pose(T_odom_camera)
        if correction.stretch == self.stretch or not len(correction):
            if self._is_restored and not correction.is_located:
                return None
            return T_map_camera, correction.pose_covariance(T_odom_camera)
        return None if self._is_restored else (T_map_camera, LOST_COVARIANCE.copy())

    def record(self) -> PlaceRecord:
        """Return everything as plain values and arrays."""
        self.flush()
        return packed(self._map, self.stretch, self.path_m)

    def restore(self, record: PlaceRecord) -> None:
        """Continue from a record; it has been checked."""
        self._map = unpacked(record)
        self.stretch, self.path_m = record.stretch_now, record.path_now_m
        self.correction = self._map.correction()

    def _process(self, sighting: Sighting, config: PlacesConfig) -> None:
        try:
            self._map.process(sighting, config)
            self.correction = replace(self._map.correction(), num_failed=self.num_failed)
        except Exception:  # one keyframe must not end the recognition; it is counted
            self.num_failed += 1
            self.correction = replace(self.correction, num_failed=self.num_failed)
            LOGGER.exception('a keyframe was not taken into the place memory')
