# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The search for edges along normals, in several images at once.

Direction and presence of an edge are one number a pixel, and the images have a border without
edges: a step of the search is one lookup without a test of the limits.
"""

# F images of H x W; P points; S steps of a search

from __future__ import annotations

import numpy as np

from mem3r_ros.odometry.edge_image import NO_EDGE, STEPS, directions, edges_at

_MAX_TURN = 45  # steps of a turn between the direction that is sought and that of an edge
_NONE = 0x4000  # in place of a direction: no edge
_IS_NEAR = np.uint16(_NONE | (STEPS - 1))


class EdgeSearch:
    """The edges of some images of one size, see EdgeImage."""

    def __init__(self, direction: np.ndarray, offset: np.ndarray, most_px: int) -> None:
        """
        Prepare images for searches.

        :param direction: [F, H, W] uint8.
        :param offset: [F, H, W] int8.
        :param most_px: the farthest that will be searched.
        """
        self._direction, self._offset, self._border = direction, offset, most_px + 1
        num, height, width = offset.shape
        self._stride = width + 2 * self._border
        codes = np.full((num, height + 2 * self._border, self._stride), _NONE, np.uint16)
        inner = slice(self._border, -self._border)
        codes[:, inner, inner] = np.where(offset == NO_EDGE, np.uint16(_NONE), direction)
        self._pixels_of_image = codes[0].size
        self._codes = codes.ravel()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the images."""
        height, width = self._offset.shape[1:]
        return width, height

    def nearest(
        self, frame: np.ndarray, pixels: np.ndarray, normals: np.ndarray, reach_px: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Find the nearest edge of about the same direction along the normal of each point.

        :param frame: the image in which each point is searched, indices [P].
        :param pixels: [P, 2] px, inside the image.
        :param normals: unit vectors, [P, 2].
        :param reach_px: not more than was prepared for.
        :return: the points for which there is one, indices [Q]; where it is, [Q, 2] px; the
            normals of the edges, [Q, 2].
        """
        steps = np.array(sorted(range(-reach_px, reach_px + 1), key=abs), np.float32)
        # All coordinates are positive with the border, so cutting off rounds them.
        start = (pixels + (self._border + 0.5)).astype(np.float32)
        along = normals.astype(np.float32)
        index = (start[:, 1, None] + along[:, 1, None] * steps).astype(np.int32)  # [P, S]
        index *= self._stride
        index += (start[:, 0, None] + along[:, 0, None] * steps).astype(np.int32)
        index += (frame * self._pixels_of_image).astype(np.int32)[:, None]
        turned = self._codes[index]
        turned += (STEPS + _MAX_TURN - directions(normals)).astype(np.uint16)[:, None]
        turned &= _IS_NEAR
        is_match = turned <= 2 * _MAX_TURN
        first, all_rows = is_match.argmax(axis=1), np.arange(len(pixels))
        rows = np.flatnonzero(is_match[all_rows, first])
        image, place = np.divmod(index[rows, first[rows]], self._pixels_of_image)
        y, x = np.divmod(place, self._stride)
        y, x = y - self._border, x - self._border
        return rows, *edges_at(x, y, self._direction[image, y, x], self._offset[image, y, x])
