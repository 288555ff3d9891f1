# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Video files, by OpenCV, with the time of each frame as it stands in the file.

Phones lower the rate in the dark, so a frame's number over the average rate is not its time. Where
a file has no times of its own, or ``fps`` is given, they are the number over the rate.
"""

from __future__ import annotations

from collections.abc import Iterator
import logging
import math
from pathlib import Path

import cv2

from mem3r_ros.data.sequence import Selection, Sequence, SequenceFrame
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.trajectory import NANOSECONDS

VIDEO_SUFFIXES = (
    '.mp4', '.mkv', '.avi', '.mov', '.webm', '.m4v', '.mpg', '.mpeg', '.ts', '.wmv',
)  # fmt: skip
DEFAULT_FPS = 30.0
FPS_RANGE = (0.1, 1000.0)

LOGGER = logging.getLogger(__name__)


class VideoFile(Sequence):
    """The frames of one video, in order; frames that are not selected are not decoded."""

    def __init__(self, path: Path, selection: Selection, fps: float | None = None) -> None:
        super().__init__(path, selection)
        capture = self._open()
        file_fps = capture.get(cv2.CAP_PROP_FPS)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
        height = capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        capture.release()
        if width * height > selection.max_pixels:
            raise UserError(
                f'{path} claims {width:.0f}x{height:.0f} pixels; at most '
                f'{selection.max_pixels / 1e6:g} million are decoded (input.max_pixels)'
            )
        self._count = int(count) if math.isfinite(count) else 0
        self._given_fps = fps
        if fps is None and not FPS_RANGE[0] < file_fps < FPS_RANGE[1]:
            LOGGER.warning('%s has no frame rate; using %g', path, DEFAULT_FPS)
            file_fps = DEFAULT_FPS
        self._fps = fps or file_fps
        self._capture: cv2.VideoCapture | None = None
        self._times = _Times(self._fps)

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise UserError(f'{self.path} is not a video that OpenCV can read')
        return capture

    def _num_items(self) -> int | None:
        return self._count if self._count > 0 else None

    def _items(self) -> Iterator[tuple[int, int]]:
        capture = self._capture = self._open()
        self._times = _Times(self._fps)
        try:
            index = 0
            while capture.grab():
                time_ms = math.nan
                if self._given_fps is None:
                    time_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
                yield index, self._times.stamp_ns(time_ms)
                index += 1
        finally:
            capture.release()

    def _load(self, item: tuple[int, int]) -> SequenceFrame:
        assert self._capture is not None, 'a frame is loaded while it is the one grabbed'
        index, stamp_ns = item
        success, image = self._capture.retrieve()
        if not success:
            raise BadFrame(f'video frame {index} cannot be decoded')
        return SequenceFrame(stamp_ns, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def load(self, handle: tuple[int, int]) -> SequenceFrame:
        """Refuse: seeking in a video is exact with some codecs only."""
        raise UserError(f'{self.path} is a video, whose frames can only be read in their order')


class _Times:
    """The stamps of one pass: the file's times while they go on, else steps of the rate."""

    def __init__(self, fps: float) -> None:
        self._step_ns = round(NANOSECONDS / fps)
        self._fps = fps
        self._index = 0
        self._last_ns = -1

    def stamp_ns(self, time_ms: float) -> int:
        """Return the stamp of the next frame, later than that of the one before."""
        nominal_ns = round(self._index * NANOSECONDS / self._fps)
        stamp_ns = nominal_ns
        if math.isfinite(time_ms) and 0 <= time_ms < 1e12:
            stamp_ns = round(time_ms * 1e6)
            if self._index and stamp_ns <= self._last_ns:
                # A container without times gives 0 for each frame.
                stamp_ns = self._last_ns + self._step_ns
        self._index += 1
        self._last_ns = stamp_ns
        return stamp_ns
