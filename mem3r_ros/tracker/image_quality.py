# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Is there anything to see? Dark, uniform and blurred images, told before the network runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from mem3r_ros.tracker.config import HealthConfig

_WINDOW = 60  # frames whose sharpness says what is usual
_MIN_FRAMES = 5
_MIN_CONTRAST = 1.5  # grey levels between the 5th and the 95th percentile


@dataclass(slots=True)
class QualityMemory:
    """How sharp the newest images were."""

    sharpness: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with an image."""

    reason: str = ''
    is_blind: bool = False  # nothing to see at all: the network is not even asked


class ImageQuality:
    """Judges images against fixed limits and against what this camera usually gives."""

    def __init__(self) -> None:
        """Know nothing of the camera yet."""
        self.memory = QualityMemory()

    def judge(self, grey: np.ndarray, config: HealthConfig) -> Flaw:
        """
        Find the flaw of an image.

        :param grey: the image at working size, [H, W] uint8.
        :return: a flaw without reason if there is none.
        """
        thinned = np.sort(grey[::4, ::4], axis=None)
        low, high = thinned[len(thinned) // 20], thinned[-len(thinned) // 20]
        if high < config.min_brightness:
            return Flaw(f'dark (brightest twentieth at {int(high)} of 255)', True)
        if float(high) - float(low) < _MIN_CONTRAST:
            return Flaw(f'uniform (contrast of {int(high) - int(low)} grey levels)', True)
        # Every image counts for what is usual, so that a scene with little detail is accepted
        # after half a window.
        window = self.memory.sharpness
        detail = float(cv2.Laplacian(grey, cv2.CV_16S).var())
        window.append(detail)
        del window[:-_WINDOW]
        usual = float(np.median(window))
        if len(window) > _MIN_FRAMES and detail < config.min_sharpness * usual:
            return Flaw(f'blurred ({100 * detail / usual:.0f} % of the usual fine detail)')
        return Flaw()
