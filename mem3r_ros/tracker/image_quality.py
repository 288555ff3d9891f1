# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Finds dark, uniform and blurred images before the network runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from mem3r_ros.tracker.config import HealthConfig

_WINDOW = 60  # frames that the usual sharpness is computed from
_MIN_FRAMES = 5
_MIN_CONTRAST = 1.5  # grey levels between the 5th and the 95th percentile


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with an image."""

    reason: str = ''
    is_blind: bool = False  # no visible content: the network does not run


@dataclass(slots=True)
class ImageQuality:
    """Compares images with fixed limits and with the recent images of the same camera."""

    sharpness: list[float] = field(default_factory=list)  # of the newest images

    def check(self, grey: np.ndarray, config: HealthConfig) -> Flaw:
        """
        Find the flaw of an image.

        :param grey: the image at working size, [H, W] uint8.
        :return: a flaw with an empty reason if the image is good.
        """
        thinned = np.sort(grey[::4, ::4], axis=None)
        low, high = thinned[len(thinned) // 20], thinned[-len(thinned) // 20]
        if high < config.min_brightness:
            return Flaw(f'dark (brightest twentieth at {int(high)} of 255)', True)
        if float(high) - float(low) < _MIN_CONTRAST:
            return Flaw(f'uniform (contrast of {int(high) - int(low)} grey levels)', True)
        # Every image enters the window, so a scene with little detail is accepted after half a
        # window.
        window = self.sharpness
        detail = float(cv2.Laplacian(grey, cv2.CV_16S).var())
        window.append(detail)
        del window[:-_WINDOW]
        usual = float(np.median(window))
        if len(window) > _MIN_FRAMES and detail < config.min_sharpness * usual:
            return Flaw(f'blurred ({100 * detail / usual:.0f} % of the usual fine detail)')
        return Flaw()
