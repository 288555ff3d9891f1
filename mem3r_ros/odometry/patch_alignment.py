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

from typing import NamedTuple

import cv2
import numpy as np

SIZE = 11  # px, of a patch
STORED = SIZE + 2  # with a border for its derivatives
_ITERATIONS = 6
_MAX_SHIFT_PX = 2.0  # from where the corner was tracked to
_MIN_CORRELATION = 0.8
_MIN_CONTRAST = 1.0  # grey levels
_MAX_STRETCH = 2.0  # of the warp, either way
_CONVERGED_PX = 0.02
_LEAST_SPREAD = 1e-3  # of grey levels
_MIN_DETERMINANT = 1e-7  # of the products of the derivatives

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
    template, stretch = _Template.of(patches), np.sqrt(np.abs(np.linalg.det(warps)))
    usable = template.is_usable & (stretch < _MAX_STRETCH) & (stretch > 1 / _MAX_STRETCH)
    offsets = np.arange(SIZE, dtype=np.float32) - SIZE // 2
    grid = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    warps = warps.astype(np.float32)
    around = np.matmul(grid, np.swapaxes(warps, 1, 2))  # [N, S S, 2]
    steps = np.matmul(warps, template.inverse)
    image, found = grey.astype(np.float32), pixels.copy()
    correlation = np.zeros(len(patches), np.float32)
    active = np.flatnonzero(usable)
    for _ in range(_ITERATIONS):
        if not len(active):
            break
        at = found[active, None].astype(np.float32) + around[active]
        seen = cv2.remap(image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen -= seen.mean(axis=1, keepdims=True)
        products = np.matmul(template.basis[active], seen[:, :, None])[:, :, 0] / seen.shape[1]
        spread = np.sqrt(np.maximum((seen * seen).mean(axis=1), _LEAST_SPREAD**2))
        contrast = template.contrast[active]
        correlation[active] = products[:, 2] / (spread * contrast)
        error = products[:, :2] * (contrast / spread)[:, None] - template.own[active]
        shift = np.matmul(steps[active], error[:, :, None])[:, :, 0].clip(-1.0, 1.0)
        found[active] -= shift
        active = active[np.abs(shift).max(axis=1) > _CONVERGED_PX]
    moved = np.linalg.norm(found - pixels, axis=1)
    return found, usable & (moved < _MAX_SHIFT_PX) & (correlation > _MIN_CORRELATION)


class _Template(NamedTuple):
    """Patches prepared for the alignment; all sums over pixels are means."""

    basis: np.ndarray  # [N, 3, S S] derivatives by x and y, and grey levels, each without its mean
    contrast: np.ndarray  # [N] standard deviation of the grey levels
    own: np.ndarray  # [N, 2] products of derivatives and grey levels
    inverse: np.ndarray  # [N, 2, 2] of the products of the derivatives
    is_usable: np.ndarray  # [N] enough contrast, in both directions

    @classmethod
    def of(cls, patches: np.ndarray) -> _Template:
        """Prepare patches [N, STORED, STORED]."""
        basis = np.stack(
            [
                (patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2]) * np.float32(0.5),
                (patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1]) * np.float32(0.5),
                patches[:, 1:-1, 1:-1],
            ],
            axis=1,
        ).reshape(len(patches), 3, SIZE * SIZE)
        basis -= basis.mean(axis=2, keepdims=True)
        products = np.matmul(basis, np.swapaxes(basis, 1, 2)) / basis.shape[2]
        contrast = np.sqrt(products[:, 2, 2])
        hessian = products[:, :2, :2].copy()
        is_usable = (contrast > _MIN_CONTRAST) & (np.linalg.det(hessian) > _MIN_DETERMINANT)
        hessian[~is_usable] = np.eye(2)
        return cls(
            basis,
            np.maximum(contrast, _LEAST_SPREAD),
            products[:, :2, 2],
            np.linalg.inv(hessian),
            is_usable,
        )


def _sample(grey: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the image at the places [N, ...], between pixels by interpolation."""
    if not x.size:
        return np.zeros(x.shape, np.float32)
    maps = (values.reshape(len(x), -1).astype(np.float32) for values in (x, y))
    image, border = grey.astype(np.float32), cv2.BORDER_REPLICATE
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=border).reshape(x.shape)
