# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The loop of ``run`` and ``evaluate``: track a sequence and record the results."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
import time
from typing import Any

# config_from belongs to settings; programs that import it from here go on.
from mem3r_ros.cli.settings import config_from as config_from
from mem3r_ros.data import Sequence, SequenceFrame
from mem3r_ros.data.clock_guard import ClockGuard
from mem3r_ros.errors import BadFrame
from mem3r_ros.interruption import uninterrupted
from mem3r_ros.refusals import Refusals
from mem3r_ros.reports import RunRecorder
from mem3r_ros.reports.balance import Balance
from mem3r_ros.tracker import CameraFrame, PipelinedTracker, TrackedFrame, Tracker


def device_name(device: str) -> str:
    """Return a readable name of the device."""
    import platform

    import torch

    if device.startswith('cuda'):
        return torch.cuda.get_device_name(device)
    return f'CPU ({platform.machine()}, {torch.get_num_threads()} threads)'


@dataclass(slots=True)
class Tracked:
    """Number of images of a sequence, and why some were refused."""

    num_images: int = 0  # read
    refused: Refusals = field(default_factory=Refusals)  # unusable for the tracker
    clock: ClockGuard = field(default_factory=ClockGuard)

    def balance(self, sequence: Sequence, num_poses: int, is_interrupted: bool = False) -> Balance:
        """Return the balance of the images of the sequence."""
        refused = Counter(sequence.refused.by_reason())
        refused.update(self.refused.by_reason())
        return Balance(
            promised=sequence.num_promised,
            found=sequence.num_tried,
            read=self.num_images,
            tracked=self.num_images - self.refused.total(),
            posed=num_poses,
            refused=dict(refused),
            is_interrupted=is_interrupted,
        )

    def notes(self, sequence: Sequence, balance: Balance) -> list[str]:
        """Return remarks for the reader of the figures."""
        return [
            *sequence.remarks(),
            *self.clock.sentences(),
            *sequence.refused.sentences(),
            *self.refused.sentences(),
            *balance.sentences(),
        ]


def track_sequence(
    sequence: Sequence,
    tracker: Tracker,
    recorder: RunRecorder,
    on_frame: Any = None,
    counts: Tracked | None = None,
    is_parallel: bool = False,
) -> Tracked:
    """
    Track every frame of a sequence and record the results.

    :param sequence: images to track.
    :param tracker: a new tracker.
    :param recorder: receives every result.
    :param on_frame: called with each SequenceFrame and its TrackedFrame (None if refused).
    :param counts: updated for each frame, also if an exception ends the loop.
    :param is_parallel: finish and record a frame while the next one is measured.
    :return: counts.
    """
    counts = Tracked() if counts is None else counts
    frames = PipelinedTracker(tracker, is_parallel)

    def record(frame: SequenceFrame, result: Future[TrackedFrame], started_s: float) -> None:
        tracked = result.result()
        with uninterrupted():
            record_frame(recorder, frame, tracked, 1e3 * (time.perf_counter() - started_s))
        if on_frame is not None:
            on_frame(frame, tracked)

    recorded: deque[Future] = deque()
    try:
        for frame in _on_one_time_line(sequence, counts.clock):
            counts.num_images += 1
            started_s = time.perf_counter()
            try:
                result = frames.track(CameraFrame(frame.stamp_ns, frame.image, frame.camera))
            except BadFrame as error:
                counts.refused.add(error)
                if on_frame is not None:
                    recorded.append(frames.then(partial(on_frame, frame, None)))
            else:
                recorded.append(frames.then(partial(record, frame, result, started_s)))
            while len(recorded) > 1:
                recorded.popleft().result()
        while recorded:
            recorded.popleft().result()
    finally:
        frames.close()
    return counts


def _on_one_time_line(sequence: Sequence, clock: ClockGuard) -> Iterator[SequenceFrame]:
    for frame in sequence:
        yield from clock.passed(frame)
    yield from clock.rest()


def record_frame(
    recorder: RunRecorder, frame: SequenceFrame, tracked: TrackedFrame, total_ms: float
) -> None:
    """Add one tracked frame to the recorder."""
    recorder.add(
        frame.stamp_ns,
        tracked.T_odom_camera,
        depth_m=tracked.depth,
        intrinsics=tracked.intrinsics,
        confidence=tracked.confidence,
        image=frame.image,
        points=tracked.points,
        colours=tracked.colours,
        weights=tracked.weights,
        status=tracked.status.value,
        reason=tracked.reason,
        timings_ms={**tracked.health.stage_ms, 'total': total_ms},
        true_depth_m=frame.depth_m,
        # Without calibration, the tracker's camera relates the depth image to the image.
        camera=frame.camera or tracked.source_camera,
    )
