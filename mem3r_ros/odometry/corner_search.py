# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The landmarks of the last image, found in the next one.

Each corner is searched where a motion expects it. In a texture that repeats (tiles, windows of a
facade, a chessboard) a wrong expectation leads most corners to their neighbours, and these agree
with each other. Corners beside the texture are lost then. So where many are lost, the search is
done again with the next expected motion, and it counts if it loses far fewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mem3r_ros.odometry.corner_tracks import track
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.patch_alignment import aligned
from mem3r_ros.odometry.pinhole import project
from mem3r_ros.odometry.robust_geometry import epipolar_inliers

_EPIPOLAR_PX = 1.5  # at the reference width
_MANY_LOST = 0.2  # of the corners
_FEWER = 0.5  # of the corners that the search before has lost
_DIFFERENT_PX = 4.0  # between two expectations, at the reference width


class Found(NamedTuple):
    """Where the corners are in the new image."""

    rows: np.ndarray  # landmarks that were searched and found, [N]
    pixels: np.ndarray  # where, [N, 2]
    is_rigid: np.ndarray  # [N] bool, those that move like most


def find(
    landmarks: Landmarks,
    poses: np.ndarray,
    camera: np.ndarray,
    images: tuple[np.ndarray, np.ndarray],
    expectations: Iterable[np.ndarray],
    last_key: np.ndarray,
    width_scale: float,
) -> Found:
    """
    Find the tracked landmarks in a new image.

    :param poses: of the frames of the window, [K, 4, 4].
    :param camera: fx, fy, cx, cy of the images.
    :param images: the last and the new image, [H, W] uint8.
    :param expectations: expected T_window_camera of the new image, best first.
    :param last_key: pixels of all landmarks in the last keyframe, NaN where not seen, [L, 2].
    :param width_scale: pixels of the images per pixel at the reference width.
    """
    rows = np.flatnonzero(landmarks.is_tracked)
    start = landmarks.seen[rows, -1]
    best, fewest, tried = None, np.inf, []
    for expected in expectations:
        guess = project(landmarks.points_in(expected, poses, camera, rows), camera)
        guess = np.where(np.isfinite(guess), guess, start)
        if any(_is_alike(guess, other, _DIFFERENT_PX * width_scale) for other in tried):
            continue
        tried.append(guess)
        pixels, good = track(*images, start, guess)
        warps = landmarks.warps_to(expected, poses, camera, rows)
        can = np.flatnonzero(good & np.isfinite(warps).all(axis=(1, 2)))
        better, is_sure = aligned(landmarks.patch[rows[can]], warps[can], images[1], pixels[can])
        pixels[can[is_sure]] = better[is_sure]
        is_rigid = _rigid(last_key[rows[good]], pixels[good], camera, width_scale)
        found = Found(rows[good], pixels[good], is_rigid)
        num_lost = len(rows) - int(found.is_rigid.sum())
        if best is None or num_lost < _FEWER * fewest:
            best, fewest = found, num_lost
        if fewest <= _MANY_LOST * len(rows):
            break
    return best


def _is_alike(guess: np.ndarray, other: np.ndarray, limit_px: float) -> bool:
    return not len(guess) or bool(np.median(np.abs(guess - other).max(axis=1)) < limit_px)


def _rigid(
    before: np.ndarray, pixels: np.ndarray, camera: np.ndarray, width_scale: float
) -> np.ndarray:
    """Return which corners fit the motion of most since the last keyframe, [N] bool."""
    is_shared = np.isfinite(before[:, 0])
    is_rigid = np.ones(len(pixels), bool)
    inliers = epipolar_inliers(
        before[is_shared], pixels[is_shared], camera, _EPIPOLAR_PX * width_scale
    )
    if inliers is not None:
        is_rigid[is_shared] = inliers
    return is_rigid
