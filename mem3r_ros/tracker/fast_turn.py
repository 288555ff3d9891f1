# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Whether a camera has turned fast between two images.

A fast turn moves the image by a fifth of its width and blurs it, so its corners are not found
again from where they were. At a third of the resolution the blur is small, and the shift of the
coarse brightness says where to search.
"""

from __future__ import annotations

import cv2
import numpy as np

from mem3r_ros.tracker.corners import found_again, grid_corners

_WIDTH = 107  # px of the small images
_COARSE = (48, 36)  # px; images whose shift is searched
# Parts of the coarse image that may still be visible: y0, y1, x0, x1.
_PARTS = ((4, 32, 0, 24), (4, 32, 24, 48), (0, 18, 6, 42), (18, 36, 6, 42), (9, 27, 12, 36))
_NUM_SHIFTS = 2  # best ones that are tried
_NUM_CELLS = 120
_MARGIN_PX = 4  # of the image; corners that move beyond are not expected to be found
_NUM_LEVELS = 3  # of the pyramid
_EPIPOLAR_PX = 1.0
_RESIDUAL_FACTOR = 2.5  # times the usual one
_LEAST_SHIFT = 0.06  # of the size of the image; less is no fast turn
# Of 640 pairs of other scenes, noise, shuffled, half destroyed and mirrored images one passes.
_MIN_INLIERS = 12
_MIN_SHARE = 0.25  # of the corners that should still be visible
_MIN_HALF_SHARE = 0.15  # of those above, and of those below the middle: damage comes in rows
_MIN_IN_HALF = 8  # corners; with fewer a half is not judged


def show_fast_turn(before: np.ndarray, grey: np.ndarray, ignore: np.ndarray | None) -> bool:
    """
    Return whether corners of two shifted, blurred images fit one epipolar geometry.

    :param before: [H, W] uint8, at working size.
    :param grey: the later image, [H, W] uint8.
    :param ignore: pixels without corners, [H, W] bool.
    """
    small = (_WIDTH, max(1, round(grey.shape[0] * _WIDTH / grey.shape[1])))
    first, second = (cv2.resize(g, small, interpolation=cv2.INTER_AREA) for g in (before, grey))
    if ignore is not None:
        ignore = cv2.resize(ignore.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0
    corners = grid_corners(first, _NUM_CELLS, ignore)
    size = np.array(small, np.float32)
    return any(
        _fits(first, second, corners, shift * size)
        for shift in _shifts(before, grey)[:_NUM_SHIFTS]
        if np.abs(shift).max() >= _LEAST_SHIFT
    )


def _shifts(before: np.ndarray, grey: np.ndarray) -> list[np.ndarray]:
    """Return shifts of the coarse brightness, the best first, [2] as a part of the size."""
    first, second = (
        cv2.resize(image, _COARSE, interpolation=cv2.INTER_AREA).astype(np.float32)
        for image in (before, grey)
    )
    found = []
    for y0, y1, x0, x1 in _PARTS:
        match = cv2.matchTemplate(second, first[y0:y1, x0:x1], cv2.TM_CCOEFF_NORMED)
        _, correlation, _, (x, y) = cv2.minMaxLoc(match)
        found.append((correlation, (x - x0) / _COARSE[0], (y - y0) / _COARSE[1]))
    return [np.array(shift, np.float32) for _, *shift in sorted(found, reverse=True)]


def _fits(first: np.ndarray, second: np.ndarray, corners: np.ndarray, shift: np.ndarray) -> bool:
    """Return whether enough corners [N, 1, 2] are found near a shift [2] px, as one motion."""
    start, expected = corners[:, 0], corners + shift
    moved, is_found = found_again(first, second, corners, shift, _NUM_LEVELS, _RESIDUAL_FACTOR)
    if is_found.sum() < _MIN_INLIERS:
        return False
    end = moved[is_found, 0]
    _, mask = cv2.findFundamentalMat(start[is_found], end, cv2.FM_RANSAC, _EPIPOLAR_PX, 0.99, 200)
    if mask is None or len(mask) != len(end):
        return False
    fits = np.zeros(len(start), bool)
    fits[np.flatnonzero(is_found)[mask.ravel() > 0]] = True
    size = np.array(second.shape[::-1])
    stays = ((expected[:, 0] > _MARGIN_PX) & (expected[:, 0] < size - _MARGIN_PX)).all(axis=1)
    if fits.sum() < max(_MIN_INLIERS, _MIN_SHARE * stays.sum()):
        return False
    is_upper = expected[:, 0, 1] < size[1] / 2
    return all(
        (fits & half).sum() >= _MIN_HALF_SHARE * (stays & half).sum()
        for half in (is_upper, ~is_upper)
        if (stays & half).sum() >= _MIN_IN_HALF
    )
