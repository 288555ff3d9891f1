# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The bridge itself."""

from __future__ import annotations

import array
import sys
from typing import Any

import cv2
from cv_bridge.encodings import Encoding, convert, cv_type, dtype_of, parse
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mem3r_ros.data.encodings import decode_image
from mem3r_ros.errors import BadFrame

_PLANAR = ('nv12', 'nv21', 'nv24')  # a plane of luma, then one of chroma
_NAMES = {'uint8': '8U', 'int8': '8S', 'uint16': '16U', 'int16': '16S'}
_NAMES |= {'int32': '32S', 'float32': '32F', 'float64': '64F'}


class CvBridgeError(TypeError):
    """A conversion is not possible; the message says why."""


class CvBridge:
    """Converts between OpenCV arrays and image messages."""

    def __init__(self) -> None:
        """Fill the tables that users of the real class look into."""
        self.numpy_type_to_cvtype = {**_NAMES, **{depth: name for name, depth in _NAMES.items()}}
        self.cvtype_to_name = {
            cv_type(Encoding(depth, num_channels, None)): f'{depth}C{num_channels}'
            for depth in _NAMES.values()
            for num_channels in (1, 2, 3, 4)
        }

    def dtype_with_channels_to_cvtype2(self, dtype: np.dtype, n_channels: int) -> str:
        """
        Return the name of a sample type and a number of channels.

        :param dtype: numpy type.
        :param n_channels: channels of a pixel.
        :return: such as 8UC3.
        """
        return f'{_NAMES[np.dtype(dtype).name]}C{n_channels}'

    def encoding_to_cvtype2(self, encoding: str) -> int:
        """
        Return OpenCV's number of an encoding.

        :param encoding: name as in an image message.
        :return: such as cv2.CV_8UC3.
        :raises CvBridgeError: there is no such encoding.
        """
        return getCvType(encoding)

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        """
        Return sample type and number of channels of an encoding.

        :param encoding: name as in an image message.
        :return: name of the numpy type, channels of a pixel.
        :raises CvBridgeError: there is no such encoding.
        """
        layout = _parse(encoding)
        return dtype_of(layout).name, layout.num_channels

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> np.ndarray:
        """
        Return the pixels of an image message.

        :param img_msg: the message; rows may be padded, samples of either byte order.
        :param desired_encoding: encoding to convert to, 'passthrough' for the message's own.
        :return: [H, W] or [H, W, channels]; with 'passthrough' it may share the message's memory.
        :raises CvBridgeError: the message contradicts itself or there is no such conversion.
        """
        if img_msg.encoding in _PLANAR:
            return _planar(img_msg, desired_encoding)
        image = _pixels(img_msg, _parse(img_msg.encoding))
        if desired_encoding == 'passthrough':
            return image
        return _convert(image, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(
        self, cvim: np.ndarray, encoding: str = 'passthrough', header: Header | None = None
    ) -> Image:
        """
        Return an image message of pixels.

        :param cvim: [H, W] or [H, W, channels].
        :param encoding: what the pixels mean, 'passthrough' for plain numbers such as 8UC3.
        :param header: stamp and frame of the message.
        :return: the message.
        :raises CvBridgeError: the encoding does not fit the array.
        :raises TypeError: it is no array.
        """
        _check_array(cvim)
        num_channels = 1 if cvim.ndim < 3 else cvim.shape[2]
        name = self.dtype_with_channels_to_cvtype2(cvim.dtype, num_channels)
        if encoding != 'passthrough':
            layout = _parse(encoding)
            if name != f'{layout.depth}C{layout.num_channels}':
                raise CvBridgeError(
                    f'encoding specified as {encoding}, but image has incompatible type {name}'
                )
        message = Image()
        if header is not None:
            message.header = header
        message.height, message.width = cvim.shape[:2]
        message.encoding = name if encoding == 'passthrough' else encoding
        message.is_bigendian = cvim.dtype.byteorder == '>'
        message.step = cvim.shape[1] * num_channels * cvim.dtype.itemsize
        message.data = _byte_array(cvim)
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = 'passthrough'
    ) -> np.ndarray:
        """
        Return the pixels of a compressed image message.

        :param cmprs_img_msg: message with a JPEG, PNG or other picture file.
        :param desired_encoding: encoding to convert to, 'passthrough' for what the file holds (BGR
            where it is coloured).
        :return: [H, W] or [H, W, channels].
        :raises CvBridgeError: the file cannot be decoded or there is no such conversion.
        """
        data = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if image is None:
            raise CvBridgeError(f'compressed image of {data.size} bytes cannot be decoded')
        if desired_encoding == 'passthrough':
            return image
        name = {1: 'mono', 3: 'bgr', 4: 'bgra'}[1 if image.ndim == 2 else image.shape[2]]
        return _convert(image, f'{name}{8 * image.dtype.itemsize}', desired_encoding)

    def cv2_to_compressed_imgmsg(
        self, cvim: np.ndarray, dst_format: str = 'jpg'
    ) -> CompressedImage:
        """
        Return a compressed image message of pixels.

        :param cvim: [H, W] grey, [H, W, 3] BGR or [H, W, 4] BGRA.
        :param dst_format: ending of a picture file, such as jpg or png.
        :return: the message.
        :raises CvBridgeError: OpenCV cannot write such pixels in that format.
        :raises TypeError: it is no array.
        """
        _check_array(cvim)
        try:
            written, data = cv2.imencode(f'.{dst_format}', cvim)
        except cv2.error as error:
            raise CvBridgeError(str(error)) from error
        if not written:
            raise CvBridgeError(f'cannot write {cvim.dtype} {cvim.shape} as {dst_format}')
        message = CompressedImage(format=dst_format)
        message.data = _byte_array(data)
        return message


