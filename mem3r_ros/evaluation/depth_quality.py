# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Depth of a whole run: one scale for all frames, errors near edges, and whether confidence ranks.

The scale is the median of true over predicted depth, over the pixels of a frame and then over the
frames: as many pixels are too near as too far. The usual ratio of both medians depends on the
surface on which the median pixel lies. Where one half of an image is a table and the other half
the wall behind it, a step that is blurred by few pixels changes it much, so its figures are apart.

AUSE is the area under the sparsification error curve (Ilg et al., ECCV 2018). The curve is the
mean error of the pixels that remain when the least confident ones are left out, minus the same
with the worst ones left out. Both are divided by the mean error of all pixels.
"""

# H, W pixels; P pixels with true depth

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

_EDGE_STEP = 0.1  # of the log depth between neighbours
_EDGE_WIDTH = 1 / 80  # of the image width, to both sides
_NOWHERE = np.float32(1e6)  # beyond any log depth
_STEPS = 20  # of the sparsification curve
_MIN_PIXELS = 100


@dataclass(frozen=True, slots=True)
class DepthQuality:
    """Means over the frames; relative errors after one scale for the run."""

    num_frames: int
    abs_rel: float
    abs_rel_near_edges: float
    abs_rel_elsewhere: float
    ause: float
    ause_random: float  # of a confidence without meaning
    scale: float  # median of true over predicted depth, median over frames
    ratio_of_medians: float  # median true over median predicted depth, median over frames
    abs_rel_by_medians: float  # after that scale


@dataclass(slots=True)
class DepthQualityMeter:
    """Takes the frames of one run; keeps one pixel in ``thinning`` of each."""

    thinning: int = 3
    _frames: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def add(self, depth_m: np.ndarray, confidence: np.ndarray, true_m: np.ndarray) -> None:
        """
        Take one frame; pixels without valid depth in both are left out.

        :param depth_m: [H, W] m.
        :param confidence: [H, W], higher is better.
        :param true_m: true depth of the same pixels, [H, W] m.
        """
        with np.errstate(invalid='ignore'):
            valid = (depth_m > 0) & (true_m > 0) & np.isfinite(depth_m) & np.isfinite(true_m)
        if valid.sum() < _MIN_PIXELS:
            return
        chosen = np.flatnonzero(valid)[:: self.thinning]
        images = (depth_m, confidence, true_m, near_edges(true_m))
        self._frames.append(tuple(image.reshape(-1)[chosen] for image in images))

    def result(self) -> DepthQuality | None:
        """Return the means, None if there was no frame."""
        if not self._frames:
            return None
        scale = float(np.median([np.median(t / d) for d, _, t, _ in self._frames]))
        ratio = float(np.median([np.median(t) / np.median(d) for d, _, t, _ in self._frames]))
        by_medians = [np.mean(np.abs(ratio * d - t) / t) for d, _, t, _ in self._frames]
        rows = np.array([_row(scale * d, c, t, e) for d, c, t, e in self._frames])
        names = ('abs_rel', 'abs_rel_near_edges', 'abs_rel_elsewhere', 'ause', 'ause_random')
        means = dict(zip(names, map(float, np.nanmean(rows, axis=0)), strict=True))
        return DepthQuality(
            num_frames=len(rows),
            scale=scale,
            ratio_of_medians=ratio,
            abs_rel_by_medians=float(np.mean(by_medians)),
            **means,
        )


def near_edges(depth_m: np.ndarray) -> np.ndarray:
    """Return which pixels are near a step of depth, [H, W] bool; invalid pixels make no step."""
    with np.errstate(invalid='ignore', divide='ignore'):
        log_depth = np.where(depth_m > 0, np.log(depth_m), np.nan).astype(np.float32)
    is_valid = np.isfinite(log_depth)
    box = np.ones((3, 3), np.uint8)
    high = cv2.dilate(np.where(is_valid, log_depth, -_NOWHERE).astype(np.float32), box)
    low = cv2.erode(np.where(is_valid, log_depth, _NOWHERE).astype(np.float32), box)
    is_edge = (high - low > _EDGE_STEP) & (high > -_NOWHERE) & (low < _NOWHERE)
    side = 2 * max(1, round(_EDGE_WIDTH * depth_m.shape[1])) + 1
    return cv2.dilate(is_edge.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def ause(error: np.ndarray, confidence: np.ndarray) -> tuple[float, float]:
    """
    Return the area under the sparsification error curve, and that of a random order.

    :param error: [P], not negative.
    :param confidence: [P], higher is better.
    """
    best = _remaining(error, -error)
    return float(np.mean(_remaining(error, confidence) - best)), float(np.mean(1.0 - best))


def _remaining(error: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return the mean error of the most confident pixels, of all to a twentieth of them."""
    mean = np.cumsum(error[np.argsort(-confidence, kind='stable')]) / np.arange(1, len(error) + 1)
    counts = np.rint(np.arange(_STEPS, 0, -1) / _STEPS * len(error)).astype(int).clip(1)
    return mean[counts - 1] / max(float(mean[-1]), 1e-12)


def _row(
    depth_m: np.ndarray, confidence: np.ndarray, true_m: np.ndarray, is_edge: np.ndarray
) -> tuple[float, ...]:
    error = np.abs(depth_m - true_m) / true_m

    def mean(where: np.ndarray) -> float:
        return float(error[where].mean()) if where.any() else float('nan')

    return float(error.mean()), mean(is_edge), mean(~is_edge), *ause(error, confidence)
