# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Converts messages of sensor_msgs, of rclpy or of rosbags, to arrays.

Images, depth images and stamps of headers; nothing here needs ROS.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mem3r_ros.data.encodings import (
    DecodingState,
    decode_compressed,
    decode_compressed_depth,
    decode_depth,
    decode_image,
)
from mem3r_ros.trajectory import NANOSECONDS


def header_stamp_ns(message: Any) -> int:
    """Return the stamp of a message's header in nanoseconds; 0 if it is not set."""
    stamp = message.header.stamp
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def image_from_message(message: Any, decoding: DecodingState | None = None) -> np.ndarray:
    """
    Decode a sensor_msgs Image or CompressedImage.

    :param decoding: of the stream that the image belongs to, see :func:`decode_image`.
    :return: image [H, W, 3] uint8 RGB.
    :raises UnknownEncoding: the encoding is not supported.
    :raises BadFrame: the data are damaged.
    """
    if hasattr(message, 'format'):
        return decode_compressed(message.data, message.format, decoding)
    return decode_image(
        message.data,
        message.height,
        message.width,
        message.encoding,
        message.step,
        bool(message.is_bigendian),
        decoding,
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
