# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Covariance of one increment, from its size, the network's confidence and the frame's state.

``mem3r fit-covariance`` fits the parameters on sequences with ground truth and prints the NEES.
"""

from __future__ import annotations

import numpy as np

from mem3r_ros.geometry import rotation_angle
from mem3r_ros.tracker.config import CovarianceConfig

# Published variances are at most this large, because infinities break displays.
MAX_POSITION_VARIANCE = 1e4  # m^2
MAX_ROTATION_VARIANCE = 10.0  # rad^2, about pi squared


def increment_covariance(
    increment: np.ndarray,
    confidence_ratio: float,
    is_degraded: bool,
    config: CovarianceConfig,
) -> np.ndarray:
    """
    Return the covariance of one motion increment.

    Errors have a floor and a part proportional to the motion. Both grow as the confidence falls
    below the usual one of the stream.

    :param increment: ``T_last_camera`` in metres.
    :param confidence_ratio: confidence over the usual one; NaN if unknown.
    :param is_degraded: whether the frame or its prediction has a flaw.
    :return: in the frame ``last``, [6, 6], m^2 and rad^2.
    """
    factor = config.degraded_factor if is_degraded else 1.0
    if np.isfinite(confidence_ratio):
        factor *= float(np.clip(1.0 / max(confidence_ratio, 1e-3), 0.7, 4.0))
    step = float(np.linalg.norm(increment[:3, 3]))
    turn = float(rotation_angle(increment[:3, :3]))
    position = factor * np.hypot(config.position_floor_m, config.position_share * step)
    rotation = factor * np.hypot(config.rotation_floor_rad, config.rotation_share * turn)
    variances = np.array([position**2] * 3 + [rotation**2] * 3) * config.correlation
    return np.diag(variances)


def window_covariance(
    increment: np.ndarray, stated: np.ndarray, is_degraded: bool, config: CovarianceConfig
) -> np.ndarray:
    """
    Return the covariance of an increment by the sliding window.

    :param increment: ``T_last_camera`` in metres.
    :param stated: by the window, which counts all errors of corners as independent, [6, 6].
    :param is_degraded: whether the frame or its prediction has a flaw.
    :return: in the frame ``last``, [6, 6], m^2 and rad^2.
    """
    step = float(np.linalg.norm(increment[:3, 3]))
    turn = float(rotation_angle(increment[:3, :3]))
    position = np.hypot(config.window_position_floor_m, config.window_position_share * step)
    rotation = np.hypot(config.window_rotation_floor_rad, config.window_rotation_share * turn)
    added = np.diag([position**2] * 3 + [rotation**2] * 3)
    factor = config.degraded_factor**2 if is_degraded else 1.0
    return factor * (config.window_factor * stated + added)


def coasting_covariance(
    speed: float, turn_rate: float, start_s: float, end_s: float
) -> np.ndarray:
    """
    Return the covariance that one frame without a measurement adds.

    The error of the velocity is constant, so the position error grows with time, and its variance
    with the square of time.

    :param speed: of the camera at the last measurement, m/s.
    :param turn_rate: at the last measurement, rad/s.
    :param start_s: time from the last measurement to the frame before.
    :param end_s: time from the last measurement to this frame.
    :return: [6, 6], m^2 and rad^2.
    """
    position, rotation = 0.3 + 0.5 * speed, 0.3 + 0.5 * turn_rate
    growth = end_s**2 - start_s**2
    return np.diag([growth * position**2] * 3 + [growth * rotation**2] * 3)


def limited(covariance: np.ndarray) -> np.ndarray:
    """Return the covariance with its variances limited and its correlations unchanged."""
    limits = np.array([MAX_POSITION_VARIANCE] * 3 + [MAX_ROTATION_VARIANCE] * 3)
    diagonal = np.diagonal(covariance)
    if (diagonal <= limits).all():
        return covariance
    shrink = np.sqrt(np.minimum(1.0, limits / np.maximum(diagonal, 1e-300)))
    return covariance * np.outer(shrink, shrink)
