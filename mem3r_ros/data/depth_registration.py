# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Registers depth images to the pixels of their colour image."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import UserError

_SHAPE_TOLERANCE = 0.02  # of the aspect: 1296x968 and 640x480 show the same view


def seen_by(depth_m: np.ndarray, depth_camera: Intrinsics, camera: Intrinsics) -> np.ndarray:
    """
    Resample depth along the rays of another camera with the same pose.

    :param depth_m: depth along z [H, W] float32 m, of ``depth_camera``'s view in any resolution.
    :param depth_camera: pinhole camera of the depth picture.
    :param camera: camera of the colour image; its distortion is ignored.
    :return: depth [camera.height, camera.width], NaN outside the view of the depth camera. Values
        are not interpolated: between two surfaces there is none.
    """
    height, width = depth_m.shape
    columns, rows = _look_up(depth_camera.resized(width, height), camera)
    return cv2.remap(
        depth_m,
        columns,
        rows,
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float('nan'),
    )


@lru_cache(maxsize=4)
def _look_up(depth_camera: Intrinsics, camera: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row in the depth picture of each pixel of ``camera``."""
    rays = camera.rays()
    columns = rays[..., 0] * depth_camera.fx + depth_camera.cx
    rows = rays[..., 1] * depth_camera.fy + depth_camera.cy
    return columns.astype(np.float32), rows.astype(np.float32)


def at_size(depth_m: np.ndarray, width: int, height: int) -> np.ndarray:
    """
    Resample depth of another resolution to the size of its image.

    :param depth_m: [h, w] float32 m, of the same view as the image.
    :return: [height, width].
    :raises UserError: the aspect ratios differ, so they cannot show the same view.
    """
    rows, columns = depth_m.shape
    if (rows, columns) == (height, width):
        return depth_m
    if abs(columns * height / (rows * width) - 1.0) > _SHAPE_TOLERANCE:
        raise UserError(
            f'depth of {columns}x{rows} px belongs to no image of {width}x{height} px; '
            f'bring depth to the pixels of the image'
        )
    # The older INTER_NEAREST takes the upper left source pixel, half a pixel off.
    return cv2.resize(depth_m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
