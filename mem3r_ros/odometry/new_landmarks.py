# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""New corners of a keyframe become landmarks at the network's depth."""

from __future__ import annotations

import numpy as np

from mem3r_ros.odometry.config import RefinementConfig
from mem3r_ros.odometry.corner_tracks import new_corners
from mem3r_ros.odometry.frame_input import FrameInput
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.pinhole import rays_of

_UNSURE = 2.0  # factor on the spread of a depth at an edge


def add_corners(
    landmarks: Landmarks,
    frame: FrameInput,
    grey: np.ndarray,
    camera: np.ndarray,
    depth_scale: float,
    config: RefinementConfig,
) -> None:
    """
    Add the corners of the newest frame where none is tracked.

    :param frame: with depth.
    :param grey: its image, [H, W] uint8.
    :param camera: fx, fy, cx, cy of it.
    :param depth_scale: depth of the window per depth of the network.
    """
    tracked = landmarks.seen[landmarks.is_tracked, -1]
    pixels = new_corners(grey, tracked, config.num_corners, frame.ignore)
    depth, is_sure = frame.depth.along(rays_of(pixels, camera))
    usable = np.isfinite(depth)
    pixels, depth, is_sure = pixels[usable], depth[usable], is_sure[usable]
    inverse_depth = 1.0 / (depth * depth_scale)
    relative = config.depth_sigma * np.where(is_sure, 1.0, _UNSURE)
    landmarks.add(grey, pixels, inverse_depth, relative * inverse_depth)
