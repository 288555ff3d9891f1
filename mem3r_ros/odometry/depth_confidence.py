# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
How far fused depth is off, predicted for each pixel.

A product of powers of what is known about the pixel, fitted by least squares to the log of the
true relative error on recorded and rendered sequences.
"""

# H, W pixels

from __future__ import annotations

import cv2
import numpy as np

from mem3r_ros.odometry.depth_map import DepthMap

FEATURES = ('precision', 'precision near', 'step', 'departure', 'disagreement')
_POWERS = (-0.10, -0.07, 0.49, 0.12, 0.21)
_LOG_ERROR = -0.5  # log of the relative error where all features are 1
_STEP_PX = 9  # box in which a step of depth makes a pixel uncertain
_LEAST = np.float32(0.02)  # of a difference of log depths
# Confidence over 1 of a pixel whose predicted relative error is 1.
_CONFIDENCE_SCALE = np.float32(0.1)


def depth_confidence(
    found: DepthMap,
    log_depth: np.ndarray,
    filled: np.ndarray,
    network_log_depth: np.ndarray,
    near: np.ndarray,
) -> np.ndarray:
    """
    Return a confidence above 1 that grows as the predicted error falls, [H, W] float32.

    Confidence over 1 times the relative error is constant: 2 at an error of 10 %, 11 at 1 %.

    :param found: by matches.
    :param log_depth: what is given out.
    :param filled: the network's corrected by what was found around a pixel.
    :param network_log_depth: the network's in the scale of the map.
    :param near: mean precision around a pixel.
    """
    features = log_features(found, log_depth, filled, network_log_depth, near)
    log_error = np.full_like(log_depth, _LOG_ERROR)
    for power, feature in zip(_POWERS, features, strict=True):
        log_error += np.float32(power) * feature
    return 1 + _CONFIDENCE_SCALE * np.exp(-log_error)


def log_features(
    found: DepthMap,
    log_depth: np.ndarray,
    filled: np.ndarray,
    network_log_depth: np.ndarray,
    near: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return the log of each of ``FEATURES``; see :func:`depth_confidence`."""
    box = np.ones((_STEP_PX, _STEP_PX), np.uint8)
    step = cv2.morphologyEx(log_depth, cv2.MORPH_GRADIENT, box)
    departure = np.abs(log_depth - network_log_depth)
    disagreement = np.abs(filled - found.log_depth)
    differences = (np.log(values + _LEAST) for values in (step, departure, disagreement))
    return np.log1p(found.precision), np.log1p(near), *differences
