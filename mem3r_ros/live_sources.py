# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which words name a live camera and not a recording; imports neither numpy nor OpenCV."""

from __future__ import annotations

from pathlib import Path
import re

_DEVICE = re.compile(r'(?:/dev/video)?(\d{1,3})')
_STREAM = re.compile(r'(rtsp|rtsps|rtmp|http|https|udp|tcp|srt)://\S+', re.IGNORECASE)


def is_live(source: str) -> bool:
    """Return whether a word is a camera number, /dev/videoN or the address of a stream."""
    if _STREAM.fullmatch(source) or source.startswith('/dev/video'):
        return True
    return bool(_DEVICE.fullmatch(source)) and not Path(source).exists()


def device_number(source: str) -> int | None:
    """Return the number of a local camera, None for other sources."""
    match = _DEVICE.fullmatch(source)
    return int(match.group(1)) if match else None
