# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""True depth in bags: pairs of images and depth messages, and the check of their registration."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mem3r_ros.data.sequence import MATCH_TOLERANCE_NS
from mem3r_ros.errors import UserError
from mem3r_ros.trajectory import NANOSECONDS

# Longest time (of the recording) and largest number of images that wait for later depth. Both
# bounds keep memory constant if depth stops or lags.
PATIENCE_NS = NANOSECONDS // 2
MAX_WAITING = 32


@dataclass(frozen=True, slots=True)
class Stamped:
    """Content of a message, its recording time, and the stamp of its header."""

    content: Any
    recorded_ns: int
    stamp_ns: int


class DepthPairing:
    """Pairs each image of a stream with the depth nearest in time, if it is near enough."""

    def __init__(self) -> None:
        self._images: deque[Stamped] = deque()
        self._depths: deque[Stamped] = deque(maxlen=MAX_WAITING)

    def add_image(self, image: Stamped) -> Iterator[tuple[Any, Any]]:
        """Add an image; yield the contents of the complete pairs, in order."""
        self._images.append(image)
        yield from self._settled(image.recorded_ns)

    def add_depth(self, depth: Stamped) -> Iterator[tuple[Any, Any]]:
        """Add depth; yield the contents of the complete pairs, in order."""
        self._depths.append(depth)
        yield from self._settled(depth.recorded_ns)

    def rest(self) -> Iterator[tuple[Any, Any]]:
        """Yield the waiting images at the end of the stream."""
        while self._images:
            yield self._pair(self._images.popleft())

    def _settled(self, now_ns: int) -> Iterator[tuple[Any, Any]]:
        newest_ns = max((depth.stamp_ns for depth in self._depths), default=None)
        while self._images:
            first = self._images[0]
            is_decided = newest_ns is not None and newest_ns >= first.stamp_ns
            is_late = now_ns - first.recorded_ns > PATIENCE_NS
            if not (is_decided or is_late or len(self._images) > MAX_WAITING):
                return
            yield self._pair(self._images.popleft())

    def _pair(self, image: Stamped) -> tuple[Any, Any]:
        nearest = min(
            self._depths, key=lambda depth: abs(depth.stamp_ns - image.stamp_ns), default=None
        )
        if nearest is None or abs(nearest.stamp_ns - image.stamp_ns) > MATCH_TOLERANCE_NS:
            return image.content, None
        return image.content, nearest.content


def check_registered(depth_m: np.ndarray, depth_frame: str, image: np.ndarray, frame: str) -> None:
    """
    Refuse depth that is not registered to the image.

    :param depth_frame: frame_id of the depth message; ``frame`` is that of the image.
    :raises UserError: sizes or frames differ.
    """
    if depth_m.shape != image.shape[:2]:
        raise UserError(
            f'it is {depth_m.shape[1]}x{depth_m.shape[0]} px, '
            f'the image {image.shape[1]}x{image.shape[0]} px'
        )
    names = depth_frame.lstrip('/'), frame.lstrip('/')
    if all(names) and names[0] != names[1]:
        raise UserError(f'it is in frame {names[0]!r}, the image in {names[1]!r}')
