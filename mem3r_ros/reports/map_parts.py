# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The points of a run, in parts that can follow the corrections of the places.

Without places there is one part. With places each part has the points of a few images, which move
together; when there are many parts, neighbours are joined, so their number is bounded.
"""

from __future__ import annotations

import numpy as np

from mem3r_ros.cloud import VoxelMap
from mem3r_ros.places import Correction

# The map may exceed its limit this far between two checks of its size, which cost a sort.
_RESERVE = 4
_CLOUDS_A_CHECK = 8
_CLOUDS_A_PART = 10
_MAX_PARTS = 100


class MapParts:
    """A map of bounded size."""

    def __init__(self, voxel_size_m: float, max_points: int, is_corrected: bool) -> None:
        """
        Start empty.

        :param voxel_size_m: initial voxel size; a full map gets coarser.
        :param max_points: maximum size.
        :param is_corrected: whether :meth:`corrected` will be called.
        """
        self._voxel_size_m, self._max_points = voxel_size_m, max_points
        self._clouds_a_part = _CLOUDS_A_PART if is_corrected else 0
        self._parts: list[tuple[int, VoxelMap]] = []  # stamp of the first image, ns
        self._num_clouds = 0

    def add(
        self,
        stamp_ns: int,
        points_odom: np.ndarray,
        colours: np.ndarray,
        weights: np.ndarray | None,
    ) -> None:
        """Add the points of one image, [P, 3] m."""
        each = self._clouds_a_part
        if not self._parts or (each and self._num_clouds % each == 0):
            self._parts.append((stamp_ns, self._empty()))
        self._parts[-1][1].add(points_odom, colours, weights)
        self._num_clouds += 1
        if len(self._parts) > _MAX_PARTS:
            self._join()
        if self._num_clouds % _CLOUDS_A_CHECK == 0:
            self._coarsen()

    def merged(self) -> VoxelMap:
        """Return all points in odom."""
        self._coarsen()
        if len(self._parts) == 1:
            return self._parts[0][1]
        made = self._empty()
        for _, part in self._parts:
            made.add(part.points(), part.colours(), part.weights())
        return made

    def corrected(self, correction: Correction) -> VoxelMap:
        """Return all points in the map."""
        self._coarsen()
        made = self._empty()
        for stamp_ns, part in self._parts:
            row = int(np.searchsorted(correction.stamps_ns, stamp_ns))
            number = int(correction.numbers[min(row, len(correction) - 1)])
            points = correction.points(number, part.points())
            made.add(points, part.colours(), part.weights())
        return made

    def _empty(self) -> VoxelMap:
        return VoxelMap(self._voxel_size_m, _RESERVE * self._max_points)

    def _join(self) -> None:
        """Join each two neighbours, and make later parts as long."""
        self._clouds_a_part *= 2
        for index in range(len(self._parts) - 1, 0, -2):
            _, part = self._parts.pop(index)
            self._parts[index - 1][1].add(part.points(), part.colours(), part.weights())

    def _coarsen(self) -> None:
        """Make a full map coarser, so the report shows the whole path and not its end."""
        while sum(len(part) for _, part in self._parts) > self._max_points:
            self._voxel_size_m *= 1.5
            for index, (stamp_ns, full) in enumerate(self._parts):
                part = self._empty()
                part.add(full.points(), full.colours(), full.weights())
                self._parts[index] = (stamp_ns, part)
