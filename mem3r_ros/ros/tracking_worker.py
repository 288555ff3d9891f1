# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Turns images into results, on the one thread that owns the network.

A frame is finished, and its result is sent, on a second thread (``PipelinedTracker``), in the
order of the images, so that thread does all counting too.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
import threading
import time
import traceback
from typing import Any

import numpy as np

from mem3r_ros.data.encodings import DecodingState
from mem3r_ros.data.message_decoding import image_from_message
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.model.backend import BackendConfig, load_backend
from mem3r_ros.ros.frame_result import FrameResult, InputFrame, Start
from mem3r_ros.ros.frame_statistics import FrameCounts
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.skipped_images import SkippedImages
from mem3r_ros.ros.stamp_monitor import StampMonitor, Verdict
from mem3r_ros.ros.static_mask import StaticMask
from mem3r_ros.ros.transforms import MissingTransform
from mem3r_ros.tracker import CameraFrame, PipelinedTracker, TrackedFrame, Tracker, TrackerConfig
from mem3r_ros.tracker.stage_clock import StageClock

_UNUSED = {
    'camera': (
        'camera_info {}: calibration not used; remap camera_info to the topic beside the image'
    ),
    'mask': 'mask not used: it {}',
}
_SKIPPED = {
    Verdict.REPEATED: 'repeated stamp; two publishers, or a driver that sends images twice',
    Verdict.LATE: 'stamp before the last one; set the driver to send images in order',
    Verdict.STALE: 'stamp of the time before the clock jumped back; later images are used',
    Verdict.ZERO: 'stamp is zero; set the driver to stamp images when they are taken',
    Verdict.AHEAD: (
        'stamp is {:.1f} s ahead of the last one; it is accepted only if the next image confirms '
        'it: check the recording for gaps and the clock of the driver'
    ),
    Verdict.BEHIND: (
        'stamp is {:.1f} s before the last one; a new session starts only if the next image '
        'confirms it: check the clock of the driver'
    ),
}
_PLACE_WAIT_S = 2.0  # of ~/load_state for images that show a known place
_LATE = (Verdict.REPEATED, Verdict.LATE, Verdict.STALE)
LoadNetwork = Callable[[BackendConfig], tuple[Any, str]]


def make_tracker(
    config: NodeConfig, is_running: Callable[[], bool], load: LoadNetwork | None = None
) -> tuple[Tracker, str]:
    """
    Load the network, run it once and create a tracker.

    :param config: parameters of the node.
    :param is_running: called after loading; False skips the first run because the node ends.
    :param load: returns the network and its device; default: a network of its own.
    :return: the tracker and the name of its device.
    :raises UserError: the model or the device is not available.
    """
    model, device = (load or load_backend)(config)
    tracker = Tracker(model, config.tracking)
    if all(config.warm_up_size) and is_running():
        tracker.warm_up(*config.warm_up_size)
    return tracker, device


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    """Connections of the worker to the rest of the node."""

    send: Callable[[FrameResult], object]  # takes the results; may wait
    wanted_outputs: Callable[[], frozenset[str]]  # outputs of the tracker that have subscribers
    warn: Callable[..., None]  # logs a warning without repetition
    forget_time: Callable[[], None]  # drops inputs of the old time (TF, masks, wheel odometry)
    clock_ns: Callable[[], int]  # time of the ROS clock
    outside_pose: Callable[[InputFrame], np.ndarray | None]  # of the camera; None: not used


