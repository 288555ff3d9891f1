# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Chooses the frames that the place memory gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from mem3r_ros.geometry import invert, rotation_angle

_SHIFT_DEPTHS = 0.12  # motion since the last place that makes a new one, usual depths
_TURN_RAD = 0.2
_SEARCH_NS = 200_000_000  # while the place is unknown, also frames this long apart


class Choice(Enum):
    """What a frame is for the place memory."""

    NONE = 'not needed'
    SEARCH = 'compared with the places'
    PLACE = 'compared, and remembered'


@dataclass(slots=True)
class Selection:
    """The last frame that was chosen."""

    T_odom_camera: np.ndarray | None = None  # of the last place
    usual_depth: float = 1.0  # m
    last_ns: int | None = None  # of the last choice

    def choose(self, stamp_ns: int, T_odom_camera: np.ndarray, is_located: bool) -> Choice:
        """Return what a frame is; the caller confirms with :meth:`take`."""
        if self.T_odom_camera is None:
            return Choice.PLACE
        step = invert(self.T_odom_camera) @ T_odom_camera
        shift = float(np.linalg.norm(step[:3, 3]))
        turn = float(rotation_angle(step[:3, :3]))
        if shift > _SHIFT_DEPTHS * self.usual_depth or turn > _TURN_RAD:
            return Choice.PLACE
        if not is_located and stamp_ns - (self.last_ns or 0) >= _SEARCH_NS:
            return Choice.SEARCH
        return Choice.NONE

    def take(
        self, choice: Choice, stamp_ns: int, T_odom_camera: np.ndarray, usual_depth: float
    ) -> None:
        """Note that a frame was used."""
        self.last_ns = stamp_ns
        if choice is Choice.PLACE:
            self.T_odom_camera, self.usual_depth = T_odom_camera, usual_depth
