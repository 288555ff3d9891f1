# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The worker's side: images to results, on the one thread that owns the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import time
import traceback

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.encodings import BitDepth
from mem3r_ros.data.message_decoding import image_from_message
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.ros.frame_result import InputFrame, Result, Start, Stopwatch
from mem3r_ros.ros.frame_statistics import FrameCounts
from mem3r_ros.ros.stamp_monitor import Session, Verdict
from mem3r_ros.tracker import CameraFrame, TrackedFrame, Tracker

# A calibration for another size is scaled if the shape agrees this well, else not believed.
_ASPECT_TOLERANCE = 0.02


class Work:
    """Judges, decodes and tracks one image after another; every image gets a ``Result``."""

    def __init__(
        self,
        tracker: Tracker,
        session: Session,
        send: Callable[[Result], object],
        counts: FrameCounts,
        wanted: Callable[[], frozenset[str]],
        tell: Callable[..., None],
        forget: Callable[[], None],
        clock_ns: Callable[[], int],
    ) -> None:
        """
        Wrap a tracker.

        :param tracker: owned by this object from now on.
        :param session: judges stamps.
        :param send: takes the results; while it is busy this thread waits.
        :param counts: shared with the publishing side.
        :param wanted: which outputs of the tracker somebody listens to.
        :param tell: says something to the user, at most every few seconds for the same text.
        :param forget: drops what others know of a time that is over (TF, masks, wheels).
        :param clock_ns: tells the time of the ROS clock.
        """
        self.tracker = tracker
        self.session = session
        self._send = send
        self._counts = counts
        self._wanted = wanted
        self._tell = tell
        self._forget = forget
        self._clock_ns = clock_ns
        self._start = Start.SESSION
        self._bit_depth = BitDepth()
        self._is_restored = False  # and no image has followed yet
        self.camera_warning = ''
        self.mask_warning = ''

    def handle(self, frame: InputFrame) -> None:
        """Answer one image."""
        verdict = self.session.judge(frame.stamp_ns, time.monotonic(), self._clock_ns())
        if verdict is Verdict.NEW_SESSION:
            self._tell(f'stamps went back to {frame.stamp_ns * 1e-9:.3f} s: new session')
            self._forget()
            self.start_session()
        elif verdict is not Verdict.NEXT:
            self._skip(frame, verdict)
            return
        try:
            tracked, stages = self._track_restored(frame)
        except UserError as error:
            self._fail(frame, str(error))
        except Exception as error:  # one frame must not end the node, whatever is wrong with it
            self._fail(frame, f'{type(error).__name__}: {error}', traceback.format_exc())
        else:
            self._counts.tracked += 1
            self._answer(frame, tracked, '', stages)

    def start_session(self) -> None:
        """Forget the stream: the next image is the first of a new recording."""
        self.tracker.reset()
        self._start, self._is_restored = Start.SESSION, False

    def reset(self) -> str:
        """Forget what the network remembers; odometry goes on without a step."""
        self.tracker.request_reset()
        return 'memory, path and map are forgotten; odometry goes on without a step'

    def restore(self, path: Path) -> str:
        """Take a saved state; odometry goes on from the last pose, if there is one."""
        self.tracker.restore(path)
        self._is_restored = True
        if self._start is Start.NO:
            self._start = Start.GOES_ON
        return f'state read from {path}'

    def save(self, path: Path) -> str:
        """Write the state of the stream."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.tracker.snapshot(path)
        return f'state of {path.stat().st_size / 2**20:.1f} MiB written to {path}'

    def _track_restored(self, frame: InputFrame) -> tuple[TrackedFrame, dict[str, float]]:
        """Track; a loaded state that does not fit the first image is given up, not waited for."""
        is_first, self._is_restored = self._is_restored, False
        try:
            tracked, stages = self._track(frame)
        except BadFrame as error:
            if not is_first:
                raise
            # Saved later in a recording that has been started again, or with another camera.
            self._tell(f'the loaded state does not fit ({error}): starting afresh')
            self.tracker.reset()
            if self._start is Start.NO:
                self._start = Start.GOES_ON
            return self._track(frame)
        if is_first and tracked.reason:
            self._tell(f'state taken up; {tracked.reason}')
        return tracked, stages

    def _track(self, frame: InputFrame) -> tuple[TrackedFrame, dict[str, float]]:
        """Decode and track; return the result and the milliseconds of each stage."""
        watch = Stopwatch()
        stages = {'wait': 1e3 * (time.monotonic() - frame.arrived_s)}
        image = image_from_message(frame.message, self._bit_depth)
        camera = self._matching_camera(frame.camera, image)
        mask = self._matching_mask(frame.mask, image)
        watch.lap('decode')
        tracked = self.tracker.track(
            CameraFrame(frame.stamp_ns, image, camera, mask, wheel_path_m=frame.wheel_path_m),
            outputs=self._wanted(),
        )
        watch.lap('track')
        if tracked.notice:
            self._tell(tracked.notice)
        stages |= watch.milliseconds
        stages |= {f'track.{name}': ms for name, ms in tracked.health.stage_ms.items()}
        return tracked, stages

    def _fail(self, frame: InputFrame, reason: str, details: str = '') -> None:
        self._counts.failed += 1
        self._tell(f'image skipped: {reason}', details)
        self._answer(frame, None, reason, {})

    def _skip(self, frame: InputFrame, verdict: Verdict) -> None:
        if verdict is Verdict.ZERO:
            self._fail(frame, 'stamp is zero; have the driver stamp images as they are taken')
            return
        if verdict is Verdict.AHEAD:
            ahead_s = (frame.stamp_ns - self.session.last_stamp_ns) * 1e-9
            self._fail(
                frame,
                f'stamp is {ahead_s:.1f} s ahead of the last one: not used unless the next image '
                'confirms it; look for gaps in the recording or at the clock of the driver',
            )
            return
        self._counts.late += 1
        self._answer(frame, None, verdict.value, {})

    def _answer(
        self,
        frame: InputFrame,
        tracked: TrackedFrame | None,
        reason: str,
        milliseconds: dict[str, float],
    ) -> None:
        start = Start.NO
        if tracked is not None:
            start, self._start = self._start, Start.NO
        self._send(
            Result(
                frame.stamp_ns,
                frame.camera_frame,
                frame.arrived_s,
                tracked,
                reason,
                start,
                self.session.number,
                milliseconds,
            )
        )

    def _matching_camera(self, camera: Intrinsics | None, image: np.ndarray) -> Intrinsics | None:
        """Return the calibration at the image's size, or None if it is of another picture."""
        height, width = image.shape[:2]
        self.camera_warning = ''
        if camera is None or (camera.width, camera.height) == (width, height):
            return camera
        ratio = (width / height) / (camera.width / camera.height)
        if abs(ratio - 1.0) <= _ASPECT_TOLERANCE:
            return camera.resized(width, height)
        self.camera_warning = (
            f'camera_info is for {camera.width}x{camera.height}, the image is {width}x{height}: '
            'calibration not used; remap camera_info to the topic beside the image'
        )
        return None

    def _matching_mask(self, mask: np.ndarray | None, image: np.ndarray) -> np.ndarray | None:
        self.mask_warning = ''
        if mask is None or mask.shape == image.shape[:2]:
            return mask
        self.mask_warning = (
            f'mask of {mask.shape[1]}x{mask.shape[0]} not used: the image is '
            f'{image.shape[1]}x{image.shape[0]}'
        )
        return None
