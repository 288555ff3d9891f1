# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Finds ORB features and gives them depth.

ORB (Rublee et al. 2011) is fast on every CPU, and OpenCV has it without patents. The features are
spread over the image by cells, because a few textured objects would take them all otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from mem3r_ros.odometry.pinhole import DepthImage, camera_array, rays_of
from mem3r_ros.places.sighting import Features, Sighting

_WORKING_WIDTH = 640  # px; larger images are reduced, so the time is bounded
_CELLS = (8, 6)  # across and down
_DETECTED = 4  # times as many corners as are kept
_FAST_THRESHOLD = 8  # grey levels
_BORDER_PX = 18
_REACH = 0.12  # how far a landmark corrects the depth around it, focal lengths
_PRIOR_WEIGHT = 0.3  # of the median correction of the image, in landmarks
_MAX_LOG_RATIO = 1.5  # a landmark whose depth differs by more from the network is an outlier


def find_features(sighting: Sighting, num_features: int) -> Features:
    """
    Return the features of a keyframe that have depth.

    :param sighting: the keyframe.
    :param num_features: the most that are kept.
    """
    grey = sighting.grey
    if grey.shape[1] > _WORKING_WIDTH:
        height = round(grey.shape[0] * _WORKING_WIDTH / grey.shape[1])
        grey = cv2.resize(grey, (_WORKING_WIDTH, height), interpolation=cv2.INTER_AREA)
    camera = sighting.camera.resized(grey.shape[1], grey.shape[0])
    numbers = camera_array(camera)
    found = _spread(_orb(num_features).detect(grey, None), grey.shape, num_features)
    corners, descriptors = _orb(num_features).compute(grey, found)
    edges = rays_of(np.array([[-0.5, -0.5], [grey.shape[1] - 0.5, grey.shape[0] - 0.5]]), numbers)
    bounds, pixel = edges[:, :2].ravel(), 1.0 / camera.fx
    if not corners:
        none = np.zeros((0, 32), np.uint8)
        return Features(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), none, bounds, pixel)
    rays = rays_of(np.array([corner.pt for corner in corners]), numbers)
    depth = _depth_along(rays, sighting)
    known = np.isfinite(depth)
    return Features(
        rays[known, :2].astype(np.float32),
        depth[known].astype(np.float32),
        descriptors[known],
        bounds,
        pixel,
    )


@lru_cache(maxsize=4)
def _orb(num_features: int) -> cv2.ORB:
    return cv2.ORB_create(  # type: ignore[attr-defined]
        nfeatures=_DETECTED * num_features,
        fastThreshold=_FAST_THRESHOLD,
        edgeThreshold=_BORDER_PX,
    )


def _spread(
    corners: Sequence[cv2.KeyPoint], shape: tuple[int, int], num_features: int
) -> list[cv2.KeyPoint]:
    """Return the strongest corners; twice the fair share of a cell at most."""
    most = -(-2 * num_features // (_CELLS[0] * _CELLS[1]))
    counts = np.zeros(_CELLS, int)
    kept = []
    for corner in sorted(corners, key=lambda corner: -corner.response):
        column = int(corner.pt[0] * _CELLS[0] / shape[1])
        row = int(corner.pt[1] * _CELLS[1] / shape[0])
        if counts[column, row] < most:
            counts[column, row] += 1
            kept.append(corner)
            if len(kept) == num_features:
                break
    return kept


def _depth_along(rays: np.ndarray, sighting: Sighting) -> np.ndarray:
    """Return depths along rays, [F]: those of the network, corrected by landmarks nearby."""
    image = DepthImage(sighting.depth, sighting.depth_camera)
    depth, _ = image.along(rays)
    if not len(sighting.landmark_depth):
        return depth
    known = np.column_stack([sighting.landmark_rays, np.ones(len(sighting.landmark_depth))])
    predicted, _ = image.along(known)
    with np.errstate(invalid='ignore', divide='ignore'):
        ratio = np.log(sighting.landmark_depth / predicted)
    usable = np.isfinite(ratio)
    usable[usable] = np.abs(ratio[usable] - np.median(ratio[usable])) < _MAX_LOG_RATIO
    if not usable.any():
        return depth
    ratio, known = ratio[usable], known[usable]
    apart = rays[:, None, :2] - known[None, :, :2]
    weight = np.exp(-0.5 * (apart**2).sum(axis=2) / _REACH**2)
    total = weight @ ratio + _PRIOR_WEIGHT * np.median(ratio)
    return depth * np.exp(total / (weight.sum(axis=1) + _PRIOR_WEIGHT))
