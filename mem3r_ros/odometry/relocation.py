# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Where a camera is after a break: among the landmarks that the window still remembers.

After missing or unusable images neither the network nor the corners give the motion. Features of
the last keyframe, with its predicted depth, give a first pose by consensus (P3P in RANSAC;
Gao et al. 2003). It is good to some percent of the depth, enough to search the landmarks there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mem3r_ros.geometry import invert
from mem3r_ros.odometry.feature_matches import matched_features
from mem3r_ros.odometry.keyframe import Keyframe
from mem3r_ros.odometry.pinhole import DepthImage, camera_array, project, rays_of
from mem3r_ros.odometry.robust_geometry import pose_from_points

_NUM_FEATURES = 3000
_LIMIT_PX = 8.0  # at the reference width; predicted depth is wrong by a tenth or more
# Repeated textures and other scenes have less of both.
_MIN_INLIERS = 40
_MIN_SHARE = 0.33  # of the matches
_MIN_FEATURES = 15  # whose depth is compared with the predicted one


class Relocation(NamedTuple):
    """A camera that was found again."""

    T_window_camera: np.ndarray  # [4, 4]
    points: np.ndarray  # [M, 3] of the features, in the camera
    pixels: np.ndarray  # [M, 2] where it sees them

    def log_depth_ratio(self, depth: DepthImage | None, camera: np.ndarray) -> float | None:
        """
        Return the log of the depth in the window over a predicted one; None where it is unknown.

        :param depth: predicted for the image in which the features were found; None: not wanted.
        :param camera: fx, fy, cx, cy of the image.
        """
        if depth is None:
            return None
        predicted, is_sure = depth.along(rays_of(self.pixels, camera))
        if is_sure.sum() < _MIN_FEATURES:
            return None
        return float(np.median(np.log(self.points[is_sure, 2] / predicted[is_sure])))


def relocated(keyframe: Keyframe, grey: np.ndarray, width_scale: float) -> Relocation | None:
    """
    Find a camera by the features that its image shares with a keyframe.

    :param keyframe: with its predicted depth.
    :param grey: the new image, by the same camera, [H, W] uint8.
    :param width_scale: pixels of the images per pixel at the reference width.
    :return: None where the images share too little.
    """
    camera = camera_array(keyframe.camera)
    start, end = matched_features(keyframe.grey, grey, None, _NUM_FEATURES)
    rays = rays_of(start, camera)
    depth, _ = DepthImage(keyframe.network_depth, keyframe.network_camera).along(rays)
    is_known = np.isfinite(depth)
    points, end = rays[is_known] * depth[is_known, None], end[is_known]
    limit_px = _LIMIT_PX * width_scale
    T_key_camera = pose_from_points(points, end, camera, limit_px)
    if T_key_camera is None:
        return None
    T_camera_key = invert(T_key_camera)
    points = points @ T_camera_key[:3, :3].T + T_camera_key[:3, 3]
    error_px = np.linalg.norm(project(points, camera) - end, axis=1)
    fits = error_px < limit_px  # false for NaN
    if fits.sum() < max(_MIN_INLIERS, _MIN_SHARE * len(points)):
        return None
    return Relocation(keyframe.T_window_camera @ T_key_camera, points[fits], end[fits])
