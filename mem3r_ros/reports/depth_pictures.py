# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Depth images in colour: one colour map and one range for a run, and a bar in metres."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mem3r_ros.reports.result import StripFrame

# Perceptually uniform and readable without colour vision; near is bright.
_COLOUR_MAP = 'magma_r'
_STEPS_M = tuple(m * 10.0**e for e in range(-3, 4) for m in (1, 2, 5))
_UNSURE = (222, 226, 230)
_BEYOND = (190, 205, 224)
_FARTHEST = 65535  # largest depth of a 16-bit image, mm


@dataclass(frozen=True, slots=True)
class DepthRange:
    """Depths at the ends of the colour map; between them colours follow the logarithm."""

    near_m: float
    far_m: float

    def share(self, depth_m: np.ndarray) -> np.ndarray:
        """Return the position of depths between near (0) and far (1)."""
        with np.errstate(invalid='ignore', divide='ignore'):
            return np.log(depth_m / self.near_m) / np.log(self.far_m / self.near_m)

    def ticks(self) -> list[tuple[float, str]]:
        """Return position in percent and label of round depths on the bar."""
        if self.far_m < 4.0 * self.near_m:
            # The range is small: even steps, at least four of them.
            span_m = self.far_m - self.near_m
            step_m = next(s for s in _STEPS_M[::-1] if span_m >= 4 * s or s == _STEPS_M[0])
            first, last = np.ceil(self.near_m / step_m), np.floor(self.far_m / step_m)
            steps = [float(index * step_m) for index in np.arange(first, last + 1)]
        else:
            steps = [m * 10.0**e for e in range(-3, 5) for m in (1, 1.5, 2, 3, 4, 5, 7)]
        inside = [depth for depth in steps if self.near_m * 1.02 <= depth <= self.far_m * 0.98]
        while len(inside) > 10:
            inside = inside[::2]
        return [(100.0 * float(self.share(np.float64(d))), f'{d:g}') for d in inside]


def range_of(frames: Sequence[StripFrame]) -> DepthRange:
    """Return a range that contains nearly all depths of the frames, including true ones."""
    pictures = [f.depth_m for f in frames] + [
        f.true_depth_m for f in frames if f.true_depth_m is not None
    ]
    values = np.concatenate([picture.reshape(-1) for picture in pictures])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return DepthRange(0.1, 10.0)
    near_m, far_m = np.percentile(values, (1, 99))
    return DepthRange(float(near_m), float(max(far_m, 1.2 * near_m)))


def colour_depth(depth_m: np.ndarray, limits: DepthRange) -> np.ndarray:
    """
    Colour a depth image.

    :param depth_m: [H, W] m.
    :param limits: depths at the ends of the colour map.
    :return: [H, W, 3] uint8 RGB; grey where uncertain, blue-grey where beyond range.
    """
    share = limits.share(np.where(depth_m > 0, depth_m, np.nan))
    indices = (np.clip(np.nan_to_num(share, posinf=1.0), 0, 1) * 255).round().astype(int)
    picture = _table()[indices]
    picture[~np.isfinite(depth_m) | ~(depth_m > 0)] = _UNSURE
    picture[np.isposinf(depth_m)] = _BEYOND
    return picture


def millimetres(depth_m: np.ndarray) -> np.ndarray:
    """
    Return depth as 16-bit millimetres, the usual form of depth images.

    :param depth_m: [H, W] m.
    :return: uint16 [H, W]; 0 where uncertain, 65535 where farther than 65.534 m.
    """
    known = np.nan_to_num(depth_m, nan=0.0, posinf=1e6, neginf=0.0)
    return np.rint(np.clip(known * 1000.0, 0, _FARTHEST)).astype(np.uint16)


def bar_css() -> str:
    """Return the colour map as a CSS gradient from near to far."""
    stops = _table()[np.linspace(0, 255, 24).round().astype(int)]
    return ', '.join('#{:02x}{:02x}{:02x}'.format(*stop) for stop in stops.tolist())


def depth_strip(frames: Sequence[StripFrame], labels: Sequence[str]) -> dict[str, Any] | None:
    """
    Return the values of the template ``strip.html``: pictures on one range, and its bar.

    :param frames: depth and images.
    :param labels: one label per frame.
    :return: None if there are no frames.
    """
    if not frames:
        return None
    limits = range_of(frames)
    columns = [
        {
            'label': label,
            'image': '' if frame.image is None else jpeg_uri(frame.image),
            'depth': png_uri(colour_depth(frame.depth_m, limits)),
            'true_depth': ''
            if frame.true_depth_m is None
            else png_uri(colour_depth(frame.true_depth_m, limits)),
        }
        for frame, label in zip(frames, labels, strict=True)
    ]
    return {
        'frames': columns,
        'has_images': any(column['image'] for column in columns),
        'has_truth': any(column['true_depth'] for column in columns),
        'bar': bar_css(),
        'ticks': limits.ticks(),
    }


def jpeg_uri(image: np.ndarray, quality: int = 85) -> str:
    """Return an RGB image as a data URI of a JPEG."""
    return _uri('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality], 'image/jpeg')


def png_uri(image: np.ndarray) -> str:
    """Return an RGB image as a data URI of a PNG, without loss."""
    return _uri('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 9], 'image/png')


def _uri(suffix: str, image: np.ndarray, options: list[int], kind: str) -> str:
    success, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), options)
    assert success, f'OpenCV could not encode an image of shape {image.shape}'
    return f'data:{kind};base64,{base64.b64encode(data.tobytes()).decode("ascii")}'


def _table() -> np.ndarray:
    """Return the 256 colours [256, 3] uint8."""
    from matplotlib import colormaps

    # The last tenth of the map is nearly black: far walls would lose their shape.
    return (colormaps[_COLOUR_MAP](np.linspace(0.0, 0.9, 256))[:, :3] * 255).round().astype('u1')
