# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Makes the input of the network on its device.

Images travel as bytes through page-locked memory, so the host does not wait for them. There are
two places for each: the host fills one while the device still reads the other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
import torch.nn.functional as F

from mem3r_ros.camera import Intrinsics
from mem3r_ros.model import FrameInput
from mem3r_ros.model.device_queue import DeviceQueue
from mem3r_ros.tracker.image_preparation import Prepared
from mem3r_ros.tracker.pixel_map import PixelMap, normalised

_PLACES = 2


class Upload:
    """Brings the images of one stream to the device of the network."""

    def __init__(self, queue: DeviceQueue) -> None:
        """
        Start without memory.

        :param queue: of the network's device.
        """
        self._queue = queue
        self._places: dict[str, list[tuple[Tensor, Tensor]]] = {}  # host and device memory
        self._turn = 0

    def frame_input(self, prepared: Prepared) -> FrameInput:
        """Return the input for one frame, which the state may take in."""
        self._turn = (self._turn + 1) % _PLACES
        camera, fine = prepared.network_camera, prepared.fine_gray
        return FrameInput(
            image=self._image(prepared),
            intrinsics=None if camera is None else self._intrinsics(camera),
            fine_gray=None if fine is None else self._moved('fine', fine)[None],
        )

    def completed(self, frame: FrameInput, is_remembered: bool, flow: Tensor | None) -> FrameInput:
        """
        Return the input with what the checks of the image have found.

        :param is_remembered: whether the state may take the frame in.
        :param flow: on the host, px, [1, 3, H, W]; None: the network measures it.
        """
        if is_remembered and flow is None:
            return frame
        update = None
        if not is_remembered:
            update = torch.zeros(1, dtype=torch.bool, device=self._queue.device)
        moved = None if flow is None else self._moved('flow', flow.numpy())
        return replace(frame, update=update, flow=moved)

    def _image(self, prepared: Prepared) -> Tensor:
        if prepared.small is not None:
            return normalised(self._moved('image', prepared.small))
        image = resampled(self._moved('image', prepared.image), prepared.pixels)
        masked = prepared.masked
        if masked is not None and masked.any() and not masked.all():
            image = _without(image, self._moved('mask', masked))
        return normalised(image)

    def _intrinsics(self, camera: Intrinsics) -> Tensor:
        values = np.array([[camera.fx, camera.fy, camera.cx, camera.cy]], np.float32)
        return self._moved('intrinsics', values)

    def _moved(self, name: str, values: np.ndarray) -> Tensor:
        """Return the values on the device."""
        given = torch.from_numpy(values)
        if self._queue.device.type == 'cpu':
            return given
        places = self._places.get(name)
        if places is None or places[0][0].shape != given.shape:
            places = self._places[name] = [self._place(given) for _ in range(_PLACES)]
        host, there = places[self._turn]
        host.copy_(given)
        self._queue.copy(host, there)
        return there

    def _place(self, like: Tensor) -> tuple[Tensor, Tensor]:
        host = self._queue.host_buffer(tuple(like.shape), like.dtype)
        return host, torch.empty_like(like, device=self._queue.device)


def resampled(image: Tensor, pixels: PixelMap) -> Tensor:
    """
    Resize and crop on the device of the image, by an antialiased cubic filter.

    :param image: [H, W, 3] uint8.
    :return: [h, w, 3] float32, whole numbers from 0 to 255.
    """
    wide = image.permute(2, 0, 1)[None].float()
    found = _resized(wide, (pixels.resized_height, pixels.resized_width))
    if pixels.is_stretched:
        found = _resized(found, (pixels.height, pixels.width))
    else:
        rows = slice(pixels.top, pixels.top + pixels.height)
        found = found[..., rows, pixels.left : pixels.left + pixels.width]
    return found[0].permute(1, 2, 0)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    found = F.interpolate(image, size, mode='bicubic', antialias=True, align_corners=False)
    return found.round_().clamp_(0, 255)


def _without(image: Tensor, masked: Tensor) -> Tensor:
    """Fill masked pixels with the mean colour of the others, which has no structure."""
    others = ~masked[..., None]
    mean = (image * others).sum(dim=(0, 1)) / others.sum()
    return torch.where(others, image, mean.floor())
