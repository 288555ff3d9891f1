# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The focal length of a camera without calibration, estimated by the adjustments of the window."""

from __future__ import annotations

from dataclasses import dataclass, replace
import math

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.odometry.problem import Solution

_START_SIGMA = 0.25  # of the logarithm, by the network
_MIN_FRAMES = 4  # of a window that can show the focal length
_FORGET = 1.1  # growth of the spread from one adjustment to the next
_SEEN = 0.05  # spread after an adjustment from which on it is believed
_MAX_STEP = 0.1  # of the logarithm in one adjustment
# Adjustments share their images, and their errors are not independent: on recordings the focal
# length errs about ten times as much as an adjustment states.
_ERROR = 10.0


@dataclass(slots=True)
class FocalLength:
    """Logarithm of the focal length over the image width, and its spread; None: calibrated."""

    log_ratio: float | None = None
    sigma: float | None = None

    @property
    def estimate(self) -> tuple[float, float] | None:
        """Focal length over the image width, and its relative spread; None without."""
        if self.sigma is None or self.sigma >= _SEEN:
            return None
        return math.exp(self.log_ratio), min(_ERROR * self.sigma, _START_SIGMA)

    def camera(self, camera: Intrinsics, is_calibrated: bool) -> Intrinsics:
        """
        Return the camera to use.

        :param camera: calibrated, or with a focal length by the network, which is the start.
        """
        if is_calibrated:
            self.log_ratio = self.sigma = None
            return camera
        if self.log_ratio is None:
            self.log_ratio, self.sigma = math.log(camera.fx / camera.width), _START_SIGMA
        focal_px = math.exp(self.log_ratio) * camera.width
        return replace(camera, fx=focal_px, fy=focal_px)

    def prior_sigma(self, num_frames: int) -> float:
        """Return the spread before an adjustment of so many frames; 0: not estimated."""
        if self.log_ratio is None or num_frames < _MIN_FRAMES:
            return 0.0
        return _FORGET * self.sigma

    def update(self, solution: Solution) -> float:
        """Take what an adjustment found; return the factor on the focal length."""
        if not 0.0 < solution.log_focal_sigma < _SEEN:
            return 1.0
        step = float(np.clip(solution.log_focal, -_MAX_STEP, _MAX_STEP))
        self.log_ratio += step
        self.sigma = solution.log_focal_sigma
        return math.exp(step)
