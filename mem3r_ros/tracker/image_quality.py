# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Finds dark, uniform and blurred images before the network runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

import cv2
import numpy as np

from mem3r_ros.tracker.config import HealthConfig

_WINDOW = 60  # frames that the usual sharpness is computed from
_MIN_FRAMES = 5
_MIN_CONTRAST = 1.5  # grey levels between the 5th and the 95th percentile


@dataclass(frozen=True, slots=True)
class Flaw:
    """The flaw of an image; no reason: none."""

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
            return Flaw(f'dark (95th percentile of the grey levels is {int(high)})', True)
        if float(high) - float(low) < _MIN_CONTRAST:
            return Flaw(f'uniform (contrast is {int(high) - int(low)} grey levels)', True)
        # Every image enters the window, so a scene with little detail is accepted after half a
        # window.
        window = self.sharpness
        _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
        sharpness = float(deviation[0, 0]) ** 2
        window.append(sharpness)
        del window[:-_WINDOW]
        usual = median(window)
        if len(window) > _MIN_FRAMES and sharpness < config.min_sharpness * usual:
            return Flaw(f'blurred (sharpness is {100 * sharpness / usual:.0f} % of the median)')
        return Flaw()

    def discard_last(self) -> None:
        """Do not use the last image in the median: it is not of this camera's scene."""
        del self.sharpness[-1:]
