# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Whether two images far apart show one rigid scene, by their features."""

from __future__ import annotations

import cv2
import numpy as np

from mem3r_ros.odometry.feature_matches import matched_features

_NUM_FEATURES = 800
_EPIPOLAR_PX = 1.0
# Between pairs of images of recordings, and noise, other scenes and shuffled blocks. Other scenes
# have at most half as many inliers; shuffled blocks have many, but at most half of the matches.
_MIN_INLIERS = 30
_MIN_SHARE = 0.6  # of the matches
_MIN_HALF = 0.03  # of the inliers in each half of the new image; one that is destroyed has none


def show_one_scene(before: np.ndarray, grey: np.ndarray, ignore: np.ndarray | None) -> bool:
    """
    Return whether enough features of two images fit one epipolar geometry.

    :param before: [H, W] uint8, at working size.
    :param grey: the later image, [H, W] uint8.
    :param ignore: pixels without features, [H, W] bool.
    """
    start, end = matched_features(before, grey, ignore, _NUM_FEATURES)
    if len(start) < _MIN_INLIERS:
        return False
    _, fits = cv2.findFundamentalMat(start, end, cv2.FM_RANSAC, _EPIPOLAR_PX, 0.99, 500)
    if fits is None or fits.shape[0] != len(start):
        return False
    inliers = end[fits.ravel() > 0]
    if len(inliers) < max(_MIN_INLIERS, _MIN_SHARE * len(start)):
        return False
    is_first_half = inliers < np.array(grey.shape[::-1]) / 2
    share = is_first_half.mean(axis=0)
    return bool((np.minimum(share, 1.0 - share) >= _MIN_HALF).all())
