# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Reads sensor_msgs CameraInfo, of rclpy or of rosbags; nothing here needs ROS."""

from __future__ import annotations

import re
from typing import Any

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.calibration import camera_from_numbers
from mem3r_ros.errors import BadFrame

RECTIFIED = re.compile(r'(^|[/_])rect')


def camera_from_info(message: Any, image_topic: str = '') -> Intrinsics | None:
    """
    Read a sensor_msgs CameraInfo.

    :param message: the message, with the field names of ROS 2 or of ROS 1.
    :param image_topic: topic of the images; where a word of it begins with ``rect`` they are
        rectified already, so P is their camera matrix and they have no distortion.
    :return: the camera of the images as they are sent, region of interest and binning applied;
        None if the camera is not calibrated (K is zero).
    :raises BadFrame: the numbers are no camera.
    """
    K = message.k if hasattr(message, 'k') else message.K
    P = message.p if hasattr(message, 'p') else message.P
    D = message.d if hasattr(message, 'd') else message.D
    if not K[0]:
        return None
    is_rectified = bool(RECTIFIED.search(image_topic) and P[0])
    fx, cx, fy, cy = (P[0], P[2], P[5], P[6]) if is_rectified else (K[0], K[2], K[4], K[5])
    model, distortion = ('none', ()) if is_rectified else (message.distortion_model, D)
    try:
        whole = camera_from_numbers(
            fx, fy, cx, cy, message.width, message.height, model, distortion
        )
        return _as_sent(whole, message)
    except ValueError as error:
        raise BadFrame(str(error)) from error


def _as_sent(camera: Intrinsics, message: Any) -> Intrinsics:
    """Apply region of interest and binning: K and P are those of the whole sensor."""
    region = getattr(message, 'roi', None)
    if region is not None and region.width and region.height:
        camera = camera.cropped(
            int(region.x_offset), int(region.y_offset), int(region.width), int(region.height)
        )
    by_x = max(1, int(getattr(message, 'binning_x', 0)))
    by_y = max(1, int(getattr(message, 'binning_y', 0)))
    if (by_x, by_y) == (1, 1):
        return camera
    return camera.resized(camera.width // by_x, camera.height // by_y)
