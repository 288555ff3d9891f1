# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Compressed pictures before they are decoded: kind, size and end, read from the bytes.

OpenCV allocates what a header claims and fills a missing part with grey. What is decoded here has
passed both questions: is it small enough, and is it all there? Names and sizes follow PNG (ISO
15948), JPEG (ITU T.81), WebP, TIFF 6.0, BMP and Netpbm.
"""

from __future__ import annotations

import re
import struct

import cv2
import numpy as np

from mem3r_ros.errors import BadFrame
from mem3r_ros.picture_config import PictureConfig

MAX_PIXELS = PictureConfig().max_pixels

_PNG, _JPEG = b'\x89PNG\r\n\x1a\n', b'\xff\xd8'
_KINDS = (
    (_JPEG, 'JPEG'),
    (_PNG, 'PNG'),
    (b'II*\x00', 'TIFF'),
    (b'MM\x00*', 'TIFF'),
    (b'BM', 'BMP'),
)
# Frame headers of JPEG: all SOF markers; C4, C8 and CC are something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9
# Markers without a length: restarts, start, end, and the one for temporary use.
_BARE = frozenset(range(0xD0, 0xDA)) | {0x01}
_VIDEO = (b'\x00\x00\x00\x01', b'\x00\x00\x01')
# Bytes that a decoder reads as further coefficients; a whole picture does not change with them.
_MORE = bytes(range(1, 255)) * 8


def whole_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> bytes:
    """
    Return the bytes of the picture alone, without what a driver has sent behind its end.

    :param data: a picture file in memory.
    :param max_pixels: larger pictures are refused by their header.
    :raises BadFrame: it is empty, of unknown kind, too large or cut off.
    """
    if not data:
        raise BadFrame('compressed image is empty')
    kind = kind_of(data)
    width, height = _size(data, kind)
    if width < 1 or height < 1:
        raise BadFrame(f'{kind} image claims a size of {width}x{height}')
    if width * height > max_pixels:
        raise BadFrame(
            f'{kind} image claims {width}x{height} pixels; at most {max_pixels / 1e6:g} million '
            'are decoded (input.max_pixels)'
        )
    if kind == 'JPEG':
        return _whole_jpeg(data)
    return data[: _png_end(data)] if kind == 'PNG' else data


def kind_of(data: bytes) -> str:
    """
    Return what kind of picture the bytes begin.

    :raises BadFrame: it is none that is read here.
    """
    for start, kind in _KINDS:
        if data.startswith(start):
            return kind
    if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
        return 'WebP'
    if re.match(rb'P[1-6]\s', data[:3]):
        return 'Netpbm'
    if data.startswith(_VIDEO):
        raise BadFrame(
            f'compressed image of {len(data)} bytes begins like a video stream (H.264 or H.265); '
            'only single pictures are read: publish them as JPEG or PNG'
        )
    raise BadFrame(
        f'compressed image of {len(data)} bytes cannot be decoded: it begins with '
        f'{data[:8].hex(" ")}, which is no JPEG, PNG, WebP, TIFF, BMP or Netpbm'
    )


def _size(data: bytes, kind: str) -> tuple[int, int]:
    """Return width and height that the header claims."""
    try:
        if kind == 'PNG':
            return struct.unpack_from('>II', data, 16)
        if kind == 'JPEG':
            return _jpeg_size(data)
        if kind == 'WebP':
            return _webp_size(data)
        if kind == 'TIFF':
            return _tiff_size(data)
        if kind == 'BMP':
            if struct.unpack_from('<I', data, 14)[0] == 12:
                return struct.unpack_from('<HH', data, 18)
            width, height = struct.unpack_from('<ii', data, 18)
            return abs(width), abs(height)
        words = re.sub(rb'#[^\n]*', b'', data[:1000]).split()
        return int(words[1]), int(words[2])
    except (struct.error, IndexError, ValueError) as error:
        raise BadFrame(f'{kind} image of {len(data)} bytes is cut off in its header') from error


def _segments(data: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """
    Walk over the segments of a JPEG up to its first scan.

    :return: marker, first and last byte of each, and where the scan's coefficients begin.
    """
    segments, at = [], 2
    while True:
        at = data.index(b'\xff', at)
        while data[at] == 0xFF:  # fill bytes
            at += 1
        marker, at = data[at], at + 1
        if marker in _BARE:
            continue
        (length,) = struct.unpack_from('>H', data, at)
        segments.append((marker, at + 2, at + length))
        at += length
        if marker == _SCAN:
            return segments, at


def _jpeg_size(data: bytes) -> tuple[int, int]:
    # A thumbnail lies inside a segment, which is stepped over.
    sizes = [
        struct.unpack_from('>HH', data, first + 1)[::-1]
        for marker, first, _ in _segments(data)[0]
        if marker in _FRAMES
    ]
    return max(sizes, key=lambda size: size[0] * size[1]) if sizes else (0, 0)


def _webp_size(data: bytes) -> tuple[int, int]:
    form = data[12:16]
    if form == b'VP8 ':
        width, height = struct.unpack_from('<HH', data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if form == b'VP8L':
        (bits,) = struct.unpack_from('<I', data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = (int.from_bytes(data[at : at + 3], 'little') + 1 for at in (24, 27))
    return width, height


def _tiff_size(data: bytes) -> tuple[int, int]:
    order = '<' if data[:2] == b'II' else '>'
    (at,) = struct.unpack_from(f'{order}I', data, 4)
    (count,) = struct.unpack_from(f'{order}H', data, at)
    found = {}
    for index in range(count):
        tag, form = struct.unpack_from(f'{order}HH', data, at + 2 + 12 * index)
        value = struct.unpack_from(
            f'{order}H' if form == 3 else f'{order}I', data, at + 10 + 12 * index
        )
        found[tag] = value[0]
    return found.get(256, 0), found.get(257, 0)


def _png_end(data: bytes) -> int:
    at = len(_PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, at)
        at += 12 + length
        if name == b'IEND' and at <= len(data):
            return at
    raise BadFrame(f'PNG image of {len(data)} bytes is cut off')


def _whole_jpeg(data: bytes) -> bytes:
    """Return a JPEG up to its end marker, which is added where a driver leaves it out."""
    try:
        at = _segments(data)[1]
    except (ValueError, IndexError, struct.error) as error:
        raise BadFrame(f'JPEG image of {len(data)} bytes is cut off') from error
    while (at := data.find(b'\xff', at)) >= 0 and at + 1 < len(data):
        marker = data[at + 1]
        if marker == _END:
            return data[: at + 2]
        is_segment = marker not in _BARE and marker not in (0x00, 0xFF)
        if is_segment and at + 4 <= len(data):  # between the scans of a progressive picture
            at += struct.unpack_from('>H', data, at + 2)[0]
        at += 1 if marker == 0xFF else 2
    return _ended(data)


def _ended(data: bytes) -> bytes:
    """
    Return a JPEG without end marker, with one.

    A decoder stops after the last block, whatever follows: the picture is whole if further
    coefficients do not change it.
    """
    picture = data.rstrip(b'\x00') + b'\x00' * data.endswith(b'\xff\x00')
    end = bytes((0xFF, _END))
    try:
        first, second = (
            cv2.imdecode(np.frombuffer(picture + more + end, np.uint8), cv2.IMREAD_UNCHANGED)
            for more in (b'', _MORE)
        )
    except cv2.error:
        first = second = None
    if first is None or second is None or not np.array_equal(first, second):
        raise BadFrame(f'JPEG image of {len(data)} bytes is cut off')
    return picture + end
