# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Depth finer than the network's: its pixels in the image, and its fusion frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.odometry.depth_fusion import DepthFusion, resampled_log_depth
from mem3r_ros.odometry.flow_triangulation import is_large_enough
from mem3r_ros.tracker.config import DepthConfig
from mem3r_ros.tracker.image_preparation import Prepared
from mem3r_ros.tracker.pixel_map import PixelMap

_AREA_PX = 320 * 240


@dataclass(frozen=True, slots=True)
class DepthView:
    """Depth of one frame on some grid of pixels, before limits of range and confidence."""

    depth_m: np.ndarray  # [H, W] float32, NaN where there is none
    confidence: np.ndarray  # [H, W] float32, above 1
    camera: Intrinsics  # of the depth
    pixels: PixelMap  # its pixels in the source image

    def at(self, camera: Intrinsics, pixels: PixelMap) -> DepthView:
        """Return the view at the nearest pixels of another grid."""
        if pixels == self.pixels:
            return self
        own = self.camera
        columns = (np.arange(camera.width) - camera.cx) / camera.fx * own.fx + own.cx
        rows = (np.arange(camera.height) - camera.cy) / camera.fy * own.fy + own.cy
        chosen = np.ix_(
            np.rint(rows).astype(int).clip(0, own.height - 1),
            np.rint(columns).astype(int).clip(0, own.width - 1),
        )
        return DepthView(self.depth_m[chosen], self.confidence[chosen], camera, pixels)


def fine_pixels(pixels: PixelMap) -> PixelMap | None:
    """
    Return the pixels of fused depth: the view of the network, at about 320x240 px.

    Never more than the camera has, never less than the network; None where images are too small.
    """
    ratio = math.sqrt(_AREA_PX / (pixels.width * pixels.height))
    ratio = min(ratio, pixels.source_width / pixels.resized_width)
    if ratio > 1.0:
        pixels = pixels.rescaled(ratio)
    return pixels if is_large_enough((pixels.height, pixels.width)) else None


def fused_view(
    fusion: DepthFusion,
    network: DepthView,
    prepared: Prepared,
    source_camera: Intrinsics,
    focal_factor: float,
    is_still: bool,
    config: DepthConfig,
) -> DepthView:
    """
    Fuse the depth of a frame with that of the frames before.

    :param fusion: has been given the motion of this frame.
    :param network: depth and confidence of the network.
    :param source_camera: of the rectified image.
    :param focal_factor: the focal length of the motion over that of ``source_camera``.
    :param is_still: whether the camera is at rest.
    :return: the network's own view where fusion is off or the images are too small.
    """
    pixels = fine_pixels(network.pixels) if config.fusion.enabled else None
    if pixels is None:
        return network
    camera = pixels.network_camera(source_camera)
    grey = pixels.apply_fast(prepared.source_grey)
    log_depth = resampled_log_depth(network.depth_m, network.camera, camera)
    refined = camera.zoomed(focal_factor)
    fused = fusion.fuse(grey, refined, log_depth, is_still, config.fusion)
    return DepthView(fused.depth_m, fused.confidence, camera, pixels)
