# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The part of cv_bridge that mem3r_ros uses: raw and compressed images as arrays, and back."""

from __future__ import annotations

import sys

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

_DEPTHS = {'uint8': '8U', 'int8': '8S', 'uint16': '16U', 'int16': '16S'}
_DEPTHS |= {'int32': '32S', 'float32': '32F', 'float64': '64F'}
_DTYPES = {depth: np.dtype(name) for name, depth in _DEPTHS.items()}
# Encoding -> sample type, channels, name in OpenCV's conversion codes.
_COLOURS = {
    'mono8': ('8U', 1, 'GRAY'),
    'rgb8': ('8U', 3, 'RGB'),
    'bgr8': ('8U', 3, 'BGR'),
    'rgba8': ('8U', 4, 'RGBA'),
    'bgra8': ('8U', 4, 'BGRA'),
    'mono16': ('16U', 1, 'GRAY'),
}


class CvBridgeError(TypeError):
    """A conversion is not possible; the message gives the reason."""


class CvBridge:
    """Converts between arrays of OpenCV and image messages."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> np.ndarray:
        """
        Return the pixels of an image message.

        :param img_msg: the message; rows may be padded.
        :param desired_encoding: encoding to convert to; passthrough: that of the message.
        :return: [H, W] or [H, W, channels].
        :raises CvBridgeError: an encoding is unknown, or there is no such conversion.
        """
        depth, num_channels, _ = _layout(img_msg.encoding)
        dtype = _DTYPES[depth]
        row_bytes = img_msg.width * num_channels * dtype.itemsize
        if img_msg.height * max(img_msg.step, row_bytes) > len(img_msg.data):
            raise CvBridgeError(
                f'{len(img_msg.data)} bytes are not enough for {img_msg.height} rows of '
                f'{max(img_msg.step, row_bytes)} bytes'
            )
        rows = np.ndarray((img_msg.height, img_msg.step), np.uint8, buffer=img_msg.data)
        pixels = np.ascontiguousarray(rows[:, :row_bytes]).view(dtype)
        if bool(img_msg.is_bigendian) != (sys.byteorder == 'big'):
            pixels = pixels.byteswap()
        if num_channels > 1:
            pixels = pixels.reshape(img_msg.height, img_msg.width, num_channels)
        return _converted(pixels, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(
        self, cvim: np.ndarray, encoding: str = 'passthrough', header: Header | None = None
    ) -> Image:
        """
        Return an image message.

        :param cvim: [H, W] or [H, W, channels].
        :param encoding: meaning of the pixels; passthrough: plain numbers such as 8UC3.
        :param header: stamp and frame.
        :raises CvBridgeError: the encoding does not fit the array.
        :raises TypeError: the input is not an array.
        """
        if not isinstance(cvim, np.ndarray):
            raise TypeError('Your input type is not a numpy array')
        num_channels = 1 if cvim.ndim < 3 else cvim.shape[2]
        name = f'{_DEPTHS[cvim.dtype.name]}C{num_channels}'
        if encoding != 'passthrough':
            depth, expected_channels, _ = _layout(encoding)
            if name != f'{depth}C{expected_channels}':
                raise CvBridgeError(
                    f'encoding specified as {encoding}, but image has incompatible type {name}'
                )
        message = Image(height=cvim.shape[0], width=cvim.shape[1])
        if header is not None:
            message.header = header
        message.encoding = name if encoding == 'passthrough' else encoding
        message.is_bigendian = cvim.dtype.byteorder == '>'
        message.data.frombytes(cvim.tobytes())
        message.step = len(message.data) // message.height
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = 'passthrough'
    ) -> np.ndarray | None:
        """
        Return the pixels of a compressed image message; None if it cannot be decoded.

        :param cmprs_img_msg: message with a JPEG or PNG file.
        :param desired_encoding: encoding to convert to; passthrough: BGR or grey.
        """
        data = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR) if data.size else None
        if image is None:
            return None
        return _converted(image, 'mono8' if image.ndim == 2 else 'bgr8', desired_encoding)


def _layout(encoding: str) -> tuple[str, int, str]:
    """Return sample type, number of channels and colour space ('' for plain numbers)."""
    if encoding in _COLOURS:
        return _COLOURS[encoding]
    depth, _, num_channels = encoding.partition('C')
    if depth not in _DTYPES or not (num_channels or '1').isdigit():
        raise CvBridgeError(f'Unrecognized image encoding [{encoding}]')
    return depth, int(num_channels or 1), ''


def _converted(image: np.ndarray, source: str, target: str) -> np.ndarray:
    if target in ('passthrough', source):
        return image
    depth, num_channels, colours = _layout(source)
    new_depth, new_channels, new_colours = _layout(target)
    if new_colours and not colours:
        raise CvBridgeError(
            f'[{source}] is not a color format. but [{target}] is. '
            'The conversion does not make sense'
        )
    if depth != new_depth or (not new_colours and num_channels != new_channels):
        raise CvBridgeError(f'conversion from [{source}] to [{target}] needs the real cv_bridge')
    if not new_colours or colours == new_colours:
        return image
    return cv2.cvtColor(image, getattr(cv2, f'COLOR_{colours}2{new_colours}'))
