# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Depth errors: AbsRel, delta < 1.25 and RMSE (Eigen, Puhrsch, Fergus 2014).

The baseline uses no image: the median true depth of each frame for all of its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.camera import Intrinsics, rectifier
from mem3r_ros.errors import UserError

ALIGNMENTS = ('median', 'scale', None)
_MIN_PIXELS = 16


@dataclass(frozen=True, slots=True)
class DepthError:
    """Mean errors over all frames, each frame with the same weight."""

    num_frames: int
    abs_rel: float  # mean of |predicted - true| / true
    delta1_percent: float  # pixels whose ratio to the truth is below 1.25
    rmse_m: float
    scale: float  # median factor that the alignment applied; 1 without
    constant_abs_rel: float  # of the baseline with the best alignment
    constant_delta1_percent: float


@dataclass(slots=True)
class DepthMeter:
    """Accumulates the errors of frames."""

    align: str | None = 'median'
    _rows: list[tuple[float, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.align not in ALIGNMENTS:
            raise UserError(f'align is {self.align!r}; choose median, scale or None')

    def add(self, predicted_m: np.ndarray, true_m: np.ndarray) -> None:
        """
        Add one frame; pixels without valid depth in both are left out.

        :param predicted_m: depth [H, W] m.
        :param true_m: true depth of the same pixels [H, W] m.
        """
        if predicted_m.shape != true_m.shape:
            raise ValueError(
                f'predicted depth is {predicted_m.shape}, the true one {true_m.shape}; '
                f'resample one of them first'
            )
        with np.errstate(invalid='ignore'):
            valid = (predicted_m > 0) & (true_m > 0)
        valid &= np.isfinite(predicted_m) & np.isfinite(true_m)
        if valid.sum() < _MIN_PIXELS:
            return
        predicted, true = predicted_m[valid].astype(np.float64), true_m[valid].astype(np.float64)
        scale = alignment_scale(predicted, true, self.align)
        constant = np.full_like(true, np.median(true))
        measured = _errors(predicted * scale, true)
        self._rows.append((*measured, scale, *_errors(constant, true)[:2]))

    def result(self) -> DepthError | None:
        """Return the mean over the frames, None without frames."""
        if not self._rows:
            return None
        rows = np.array(self._rows)
        mean = rows.mean(axis=0)
        return DepthError(
            len(rows),
            abs_rel=float(mean[0]),
            delta1_percent=float(mean[1]),
            rmse_m=float(mean[2]),
            scale=float(np.median(rows[:, 3])),
            constant_abs_rel=float(mean[4]),
            constant_delta1_percent=float(mean[5]),
        )


def depth_error(
    predicted_m: np.ndarray, true_m: np.ndarray, align: str | None = 'median'
) -> DepthError:
    """
    Return the errors of depth images.

    :param predicted_m: [H, W] or [F, H, W] m; NaN and infinity are left out.
    :param true_m: true depth of the same pixels.
    :param align: 'median' brings each frame to the true median, 'scale' to the least squares of
        the relative error, None keeps the metres.
    :return: the errors.
    :raises UserError: no frame has valid pixels in both.
    """
    meter = DepthMeter(align)
    shape = (-1, *predicted_m.shape[-2:])
    for predicted, true in zip(predicted_m.reshape(shape), true_m.reshape(shape), strict=True):
        meter.add(predicted, true)
    result = meter.result()
    if result is None:
        raise UserError('no frame has depth where the true depth is known')
    return result


def true_depth_at(
    true_m: np.ndarray, camera: Intrinsics, predicted_camera: Intrinsics
) -> np.ndarray:
    """
    Resample true depth to the pixels of a predicted depth image of another size.

    :param true_m: true depth [H, W] m, of the size of the camera's image.
    :param camera: camera of the image; without calibration, the camera from which that of the
        predicted image was derived (``TrackedFrame.source_camera``): only their ratios matter.
    :param predicted_camera: camera of the predicted depth image.
    :return: true depth [h, w] at the nearest pixel, NaN outside the image.
    """
    height, width = true_m.shape
    small = predicted_camera
    columns, rows = np.arange(small.width, dtype=float), np.arange(small.height, dtype=float)
    if camera.is_distorted:
        # Pixels outside the image of the lens become 0, which counts as unknown.
        true_m = rectifier(camera).mask(true_m)
    columns = (columns - small.cx) / small.fx * camera.fx + camera.cx
    rows = (rows - small.cy) / small.fy * camera.fy + camera.cy
    columns, rows = np.rint(columns).astype(int), np.rint(rows).astype(int)
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    found = true_m[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
    return np.where(inside, found, np.nan).astype(np.float32)


def alignment_scale(
    predicted: np.ndarray, true: np.ndarray, align: str | None = 'median'
) -> float:
    """
    Return the factor that brings predicted depth to the true one.

    :param predicted: valid depth [N] m.
    :param true: true depth of the same pixels [N] m.
    :param align: as in :func:`depth_error`.
    """
    if align == 'median':
        return float(np.median(true) / np.median(predicted))
    if align == 'scale':
        ratio = predicted / true
        return float(ratio.sum() / (ratio**2).sum())
    return 1.0


def _errors(predicted: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Return AbsRel, delta < 1.25 in percent, and RMSE in m."""
    ratio = np.maximum(predicted / true, true / predicted)
    return (
        float(np.mean(np.abs(predicted - true) / true)),
        100.0 * float(np.mean(ratio < 1.25)),
        float(np.sqrt(np.mean((predicted - true) ** 2))),
    )
