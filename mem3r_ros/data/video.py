# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Video files, by OpenCV; the stamp of a frame is its number over the frame rate."""

from __future__ import annotations

from collections.abc import Iterator
import logging
from pathlib import Path

import cv2

from mem3r_ros.data.sequence import Selection, Sequence, SequenceFrame
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.trajectory import NANOSECONDS

VIDEO_SUFFIXES = (
    '.mp4', '.mkv', '.avi', '.mov', '.webm', '.m4v', '.mpg', '.mpeg', '.ts', '.wmv',
)  # fmt: skip
DEFAULT_FPS = 30.0

LOGGER = logging.getLogger(__name__)


class VideoFile(Sequence):
    """The frames of one video, in order; frames that the selection leaves out stay undecoded."""

    def __init__(self, path: Path, selection: Selection, fps: float | None = None) -> None:
        super().__init__(path, selection)
        capture = self._open()
        told_fps = capture.get(cv2.CAP_PROP_FPS)
        self._count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if fps is None and not 0.1 < told_fps < 1000.0:
            LOGGER.warning('%s does not tell its frame rate; taking %g', path, DEFAULT_FPS)
            told_fps = DEFAULT_FPS
        self._fps = fps or told_fps
        self._capture: cv2.VideoCapture | None = None

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise UserError(f'{self.path} is not a video that OpenCV can read')
        return capture

    def _num_items(self) -> int | None:
        return self._count if self._count > 0 else None

    def _items(self) -> Iterator[int]:
        capture = self._capture = self._open()
        try:
            index = 0
            while capture.grab():
                yield index
                index += 1
        finally:
            capture.release()

    def _load(self, item: int) -> SequenceFrame:
        assert self._capture is not None, 'a frame is loaded while it is the one grabbed'
        success, image = self._capture.retrieve()
        if not success:
            raise BadFrame(f'video frame {item} cannot be decoded')
        stamp_ns = round(item * NANOSECONDS / self._fps)
        return SequenceFrame(stamp_ns, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def load(self, handle: int) -> SequenceFrame:
        """Refuse: seeking in a video is exact with some codecs only."""
        raise UserError(f'{self.path} is a video, whose frames can only be read in their order')
