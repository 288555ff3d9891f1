# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The moments of a run that one slider of the page moves through, and the camera on the path."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mem3r_ros.evaluation.depth_error import alignment_scale
from mem3r_ros.reports.depth_pictures import colour_depth, jpeg_uri, range_of
from mem3r_ros.reports.result import RunResult, StripFrame

SIZE = (320.0, 240.0)  # of the drawing of the path
MARGIN = 14.0
MAX_PATH = 400
WORST_ERROR = 0.5  # relative depth error at the end of its colour map
_EMPTY = (222, 226, 230)


def moments(run: RunResult) -> dict[str, Any] | None:
    """
    Return the values of the template ``moments.html``; None without moments.

    :param run: the result; its moments have images, depth, confidence and true depth if known.
    """
    if not run.moments:
        return None
    limits = range_of(run.moments)
    confidences = [f.confidence for f in run.moments if f.confidence is not None]
    highest = max((float(np.nanpercentile(c, 98)) for c in confidences), default=2.0)
    pixels, to_pixels = _drawing(run.trajectory.positions)
    start_ns = run.trajectory.stamps_ns[0]
    frames = []
    for frame in run.moments:
        index = _nearest(run.trajectory.stamps_ns, frame.stamp_ns)
        x, y = to_pixels(run.trajectory.positions[index : index + 1])[0]
        frames.append(
            {
                'time': f'{(frame.stamp_ns - start_ns) * 1e-9:.1f} s',
                'image': '' if frame.image is None else jpeg_uri(frame.image, 80),
                'depth': jpeg_uri(colour_depth(frame.depth_m, limits), 85),
                'confidence': _confidence(frame, highest),
                'error': _error(frame),
                'x': round(float(x), 1),
                'y': round(float(y), 1),
                'pose': np.round(run.trajectory.poses[index][:3], 3).reshape(-1).tolist(),
            }
        )
    names = [n for n in ('image', 'depth', 'confidence', 'error') if frames[0][n]]
    return {
        'names': names,
        'frames': frames,
        'json': json.dumps(frames),
        'path': ' '.join(f'{x:.1f},{y:.1f}' for x, y in pixels),
    }


def _nearest(stamps_ns: np.ndarray, stamp_ns: int) -> int:
    return int(np.abs(stamps_ns - stamp_ns).argmin())


def _drawing(positions: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return the pixels of the path from above, and the function that places positions."""
    low, high = positions[:, :2].min(axis=0), positions[:, :2].max(axis=0)
    inside = np.array(SIZE) - 2 * MARGIN
    scale = float((inside / np.maximum(high - low, 1e-3)).min())

    def to_pixels(points: np.ndarray) -> np.ndarray:
        offset = (points[:, :2] - 0.5 * (low + high)) * scale
        return offset * (1, -1) + 0.5 * np.array(SIZE)

    chosen = np.linspace(0, len(positions) - 1, min(MAX_PATH, len(positions))).round().astype(int)
    return to_pixels(positions[chosen]), to_pixels


def _confidence(frame: StripFrame, highest: float) -> str:
    if frame.confidence is None:
        return ''
    share = (frame.confidence - 1.0) / max(highest - 1.0, 1e-6)
    return jpeg_uri(_coloured(share, 'viridis'), 85)


def _error(frame: StripFrame) -> str:
    """
    Return the relative error of the depth after alignment by the median, as AbsRel has it.

    Without alignment, an error of the scale would cover all others. Empty without truth.
    """
    if frame.true_depth_m is None:
        return ''
    depth_m, true_m = frame.depth_m, frame.true_depth_m
    known = np.isfinite(depth_m) & np.isfinite(true_m) & (true_m > 0)
    scale = alignment_scale(depth_m[known], true_m[known]) if known.any() else 1.0
    with np.errstate(invalid='ignore', divide='ignore'):
        error = np.abs(scale * depth_m - true_m) / true_m
    return jpeg_uri(_coloured(error / WORST_ERROR, 'inferno'), 85)


def _coloured(share: np.ndarray, name: str) -> np.ndarray:
    """Return a picture [H, W, 3] uint8 of values between 0 and 1; grey where unknown."""
    from matplotlib import colormaps

    table = (colormaps[name](np.linspace(0.0, 1.0, 256))[:, :3] * 255).round().astype('u1')
    indices = (np.clip(np.nan_to_num(share, posinf=1.0), 0, 1) * 255).round().astype(int)
    picture = table[indices]
    picture[~np.isfinite(share)] = _EMPTY
    return picture
