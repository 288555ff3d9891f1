# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Features that two images far apart share, by SIFT (Lowe 2004).

Corners cannot be followed where the camera moves far between two images: after dropped images, at
a low rate, in a fast turn. Features are found anywhere in the image, but they cost more, so they
are asked only where corners fail.
"""

from __future__ import annotations

import cv2
import numpy as np

_LEAST_CONTRAST = 0.015
_RATIO = 0.8  # of the distances to the best and the second match


def matched_features(
    before: np.ndarray, grey: np.ndarray, ignore: np.ndarray | None, num_features: int
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return pixels of the same features in two images, [M, 2] each; some are wrong.

    :param before: [H, W] uint8.
    :param grey: the later image, [H, W] uint8.
    :param ignore: pixels without features, [H, W] bool.
    :param num_features: that are searched in each image, at most.
    """
    mask = None if ignore is None else np.where(ignore, 0, 255).astype(np.uint8)
    sift = cv2.SIFT_create(num_features, contrastThreshold=_LEAST_CONTRAST)
    (first, old), (second, new) = (sift.detectAndCompute(g, mask) for g in (before, grey))
    if old is None or new is None or min(len(old), len(new)) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(old, new, k=2)
    matches = [best for best, other in nearest if best.distance < _RATIO * other.distance]
    start = [first[match.queryIdx].pt for match in matches]
    end = [second[match.trainIdx].pt for match in matches]
    return np.array(start).reshape(-1, 2), np.array(end).reshape(-1, 2)
