# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Depth of a whole sequence, aligned once, as papers on video depth measure it.

The alignments are those of the public evaluation of MonST3R (arXiv 2410.03825). CUT3R (arXiv
2501.12387) and TTT3R (arXiv 2509.26645) use them too. A sequence gets one factor, or one factor
and one offset, for all pixels of all frames. Sequences are averaged by their number of valid
pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import tempfile

import numpy as np

from mem3r_ros.errors import UserError

ALIGNMENTS = ('metric', 'scale', 'scale_shift')
_CHUNK = 4_000_000  # pixel pairs in memory at a time
_SCALE_STEPS = 10  # of Weiszfeld's method
_SHIFT_STEPS, _SHIFT_RATE, _SHIFT_TOLERANCE = 1000, 1e-4, 1e-6  # of Adam
_MIN_SCALE = 1e-3


@dataclass(frozen=True, slots=True)
class DepthScore:
    """Errors over the valid pixels of one sequence, or their mean over several."""

    abs_rel: float
    delta1_percent: float  # pixels whose ratio to the truth is below 1.25
    rmse_m: float
    num_pixels: int
    scale: float = float('nan')
    shift_m: float = 0.0


class PixelPairs:
    """Predicted and true depth of all valid pixels of a sequence, kept on disk."""

    def __init__(self, max_depth_m: float | None = None) -> None:
        """
        Start without a pixel.

        :param max_depth_m: true depth from here on is left out; None keeps all.
        """
        self.max_depth_m = max_depth_m
        self.num_pixels = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as this object

    def add(self, predicted_m: np.ndarray, true_m: np.ndarray) -> None:
        """
        Add the pixels of one frame where the true depth is known and the predicted one finite.

        :param predicted_m: depth [h, w] m of any size; resized (cubic) to the size of the truth.
        :param true_m: true depth [H, W] m; zero, negative, NaN and infinite are invalid.
        """
        import cv2

        if predicted_m.shape != true_m.shape:
            size = true_m.shape[::-1]
            predicted_m = cv2.resize(predicted_m, size, interpolation=cv2.INTER_CUBIC)
        valid = np.isfinite(true_m) & (true_m > 0) & np.isfinite(predicted_m)
        if self.max_depth_m is not None:
            valid &= true_m < self.max_depth_m
        pairs = np.stack((predicted_m[valid], true_m[valid]), axis=1).astype(np.float32)
        self._file.write(pairs.tobytes())
        self.num_pixels += len(pairs)

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield predicted and true depth, m, float64, a bounded number at a time."""
        self._file.seek(0)
        while data := self._file.read(_CHUNK * 8):
            pairs = np.frombuffer(data, np.float32).reshape(-1, 2).astype(np.float64)
            yield pairs[:, 0], pairs[:, 1]

    def score(self, align: str, clip_m: float | None = None) -> DepthScore:
        """
        Align and measure.

        :param align: one of ``ALIGNMENTS``.
        :param clip_m: aligned depth is cut off here; None leaves it.
        :raises UserError: there is no valid pixel, or the alignment is unknown.
        """
        if not self.num_pixels:
            raise UserError('no pixel has both a predicted and a true depth')
        scale, shift = self._alignment(align)
        sums = np.zeros(3)
        for predicted, true in self.chunks():
            predicted = np.minimum(scale * predicted + shift, clip_m or np.inf)
            error = predicted - true
            ratio = np.maximum(np.maximum(predicted, 1e-5) / true, true / predicted.clip(1e-5))
            sums += (np.abs(error) / true).sum(), (ratio < 1.25).sum(), (error**2).sum()
        mean = sums / self.num_pixels
        return DepthScore(
            abs_rel=float(mean[0]),
            delta1_percent=100.0 * float(mean[1]),
            rmse_m=float(np.sqrt(mean[2])),
            num_pixels=self.num_pixels,
            scale=scale,
            shift_m=shift,
        )

    def _alignment(self, align: str) -> tuple[float, float]:
        if align == 'metric':
            return 1.0, 0.0
        if align == 'scale':
            return self._scale(), 0.0
        if align == 'scale_shift':
            return self._scale_and_shift()
        raise UserError(f'alignment is {align!r}; choose {", ".join(ALIGNMENTS)}')

    def _scale(self) -> float:
        """Return the factor of least absolute error, by iteratively reweighted least squares."""
        totals = np.sum([(p.sum(), t.sum()) for p, t in self.chunks()], axis=0)
        scale = float(totals[1] / totals[0])
        for _ in range(_SCALE_STEPS):
            sums = np.zeros(2)
            for predicted, true in self.chunks():
                weight = 1.0 / (np.abs(scale * predicted - true) + 1e-8)
                sums += (weight * predicted * true).sum(), (weight * predicted**2).sum()
            scale = float(sums[0] / sums[1])
        return max(scale, _MIN_SCALE)

    def _scale_and_shift(self) -> tuple[float, float]:
        """
        Return factor and offset after a fixed number of Adam steps on the absolute error.

        The published evaluation stops before the minimum is reached: each step moves both by at
        most 1e-4. Here the steps are the same, so that the figures compare.
        """
        values = np.array([self._median_ratio(), 0.0])
        in_memory = list(self.chunks()) if self.num_pixels <= _CHUNK else None
        first, second, before = np.zeros(2), np.zeros(2), None
        for step in range(1, _SHIFT_STEPS + 1):
            loss, gradient = 0.0, np.zeros(2)
            for predicted, true in in_memory or self.chunks():
                error = values[0] * predicted + values[1] - true
                sign = np.sign(error)
                loss += float(np.abs(error).sum())
                gradient += (sign * predicted).sum(), sign.sum()
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            unbiased = first / (1 - 0.9**step)
            spread = np.sqrt(second / (1 - 0.999**step))
            values = values - _SHIFT_RATE * unbiased / (spread + 1e-8)
            if before is not None and abs(before - loss) < _SHIFT_TOLERANCE:
                break
            before = loss
        return float(values[0]), float(values[1])

    def _median_ratio(self) -> float:
        predicted, true = (np.concatenate(part) for part in zip(*self.chunks()))
        return float(np.median(true) / np.median(predicted))


def mean_score(scores: list[DepthScore]) -> DepthScore:
    """
    Average sequences, each by its number of valid pixels.

    :raises UserError: there are none.
    """
    if not scores:
        raise UserError('no sequence has depth to be scored')
    weights = np.array([score.num_pixels for score in scores], dtype=float)
    values = np.array([(score.abs_rel, score.delta1_percent, score.rmse_m) for score in scores])
    mean = weights @ values / weights.sum()
    return DepthScore(float(mean[0]), float(mean[1]), float(mean[2]), int(weights.sum()))
