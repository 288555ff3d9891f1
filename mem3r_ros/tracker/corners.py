# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Corners spread evenly over an image, and where they are in the next one."""

from __future__ import annotations

import math

import cv2
import numpy as np

_MIN_STRENGTH = 0.1  # of the median over the best corners of all cells
_BORDER = 4  # px at the edge of the image without corners
_BACKWARD_PX = 1.0
_RESIDUAL = 5.0  # grey levels around a corner that always count as alike


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


def found_again(
    before: np.ndarray,
    grey: np.ndarray,
    corners: np.ndarray,
    shift: np.ndarray,
    num_levels: int,
    residual_factor: float,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Track corners into another image and back (Lucas and Kanade 1981).

    :param before: [H, W] uint8.
    :param grey: the later image, [H, W] uint8.
    :param corners: [N, 1, 2] float32.
    :param shift: by which they are expected to move, [2] float32 px.
    :param num_levels: of the pyramid above the image.
    :param residual_factor: how many times the usual difference to the first image is too much.
    :return: where they are, [N, 1, 2]; which of them were found there and back, [N] bool.
    """
    if not len(corners):
        return corners, np.zeros(0, bool)
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    options = {'winSize': (15, 15), 'maxLevel': num_levels, 'flags': flags}
    moved, found, residual = cv2.calcOpticalFlowPyrLK(
        before, grey, corners, corners + shift, **options
    )
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(grey, before, moved, moved - shift, **options)
    error = np.linalg.norm((back - corners)[:, 0], axis=1)
    inside = ((moved[:, 0] >= 0) & (moved[:, 0] < grey.shape[::-1])).all(axis=1)
    is_found = (found.ravel() == 1) & (found_back.ravel() == 1) & (error < _BACKWARD_PX)
    is_found &= inside
    if is_found.any():
        # What is found by chance looks less alike than the rest of the image.
        usual = float(np.median(residual.ravel()[is_found]))
        is_found &= residual.ravel() < max(residual_factor * usual, _RESIDUAL)
    return moved, is_found
