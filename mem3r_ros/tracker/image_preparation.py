# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Converts a valid frame to the images that the later stages need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics, Rectifier
from mem3r_ros.helper_threads import HelperThreads
from mem3r_ros.tracker.config import InputConfig
from mem3r_ros.tracker.frame_validation import ValidFrame
from mem3r_ros.tracker.pixel_map import PixelMap, plan_pixels

WORKING_WIDTH = 320  # px, of the grey image for quality and stillness
_MAX_RECTIFIERS = 4


@dataclass(frozen=True, slots=True)
class Prepared:
    """One frame in the formats that the stages need."""

    image: np.ndarray  # [H, W, 3] uint8, rectified, camera resolution
    source_grey: np.ndarray  # [H, W] uint8, of ``image``
    small: np.ndarray | None  # [h, w, 3] uint8, the network's input; None: the device makes it
    fine_gray: np.ndarray | None  # [k h, k w] uint8, for the flow of a network with scale k
    grey: np.ndarray  # [.., about 320] uint8, rectified
    ignore: np.ndarray | None  # [h, w] bool, network pixels to ignore
    ignore_grey: np.ndarray | None  # the same in the size of ``grey``
    masked: np.ndarray | None  # [h, w] bool, network pixels under the mask of the frame
    pixels: PixelMap
    camera: Intrinsics | None  # of ``image``
    network_camera: Intrinsics | None  # of ``small``


class Preparation:
    """Rectifies, resizes and crops; tables and plans are computed once per camera and size."""

    def __init__(self, model_config: Any) -> None:
        """
        Prepare for a network.

        :param model_config: has img_size, patch_size and optionally resize_by, flow_scale and
            two_view.
        """
        self._size = tuple(model_config.img_size)
        self._patch_size = model_config.patch_size
        self._by_area = getattr(model_config, 'resize_by', 'long_side') == 'area'
        self._flow_scale = getattr(model_config, 'flow_scale', 1)
        # The input of a network like CUT3R must equal that of its training bit by bit.
        self._auto = 'exact' if getattr(model_config, 'two_view', None) is None else 'fast'
        self._plans: dict[tuple, PixelMap] = {}
        self._rectifiers: dict[Intrinsics, Rectifier] = {}
        self._small_valid: dict[tuple, np.ndarray | None] = {}

    def plan(self, width: int, height: int, config: InputConfig) -> PixelMap:
        """Return the pixel map from an image of this size to the input of the network."""
        key = (width, height, config.square_ok, config.keep_view)
        if key not in self._plans:
            self._forget_if_full(self._plans)
            self._plans[key] = plan_pixels(
                width,
                height,
                self._size,
                self._patch_size,
                config.square_ok,
                config.keep_view,
                self._by_area,
            )
        return self._plans[key]

    def prepare(
        self, valid: ValidFrame, config: InputConfig, helpers: HelperThreads | None = None
    ) -> Prepared:
        """
        Return the images that the later stages need.

        :param helpers: make the grey images beside the input of the network.
        """
        image, camera, mask = valid.image, valid.camera, valid.mask
        pixels = self.plan(image.shape[1], image.shape[0], config)
        ignore, masked = None, None
        if camera is not None and camera.is_distorted:
            rectifier = self._rectifier(camera)
            image = rectifier.image(image)
            mask = None if mask is None else rectifier.mask(mask)
            ignore = self._outside(rectifier, pixels)
        if mask is not None:
            masked = pixels.apply_mask(mask)
            ignore = masked if ignore is None else ignore | masked
        make_greys = partial(self._greys, image, pixels, masked)
        job = None if helpers is None else helpers.start(make_greys)
        resampling = self._auto if config.resampling == 'auto' else config.resampling
        small = _small(image, pixels, masked, resampling)
        source_grey, grey, fine_gray = make_greys() if job is None else job.result()
        return Prepared(
            image=image,
            source_grey=source_grey,
            small=small,
            fine_gray=fine_gray,
            grey=grey,
            ignore=ignore,
            ignore_grey=None if ignore is None else _ignore_grey(mask, pixels, ignore, grey),
            masked=masked,
            pixels=pixels,
            camera=None if camera is None else camera.undistorted(),
            network_camera=None if camera is None else pixels.network_camera(camera.undistorted()),
        )

    def _greys(
        self, image: np.ndarray, pixels: PixelMap, masked: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the grey images: of the camera's size, for the checks, and for the flow."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return grey, _working_grey(grey), self._fine_gray(grey, pixels, masked)

    def _fine_gray(
        self, grey: np.ndarray, pixels: PixelMap, masked: np.ndarray | None
    ) -> np.ndarray | None:
        scale = self._flow_scale
        if scale == 1:
            return None
        fine = pixels.enlarged(scale).apply_fast(grey)
        if masked is None:
            return fine
        return _without(fine, masked.repeat(scale, axis=0).repeat(scale, axis=1))

    def _rectifier(self, camera: Intrinsics) -> Rectifier:
        if camera not in self._rectifiers:
            self._forget_if_full(self._rectifiers)
            self._forget_if_full(self._small_valid)
            self._rectifiers[camera] = Rectifier(camera)
        return self._rectifiers[camera]

    def _outside(self, rectifier: Rectifier, pixels: PixelMap) -> np.ndarray | None:
        """Return the network pixels outside the distorted image."""
        if rectifier.valid is None:
            return None
        key = (rectifier.camera, pixels)
        if key not in self._small_valid:
            self._small_valid[key] = pixels.apply_mask(~rectifier.valid)
        return self._small_valid[key]

    @staticmethod
    def _forget_if_full(cache: dict) -> None:
        if len(cache) >= _MAX_RECTIFIERS:
            cache.clear()


def _working_grey(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    if width <= WORKING_WIDTH:
        return grey
    size = (WORKING_WIDTH, max(1, round(height * WORKING_WIDTH / width)))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def _small(
    image: np.ndarray, pixels: PixelMap, masked: np.ndarray | None, resampling: str
) -> np.ndarray | None:
    """Return the network's input; None if the device makes it."""
    if resampling == 'device':
        return None
    small = pixels.apply(image) if resampling == 'exact' else pixels.apply_fast(image)
    return small if masked is None else _without(small, masked)


def _without(small: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """Fill masked pixels with the mean colour of the others, which has no structure."""
    if masked.all() or not masked.any():
        return small
    small = small.copy()
    small[masked] = small[~masked].mean(axis=0)
    return small


def _ignore_grey(
    mask: np.ndarray | None, pixels: PixelMap, ignore: np.ndarray, grey: np.ndarray
) -> np.ndarray:
    size = (grey.shape[1], grey.shape[0])
    if mask is not None:
        return cv2.resize((mask != 0).astype(np.uint8), size) > 0
    source = pixels.to_source(ignore.astype(np.float32), fill=0.0)
    return cv2.resize(source, size) > 0
