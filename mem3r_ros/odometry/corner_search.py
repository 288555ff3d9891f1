# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The landmarks of the last image, found in the next one.

Each corner is searched where a motion expects it: that of the network, or the last one. In a
texture that repeats (tiles, windows of a facade, a chessboard) a wrong expectation leads most
corners to their neighbours, and these agree with each other. The network may be wrong by any
amount there, the last motion only by the acceleration of the camera. So the last motion comes
first where the network's is much farther from it than usual. Corners beside the texture are lost
by a wrong expectation. So where many are lost, the other motion is tried too, and it counts if it
finds clearly more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mem3r_ros.odometry.corner_tracks import track
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.patch_alignment import aligned
from mem3r_ros.odometry.pinhole import project
from mem3r_ros.odometry.robust_geometry import epipolar_inliers

_EPIPOLAR_PX = 1.5  # at the reference width
_MANY_LOST = 0.2  # of the corners
_MORE = 1.15  # times the corners that the search before has found
_DIFFERENT_PX = 4.0  # between two expectations, at the reference width
_SURPRISING = 3.0  # times the usual error of the last motion


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
    expected: tuple[np.ndarray, np.ndarray],
    usual_error_px: float,
    last_key: np.ndarray,
    width_scale: float,
) -> Found:
    """
    Find the tracked landmarks in a new image.

    :param poses: of the frames of the window, [K, 4, 4].
    :param camera: fx, fy, cx, cy of the images.
    :param images: the last and the new image, [H, W] uint8.
    :param expected: T_window_camera of the new image by the network, and by the last motion.
    :param usual_error_px: of the last motion, see :func:`error_px`.
    :param last_key: pixels of all landmarks in the last keyframe, NaN where not seen, [L, 2].
    :param width_scale: pixels of the images per pixel at the reference width.
    """
    rows = np.flatnonzero(landmarks.is_tracked)
    start = landmarks.seen[rows, -1]
    guesses = [_pixels(landmarks, poses, camera, rows, T, start) for T in expected]
    order = _order(guesses, usual_error_px, width_scale)
    best, most = None, -1
    for guess, T in ((guesses[index], expected[index]) for index in order):
        pixels, good = track(*images, start, guess)
        warps = landmarks.warps_to(T, poses, camera, rows)
        can = np.flatnonzero(good & np.isfinite(warps).all(axis=(1, 2)))
        better, is_sure = aligned(landmarks.patch[rows[can]], warps[can], images[1], pixels[can])
        pixels[can[is_sure]] = better[is_sure]
        is_rigid = _rigid(last_key[rows[good]], pixels[good], camera, width_scale)
        found = Found(rows[good], pixels[good], is_rigid)
        num_found = int(is_rigid.sum())
        if num_found > _MORE * most:
            best, most = found, num_found
        if most >= (1.0 - _MANY_LOST) * len(rows):
            break
    return best


def error_px(
    landmarks: Landmarks, poses: np.ndarray, camera: np.ndarray, expected: np.ndarray
) -> float:
    """Return how far an expected pose is from the corners of the newest image, median in px."""
    rows = np.flatnonzero(landmarks.is_tracked)
    if not len(rows):
        return 0.0
    seen = landmarks.seen[rows, -1]
    return _apart(_pixels(landmarks, poses, camera, rows, expected, seen), seen)


def _pixels(
    landmarks: Landmarks,
    poses: np.ndarray,
    camera: np.ndarray,
    rows: np.ndarray,
    T_window_camera: np.ndarray,
    otherwise: np.ndarray,
) -> np.ndarray:
    """Return where a camera sees landmarks, [N, 2] px; behind it, the given pixels."""
    pixels = project(landmarks.points_in(T_window_camera, poses, camera, rows), camera)
    return np.where(np.isfinite(pixels), pixels, otherwise)


def _order(guesses: list[np.ndarray], usual_error_px: float, width_scale: float) -> Sequence[int]:
    """Return which guesses are tried, first to last: 0 the network's, 1 the last motion's."""
    apart, different = _apart(*guesses), _DIFFERENT_PX * width_scale
    if apart < different:
        return (0,)
    return (1, 0) if apart > max(_SURPRISING * usual_error_px, different) else (0, 1)


def _apart(pixels: np.ndarray, others: np.ndarray) -> float:
    return float(np.median(np.abs(pixels - others).max(axis=1))) if len(pixels) else 0.0


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
