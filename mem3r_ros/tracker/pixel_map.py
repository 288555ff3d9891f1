# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Mapping between camera pixels and network pixels: resize, crop, and their effect on K.

Equals the public CUT3R loader exactly: the long side is resized to that of the network, then a
centred crop gives whole patches. Square images become 4:3 unless ``square_ok``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math

import numpy as np
from PIL import Image
import torch
from torch import Tensor

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import BadFrame

# For this long side the reference crops to a square.
_SQUARE_SIZE = 224


@dataclass(frozen=True, slots=True)
class PixelMap:
    """Exact position of each network pixel in the source image."""

    source_width: int
    source_height: int
    resized_width: int
    resized_height: int
    left: int
    top: int
    width: int
    height: int
    is_stretched: bool = False  # a second resize replaces the crop

    def network_camera(self, camera: Intrinsics) -> Intrinsics:
        """Return the camera of the network input, given that of the source image."""
        if self.is_stretched:
            return camera.resized(self.width, self.height)
        resized = camera.resized(self.resized_width, self.resized_height)
        return resized.cropped(self.left, self.top, self.width, self.height)

    def source_camera(self, camera: Intrinsics) -> Intrinsics:
        """Return the camera of the source image, given that of the network input."""
        if not self.is_stretched:
            camera = camera.cropped(-self.left, -self.top, self.resized_width, self.resized_height)
        return camera.resized(self.source_width, self.source_height)

    def enlarged(self, scale: int) -> PixelMap:
        """Return the map to an input of the same view that is ``scale`` times as large."""
        sides = ('resized_width', 'resized_height', 'left', 'top', 'width', 'height')
        return replace(self, **{name: getattr(self, name) * scale for name in sides})

    def rescaled(self, ratio: float) -> PixelMap:
        """Return the map to an input of nearly the same view, ``ratio`` times as large."""
        sides = ('resized_width', 'resized_height', 'left', 'top', 'width', 'height')
        return replace(self, **{name: round(getattr(self, name) * ratio) for name in sides})

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Resize and crop ``image`` [H, W] or [H, W, 3] uint8 by Pillow's filters."""
        shrinks = max(self.source_width, self.source_height) > max(
            self.resized_width, self.resized_height
        )
        return self._apply(image, Image.Resampling.LANCZOS if shrinks else _GROW)

    def apply_fast(self, image: np.ndarray) -> np.ndarray:
        """Resize and crop by OpenCV's area filter; not bit-exact, several times faster."""
        import cv2

        size = (self.resized_width, self.resized_height)
        shrinks = size[0] < self.source_width
        resized = cv2.resize(image, size, interpolation=_area(cv2, shrinks))
        if self.is_stretched:
            return cv2.resize(resized, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(self._crop(resized))

    def apply_mask(self, mask: np.ndarray) -> np.ndarray:
        """Return the network pixels that overlap a nonzero pixel of ``mask`` [H, W]; bool."""
        import cv2

        size = (self.resized_width, self.resized_height)
        touched = (np.asarray(mask) != 0).astype(np.float32)
        resized = cv2.resize(touched, size, interpolation=_area(cv2, size[0] < mask.shape[1]))
        if self.is_stretched:
            resized = cv2.resize(resized, (self.width, self.height))
            return resized > 0
        return self._crop(resized) > 0

    def to_source(self, values: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """
        Resample a map of the network at the resolution of the camera.

        Nearest neighbour, because interpolation invents depth between an object and its
        background. Pixels outside the crop get ``fill``.

        :param values: depth or confidence, [height, width] float32.
        :return: [source_height, source_width] float32.
        """
        columns, has_column = self._nearest(
            self.source_width, self.resized_width, self.left, self.width
        )
        rows, has_row = self._nearest(
            self.source_height, self.resized_height, self.top, self.height
        )
        result = values.take(columns, axis=1).take(rows, axis=0)
        if not has_column.all():
            result[:, ~has_column] = fill
        if not has_row.all():
            result[~has_row] = fill
        return result

    def _nearest(
        self, source: int, resized: int, offset: int, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.is_stretched:
            resized, offset = size, 0
        position = (np.arange(source) + 0.5) * (resized / source) - 0.5 - offset
        index = np.floor(position + 0.5).astype(np.intp)
        return index.clip(0, size - 1), (index >= 0) & (index < size)

    def _crop(self, image: np.ndarray) -> np.ndarray:
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def _apply(self, image: np.ndarray, filter_: Image.Resampling) -> np.ndarray:
        resized = Image.fromarray(image).resize((self.resized_width, self.resized_height), filter_)
        if self.is_stretched:
            size = (self.width, self.height)
            return np.array(resized.resize(size, Image.Resampling.LANCZOS))
        # A copy, because the memory of Pillow is read-only.
        return self._crop(np.asarray(resized)).copy()


_GROW = Image.Resampling.BICUBIC


def _area(cv2: object, shrinks: bool) -> int:
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def plan_pixels(
    width: int,
    height: int,
    network_size: tuple[int, int],
    patch_size: int,
    square_ok: bool = False,
    keep_view: bool = False,
    by_area: bool = False,
) -> PixelMap:
    """
    Return the map from an image of ``width`` x ``height`` to the input of the network.

    :param network_size: nominal width and height of the input, px. The image is resized to the
        longer one; 224 means a square crop.
    :param patch_size: both sides of the input are multiples of it.
    :param square_ok: keep square images square instead of cropping them to 4:3.
    :param keep_view: stretch slightly instead of cropping, which keeps the whole view.
    :param by_area: match the area of the network size instead of its long side, so a wide image
        does not become a thin strip.
    :raises BadFrame: the image is so elongated that no whole patch remains.
    """
    size = max(network_size)
    resized_width, resized_height = _resized(width, height, network_size, by_area)
    centre_x, centre_y = resized_width // 2, resized_height // 2
    if size == _SQUARE_SIZE:
        new_width = new_height = 2 * min(centre_x, centre_y)
    else:
        new_width = 2 * centre_x // patch_size * patch_size
        new_height = 2 * centre_y // patch_size * patch_size
        if resized_width == resized_height and not square_ok:
            new_height = new_width * 3 // 4 // patch_size * patch_size
    if min(new_width, new_height) < patch_size:
        raise BadFrame(
            f'image is {width}x{height}; at {size} px no whole patch of {patch_size} px remains: '
            f'use a less elongated image'
        )
    return PixelMap(
        source_width=width,
        source_height=height,
        resized_width=resized_width,
        resized_height=resized_height,
        left=centre_x - new_width // 2,
        top=centre_y - new_height // 2,
        width=new_width,
        height=new_height,
        is_stretched=keep_view,
    )


def _resized(
    width: int, height: int, network_size: tuple[int, int], by_area: bool
) -> tuple[int, int]:
    """Return the size of the image before the crop."""
    if by_area:
        scale = math.sqrt(network_size[0] * network_size[1] / (width * height))
        return round(width * scale), round(height * scale)
    size, longest = max(network_size), max(width, height)
    if size == _SQUARE_SIZE:
        size = round(size * max(width / height, height / width))
    # Multiplied first, as in the reference: halves are rounded to even, so the last bit matters.
    return round(width * size / longest), round(height * size / longest)


def network_tensor(image: np.ndarray, device: torch.device | str = 'cpu') -> Tensor:
    """Return ``image`` [H, W, 3] uint8 as network input [1, 3, H, W] in [-1, 1]."""
    return normalised(torch.from_numpy(image).to(device))


def normalised(image: Tensor) -> Tensor:
    """Return an image [H, W, 3] of values from 0 to 255 as network input, on its device."""
    pixels = image.permute(2, 0, 1).unsqueeze(0)
    # A copy, because the division works in place.
    pixels = pixels.to(torch.float32, copy=True)
    return pixels.div_(255.0).sub_(0.5).div_(0.5).contiguous()
