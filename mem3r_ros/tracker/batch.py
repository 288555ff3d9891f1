# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several cameras at once: one stream each, and one run of the network for all of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from mem3r_ros.errors import BadFrame
from mem3r_ros.model.batching import StepRequest, run_together
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.frame import CameraFrame, TrackedFrame
from mem3r_ros.tracker.measurement import FrameContext
from mem3r_ros.tracker.stage_clock import StageClock
from mem3r_ros.tracker.tracker import Tracker


class BatchTracker:
    """Trackers of synchronised cameras on one network, with the results of single trackers."""

    def __init__(self, model: Any, configs: Sequence[TrackerConfig | None]) -> None:
        """
        Start one stream per configuration.

        :param model: the network that all streams share.
        :param configs: settings of each stream; None for the defaults.
        """
        self.trackers = [Tracker(model, config) for config in configs]
        self._model = model

    @torch.inference_mode()
    def track(
        self, frames: Sequence[CameraFrame | None], outputs: Collection[str] | None = None
    ) -> list[TrackedFrame | BadFrame | None]:
        """
        Track one frame of each camera.

        :param frames: in the order of the streams; None where a camera has no frame.
        :param outputs: as in :meth:`Tracker.track`.
        :return: results in the same order; the error itself for a frame that cannot be used.
        """
        results: list[TrackedFrame | BadFrame | None] = [None] * len(self.trackers)
        waiting: dict[int, FrameContext] = {}
        for index, (tracker, frame) in enumerate(zip(self.trackers, frames, strict=True)):
            if frame is None:
                continue
            try:
                context = tracker.begin(frame, outputs)
            except BadFrame as error:
                results[index] = error
                continue
            if context.input is None:
                results[index] = tracker.finish(tracker.accept(context, None))
            else:
                waiting[index] = context
        clock = StageClock()
        with clock('network'):
            answers = run_together(self._model, [self._request(*item) for item in waiting.items()])
        for (index, context), answer in zip(waiting.items(), answers, strict=True):
            if isinstance(answer, Exception):
                raise answer
            context.clock.stage_ms |= clock.stage_ms
            tracker = self.trackers[index]
            results[index] = tracker.finish(tracker.accept(context, answer))
        return results

    def _request(self, index: int, context: FrameContext) -> StepRequest:
        tracker = self.trackers[index]
        return StepRequest(context.input, tracker.state, tracker.rule, context.fields)
