# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Corners spread evenly over an image."""

from __future__ import annotations

import math

import cv2
import numpy as np

_MIN_STRENGTH = 0.1  # of the median over the best corners of all cells
_BORDER = 4  # px at the edge of the image without corners


def grid_corners(grey: np.ndarray, num_cells: int, ignore: np.ndarray | None) -> np.ndarray:
    """
    Return the best corner of each cell of a grid (Shi and Tomasi 1994).

    One per cell, so a richly textured object does not get all corners.

    :param grey: [H, W] uint8.
    :param num_cells: approximate number of cells; the number of corners is at most this.
    :param ignore: pixels without corners, [H, W] bool.
    :return: [N, 1, 2] float32, x and y.
    """
    cell = max(8, math.ceil(math.sqrt(grey.size / num_cells)))
    rows, columns = grey.shape[0] // cell, grey.shape[1] // cell
    if min(rows, columns) == 0:
        return np.empty((0, 1, 2), np.float32)
    strength = cv2.cornerMinEigenVal(grey, 3)
    strength[:_BORDER] = strength[-_BORDER:] = 0.0
    strength[:, :_BORDER] = strength[:, -_BORDER:] = 0.0
    if ignore is not None:
        strength[ignore] = 0.0
    blocks = strength[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    blocks = blocks.transpose(0, 2, 1, 3).reshape(rows * columns, cell * cell)
    best = blocks.argmax(axis=1)
    peak = blocks[np.arange(len(blocks)), best]
    index = np.flatnonzero(peak > _MIN_STRENGTH * np.median(peak))
    x = index % columns * cell + best[index] % cell
    y = index // columns * cell + best[index] // cell
    return np.stack([x, y], axis=-1)[:, None].astype(np.float32)
