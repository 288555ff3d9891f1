# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Edge pixels of an image with the direction of their gradient, and the search for them.

Edges by Canny (1986), between pixels by a parabola through the gradient.
"""

# H, W image; E edge pixels; P points

from __future__ import annotations

from dataclasses import dataclass
import math

import cv2
import numpy as np

WIDTH = 320  # px of the images in which edges are sought; wider ones are reduced
_BLUR_PX = 1.0
_STRONG_SHARE = 0.07  # of the pixels, whose gradient makes an edge
_LEAST_GRADIENT = 40.0  # of the Sobel filter: 5 grey levels a pixel
_WEAK = 0.5  # over the gradient of a strong edge: continues one
_BORDER_PX = 2
_STEPS = 256  # directions in a turn
_MAX_TURN = 45  # of these: between the direction that is sought and that of an edge
NO_EDGE = -128
_FINE = 100.0  # steps of a pixel


@dataclass(frozen=True, slots=True)
class EdgeImage:
    """The edges of one image."""

    direction: np.ndarray  # [H, W] uint8, of the gradient, in steps of a turn
    offset: np.ndarray  # [H, W] int8, of the edge along the gradient, 1/100 px; NO_EDGE: none

    @classmethod
    def of(cls, grey: np.ndarray) -> EdgeImage:
        """Find the edges of an image [H, W] uint8."""
        smooth = cv2.GaussianBlur(grey, (0, 0), _BLUR_PX)
        dx, dy = cv2.Sobel(smooth, cv2.CV_16S, 1, 0), cv2.Sobel(smooth, cv2.CV_16S, 0, 1)
        strength = cv2.magnitude(dx.astype(np.float32), dy.astype(np.float32))
        strong = float(np.quantile(strength[::4, ::4], 1.0 - _STRONG_SHARE))
        strong = max(strong, _LEAST_GRADIENT)
        is_edge = cv2.Canny(dx, dy, _WEAK * strong, strong, L2gradient=True) > 0
        is_edge[:_BORDER_PX] = is_edge[-_BORDER_PX:] = False
        is_edge[:, :_BORDER_PX] = is_edge[:, -_BORDER_PX:] = False
        y, x = np.nonzero(is_edge)
        at, gradient = np.stack([x, y], axis=1), np.stack([dx[y, x], dy[y, x]], axis=1)
        normals = gradient / np.maximum(strength[y, x], 1.0)[:, None]
        offset = _between_pixels(strength, at, normals)
        turns = np.arctan2(normals[:, 1], normals[:, 0]) / (2.0 * math.pi)
        direction = np.zeros(grey.shape, np.uint8)
        direction[y, x] = np.rint(turns * _STEPS).astype(np.int64) % _STEPS
        offsets = np.full(grey.shape, NO_EDGE, np.int8)
        offsets[y, x] = np.rint(offset * _FINE)
        return cls(direction, offsets)

    def points(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """
        Choose edge pixels evenly, row by row.

        :param most: number of them, at most.
        :return: where the edges are, [P, 2] px, and their normals, [P, 2].
        """
        all_y, all_x = np.nonzero(self.offset != NO_EDGE)
        chosen = np.unique(np.linspace(0, len(all_x) - 1, min(most, len(all_x))).astype(int))
        return self._edges_at(all_x[chosen], all_y[chosen])

    def _edges_at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = self.direction[y, x] * (2.0 * math.pi / _STEPS)
        normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        offset = self.offset[y, x, None] / _FINE
        return np.stack([x, y], axis=1) + offset * normals, normals

    def nearest(
        self, pixels: np.ndarray, normals: np.ndarray, reach_px: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Find the nearest edge of about the same direction along the normal of each point.

        :param pixels: [P, 2] px.
        :param normals: unit vectors, [P, 2].
        :return: the points for which there is one, indices [Q]; where it is, [Q, 2] px; the
            normals of the edges, [Q, 2].
        """
        height, width = self.offset.shape
        steps = np.array(sorted(range(-reach_px, reach_px + 1), key=abs))
        along = normals[:, None] * steps[:, None]
        x, y = np.rint(pixels[:, None] + along).astype(np.int32).transpose(2, 0, 1)  # [P, S]
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        index = np.where(inside, y * width + x, 0)
        offset, direction = self.offset.ravel()[index], self.direction.ravel()[index]
        turns = np.arctan2(normals[:, 1], normals[:, 0]) / (2.0 * math.pi)
        wanted = (np.rint(turns * _STEPS).astype(np.int64) % _STEPS).astype(np.uint8)
        turned = np.abs((direction - wanted[:, None]).view(np.int8).astype(np.int16))
        is_match = inside & (offset != NO_EDGE) & (turned <= _MAX_TURN)
        rows = np.flatnonzero(is_match.any(axis=1))
        first = is_match[rows].argmax(axis=1)
        found, found_normals = self._edges_at(x[rows, first], y[rows, first])
        return rows, found, found_normals


def _between_pixels(strength: np.ndarray, at: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Return how far along its normal [E, 2] the edge at a pixel [E, 2] is, [E] px."""
    before, after = (np.rint(at + side * normals).astype(int) for side in (-1.0, 1.0))
    low, high = strength[before[:, 1], before[:, 0]], strength[after[:, 1], after[:, 0]]
    curvature = np.minimum(low - 2.0 * strength[at[:, 1], at[:, 0]] + high, -1.0)
    return (0.5 * (low - high) / curvature).clip(-0.5, 0.5)