class TrackingWorker:
    """Checks the stamp of each image, decodes and tracks it; sends one result for every image."""

    def __init__(
        self,
        tracker: Tracker,
        stamps: StampMonitor,
        counts: FrameCounts,
        skipped: SkippedImages,
        ports: WorkerPorts,
        static_mask: StaticMask,
        max_pixels: int,
        is_parallel: bool,
    ) -> None:
        """
        Connect a tracker.

        :param tracker: owned by this object from now on.
        :param stamps: checks the stamps of images.
        :param counts: shared with the publishing thread.
        :param skipped: gets the reason of each image that is not tracked.
        :param ports: connections to the node.
        :param static_mask: ignored in every image.
        :param max_pixels: of a compressed image that is decoded.
        :param is_parallel: finish an image while the next one is measured.
        """
        self._frames = PipelinedTracker(tracker, is_parallel)
        self.stamps = stamps
        self._counts = counts
        self._skipped = skipped
        self._ports = ports
        self._start = Start.SESSION
        self._static_mask = static_mask
        self._decoding = DecodingState(max_pixels)
        # Other cameras of a shared network wait for the step of an image that is prepared.
        self._announce = getattr(tracker.model, 'announce', nullcontext)
        self._is_restored = False  # a state was loaded and no image has followed yet
        self._located = threading.Event()  # since the last state was loaded
        self.warnings: tuple[str, ...] = ()  # side inputs not used for the last image

    def handle(self, frame: InputFrame) -> None:
        """Send the result for one image."""
        verdict = self.stamps.judge(frame.stamp_ns, time.monotonic(), self._ports.clock_ns())
        if verdict is Verdict.NEW_SESSION:
            stamp_s = frame.stamp_ns * 1e-9
            self._ports.warn(f'stamps went back to {stamp_s:.3f} s: a new session starts')
            self._ports.forget_time()
            self.start_session()
        elif verdict is not Verdict.NEXT:
            self._skip(frame, verdict)
            return
        try:
            with self._announce():
                self._track_restored(frame)
        except UserError as error:
            self._fail(frame, str(error))
        except Exception as error:  # one bad frame must not end the node
            self._fail(frame, *_unexpected(error))

    def wait(self, timeout_s: float | None = None) -> bool:
        """
        Wait until the results of all images so far are sent.

        :param timeout_s: longest wait.
        :return: whether they are.
        """
        return self._frames.wait(timeout_s)

    def close(self) -> None:
        """End the thread that finishes images."""
        self._frames.close()

    @property
    def tracker(self) -> Tracker:
        """The tracker between two images: it waits for those on their way."""
        self.wait()
        return self._frames.tracker

    def configure(self, config: TrackerConfig) -> None:
        """Use other settings of the tracker from the next image on."""
        self.tracker.configure(config)

    def start_session(self) -> None:
        """Reset the stream: the next image is the first of a new recording."""
        self.tracker.reset()
        self._start, self._is_restored = Start.SESSION, False

    def reset(self) -> str:
        """Clear the memory of the network; odometry continues without a step."""
        self.tracker.request_reset()
        return 'memory, path and map cleared; odometry continues without a step'

    def restore(self, path: Path) -> str:
        """Load a saved state; odometry continues from the last pose, if there is one."""
        self.tracker.restore(path)
        self._is_restored = True
        self._located.clear()
        if self._start is Start.NO:
            self._start = Start.GOES_ON
        return f'state read from {path}'

    def place_after_load(self, wait_s: float = _PLACE_WAIT_S) -> str:
        """
        Return whether the place of the camera was found in the loaded state; may wait.

        :param wait_s: longest wait for images that show the place. Not on the tracking thread.
        """
        tracker = self.tracker
        if not tracker.config.places.enabled:
            return ''
        if not len(tracker.places.correction):
            return '; it has no places'
        if self._located.wait(wait_s):
            return '; the place is recognised'
        return '; the place is not recognised yet: the map follows when an image shows it'

    def set_distance(self) -> str:
        """Set the scale by the true depth at the centre of the last image."""
        scale = self.tracker.config.scale
        if scale.source != 'distance':
            raise UserError(
                f'tracking.scale.source is {scale.source!r}; set it to distance, so that a '
                'measured distance sets the scale'
            )
        self.tracker.measure_distance(scale.distance_m)
        return f'the centre of the last image is {scale.distance_m:g} m away'

    def save(self, path: Path) -> str:
        """Write the state of the stream to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.tracker.snapshot(path)
        return f'state of {path.stat().st_size / 2**20:.1f} MiB written to {path}'

    def _track_restored(self, frame: InputFrame) -> None:
        """Track; a loaded state that does not fit the first image is discarded."""
        is_first, self._is_restored = self._is_restored, False
        try:
            self._track(frame, is_first)
        except BadFrame as error:
            if not is_first:
                raise
            # It was saved later in a recording that has started again, or with another camera.
            self._ports.warn(f'the loaded state does not fit the image ({error}); it is discarded')
            self.tracker.reset()
            if self._start is Start.NO:
                self._start = Start.GOES_ON
            self._track(frame, False)

    def _track(self, frame: InputFrame, is_restored: bool) -> None:
        """Decode and measure an image; its result is sent when it is finished."""
        clock = StageClock()
        wait_ms = 1e3 * (time.monotonic() - frame.arrived_s)
        with clock('decode'):
            image = image_from_message(frame.message, self._decoding)
        mask, warning = self._static_mask.combined(image.shape[:2], frame.mask)
        T_outside_camera, missing = None, ''
        try:
            T_outside_camera = self._ports.outside_pose(frame)
        except MissingTransform as error:
            missing = f'outside_frame not used: {error}'
        result = self._frames.track(
            CameraFrame(
                frame.stamp_ns,
                image,
                frame.camera,
                mask,
                wheel_path_m=frame.wheel_path_m,
                T_outside_camera=T_outside_camera,
            ),
            outputs=self._ports.wanted_outputs(),
        )
        stage_ms = {'wait': wait_ms} | clock.stage_ms
        self._then(partial(self._finish, frame, result, stage_ms, (warning, missing), is_restored))

    def _fail(self, frame: InputFrame, reason: str, details: str = '') -> None:
        """Refuse an image; its result follows those of the images before."""
        self._then(partial(self._count_failure, frame, reason, details))

    def _skip(self, frame: InputFrame, verdict: Verdict) -> None:
        """Refuse an image by its stamp."""
        apart_s = abs(frame.stamp_ns - (self.stamps.last_stamp_ns or 0)) * 1e-9
        reason = _SKIPPED[verdict].format(apart_s)
        if verdict in _LATE:
            self._then(partial(self._count_late, frame, reason))
        else:
            self._fail(frame, reason)

    def _then(self, action: Callable[[], None]) -> None:
        """Run an action behind the images so far; an error of it is logged."""
        self._frames.then(action).add_done_callback(self._report)

    # On the thread that finishes frames.

    def _report(self, done: Future) -> None:
        error = done.exception()
        if error is not None:
            self._ports.warn(f'result of an image not sent: {error}', _unexpected(error)[1])

    def _finish(
        self,
        frame: InputFrame,
        result: Future[TrackedFrame],
        stage_ms: dict[str, float],
        warnings: tuple[str, ...],
        is_restored: bool,
    ) -> None:
        """Send the result of an image, or the reason why there is none."""
        try:
            tracked = result.result()
        except UserError as error:
            self._count_failure(frame, str(error), '')
            return
        except Exception as error:  # one bad frame must not end the node
            self._count_failure(frame, *_unexpected(error))
            return
        if tracked.is_located:
            self._located.set()
        unused = [_UNUSED[name].format(why) for name, why in tracked.ignored.items()]
        self.warnings = tuple(filter(None, (*unused, *warnings)))
        if tracked.notice and not tracked.ignored:  # warnings are logged with the diagnostics
            self._ports.warn(tracked.notice)
        if is_restored and tracked.reason:
            self._ports.warn(f'state loaded; {tracked.reason}')
        inner_ms = {f'track.{name}': ms for name, ms in tracked.health.stage_ms.items()}
        self._counts.tracked += 1
        self._skipped.tracked()
        stage_ms |= {'track': sum(inner_ms.values())} | inner_ms
        self._send(frame, tracked, '', stage_ms)

    def _count_failure(self, frame: InputFrame, reason: str, details: str) -> None:
        self._counts.failed += 1
        self._skipped.refuse(reason)
        self._ports.warn(f'image skipped: {reason}', details)
        self._send(frame, None, reason, {})

    def _count_late(self, frame: InputFrame, reason: str) -> None:
        self._counts.late += 1
        self._skipped.refuse(reason)
        self._send(frame, None, reason, {})

    def _send(
        self,
        frame: InputFrame,
        tracked: TrackedFrame | None,
        reason: str,
        stage_ms: dict[str, float],
    ) -> None:
        start = Start.NO
        if tracked is not None:
            start, self._start = self._start, Start.NO
        self._ports.send(
            FrameResult(
                frame.stamp_ns,
                frame.camera_frame,
                frame.arrived_s,
                tracked,
                reason,
                start,
                self.stamps.session,
                stage_ms,
            )
        )


def _unexpected(error: BaseException) -> tuple[str, str]:
    """Return the reason of an image that failed unexpectedly, and the traceback."""
    reason = f'{type(error).__name__}: {error}; the log of the node has the traceback'
    return reason, ''.join(traceback.format_exception(error))
