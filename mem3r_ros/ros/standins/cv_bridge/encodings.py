# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the names of image encodings mean, and how colours and depths are converted."""

from __future__ import annotations

import re
from typing import NamedTuple

import cv2
import numpy as np


class Encoding(NamedTuple):
    """How the pixels of an encoding lie in memory and what they mean."""

    depth: str  # OpenCV's name of the sample type, such as 8U
    num_channels: int
    colours: str | None  # family for OpenCV's conversion codes, None for plain numbers


_DTYPES = {
    '8U': np.uint8,
    '8S': np.int8,
    '16U': np.uint16,
    '16S': np.int16,
    '32S': np.int32,
    '32F': np.float32,
    '64F': np.float64,
}
_GENERIC = re.compile(r'(8U|8S|16U|16S|32S|32F|64F)(?:C([0-9]+))?')
_COLOURS = {'mono': ('GRAY', 1), 'rgb': ('RGB', 3), 'bgr': ('BGR', 3)}
_COLOURS |= {'rgba': ('RGBA', 4), 'bgra': ('BGRA', 4)}
# ROS names a Bayer pattern by its first two pixels, OpenCV by the second two of the second row.
_COLOURS |= {'bayer_rggb': ('BayerBG', 1), 'bayer_bggr': ('BayerRG', 1)}
_COLOURS |= {'bayer_gbrg': ('BayerGR', 1), 'bayer_grbg': ('BayerGB', 1)}
_YUV = {'yuv422': 'UYVY', 'uyvy': 'UYVY', 'yuv422_yuy2': 'YUY2', 'yuyv': 'YUY2'}
_NAMED = {
    **{
        f'{name}{bits}': Encoding(f'{bits}U', num_channels, colours)
        for name, (colours, num_channels) in _COLOURS.items()
        for bits in (8, 16)
    },
    **{name: Encoding('8U', 2, colours) for name, colours in _YUV.items()},
}


def parse(encoding: str) -> Encoding:
    """
    Return what an encoding means.

    :param encoding: name as in an image message.
    :return: its layout.
    :raises ValueError: there is no such encoding.
    """
    if encoding in _NAMED:
        return _NAMED[encoding]
    generic = _GENERIC.fullmatch(encoding)
    if generic is None:
        raise ValueError(f'Unrecognized image encoding [{encoding}]')
    return Encoding(generic[1], int(generic[2] or 1), None)


def dtype_of(encoding: Encoding) -> np.dtype:
    """
    Return the sample type in this machine's byte order.

    :param encoding: layout.
    :return: numpy type.
    """
    return np.dtype(_DTYPES[encoding.depth])


def cv_type(encoding: Encoding) -> int:
    """
    Return OpenCV's number of a layout, as the installed version counts.

    :param encoding: layout.
    :return: such as cv2.CV_8UC3.
    """
    if encoding.num_channels <= 4:
        return getattr(cv2, f'CV_{encoding.depth}C{encoding.num_channels}')
    return getattr(cv2, f'CV_{encoding.depth}C')(encoding.num_channels)


def convert(image: np.ndarray, source: str, target: str) -> np.ndarray:
    """
    Convert colours and depth as ROS's cv_bridge does.

    :param image: [H, W] or [H, W, channels] laid out as source says.
    :param source: encoding of the image.
    :param target: encoding wanted.
    :return: converted image, memory of its own.
    :raises ValueError: an encoding is unknown, or this conversion makes no sense.
    """
    if source == target:
        return image.copy()
    start, end = parse(source), parse(target)
    if start.colours is None and end.colours is not None:
        raise ValueError(
            f'[{source}] is not a color format, but [{target}] is. '
            'The conversion does not make sense'
        )
    if start.colours is None or end.colours is None:
        if start.num_channels != end.num_channels:
            raise ValueError(f'[{source}] and [{target}] do not have the same number of channels')
    elif start.colours != end.colours:
        code = getattr(cv2, _code(start.colours, end.colours), None)
        if code is None:
            raise ValueError(f'Unsupported conversion from [{source}] to [{target}]')
        image = cv2.cvtColor(image, code)
    elif start.colours.startswith('Bayer'):
        raise ValueError(f'Unsupported conversion from [{source}] to [{target}]')
    return _with_depth(image, start.depth, end.depth)


def _code(source: str, target: str) -> str:
    if target in ('UYVY', 'YUY2') or target.startswith('Bayer'):
        return 'no such code'
    if source in ('UYVY', 'YUY2'):
        return f'COLOR_YUV2{target}_{source}'
    return f'COLOR_{source}2{target}'


def _with_depth(image: np.ndarray, source: str, target: str) -> np.ndarray:
    """Between 8 and 16 bits white stays white; anything else keeps its numbers, saturated."""
    if source == target:
        return image.copy()
    dtype = np.dtype(_DTYPES[target])
    bits = (int(source[:-1]), int(target[:-1]))
    scale = {(8, 16): 65535.0 / 255.0, (16, 8): 255.0 / 65535.0}.get(bits, 1.0)
    values = image.astype(np.float64) * scale
    if dtype.kind in 'iu':
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(np.nan_to_num(values)), limits.min, limits.max)
    return values.astype(dtype)
