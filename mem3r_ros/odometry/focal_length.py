# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The focal length, estimated by the adjustments of the window.

Without a calibration it is estimated from the start. A calibration is a prior: it may be that of
another focus or of another camera of the same type, and a lens is no exact pinhole.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
import math

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.odometry.problem import Solution
from mem3r_ros.snapshot_fields import ADDED

_START_SIGMA = 0.25  # of the logarithm, by the network
_MIN_FRAMES = 4  # of a window that can show the focal length
_MIN_CALIBRATED = 10  # of one that can show that a calibration is wrong
_MAX_DEPARTURE = (
    0.25  # of the logarithm from a calibration; a larger one is an error of the window
)
_CAUCHY = 3.0  # spreads of a calibration from which on it counts for less: it is wrong then
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
    # The same by the calibration, and how far the true one departs from it.
    calibrated: float | None = field(default=None, metadata=ADDED)
    log_departure: float = field(default=0.0, metadata=ADDED)

    @property
    def estimate(self) -> tuple[float, float] | None:
        """Focal length over the image width, and its relative spread; None without."""
        if self.sigma is None or self.sigma >= _SEEN:
            return None
        return math.exp(self.log_ratio), min(_ERROR * self.sigma, _START_SIGMA)

    @property
    def factor(self) -> float:
        """The focal length over that of the calibration; 1 without one."""
        return math.exp(self.log_departure)

    @property
    def departure(self) -> float:
        """Relative difference of the focal length to that of the calibration."""
        return self.factor - 1.0

    def forget_calibration(self) -> None:
        """Use a calibration as it is, until an adjustment refines it."""
        self.calibrated, self.log_departure = None, 0.0

    def camera(self, camera: Intrinsics, is_calibrated: bool) -> Intrinsics:
        """
        Return the camera to use.

        :param camera: calibrated, or with a focal length by the network, which is the start.
        """
        own = math.log(camera.fx / camera.width)
        if is_calibrated:
            self.log_ratio = self.sigma = None
            if self.calibrated != own:
                self.calibrated, self.log_departure = own, 0.0
            return camera.zoomed(self.factor)
        self.forget_calibration()
        if self.log_ratio is None:
            self.log_ratio, self.sigma = own, _START_SIGMA
        focal_px = math.exp(self.log_ratio) * camera.width
        return replace(camera, fx=focal_px, fy=focal_px)

    def prior(self, num_frames: int, calibration_sigma: float) -> tuple[float, float]:
        """
        Return what is known before an adjustment: log departure, and its spread.

        :param num_frames: of the window.
        :param calibration_sigma: spread of the log focal length of a calibration; 0: exact.
        :return: spread 0: the focal length is not estimated.
        """
        if self.calibrated is not None:
            if num_frames < _MIN_CALIBRATED or calibration_sigma == 0.0:
                return 0.0, 0.0
            far = self.log_departure / (_CAUCHY * calibration_sigma)
            return -self.log_departure, calibration_sigma * math.hypot(1.0, far)
        if self.log_ratio is None or num_frames < _MIN_FRAMES:
            return 0.0, 0.0
        return 0.0, _FORGET * self.sigma

    def update(self, solution: Solution) -> float:
        """Take what an adjustment found; return the factor on the focal length."""
        if not 0.0 < solution.log_focal_sigma < _SEEN:
            return 1.0
        step = float(np.clip(solution.log_focal, -_MAX_STEP, _MAX_STEP))
        if self.calibrated is not None:
            before, after = self.log_departure, self.log_departure + step
            self.log_departure = float(np.clip(after, -_MAX_DEPARTURE, _MAX_DEPARTURE))
            return math.exp(self.log_departure - before)
        self.log_ratio += step
        self.sigma = solution.log_focal_sigma
        return math.exp(step)
