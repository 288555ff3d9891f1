# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pixels that are ignored in every image: a mask file and a border, such as the robot's body."""

from __future__ import annotations

import cv2
import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.ros.node_config import InputSettings


class StaticMask:
    """The mask of the parameters, for any size of image; combined with that of the topic."""

    def __init__(self, config: InputSettings) -> None:
        """
        Read the file.

        :param config: ``mask_file`` and ``mask_border``.
        :raises UserError: the file is not an image.
        """
        self._border = config.mask_border
        self._file = config.mask_file
        self._pixels: np.ndarray | None = None
        if self._file:
            self._pixels = cv2.imread(self._file, cv2.IMREAD_GRAYSCALE)
            if self._pixels is None:
                raise UserError(
                    f'input.mask_file {self._file} cannot be read as an image: give a PNG of the '
                    'size of the camera image, with nonzero pixels where images are ignored'
                )
        self._made: dict[tuple[int, int], np.ndarray | None] = {}

    def combined(
        self, shape: tuple[int, int], mask: np.ndarray | None
    ) -> tuple[np.ndarray | None, str]:
        """
        Return what to ignore in one image.

        :param shape: height and width of the image.
        :param mask: of the topic, [H, W], nonzero = ignore; None: there is none.
        :return: mask [H, W] uint8 or None, and why a mask is not used, or ''.
        """
        own, warning = self._of(shape), ''
        if self._pixels is not None and self._pixels.shape != shape:
            warning = (
                f'input.mask_file is {self._pixels.shape[1]}x{self._pixels.shape[0]}, the image '
                f'{shape[1]}x{shape[0]}: not used; make it of the size of the image'
            )
        if own is None or mask is None:
            return (mask if own is None else own), warning
        if mask.shape != shape:
            text = f'mask is {mask.shape[1]}x{mask.shape[0]}, the image {shape[1]}x{shape[0]}'
            return own, warning or f'{text}: only input.mask_file and input.mask_border are used'
        return np.maximum(own, (mask != 0).astype(np.uint8)), warning

    def _of(self, shape: tuple[int, int]) -> np.ndarray | None:
        if shape not in self._made:
            self._made = {shape: self._make(shape)}  # of the current size only
        return self._made[shape]

    def _make(self, shape: tuple[int, int]) -> np.ndarray | None:
        mask = np.zeros(shape, np.uint8)
        if self._pixels is not None and self._pixels.shape == shape:
            mask[self._pixels != 0] = 1
        left, top, right, bottom = self._border
        mask[:top] = mask[shape[0] - bottom :] = 1
        mask[:, :left] = mask[:, shape[1] - right :] = 1
        return mask if mask.any() else None
