# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Live cameras and network streams: the newest image, and a new connection when one breaks.

A thread reads all the time and keeps the newest image alone, so that a slow tracker is never
behind the camera. Stamps are the time of reception.
"""

from __future__ import annotations

from collections.abc import Iterator
import logging
from pathlib import Path
import re
import threading
import time

import cv2
import numpy as np

from mem3r_ros.data.sequence import Selection, Sequence, SequenceFrame
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.live_sources import device_number

LOGGER = logging.getLogger(__name__)

FIRST_WAIT_S = 0.5  # before the first new connection; doubled up to the longest
LONGEST_WAIT_S = 10.0
OPEN_TIMEOUT_S = 10.0


class LiveCamera(Sequence):
    """The images of one camera from now on; it ends when ``stop`` is called or it stays silent."""

    is_live = True

    def __init__(self, source: str, selection: Selection, *, give_up_s: float = 60.0) -> None:
        """
        Connect.

        :param source: number of a camera, /dev/videoN, or a URL that OpenCV opens.
        :param selection: stride counts images that were tracked.
        :param give_up_s: time without an image after which the stream is over.
        :raises UserError: the camera cannot be opened.
        """
        super().__init__(Path(source), selection)
        self.source = source
        self.num_dropped = 0
        self.num_connections = 0
        self._give_up_s = give_up_s
        self._condition = threading.Condition()
        self._newest: tuple[int, np.ndarray] | None = None
        self._stopped = threading.Event()
        self._ended = False
        self._first = self._connect()
        if self._first is None:
            raise UserError(
                f'camera {shown_source(source)!r} does not open; check the cable or address, that '
                f'no other program uses it, and the rights on /dev/video* (group video)'
            )

    @property
    def name(self) -> str:
        """Return the name of the camera in titles, without a password."""
        return f'camera {shown_source(self.source)}'

    def remarks(self) -> list[str]:
        """Return how many images were passed over, and how often the camera was lost."""
        sentences = []
        if self.num_dropped:
            sentences.append(
                f'{self.num_dropped} images of the camera were passed over, because newer ones '
                'had arrived.'
            )
        if self.num_connections > 1:
            sentences.append(f'The camera was connected {self.num_connections} times.')
        return sentences

    def stop(self) -> None:
        """End the stream; the iteration returns after the image that is being tracked."""
        self._stopped.set()
        with self._condition:
            self._condition.notify_all()

    def _num_items(self) -> None:
        return None

    def _items(self) -> Iterator[tuple[int, np.ndarray]]:
        self._stopped.clear()
        self._ended, self._newest = False, None
        reader = threading.Thread(target=self._read, name='camera', daemon=True)
        reader.start()
        try:
            while (item := self._take()) is not None:
                yield item
        finally:
            self.stop()
            reader.join(timeout=2.0)

    def _load(self, item: tuple[int, np.ndarray]) -> SequenceFrame:
        stamp_ns, image = item
        if image.ndim != 3 or image.dtype != np.uint8:
            raise BadFrame(f'the camera gave an image of shape {image.shape}, {image.dtype}')
        return SequenceFrame(stamp_ns, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def _take(self) -> tuple[int, np.ndarray] | None:
        """Wait for the newest image; None when the stream is over."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._newest is not None or self._ended or self._stopped.is_set()
            )
            item, self._newest = self._newest, None
            return None if self._stopped.is_set() else item

    def _connect(self) -> cv2.VideoCapture | None:
        number = device_number(self.source)
        if number is None:
            timeout_ms = round(1000 * OPEN_TIMEOUT_S)
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
            capture = cv2.VideoCapture(self.source, cv2.CAP_FFMPEG, limits)
        else:
            capture = cv2.VideoCapture(number)
        if not capture.isOpened():
            capture.release()
            return None
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # only some drivers know it
        self.num_connections += 1
        return capture

    def _read(self) -> None:
        """Read until the end; connect again after a failure, each time after a longer wait."""
        capture, self._first = self._first, None
        wait_s, last_image_s = FIRST_WAIT_S, time.monotonic()
        try:
            while not self._stopped.is_set():
                success, image = (False, None) if capture is None else capture.read()
                if success:
                    wait_s, last_image_s = FIRST_WAIT_S, time.monotonic()
                    self._offer(time.time_ns(), image)
                    continue
                if capture is not None:
                    capture.release()
                    capture = None
                    LOGGER.warning('%s: no image; connecting again', self.name)
                if time.monotonic() - last_image_s + wait_s > self._give_up_s:
                    LOGGER.warning('%s: silent for %g s; the run ends', self.name, self._give_up_s)
                    return
                self._stopped.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                capture = None if self._stopped.is_set() else self._connect()
        finally:
            if capture is not None:
                capture.release()
            with self._condition:
                self._ended = True
                self._condition.notify_all()

    def _offer(self, stamp_ns: int, image: np.ndarray) -> None:
        with self._condition:
            self.num_dropped += self._newest is not None
            self._newest = stamp_ns, image
            self._condition.notify_all()


def shown_source(source: str) -> str:
    """Return an address without user and password, for titles and logs."""
    return re.sub(r'//[^/@]*@', '//', source)
