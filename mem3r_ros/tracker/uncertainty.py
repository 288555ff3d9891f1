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

# Limits of what is published: finite and moderate, because infinities break displays.
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

    Errors have a floor and a part that grows with the motion; both grow as the network's
    confidence falls under the stream's usual.

    :param increment: ``T_last_camera`` in metres.
    :param confidence_ratio: confidence over the usual one; NaN if unknown.
    :param is_degraded: whether the frame was flawed.
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


def coasting_covariance(
    speed: float, turn_rate: float, start_s: float, end_s: float
) -> np.ndarray:
    """
    Return what a stretch without sight adds to the covariance.

    The unknown velocity stays wrong in the same direction, so the error grows with time and its
    variance with time squared.

    :param speed: of the camera before the stretch, m/s.
    :param turn_rate: rad/s.
    :param start_s: time since the stretch began, before this frame.
    :param end_s: the same with this frame.
    :return: [6, 6], m^2 and rad^2.
    """
    position, rotation = 0.3 + 0.5 * speed, 0.3 + 0.5 * turn_rate
    growth = end_s**2 - start_s**2
    return np.diag([growth * position**2] * 3 + [growth * rotation**2] * 3)


def limited(covariance: np.ndarray) -> np.ndarray:
    """Return a covariance whose variances stay under the limits, correlations kept."""
    limits = np.array([MAX_POSITION_VARIANCE] * 3 + [MAX_ROTATION_VARIANCE] * 3)
    diagonal = np.diagonal(covariance)
    if (diagonal <= limits).all():
        return covariance
    shrink = np.sqrt(np.minimum(1.0, limits / np.maximum(diagonal, 1e-300)))
    return covariance * np.outer(shrink, shrink)
