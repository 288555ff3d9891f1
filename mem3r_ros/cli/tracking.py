# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The loop of ``run``, ``evaluate`` and ``benchmark``: a sequence through a tracker."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import time
from typing import Any

from mem3r_ros.data import Sequence, SequenceFrame
from mem3r_ros.errors import BadFrame
from mem3r_ros.reports import RunRecorder
from mem3r_ros.tracker import CameraFrame, TrackedFrame, Tracker


def device_name(device: str) -> str:
    """Return what a person calls the device."""
    import platform

    import torch

    if device.startswith('cuda'):
        return torch.cuda.get_device_name(device)
    return f'CPU ({platform.machine()}, {torch.get_num_threads()} threads)'


@dataclass(slots=True)
class Tracked:
    """Counts of a pass over a sequence."""

    num_images: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # unusable frames, by reason

    def notes(self) -> list[str]:
        """Return what was refused as sentences, the most frequent reasons first."""
        return [
            f'{count} images were refused: {reason}.'
            for reason, count in self.refused.most_common(5)
        ]


def track_sequence(
    sequence: Sequence, tracker: Tracker, recorder: RunRecorder, on_frame: Any = None
) -> Tracked:
    """
    Track every frame of a sequence into a recorder.

    :param sequence: what to read.
    :param tracker: a fresh tracker.
    :param recorder: gets everything.
    :param on_frame: called with each SequenceFrame and its TrackedFrame, None where refused.
    :return: counts.
    """
    counts = Tracked()
    for frame in sequence:
        counts.num_images += 1
        started_s = time.perf_counter()
        try:
            tracked = tracker.track(CameraFrame(frame.stamp_ns, frame.image, frame.camera))
        except BadFrame as error:
            counts.refused[str(error)] += 1
            if on_frame is not None:
                on_frame(frame, None)
            continue
        total_ms = 1e3 * (time.perf_counter() - started_s)
        record_frame(recorder, frame, tracked, total_ms)
        if on_frame is not None:
            on_frame(frame, tracked)
    return counts


def record_frame(
    recorder: RunRecorder, frame: SequenceFrame, tracked: TrackedFrame, total_ms: float
) -> None:
    """Hand one tracked frame to the recorder."""
    recorder.add(
        frame.stamp_ns,
        tracked.T_odom_camera,
        depth_m=tracked.depth,
        intrinsics=tracked.intrinsics,
        image=frame.image,
        points=tracked.points,
        colours=tracked.colours,
        weights=tracked.weights,
        status=tracked.status.value,
        reason=tracked.reason,
        timings_ms={**tracked.health.stage_ms, 'total': total_ms},
        true_depth_m=frame.depth_m,
        # Uncalibrated: what the depth image shows of the camera's is known all the same.
        camera=frame.camera or tracked.source_camera,
    )
