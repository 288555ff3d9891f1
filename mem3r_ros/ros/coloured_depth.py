# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Depth as a picture for people: one fixed range, so that a colour always means the same depth."""

from __future__ import annotations

import cv2
import numpy as np

NEAR_M, FAR_M = 0.3, 20.0
_UNKNOWN = (222, 226, 230)


def coloured_depth(depth_m: np.ndarray) -> np.ndarray:
    """
    Colour a depth image by the logarithm of its depth.

    :param depth_m: [H, W] m; NaN where unknown, +inf beyond the range.
    :return: [H, W, 3] uint8 RGB; near is bright, unknown is grey.
    """
    known = depth_m > 0  # False for NaN
    inside = np.clip(np.where(known, depth_m, FAR_M), NEAR_M, FAR_M)
    share = np.log(inside / NEAR_M) / np.log(FAR_M / NEAR_M)
    steps = np.rint(255.0 * (1.0 - share)).astype(np.uint8)
    picture = cv2.cvtColor(cv2.applyColorMap(steps, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)
    picture[~known] = _UNKNOWN
    return picture
