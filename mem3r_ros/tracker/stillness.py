# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Detects a camera at rest from its images alone.

The anchor is the last frame that counted as motion. Its corners are tracked into each new frame.
While their common motion stays under a fraction of a pixel, the camera is at rest. The anchor
does not change meanwhile: noise does not accumulate, and slow motion is detected once it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from mem3r_ros.helper_threads import Job
from mem3r_ros.tracker.config import StillnessConfig
from mem3r_ros.tracker.corners import grid_corners

REFERENCE_WIDTH = 320  # px at which the threshold is stated
_NUM_CELLS = 100
_MIN_CORNERS = 12


class Motion(NamedTuple):
    """How far the camera has moved since the anchor."""

    px: float  # common motion of the corners, at the reference width; infinite if unknown
    corners: np.ndarray | None  # of the anchor, see Stillness


@dataclass(slots=True)
class Stillness:
    """Compares each image with the anchor; without one, a frame counts as motion."""

    grey: np.ndarray | None = None  # [H, W] uint8, the anchor
    corners: np.ndarray | None = None  # [N, 1, 2] float32 of the anchor; None: not detected yet
    is_still: bool = False

    def check(
        self, grey: np.ndarray, config: StillnessConfig, measured: Job[Motion] | None = None
    ) -> bool:
        """
        Return whether the camera is at rest.

        :param grey: the image at working size, [H, W] uint8.
        :param measured: :meth:`measure` of this image; None: it runs here.
        """
        motion = self.measure(grey, config) if measured is None else measured.result()
        self.corners, self.is_still = motion.corners, motion.px < config.flow_px
        return self.is_still

    def measure(self, grey: np.ndarray, config: StillnessConfig) -> Motion:
        """
        Measure the motion since the anchor, the longest part of :meth:`check`.

        It changes nothing, so it may run on another thread until then.
        """
        if not config.enabled or self.grey is None or self.grey.shape != grey.shape:
            return Motion(np.inf, self.corners)
        motion = self._motion(grey)
        return motion._replace(px=motion.px * REFERENCE_WIDTH / grey.shape[1])

    def set_anchor(self, grey: np.ndarray, mask: np.ndarray | None) -> None:
        """
        Make a frame that counts as motion the anchor.

        :param mask: True where pixels are ignored, [H, W] bool of the same size.
        """
        self.grey, self.corners, self.is_still = grey, None, False
        if mask is not None:
            # The flow window of a corner covers a few pixels around it.
            ignore = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
            self.corners = grid_corners(grey, _NUM_CELLS, ignore)

    def _motion(self, grey: np.ndarray) -> Motion:
        """Return the common motion of the corners in px."""
        corners = self.corners
        if _difference(self.grey, grey) > 0.5:
            return Motion(np.inf, corners)  # a cheap test that ends most moving frames
        if corners is None:
            corners = grid_corners(self.grey, _NUM_CELLS, None)
        if len(corners) < _MIN_CORNERS:
            return Motion(np.inf, corners)
        moved, found, _ = cv2.calcOpticalFlowPyrLK(
            self.grey,
            _same_exposure(grey, self.grey),
            corners,
            None,
            winSize=(15, 15),
            maxLevel=2,
        )
        found = found.ravel() == 1
        if found.sum() < max(_MIN_CORNERS, 0.5 * len(found)):
            return Motion(np.inf, corners)
        start = corners[found, 0]
        return Motion(_common_motion(start, moved[found, 0] - start), corners)


def _difference(anchor: np.ndarray, grey: np.ndarray) -> float:
    """Return the mean change of coarse brightness over the anchor's own contrast."""
    size = (32, 24)
    coarse = [
        cv2.resize(g, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for g in (anchor, grey)
    ]
    coarse = [c - c.mean() for c in coarse]
    contrast = float(np.abs(coarse[0]).mean())
    return float(np.abs(coarse[0] - coarse[1]).mean()) / max(contrast, 1.0)


def _same_exposure(grey: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Undo a change of exposure, which optical flow reports as motion."""
    (mean, deviation), (wanted_mean, wanted) = (
        [float(value[0, 0]) for value in cv2.meanStdDev(image)] for image in (grey, anchor)
    )
    gain = wanted / max(deviation, 1.0)
    if abs(gain - 1.0) < 0.01 and abs(mean - wanted_mean) < 1.0:
        return grey
    return cv2.convertScaleAbs(grey, alpha=gain, beta=max(0.0, wanted_mean - gain * mean))


def _common_motion(start: np.ndarray, flow: np.ndarray) -> float:
    """
    Return the root mean square of the smooth part of a sparse flow, px.

    An affine field is fitted to the corners that agree with the median. The noise of single
    corners averages out, and independently moving objects are outliers.
    """
    distance = np.linalg.norm(flow - np.median(flow, axis=0), axis=1)
    agrees = distance <= 3.0 * 1.4826 * np.median(distance) + 0.05
    start, flow = start[agrees], flow[agrees]
    centred = start - start.mean(axis=0)
    design = np.column_stack([np.ones(len(start)), centred / (np.abs(centred).max() + 1e-6)])
    smooth = design @ np.linalg.lstsq(design, flow, rcond=None)[0]
    return float(np.sqrt((smooth**2).sum(axis=1).mean()))
