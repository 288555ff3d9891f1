# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Whether two images far apart show one rigid scene, by SIFT features (Lowe 2004).

Corners cannot be followed where the camera moves far between two images: after dropped images, at
a low rate, in a fast turn. Features are found anywhere in the image, but they cost more, so they
are asked only where corners fail.
"""

from __future__ import annotations

import cv2
import numpy as np

_NUM_FEATURES = 400
_LEAST_CONTRAST = 0.015
_RATIO = 0.8  # of the distances to the best and the second match
_EPIPOLAR_PX = 1.0
# Between pairs of images of recordings, and noise, other scenes and shuffled blocks. Other scenes
# have few inliers; shuffled blocks have many, but at most half of the matches.
_MIN_INLIERS = 40
_MIN_SHARE = 0.6  # of the matches
_MIN_HALF = 0.03  # of the inliers in each half of the new image; one that is destroyed has none


def show_one_scene(before: np.ndarray, grey: np.ndarray, ignore: np.ndarray | None) -> bool:
    """
    Return whether enough features of two images fit one epipolar geometry.

    :param before: [H, W] uint8, at working size.
    :param grey: the later image, [H, W] uint8.
    :param ignore: pixels without features, [H, W] bool.
    """
    mask = None if ignore is None else np.where(ignore, 0, 255).astype(np.uint8)
    sift = cv2.SIFT_create(_NUM_FEATURES, contrastThreshold=_LEAST_CONTRAST)
    (first, old), (second, new) = (sift.detectAndCompute(g, mask) for g in (before, grey))
    if old is None or new is None or min(len(old), len(new)) < _MIN_INLIERS:
        return False
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(old, new, k=2)
    matches = [best for best, other in nearest if best.distance < _RATIO * other.distance]
    if len(matches) < _MIN_INLIERS:
        return False
    start = np.array([first[match.queryIdx].pt for match in matches])
    end = np.array([second[match.trainIdx].pt for match in matches])
    _, fits = cv2.findFundamentalMat(start, end, cv2.FM_RANSAC, _EPIPOLAR_PX, 0.99, 500)
    if fits is None or fits.shape[0] != len(matches):
        return False
    inliers = end[fits.ravel() > 0]
    if len(inliers) < max(_MIN_INLIERS, _MIN_SHARE * len(matches)):
        return False
    is_first_half = inliers < np.array(grey.shape[::-1]) / 2
    share = is_first_half.mean(axis=0)
    return bool((np.minimum(share, 1.0 - share) >= _MIN_HALF).all())
