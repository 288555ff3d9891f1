# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Converts the pixels of cameras, bags and files to RGB; all encodings are defined here.

The names are those of ``sensor_msgs/image_encodings`` and REP 118; nothing here needs ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re
from typing import Any

import cv2
import numpy as np

from mem3r_ros.data.picture_files import MAX_PIXELS, whole_picture
from mem3r_ros.errors import BadFrame, UserError


class UnknownEncoding(UserError):
    """The encoding of the pixels is not supported."""


# encoding -> (sample type, samples a pixel, how to get RGB or grey from [H, W, samples])
_PLAIN: dict[str, tuple[str, int, int | None]] = {
    'rgb8': ('u1', 3, None),
    'bgr8': ('u1', 3, cv2.COLOR_BGR2RGB),
    'rgba8': ('u1', 4, cv2.COLOR_RGBA2RGB),
    'bgra8': ('u1', 4, cv2.COLOR_BGRA2RGB),
    'mono8': ('u1', 1, cv2.COLOR_GRAY2RGB),
    '8UC1': ('u1', 1, cv2.COLOR_GRAY2RGB),
    '8UC3': ('u1', 3, cv2.COLOR_BGR2RGB),
    '8UC4': ('u1', 4, cv2.COLOR_BGRA2RGB),
    'rgb16': ('u2', 3, None),
    'bgr16': ('u2', 3, cv2.COLOR_BGR2RGB),
    'rgba16': ('u2', 4, cv2.COLOR_RGBA2RGB),
    'bgra16': ('u2', 4, cv2.COLOR_BGRA2RGB),
    'mono16': ('u2', 1, cv2.COLOR_GRAY2RGB),
    '16UC1': ('u2', 1, cv2.COLOR_GRAY2RGB),
    '16UC3': ('u2', 3, cv2.COLOR_BGR2RGB),
    'yuv422': ('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': ('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': ('u1', 2, cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': ('u1', 2, cv2.COLOR_YUV2RGB_YUY2),
    # ROS names the pattern from the first pixel, OpenCV from the second pixel of the second row.
    'bayer_rggb8': ('u1', 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': ('u1', 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': ('u1', 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': ('u1', 1, cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': ('u2', 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': ('u2', 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': ('u2', 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': ('u2', 1, cv2.COLOR_BayerGB2RGB),
}
# A full-size luma plane, then interleaved chroma: encoding -> (rows of chroma bytes, code)
_PLANAR: dict[str, tuple[int, int]] = {
    'nv12': (1, cv2.COLOR_YUV2RGB_NV12),
    'nv21': (1, cv2.COLOR_YUV2RGB_NV21),
    'nv24': (4, cv2.COLOR_YUV2RGB_NV12),
}
# encoding of depth -> (sample type, samples in a metre)
_DEPTHS = {'16UC1': ('u2', 1000.0), 'mono16': ('u2', 1000.0), '32FC1': ('f4', 1.0)}
IMAGE_ENCODINGS = (*_PLAIN, *_PLANAR)
# Video codecs by which drivers name the format of their packets.
_VIDEO = re.compile(r'h\.?26[345]|hevc|av1|vp[89]|mpeg|theora|ffmpeg|x26[45]', re.IGNORECASE)
# A range is narrow below this share of all values; noise is not stretched beyond _MIN_SPAN.
_NARROW, _MIN_SPAN = 1 / 8, 64.0


@dataclass(slots=True)
class DecodingState:
    """
    What decoding the images of one stream needs: their limit, and the 16-bit values so far.

    Cameras with 10, 12 or 14 bits store them in the low bits of 16, so a fixed division by 256
    would give black images. The bit depth follows from the brightest sample so far, so brightness
    does not flicker from image to image. Thermal cameras use a narrow range far above zero: it is
    stretched over 8 bits, and never narrowed.
    """

    max_pixels: int = MAX_PIXELS  # larger pictures are refused by their header
    bits: int = 8
    low: float = float('inf')  # range of all but one in a thousand samples so far
    high: float = float('-inf')

    def reduced(self, image: np.ndarray) -> np.ndarray:
        """Reduce uint16 samples of any shape to uint8."""
        bits = int(image.max(initial=0)).bit_length()
        self.bits = max(self.bits, bits + bits % 2)
        low, high = np.percentile(image[::4, ::4], (0.1, 99.9)) if image.size else (0.0, 0.0)
        self.low, self.high = min(self.low, low), max(self.high, high)
        narrow = _NARROW * 2**self.bits
        if self.low > narrow and self.high - self.low < narrow:
            return self._stretched(image)
        return (image >> (self.bits - 8)).astype(np.uint8)

    def _stretched(self, image: np.ndarray) -> np.ndarray:
        span = max(1.25 * (self.high - self.low), _MIN_SPAN)
        start = (self.low + self.high - span) / 2
        levels = (image.astype(np.float32) - np.float32(start)) * np.float32(255.0 / span)
        return levels.clip(0.0, 255.0).astype(np.uint8)


def decode_image(
    data: Any,
    height: int,
    width: int,
    encoding: str,
    step: int,
    is_bigendian: bool = False,
    decoding: DecodingState | None = None,
) -> np.ndarray:
    """
    Convert the bytes of an uncompressed image message to RGB.

    :param data: bytes, array or anything with the buffer protocol.
    :param height: rows of the picture.
    :param width: columns of the picture.
    :param encoding: name as in ``sensor_msgs/image_encodings``.
    :param step: bytes from one row to the next; 0 means that rows are not padded.
    :param is_bigendian: byte order of 16 bit samples.
    :param decoding: of the stream that the image belongs to; it is remembered there.
    :return: image [H, W, 3] uint8 RGB, memory of its own.
    :raises UnknownEncoding: the encoding is not one of ``IMAGE_ENCODINGS``.
    :raises BadFrame: size and data contradict each other.
    """
    if encoding not in _PLAIN and encoding not in _PLANAR:
        raise UnknownEncoding(
            f'image encoding {encoding!r} is not supported; '
            f'use one of {", ".join(IMAGE_ENCODINGS)}'
        )
    if height <= 0 or width <= 0:
        raise BadFrame(f'image size is {width}x{height}; both must be positive')
    pixels = np.frombuffer(data, np.uint8)
    if encoding in _PLANAR:
        return _decode_planar(pixels, height, width, encoding, step)
    sample, num_samples, code = _PLAIN[encoding]
    dtype = np.dtype(sample).newbyteorder('>' if is_bigendian else '<')
    rows = _rows(pixels, height, width * num_samples * dtype.itemsize, step)
    image = np.ascontiguousarray(rows).view(dtype).reshape(height, width, num_samples)
    if dtype.itemsize == 2:
        image = image.astype(np.uint16)
        if not encoding.startswith('bayer'):
            image = (decoding or DecodingState()).reduced(image)
    if code is not None:
        if encoding.startswith('bayer') and (height < 2 or width < 2):
            raise BadFrame(f'image size is {width}x{height}; a Bayer picture needs 2x2 pixels')
        if num_samples == 2 and width % 2:
            raise BadFrame(f'image width is {width} px; encoding {encoding} needs an even width')
        image = cv2.cvtColor(image, code)
    if image.dtype == np.uint16:
        return (decoding or DecodingState()).reduced(image)
    return np.array(image) if code is None else image  # a converted image is a copy already


def decode_compressed(
    data: Any, format: str = '', decoding: DecodingState | None = None
) -> np.ndarray:
    """
    Decode a JPEG, PNG or other picture file held in memory to RGB, 16 bit files included.

    :param data: the file's bytes.
    :param format: the ``format`` field of a CompressedImage message, if any; it shows whether a
        grey image is a Bayer mosaic.
    :param decoding: see :func:`decode_image`.
    :return: image [H, W, 3] uint8 RGB.
    :raises UnknownEncoding: the message holds depth or video, not a picture.
    :raises BadFrame: the bytes are empty, cut off, too large or no picture.
    """
    encoding, _, packing = format.partition(';')
    encoding = encoding.strip()
    if 'compressedDepth' in format:
        raise UnknownEncoding(f'format {format!r} holds depth; choose the topic of a colour image')
    if _VIDEO.search(packing or encoding):
        raise UnknownEncoding(
            f'format {format!r} is video, whose images need each other; publish single pictures, '
            'such as with image_transport republish to compressed'
        )
    if not encoding.startswith('bayer'):
        return _colour(data, decoding)
    mosaic = _decode(data, cv2.IMREAD_UNCHANGED, decoding)
    if mosaic.ndim == 3:  # the driver has made colours of it before
        return _colour(data, decoding)
    encoding = encoding.rstrip('0123456789') + str(8 * mosaic.itemsize)
    height, width = mosaic.shape
    return decode_image(mosaic.tobytes(), height, width, encoding, 0, False, decoding)


def read_image(path: str | Path, decoding: DecodingState | None = None) -> np.ndarray:
    """
    Read a picture file.

    :param path: JPEG, PNG or another format of OpenCV.
    :param decoding: see :func:`decode_image`.
    :return: image [H, W, 3] uint8 RGB.
    :raises BadFrame: the file is missing, empty, cut off or no picture.
    """
    return _colour(_file_bytes(path), decoding)


def read_depth(path: str | Path, depth_factor: float) -> np.ndarray:
    """
    Read a depth picture of 16 bit numbers.

    :param path: PNG or the like with one channel.
    :param depth_factor: stored units in a metre.
    :return: depth [H, W] float32 m along the optical axis, NaN where there is no measurement.
    :raises BadFrame: the file is missing or not a picture with one channel.
    """
    stored = _decode(_file_bytes(path), cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2:
        raise BadFrame(f'{path} has {stored.shape[2]} channels; a depth picture has one')
    depth_m = stored.astype(np.float32) / np.float32(depth_factor)
    # 0 means "no measurement" everywhere; 7-Scenes writes 65535 for it.
    depth_m[(stored == 0) | (stored == 65535)] = np.nan
    return depth_m


def decode_depth(
    data: Any,
    height: int,
    width: int,
    encoding: str,
    step: int,
    is_bigendian: bool = False,
    keep_far: bool = False,
) -> np.ndarray:
    """
    Convert the bytes of an uncompressed depth message (REP 118) to metres.

    :param data: see :func:`decode_image`, as the other arguments.
    :param encoding: 16UC1 or mono16 (mm), or 32FC1 (m).
    :param keep_far: whether +inf ("beyond the range", REP 117) stays; otherwise it becomes NaN.
    :return: depth [H, W] float32 m, NaN where there is no measurement.
    :raises UnknownEncoding: the encoding is another.
    :raises BadFrame: size and data contradict each other.
    """
    if encoding not in _DEPTHS:
        raise UnknownEncoding(
            f'depth encoding {encoding!r} is not supported; use one of {", ".join(_DEPTHS)}'
        )
    if height <= 0 or width <= 0:
        raise BadFrame(f'depth size is {width}x{height}; both must be positive')
    sample, units_a_metre = _DEPTHS[encoding]
    dtype = np.dtype(sample).newbyteorder('>' if is_bigendian else '<')
    rows = _rows(np.frombuffer(data, np.uint8), height, width * dtype.itemsize, step)
    stored = np.ascontiguousarray(rows).view(dtype).reshape(height, width)
    return _metres(stored.astype(np.float32) / np.float32(units_a_metre), keep_far)


def decode_compressed_depth(data: Any, format: str) -> np.ndarray:
    """
    Decode a message of the ``compressedDepth`` image transport, as far as it holds a PNG.

    :param data: a header of 12 bytes (a number, then A and B as float32), then a 16 bit PNG.
    :param format: the message's ``format`` field, as "16UC1; compressedDepth png".
    :return: depth [H, W] float32 m, NaN where there is no measurement.
    :raises UnknownEncoding: the format is another.
    :raises BadFrame: the bytes are cut off or no picture.
    """
    encoding = format.split(';')[0].strip()
    if 'compressedDepth' not in format or 'rvl' in format.lower() or encoding not in _DEPTHS:
        raise UnknownEncoding(
            f'depth format {format!r} is not supported; use 16UC1 or 32FC1 as compressedDepth png'
        )
    packed = np.frombuffer(data, np.uint8)
    if packed.size <= 12:
        raise BadFrame(f'compressed depth of {packed.size} bytes is cut off')
    stored = _decode(packed[12:].tobytes(), cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise BadFrame(f'compressed depth has samples of {stored.dtype}; expected 16 bits')
    values = stored.astype(np.float32)
    if _DEPTHS[encoding][0] == 'u2':
        return _metres(values / np.float32(_DEPTHS[encoding][1]))
    # Floats travel as quantised inverse depth.
    A, B = packed[4:12].view('<f4')
    with np.errstate(divide='ignore', invalid='ignore'):
        return _metres(np.where(stored == 0, np.float32(np.nan), A / (values - B)))


def _metres(depth_m: np.ndarray, keep_far: bool = False) -> np.ndarray:
    """Set values that are not a distance to NaN; +inf is one only with ``keep_far``."""
    largest = np.inf if keep_far else np.finfo(np.float32).max
    depth_m[~((depth_m > 0) & (depth_m <= largest))] = np.nan
    return depth_m


def _rows(pixels: np.ndarray, height: int, row_bytes: int, step: int) -> np.ndarray:
    """Remove the padding; the last row may have none."""
    step = step or row_bytes
    if step < row_bytes:
        raise BadFrame(f'image step is {step} bytes; a row of this size needs {row_bytes}')
    needed = (height - 1) * step + row_bytes
    if pixels.size < needed:
        raise BadFrame(f'image data has {pixels.size} bytes; its size and step need {needed}')
    return np.lib.stride_tricks.as_strided(pixels, (height, row_bytes), (step, 1), writeable=False)


def _decode_planar(
    pixels: np.ndarray, height: int, width: int, encoding: str, step: int
) -> np.ndarray:
    half_rows, code = _PLANAR[encoding]
    if height % 2 or width % 2:
        raise BadFrame(f'image size is {width}x{height}; encoding {encoding} needs even numbers')
    step = step or width
    rows = _rows(pixels, height + half_rows * height // 2, width, step)
    if encoding == 'nv24' and step == width:
        chroma = rows[height:].reshape(height, width, 2)[::2, ::2].reshape(height // 2, width)
        rows = np.concatenate([rows[:height], chroma])
    elif encoding == 'nv24':
        raise BadFrame(f'image step is {step} bytes; encoding nv24 is read without padding only')
    return cv2.cvtColor(np.ascontiguousarray(rows), code)


def _colour(data: Any, decoding: DecodingState | None) -> np.ndarray:
    # IMREAD_COLOR would reduce 16 bits by a fixed division; ANYDEPTH keeps them.
    image = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, decoding)
    if image.dtype == np.uint16:
        image = (decoding or DecodingState()).reduced(image)
    elif image.dtype != np.uint8:
        raise BadFrame(f'picture has samples of type {image.dtype}; expected 8 or 16 bit integers')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decode(data: Any, flags: int, decoding: DecodingState | None = None) -> np.ndarray:
    max_pixels = (decoding or DecodingState()).max_pixels
    picture = whole_picture(np.frombuffer(data, np.uint8).tobytes(), max_pixels)
    try:
        image = cv2.imdecode(np.frombuffer(picture, np.uint8), flags)
    except cv2.error as error:
        raise BadFrame(f'compressed image cannot be decoded: {error.err}') from error
    if image is None:
        raise BadFrame(f'compressed image of {len(picture)} bytes cannot be decoded')
    return image


def _file_bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadFrame(f'cannot read {path}: {error.strerror}') from error
