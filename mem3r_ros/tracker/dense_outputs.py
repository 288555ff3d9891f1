# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Dense outputs of a frame: depth, confidence, intrinsics and points in metres."""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any

import numpy as np

from mem3r_ros.camera import FocalEstimate, Intrinsics, estimate_focal, nominal_focal_px
from mem3r_ros.cloud import select_points
from mem3r_ros.odometry.depth_fusion import DepthFusion
from mem3r_ros.odometry.focal_length import FocalLength
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.fine_depth import DepthView, fused_view
from mem3r_ros.tracker.image_preparation import Prepared


@dataclass(slots=True)
class DenseView:
    """The dense part of one prediction on the host, in units of the network."""

    points: np.ndarray | None  # [h, w, 3] float32, camera frame; None: they stay on the device
    depth: np.ndarray  # [h, w] float32, NaN where there is none
    confidence: np.ndarray  # [h, w] float32, above 1
    focal_px: float  # NaN if the network does not predict it

    @property
    def median_confidence(self) -> float:
        """Median confidence over 1 of the pixels with depth."""
        thinned = self.confidence[::2, ::2][np.isfinite(self.depth[::2, ::2])]
        return float(np.median(thinned)) - 1.0 if len(thinned) else 0.0

    def depth_at(self, x: float, y: float) -> float:
        """Return the median depth of the 5 x 5 pixels around (x, y); NaN if there is none."""
        row, column = round(y), round(x)
        window = self.depth[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        values = window[np.isfinite(window)]
        return float(np.median(values)) if len(values) else math.nan

    def depth_at_centre(self) -> float:
        """Return the depth in the middle of the image; NaN if there is none."""
        height, width = self.depth.shape
        return self.depth_at((width - 1) / 2, (height - 1) / 2)


def _source_camera(prepared: Prepared, focal_per_width: float) -> Intrinsics:
    """Return a camera of the source image with this focal length and a centred axis."""
    height, width = prepared.image.shape[:2]
    focal_px = focal_per_width * width
    return Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)


class DenseOutputs:
    """Makes the dense outputs; keeps the focal estimate and the rays of the current camera."""

    def __init__(self, window_focal: FocalLength | None = None) -> None:
        """
        Start without a camera.

        :param window_focal: focal length by the sliding window, used once it is known.
        """
        self.focal = FocalEstimate()
        self._window_focal = window_focal or FocalLength()
        self._rays: tuple[Intrinsics, np.ndarray] | None = None

    def observe_focal(self, prepared: Prepared, view: DenseView | None) -> None:
        """Use one prediction of an uncalibrated camera in the focal estimate; once per frame."""
        if prepared.network_camera is not None or view is None:
            return
        width, height = prepared.pixels.width, prepared.pixels.height
        focal_px = view.focal_px
        if not math.isfinite(focal_px) and view.points is not None:
            focal_px = estimate_focal(view.points, ((width - 1) / 2, (height - 1) / 2))
        self.focal.add(focal_px, width)

    def network_camera(self, prepared: Prepared) -> Intrinsics:
        """
        Return the camera of the network's input.

        It comes from the calibration if there is one. Otherwise the principal point is centred
        and the focal length is that of the sliding window, or before, by the predictions so far.
        """
        if prepared.network_camera is not None:
            return prepared.network_camera
        width, height = prepared.pixels.width, prepared.pixels.height
        focal_px, known = self.focal.focal_px(width), self._window_focal.estimate
        if known is not None:
            K = prepared.pixels.network_camera(_source_camera(prepared, known[0]))
            return Intrinsics(K.fx, K.fy, (width - 1) / 2, (height - 1) / 2, width, height)
        if not math.isfinite(focal_px):
            focal_px = nominal_focal_px(width, height)
        return Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)

    @property
    def focal_spread(self) -> float:
        """Relative standard deviation of the focal length of an uncalibrated camera."""
        known = self._window_focal.estimate
        return self.focal.spread if known is None else known[1]

    def source_camera(self, prepared: Prepared) -> Intrinsics:
        """Return the camera of the rectified source image, calibrated or estimated."""
        return prepared.camera or prepared.pixels.source_camera(self.network_camera(prepared))

    def rays(self, camera: Intrinsics) -> np.ndarray:
        """Return the rays of the camera; they are computed when the camera changes."""
        if self._rays is None or self._rays[0] != camera:
            self._rays = (camera, camera.rays())
        return self._rays[1]

    def depth_view(
        self,
        view: DenseView,
        prepared: Prepared,
        scale: float,
        fusion: DepthFusion,
        is_still: bool,
        config: TrackerConfig,
    ) -> DepthView:
        """
        Return the depth of a frame in metres, fused with that of earlier frames if enabled.

        :param scale: metres per unit of the network.
        :param fusion: has been given the motion of this frame.
        :param is_still: whether the camera is at rest.
        """
        network = DepthView(
            view.depth * np.float32(scale),
            view.confidence,
            self.network_camera(prepared),
            prepared.pixels,
        )
        source_camera = self.source_camera(prepared)
        factor = self._window_focal.factor
        found = fused_view(
            fusion, network, prepared, source_camera, factor, is_still, config.depth
        )
        if config.depth.resolution == 'network':
            return found.at(network.camera, network.pixels)
        return found

    def make(
        self, view: DepthView, prepared: Prepared, wanted: frozenset[str], config: TrackerConfig
    ) -> dict[str, Any]:
        """
        Return the dense fields of a tracked frame.

        :param view: see :meth:`depth_view`.
        :param wanted: names among depth, points, confidence and image.
        """
        depth, confidence, camera = view.depth_m.copy(), view.confidence, view.camera
        with np.errstate(invalid='ignore'):
            if config.depth.min_confidence > 1.0:
                depth[confidence < config.depth.min_confidence] = np.nan
            depth[depth > config.depth.max_range_m] = np.inf
        source_camera = self.source_camera(prepared)
        is_camera = config.depth.resolution == 'camera'
        if is_camera:
            camera = source_camera
            depth = view.pixels.to_source(depth)
            confidence = view.pixels.to_source(confidence)
        made: dict[str, Any] = {'intrinsics': camera, 'source_camera': source_camera}
        if 'depth' in wanted:
            made['depth'] = depth
        if 'confidence' in wanted:
            made['confidence'] = confidence
        if not wanted.isdisjoint({'points', 'image'}):
            image = prepared.image if is_camera else _image_of(view, prepared)
        if 'image' in wanted:
            made['image'] = image
        if 'points' in wanted:
            cloud = select_points(depth, camera, image, confidence, config.cloud)
            made |= {'points': cloud.points, 'colours': cloud.colours, 'weights': cloud.weights}
        return made


def _image_of(view: DepthView, prepared: Prepared) -> np.ndarray:
    """Return the colours of the pixels of a view, [H, W, 3] uint8."""
    if view.pixels == prepared.pixels and prepared.small is not None:
        return prepared.small
    return view.pixels.apply_fast(prepared.image)
