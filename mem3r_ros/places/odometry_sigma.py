# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
How precise the odometry between two places is.

The image motion of a plain wall fits a turn as well as a shift, so odometry drifts there a hundred
times faster than elsewhere. The views of two places show it: the features that both have, and how
well these determine a pose. All constants are measured on rendered loops.
"""

from __future__ import annotations

import numpy as np

from mem3r_ros.geometry import rotation_angle
from mem3r_ros.places.sighting import Features
from mem3r_ros.places.verification import shared_view

# Standard deviations of the odometry where the views are not known.
_POSITION_SHARE = 0.04  # of the distance
_POSITION_FLOOR = 0.003  # of the usual depth
_TURN_SHARE = 0.02  # of the angle
_TURN_FLOOR = 0.002  # rad
_TURN_BY_DEPTH = 0.01  # rad for each usual depth of distance
_SCALE_BY_DEPTH = 0.05  # of the log scale for each usual depth of distance
_SCALE_FLOOR = 0.005
# Where they are known, in addition to those of a pose by the features that both views have.
_SEEN_POSITION_SHARE = 0.01
_SEEN_POSITION_FLOOR = 0.0005
_SEEN_TURN_FLOOR = 0.0005
_SEEN_SCALE_BY_DEPTH = 0.02
_SCALE_BY_TURN = 2.5  # of the log scale for each rad of the standard deviation of the turn
_ENOUGH_SHARED = 20  # features whose depths show a change of the scale
# Where both views have no feature in common.
_MOST_TURN = 0.7  # rad
_MOST_POSITION = 0.03  # of the usual depth, beside the whole distance
_MOST_SCALE = 0.3
# Of a motion that was not measured, in addition.
_BLIND_TURN_S = 1.0  # rad a second
_BLIND_DEPTHS_S = 0.1  # usual depths a second
_BLIND_SCALE = 0.5


def usual_sigma(step: np.ndarray, usual_depth: float) -> np.ndarray:
    """
    Return the standard deviations of an odometry step, [3]: rotation, position, log scale.

    :param step: the motion, [4, 4] m.
    :param usual_depth: of the scene, m.
    """
    distance, angle = float(np.linalg.norm(step[:3, 3])), float(rotation_angle(step[:3, :3]))
    depths = distance / usual_depth
    return np.array(
        [
            _TURN_FLOOR + _TURN_SHARE * angle + _TURN_BY_DEPTH * depths,
            _POSITION_FLOOR * usual_depth + _POSITION_SHARE * distance,
            _SCALE_FLOOR + _SCALE_BY_DEPTH * depths,
        ]
    )


def seen_sigma(
    step: np.ndarray, first: Features, second: Features, usual_depth: float, blind_s: float
) -> np.ndarray:
    """
    Return the standard deviations of an odometry step, [3], by what both its views show.

    :param step: the motion from the first to the second camera, [4, 4] m.
    :param usual_depth: of the scene, m.
    :param blind_s: time without a measured motion.
    """
    distance = float(np.linalg.norm(step[:3, 3]))
    seen, depth, sigma_m, sigma_rad = shared_view(second, first, step)
    sigma_rad = min(sigma_rad, _MOST_TURN)
    sigma_m = min(sigma_m, _MOST_POSITION * usual_depth + distance)
    sigma_scale = min(_SCALE_BY_TURN * sigma_rad, _MOST_SCALE)
    if len(seen) >= _ENOUGH_SHARED:
        sigma_scale += abs(float(np.median(np.log(seen[:, 2] / depth))))
    sigma = np.array(
        [
            _SEEN_TURN_FLOOR + sigma_rad,
            _SEEN_POSITION_FLOOR * usual_depth + _SEEN_POSITION_SHARE * distance + sigma_m,
            _SCALE_FLOOR + _SEEN_SCALE_BY_DEPTH * distance / usual_depth + sigma_scale,
        ]
    )
    if not blind_s:
        return sigma
    blind = [_BLIND_TURN_S * blind_s, _BLIND_DEPTHS_S * blind_s * usual_depth, _BLIND_SCALE]
    return np.hypot(sigma, blind)
