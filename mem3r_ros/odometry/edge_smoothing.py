# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Spreads sparse values over an image without crossing its edges.

The guided filter (He, Sun, Tang 2013) at half resolution (He and Sun 2015), with a weight for
each pixel. In a small window the values are a linear function of the grey level, fitted where
they are known. Steps of the values therefore lie at edges of the image.
"""

# H, W pixels

from __future__ import annotations

import cv2
import numpy as np

_NEUTRAL_WEIGHT = np.float32(1e-3)  # everywhere: of the value 0, where nothing is known near


def spread_by_edges(
    values: np.ndarray,
    weights: np.ndarray,
    grey: np.ndarray,
    radius_px: int = 30,
    grey_variance: float = 20.0,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Smooth weighted values along the surfaces of an image.

    :param values: [H, W] float32.
    :param weights: of the values, not negative, [H, W] float32.
    :param grey: the image, [H, W] uint8.
    :param radius_px: half the window.
    :param grey_variance: grey levels squared; regions with less contrast count as flat.
    :return: smoothed values, and the mean weight around each pixel, [H, W] float32 each.
    """
    height, width = grey.shape
    half = (max(1, width // 2), max(1, height // 2))
    side = 2 * max(1, radius_px // 2) + 1

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.blur(image, (side, side))

    def halved(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, half, interpolation=cv2.INTER_AREA)

    guide, known = halved(grey.astype(np.float32)), halved(weights)
    total = halved(weights * values)
    weight = known + _NEUTRAL_WEIGHT
    near = mean(weight)
    mean_guide = mean(weight * guide) / near
    mean_value = mean(total) / near
    covariance = mean(total * guide) / near - mean_guide * mean_value
    variance = mean(weight * guide * guide) / near - mean_guide * mean_guide
    slope = covariance / (np.maximum(variance, 0) + np.float32(grey_variance))
    offset = mean_value - slope * mean_guide
    nearer = mean(near)
    slope, offset = mean(slope * near) / nearer, mean(offset * near) / nearer

    def full(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)

    return full(slope) * grey + full(offset), full(near)
