# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Alignment of a tracked corner with its patch in the anchor keyframe, so that tracks do not creep.

Tracking from image to image adds up small errors. Here the patch of the anchor, warped by the
known motion and depth, is aligned with the new image (inverse compositional Lucas-Kanade, Baker
and Matthews 2004; the warp by geometry as in Forster et al. 2014). Brightness and contrast are
normalised per patch.
"""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 11  # px, of a patch
STORED = SIZE + 2  # with a border for its derivatives
_ITERATIONS = 6
_MAX_SHIFT_PX = 2.0  # from where the corner was tracked to
_MIN_CORRELATION = 0.8
_MIN_CONTRAST = 1.0  # grey levels
_MAX_STRETCH = 2.0  # of the warp, either way
_CONVERGED_PX = 0.005

# N patches


def patches_at(grey: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """
    Return the patches around pixels.

    :param grey: [H, W] uint8.
    :param pixels: [N, 2].
    :return: [N, STORED, STORED] float32.
    """
    offsets = np.arange(STORED, dtype=np.float64) - STORED // 2
    x = pixels[:, 0, None, None] + offsets[None, None, :]
    y = pixels[:, 1, None, None] + offsets[None, :, None]
    x, y = np.broadcast_arrays(x, y)
    return _sample(grey, x, y)


def aligned(
    patches: np.ndarray, warps: np.ndarray, grey: np.ndarray, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Align patches with an image.

    :param patches: in their anchors, [N, STORED, STORED].
    :param warps: from pixels of the anchor to pixels of the image, [N, 2, 2].
    :param grey: the image, [H, W] uint8.
    :param pixels: where the corners were tracked to, [N, 2].
    :return: where they are, [N, 2], and whether the alignment is to be trusted, [N] bool.
    """
    if not len(patches):
        return pixels, np.zeros(0, bool)
    template = patches[:, 1:-1, 1:-1].reshape(len(patches), -1)
    by_x = (patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2]).reshape(len(patches), -1) * 0.5
    by_y = (patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1]).reshape(len(patches), -1) * 0.5
    mean = template.mean(axis=1, keepdims=True)
    contrast = template.std(axis=1)
    centred = template - mean
    gradients = np.stack([by_x, by_y], axis=1)  # [N, 2, S S]
    gradients -= gradients.mean(axis=2, keepdims=True)
    hessian = np.matmul(gradients, np.swapaxes(gradients, 1, 2))
    stretch = np.sqrt(np.abs(np.linalg.det(warps)))
    usable = (contrast > _MIN_CONTRAST) & (stretch < _MAX_STRETCH) & (stretch > 1 / _MAX_STRETCH)
    usable &= np.linalg.det(hessian) > 1e-3
    hessian[~usable] = np.eye(2)
    inverse = np.linalg.inv(hessian)
    offsets = np.arange(SIZE, dtype=np.float64) - SIZE // 2
    grid = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    around = np.matmul(grid, np.swapaxes(warps, 1, 2))  # [N, S S, 2]
    found = pixels.copy()
    correlation = np.zeros(len(patches))
    for _ in range(_ITERATIONS):
        at = found[:, None] + around
        seen = _sample(grey, at[..., 0], at[..., 1])
        seen = seen - seen.mean(axis=1, keepdims=True)
        spread = np.maximum(seen.std(axis=1), 1e-3)
        correlation = (seen * centred).mean(axis=1) / (spread * np.maximum(contrast, 1e-3))
        seen *= (contrast / spread)[:, None]
        error = np.matmul(gradients, (seen - centred)[:, :, None])
        shift = np.matmul(warps, np.matmul(inverse, error))[:, :, 0]
        shift = np.clip(shift, -1.0, 1.0)
        found = found - shift * usable[:, None]
        if np.abs(shift[usable]).max(initial=0.0) < _CONVERGED_PX:
            break
    moved = np.linalg.norm(found - pixels, axis=1)
    return found, usable & (moved < _MAX_SHIFT_PX) & (correlation > _MIN_CORRELATION)


def _sample(grey: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the image at the places [N, ...], between pixels by interpolation."""
    if not x.size:
        return np.zeros(x.shape, np.float32)
    maps = (values.reshape(len(x), -1).astype(np.float32) for values in (x, y))
    image, border = grey.astype(np.float32), cv2.BORDER_REPLICATE
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=border).reshape(x.shape)
