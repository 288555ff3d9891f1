# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Converts messages of sensor_msgs, of rclpy or of rosbags, to arrays and Intrinsics.

Images, depth images, calibrations and stamps of headers; nothing here needs ROS.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.calibration import camera_from_numbers
from mem3r_ros.data.encodings import (
    BitDepth,
    decode_compressed,
    decode_compressed_depth,
    decode_depth,
    decode_image,
)
from mem3r_ros.errors import BadFrame
from mem3r_ros.trajectory import NANOSECONDS

RECTIFIED = re.compile(r'(^|[/_])rect')


def header_stamp_ns(message: Any) -> int:
    """Return the stamp of a message's header in nanoseconds; 0 if it is not set."""
    stamp = message.header.stamp
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def image_from_message(message: Any, depth: BitDepth | None = None) -> np.ndarray:
    """
    Decode a sensor_msgs Image or CompressedImage.

    :param depth: of the stream that the image belongs to, see :func:`decode_image`.
    :return: image [H, W, 3] uint8 RGB.
    :raises UnknownEncoding: the encoding is not supported.
    :raises BadFrame: the data are damaged.
    """
    if hasattr(message, 'format'):
        return decode_compressed(message.data, message.format, depth)
    return decode_image(
        message.data,
        message.height,
        message.width,
        message.encoding,
        message.step,
        bool(message.is_bigendian),
        depth,
    )


def depth_from_message(message: Any, keep_far: bool = False) -> np.ndarray:
    """
    Decode depth of a sensor_msgs Image or CompressedImage.

    :param keep_far: whether +inf, "beyond the range" of REP 117, stays; otherwise it becomes NaN.
    :return: depth [H, W] float32 m along z, NaN where there is no measurement.
    :raises UnknownEncoding: the message holds no depth, or its encoding is not supported.
    :raises BadFrame: the data are damaged.
    """
    if hasattr(message, 'format'):
        return decode_compressed_depth(message.data, message.format)
    return decode_depth(
        message.data,
        message.height,
        message.width,
        message.encoding,
        message.step,
        bool(message.is_bigendian),
        keep_far,
    )


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
