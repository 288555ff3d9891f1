# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The network's motion as a factor: its length in the scale of the window, and its information.

The direction of the network's steps is better than their length: path and depth of a network
differ in scale by up to a factor of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.geometry import rotation_angle
from mem3r_ros.odometry.config import RefinementConfig

_ROTATION_FLOOR_RAD = 0.003
_ACROSS = 0.5  # standard deviation across the direction of a step over that along it
_LEAST_STEP = 1e-6


@dataclass(frozen=True, slots=True)
class MotionPrior:
    """A motion and how far it is trusted; motions of successive frames can be chained."""

    T: np.ndarray  # [4, 4]
    position_variance: float  # along the direction
    rotation_variance: float
    source: str = 'network'  # as reasons name it

    @classmethod
    def of(cls, T: np.ndarray, config: RefinementConfig) -> MotionPrior:
        """Return the prior of one motion of the network."""
        step = float(np.linalg.norm(T[:3, 3]))
        turn = float(rotation_angle(T[:3, :3]))
        rotation = _ROTATION_FLOOR_RAD**2 + (config.rotation_share * turn) ** 2
        return cls(T, (config.position_share * step) ** 2, rotation)

    def then(self, following: MotionPrior) -> MotionPrior:
        """Return this motion and the following one together."""
        return MotionPrior(
            self.T @ following.T,
            self.position_variance + following.position_variance,
            self.rotation_variance + following.rotation_variance,
        )

    @property
    def variances(self) -> np.ndarray:
        """Variances of position and rotation, [2]."""
        return np.array([self.position_variance, self.rotation_variance])

    def scaled(self, factor: float) -> MotionPrior:
        """Return this motion in a unit that is smaller by a factor."""
        T = self.T.copy()
        T[:3, 3] *= factor
        return MotionPrior(T, self.position_variance * factor**2, self.rotation_variance)

    def information(self) -> np.ndarray:
        """Return the information of translation and rotation in the first camera, [6, 6]."""
        variances = np.array([[self.position_variance, self.rotation_variance]])
        return informations(self.T[None], variances)[0]


def informations(T: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """
    Return the information of several motions, [F, 6, 6]; see :class:`MotionPrior`.

    :param T: the motions, [F, 4, 4].
    :param variances: of position and rotation, [F, 2].
    """
    t = T[:, :3, 3]
    length = np.maximum(np.linalg.norm(t, axis=1), _LEAST_STEP)[:, None]
    along = np.maximum(variances[:, 0], _LEAST_STEP**2)[:, None, None]
    direction = t / length
    outer = direction[:, :, None] * direction[:, None, :]
    result = np.zeros((len(T), 6, 6))
    result[:, :3, :3] = outer / along + (np.eye(3) - outer) / (along * _ACROSS**2)
    result[:, 3:, 3:] = np.eye(3) / variances[:, 1, None, None]
    return result


STILL = MotionPrior(np.eye(4), 0.0, 0.0)
