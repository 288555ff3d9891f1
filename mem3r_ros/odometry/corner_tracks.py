# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Corners tracked from image to image at camera resolution.

Sparse flow (Lucas and Kanade 1981, pyramids by Bouguet), forward and backward; corners by
Shi and Tomasi (1994), at most one in each cell of a grid.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

MAX_WIDTH = 1280  # px; wider images are reduced first
_BACKWARD_PX = 1.0
_WINDOW_PX = 21
_LEVELS = 3
_STEPS = 10  # of each level, at most
_LEAST_STEP_PX = 0.03  # the alignment with the patches goes on from there
_CHECK_WINDOW_PX = 15  # of the backward search, which starts at its answer and needs no pyramid
_MIN_STRENGTH = 0.02  # of the strongest tenth of the cells
# Weaker corners, as on a plain floor, are matched to wrong places. White noise with a standard
# deviation of 4.5 grey levels has this strength.
_LEAST_STRENGTH = 2.3e-4
_BORDER = 8  # px at the edge of the image without corners
_CORNER_BLOCK_PX = 5
_STRIP_ROWS = 64
_STRIP_MARGIN = 4  # rows that a strip reads beyond its own
_MIN_DISTANCE_PX = 8.0  # between a new corner and a tracked one


def working_image(grey: np.ndarray) -> np.ndarray:
    """Return the image at the size at which corners are tracked, [H, W] uint8."""
    height, width = grey.shape
    if width <= MAX_WIDTH:
        return grey
    size = (MAX_WIDTH, round(height * MAX_WIDTH / width))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def track(
    previous: np.ndarray,
    current: np.ndarray,
    start: np.ndarray,
    expected: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Find corners of one image in the next.

    :param previous: the image before, [H, W] uint8.
    :param current: the new image, [H, W] uint8.
    :param start: corners in the image before, [N, 2] px.
    :param expected: where they are expected, [N, 2] px.
    :return: where they are, [N, 2], and which agree with the backward search, [N] bool.
    """
    if not len(start):
        return np.zeros((0, 2)), np.zeros(0, bool)
    found, good = _there_and_back(previous, current, start, expected)
    # A wrong expectation must not lose a corner that a plain search finds.
    again = ~good & (np.abs(expected - start).max(axis=1) > 2.0)
    if again.any():
        second, second_good = _there_and_back(previous, current, start[again], start[again])
        found[again] = np.where(second_good[:, None], second, found[again])
        good[again] = second_good
    return found, good


def _there_and_back(
    previous: np.ndarray,
    current: np.ndarray,
    start: np.ndarray,
    expected: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _STEPS, _LEAST_STEP_PX)
    options = {'criteria': criteria, 'flags': cv2.OPTFLOW_USE_INITIAL_FLOW}
    forward = {'winSize': (_WINDOW_PX, _WINDOW_PX), 'maxLevel': _LEVELS} | options
    backward = {'winSize': (_CHECK_WINDOW_PX, _CHECK_WINDOW_PX), 'maxLevel': 0} | options
    begin = start.astype(np.float32)[:, None]
    guess = expected.astype(np.float32)[:, None].copy()
    found, ahead, _ = cv2.calcOpticalFlowPyrLK(previous, current, begin, guess, **forward)
    back, behind, _ = cv2.calcOpticalFlowPyrLK(current, previous, found, begin.copy(), **backward)
    error = np.linalg.norm((back - begin)[:, 0], axis=1)
    height, width = current.shape
    inside = (found[:, 0] >= 2).all(axis=1) & (found[:, 0] < (width - 2, height - 2)).all(axis=1)
    good = (ahead.ravel() == 1) & (behind.ravel() == 1) & (error < _BACKWARD_PX) & inside
    return found[:, 0].astype(np.float64), good


def _corner_strength(grey: np.ndarray) -> np.ndarray:
    """Return the smaller eigenvalue of the gradients around each pixel, [H, W] float32."""
    strength = np.empty(grey.shape, np.float32)
    # In strips: OpenCV's buffers for a whole image leave the cache and are paged in every time.
    for start in range(0, len(grey), _STRIP_ROWS):
        first, end = max(start - _STRIP_MARGIN, 0), start + _STRIP_ROWS
        strip = cv2.cornerMinEigenVal(grey[first : end + _STRIP_MARGIN], _CORNER_BLOCK_PX)
        strength[start:end] = strip[start - first : end - first]
    return strength


def new_corners(
    grey: np.ndarray, tracked: np.ndarray, num_cells: int, ignore: np.ndarray | None
) -> np.ndarray:
    """
    Find corners in the cells of a grid that no tracked corner occupies.

    :param grey: [H, W] uint8.
    :param tracked: corners that are tracked already, [N, 2] px.
    :param num_cells: cells of the whole image, about.
    :param ignore: pixels without corners, [H, W] bool; None: none.
    :return: [P, 2] float64 px.
    """
    cell = max(8, math.ceil(math.sqrt(grey.size / num_cells)))
    rows, columns = grey.shape[0] // cell, grey.shape[1] // cell
    if min(rows, columns) == 0:
        return np.zeros((0, 2))
    strength = _corner_strength(grey)
    strength[:_BORDER] = strength[-_BORDER:] = 0.0
    strength[:, :_BORDER] = strength[:, -_BORDER:] = 0.0
    if ignore is not None:
        strength[ignore] = 0.0
    occupied = np.zeros(rows * columns, bool)
    if len(tracked):
        at = (tracked / cell).astype(int)
        inside = (at[:, 0] < columns) & (at[:, 1] < rows) & (at >= 0).all(axis=1)
        occupied[at[inside, 1] * columns + at[inside, 0]] = True
        around = np.arange(-int(_MIN_DISTANCE_PX), int(_MIN_DISTANCE_PX) + 1)
        x, y = np.rint(tracked).astype(int).T[..., None] + around
        # Beyond the image is the border, which has no corners.
        x, y = x.clip(0, grey.shape[1] - 1), y.clip(0, grey.shape[0] - 1)
        strength[y[:, :, None], x[:, None, :]] = 0.0
    blocks = strength[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    blocks = blocks.transpose(0, 2, 1, 3).reshape(rows * columns, cell * cell)
    best = blocks.argmax(axis=1)
    peak = blocks[np.arange(len(blocks)), best]
    least = max(_MIN_STRENGTH * np.percentile(peak, 90), _LEAST_STRENGTH)
    wanted = ~occupied & (peak > least)
    index = np.flatnonzero(wanted)
    x = index % columns * cell + best[index] % cell
    y = index // columns * cell + best[index] // cell
    corners = np.stack([x, y], axis=-1).astype(np.float32)
    if len(corners):
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.01)
        refined = cv2.cornerSubPix(grey, corners[:, None].copy(), (3, 3), (-1, -1), criteria)[:, 0]
        moved = np.abs(refined - corners).max(axis=1)
        corners = np.where((moved < 3)[:, None], refined, corners)
    return corners.astype(np.float64)