def getCvType(encoding: str) -> int:
    """
    Return OpenCV's number of an encoding.

    :param encoding: name as in an image message.
    :return: such as cv2.CV_8UC3.
    :raises CvBridgeError: there is no such encoding.
    """
    return cv_type(_parse(encoding))


def _parse(encoding: str) -> Encoding:
    try:
        return parse(encoding)
    except ValueError as error:
        raise CvBridgeError(str(error)) from error


def _convert(image: np.ndarray, source: str, target: str) -> np.ndarray:
    try:
        return convert(image, source, target)
    except (ValueError, cv2.error) as error:
        raise CvBridgeError(str(error)) from error


def _pixels(message: Image, layout: Encoding) -> np.ndarray:
    """Return the array behind a message, cut to its width and in this machine's byte order."""
    dtype = dtype_of(layout)
    row_bytes = message.width * layout.num_channels * dtype.itemsize
    if message.step < row_bytes:
        raise CvBridgeError(
            f'Image is wrongly formed: step is {message.step}, but a row has {row_bytes} bytes'
        )
    if message.height * message.step > len(message.data):
        raise CvBridgeError(
            f'Image is wrongly formed: height * step is {message.height * message.step}, '
            f'but there are {len(message.data)} bytes'
        )
    data = bytes(message.data) if isinstance(message.data, list) else message.data
    rows = np.ndarray((message.height, message.step), np.uint8, buffer=data)[:, :row_bytes]
    stored = np.ascontiguousarray(rows).view(dtype)
    if bool(message.is_bigendian) != (sys.byteorder == 'big'):
        stored = stored.byteswap()
    if layout.num_channels == 1:
        return stored
    return stored.reshape(message.height, message.width, layout.num_channels)


def _planar(message: Image, desired_encoding: str) -> np.ndarray:
    if desired_encoding == 'passthrough':
        rows = len(message.data) // message.step
        data = np.frombuffer(message.data, np.uint8)[: rows * message.step]
        return np.ascontiguousarray(data.reshape(rows, message.step)[:, : message.width])
    try:
        rgb = decode_image(
            message.data, message.height, message.width, message.encoding, message.step
        )
    except BadFrame as error:
        raise CvBridgeError(str(error)) from error
    return _convert(rgb, 'rgb8', desired_encoding)


def _check_array(image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError('Your input type is not a numpy array')


def _byte_array(pixels: np.ndarray) -> array.array:
    """Return bytes in the one form that messages take without checking each of them."""
    data = array.array('B')
    if pixels.size:
        data.frombytes(memoryview(np.ascontiguousarray(pixels)).cast('B'))
    return data
