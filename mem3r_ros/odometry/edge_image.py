# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Edge pixels of an image with the direction of their gradient.

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
STEPS = 256  # directions in a turn
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
        direction = np.zeros(grey.shape, np.uint8)
        direction[y, x] = directions(normals)
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
        x, y = all_x[chosen], all_y[chosen]
        return edges_at(x, y, self.direction[y, x], self.offset[y, x])


def directions(normals: np.ndarray) -> np.ndarray:
    """Return the directions of unit vectors [P, 2] in steps of a turn, [P]."""
    turns = np.arctan2(normals[:, 1], normals[:, 0]) / (2.0 * math.pi)
    return np.rint(turns * STEPS).astype(np.int64) % STEPS


def edges_at(
    x: np.ndarray, y: np.ndarray, direction: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return where the edges at some pixels are, [P, 2] px, and their normals, [P, 2].

    :param x: column of each pixel, [P]; ``y``: row.
    :param direction: see EdgeImage, [P]; ``offset`` likewise.
    """
    angle = direction * (2.0 * math.pi / STEPS)
    normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.stack([x, y], axis=1) + offset[:, None] / _FINE * normals, normals


def _between_pixels(strength: np.ndarray, at: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Return how far along its normal [E, 2] the edge at a pixel [E, 2] is, [E] px."""
    before, after = (np.rint(at + side * normals).astype(int) for side in (-1.0, 1.0))
    low, high = strength[before[:, 1], before[:, 0]], strength[after[:, 1], after[:, 0]]
    curvature = np.minimum(low - 2.0 * strength[at[:, 1], at[:, 0]] + high, -1.0)
    return (0.5 * (low - high) / curvature).clip(-0.5, 0.5)
