# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The gate for calibrations from outside: messages, files and data sets all pass it.

A calibration may be finite and still belong to no lens. One that is used all the same bends or
empties the rectified image, and tracking fails without a visible reason.
"""

from __future__ import annotations

from collections.abc import Iterable
import math
from typing import Any

import numpy as np

from mem3r_ros.camera import DISTORTION_MODELS, Intrinsics
from mem3r_ros.errors import UserError
from mem3r_ros.plausible import number, whole_number

# Focal length over the longer side: views of 170 degrees (a rectified one) to half a degree.
FOCAL_RANGE = (0.05, 120.0)
# Pixels of anamorphic and binned images are not square, but nearly so.
MAX_PIXEL_ASPECT = 4.0
MAX_SIZE_PX = 65_535
# How far distortion may move what lies half-way to the edge, in either direction, as a factor.
MAX_STRETCH = 2.0
# Share of the rectified image, over a grid, that must have been seen by the lens.
MIN_SEEN = 0.25

# Other names of the models that OpenCV and ROS know; kept in lower case without _ and -.
_NAMES = {
    'none': 'none',
    'nodistortion': 'none',
    'pinhole': 'none',
    'plumbbob': 'plumb_bob',
    'radtan': 'plumb_bob',
    'pinholeradtan': 'plumb_bob',
    'radialtangential': 'plumb_bob',
    'brownconrady': 'plumb_bob',
    'brown': 'plumb_bob',
    'opencv': 'plumb_bob',
    'rational': 'rational_polynomial',
    'rationalpolynomial': 'rational_polynomial',
    'fullopencv': 'rational_polynomial',
    'equidistant': 'equidistant',
    'equi': 'equidistant',
    'pinholeequi': 'equidistant',
    'fisheye': 'equidistant',
    'opencvfisheye': 'equidistant',
    'kannalabrandt': 'equidistant',
    'kannalabrandt4': 'equidistant',
    'kannalabrandt8': 'equidistant',
    'kb4': 'equidistant',
    'kb8': 'equidistant',
}


def camera_from_numbers(
    fx: Any,
    fy: Any,
    cx: Any,
    cy: Any,
    width: Any,
    height: Any,
    model: str | None = None,
    distortion: Iterable[Any] = (),
) -> Intrinsics:
    """
    Return a camera of numbers from outside.

    :param fx: focal lengths and principal point in px, of the whole image.
    :param width: size of the image in px.
    :param model: distortion model under any of its usual names; None and '' mean none.
    :param distortion: its coefficients; zeros at the end may be left out or too many.
    :raises UserError: no lens has such a calibration.
    """
    names = ('fx', 'fy', 'cx', 'cy')
    fx, fy, cx, cy = (number(v, name) for v, name in zip((fx, fy, cx, cy), names, strict=True))
    width = whole_number(width, 'image width', 1, MAX_SIZE_PX)
    height = whole_number(height, 'image height', 1, MAX_SIZE_PX)
    known, coefficients = distortion_model(model, distortion)
    camera = Intrinsics(fx, fy, cx, cy, width, height, known, coefficients)
    _check_pinhole(camera)
    _check_distortion(camera)
    return camera


def distortion_model(
    model: str | None, distortion: Iterable[Any]
) -> tuple[str, tuple[float, ...]]:
    """
    Return name and coefficients of a distortion as OpenCV takes them.

    :param model: any of the usual names, None and '' mean none.
    :param distortion: coefficients in OpenCV's order, with or without zeros at the end.
    :raises UserError: the model is not known, or has more coefficients than it can have.
    """
    coefficients = [number(v, f'distortion coefficient {i}') for i, v in enumerate(distortion)]
    while coefficients and coefficients[-1] == 0.0:
        coefficients.pop()
    if not coefficients:
        return 'none', ()
    key = str(model or 'none').lower().translate({ord(letter): None for letter in '_- '})
    known = _NAMES.get(key)
    if known is None:
        raise UserError(
            f'distortion model {str(model)[:40]!r} is not one of '
            f'{", ".join(name for name in DISTORTION_MODELS if name != "none")}; '
            'rectify the images before, or calibrate with one of these'
        )
    if known == 'none':
        raise UserError(
            f'{len(coefficients)} distortion coefficients have no distortion model; '
            f'name one of {", ".join(name for name in DISTORTION_MODELS if name != "none")}'
        )
    if known == 'plumb_bob' and len(coefficients) > 5:
        known = 'rational_polynomial'  # the same coefficients, and three or more further ones
    lengths = [length for length in DISTORTION_MODELS[known] if length >= len(coefficients)]
    if not lengths:
        raise UserError(
            f'{known} has {len(coefficients)} distortion coefficients other than zero; '
            f'it takes at most {max(DISTORTION_MODELS[known])}'
        )
    padding = [0.0] * (min(length for length in lengths if length) - len(coefficients))
    return known, tuple(coefficients + padding)


def _check_pinhole(camera: Intrinsics) -> None:
    longer = max(camera.width, camera.height)
    low, high = (share * longer for share in FOCAL_RANGE)
    size = f'{camera.width}x{camera.height} px'
    for name, focal in (('fx', camera.fx), ('fy', camera.fy)):
        if not low <= focal <= high:
            raise UserError(
                f'{name} is {focal:g} px for an image of {size}; '
                f'a lens has {low:g} to {high:g} px: calibrate anew'
            )
    if not 1 / MAX_PIXEL_ASPECT <= camera.fx / camera.fy <= MAX_PIXEL_ASPECT:
        raise UserError(f'fx is {camera.fx:g} px and fy {camera.fy:g} px; they must be alike')
    for name, place, side in (('cx', camera.cx, camera.width), ('cy', camera.cy, camera.height)):
        if not -side <= place <= 2 * side:
            raise UserError(
                f'{name} is {place:g} px for an image of {size}; '
                'the principal point lies in the image or near it'
            )


def _check_distortion(camera: Intrinsics) -> None:
    """Refuse coefficients that move or empty the image as no lens does."""
    if not camera.is_distorted:
        return
    seen = f'distortion {camera.distortion} of {camera.distortion_model}'
    directions = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])
    half = directions * (camera.width / (4 * camera.fx), camera.height / (4 * camera.fy))
    bent = distorted(camera, half)
    stretch = (bent * half).sum(axis=1) / (half**2).sum(axis=1)
    is_lens = (stretch >= 1 / MAX_STRETCH) & (stretch <= MAX_STRETCH)
    if not (is_lens & np.isfinite(bent).all(axis=1)).all():
        worst = stretch[int(np.argmax(np.abs(np.nan_to_num(stretch, nan=math.inf) - 1.0)))]
        raise UserError(
            f'{seen} moves what lies half-way to the edge to {worst:.3g} times its distance '
            f'from the centre; a lens does not: calibrate anew'
        )
    x, y = np.meshgrid(np.linspace(0, camera.width - 1, 17), np.linspace(0, camera.height - 1, 13))
    grid = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy], axis=-1)
    u, v = (distorted(camera, grid.reshape(-1, 2)) * (camera.fx, camera.fy)).T
    u, v = u + camera.cx, v + camera.cy
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    if inside.mean() < MIN_SEEN:
        raise UserError(
            f'{seen} leaves {100 * inside.mean():.0f} % of the rectified image; calibrate anew'
        )


def distorted(camera: Intrinsics, rays: np.ndarray) -> np.ndarray:
    """
    Return where a lens shows directions, by OpenCV.

    :param rays: (x, y) of directions (x, y, 1), [P, 2].
    :return: (x, y) after distortion, [P, 2] float64, in the same units.
    """
    import cv2

    points = np.ascontiguousarray(rays, np.float64)[:, None]
    coefficients = np.asarray(camera.distortion)
    if camera.distortion_model == 'equidistant':
        return cv2.fisheye.distortPoints(points, np.eye(3), coefficients)[:, 0]
    directions = np.concatenate([points[:, 0], np.ones((len(points), 1))], axis=1)
    zero = np.zeros(3)
    return cv2.projectPoints(directions, zero, zero, np.eye(3), coefficients)[0][:, 0]
