# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several cameras at once: one stream each, and one run of the network for all of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from mem3r_ros.errors import BadFrame
from mem3r_ros.model import FrameInput
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.frame import CameraFrame, TrackedFrame
from mem3r_ros.tracker.measurement import FrameContext
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
        groups: dict[tuple, list[tuple[int, FrameContext]]] = {}
        for index, (tracker, frame) in enumerate(zip(self.trackers, frames, strict=True)):
            if frame is None:
                continue
            try:
                context = tracker.begin(frame, outputs)
            except BadFrame as error:
                results[index] = error
                continue
            if context.input is None:
                results[index] = tracker.finish(context, None)
            else:
                groups.setdefault(_group_key(tracker, context), []).append((index, context))
        for members in groups.values():
            for index, result in self._step(members):
                results[index] = result
        return results

    def _step(self, members: list[tuple[int, FrameContext]]) -> list[tuple[int, TrackedFrame]]:
        trackers = [self.trackers[index] for index, _ in members]
        contexts = [context for _, context in members]
        states = [tracker.state for tracker in trackers]
        wanted = frozenset().union(*(context.fields for context in contexts))
        with contexts[0].clock('network'):
            prediction, state = self._model.step(
                _joined([context.input for context in contexts]),
                type(states[0]).cat(states),
                trackers[0].rule,
                outputs=wanted,
            )
        results = []
        for row, (index, context) in enumerate(members):
            context.clock.stage_ms.setdefault('network', contexts[0].clock.stage_ms['network'])
            answer = (_row(prediction, row), state.select([row]))
            results.append((index, self.trackers[index].finish(context, answer)))
        return results


def _group_key(tracker: Tracker, context: FrameContext) -> tuple:
    """Return the key of streams that can share a step: image, state shapes and update rule."""
    state = tracker.state.to_dict()
    shapes = tuple(sorted((name, tuple(tensor.shape[1:])) for name, tensor in state.items()))
    return tuple(context.input.image.shape[1:]), shapes, tracker.config.update_rule


def _joined(inputs: list[FrameInput]) -> FrameInput:
    """Stack the inputs of single streams; unknown cameras become rows of NaN."""
    image = torch.cat([frame.image for frame in inputs])
    yes = torch.ones(1, dtype=torch.bool, device=image.device)
    update = torch.cat([yes if frame.update is None else frame.update for frame in inputs])
    intrinsics = None
    if any(frame.intrinsics is not None for frame in inputs):
        unknown = image.new_full((1, 4), float('nan'))
        intrinsics = torch.cat(
            [unknown if frame.intrinsics is None else frame.intrinsics for frame in inputs]
        )
    fine = None
    if inputs[0].fine_gray is not None:
        fine = torch.cat([frame.fine_gray for frame in inputs])
    return FrameInput(image=image, update=update, intrinsics=intrinsics, fine_gray=fine)


def _row(prediction: Any, row: int) -> Any:
    """Return the prediction of one stream of the batch."""
    chosen = {}
    for item in fields(prediction):
        value = getattr(prediction, item.name)
        if isinstance(value, Tensor):
            chosen[item.name] = value[row : row + 1]
        elif isinstance(value, dict):
            chosen[item.name] = {name: tensor[row : row + 1] for name, tensor in value.items()}
    return replace(prediction, **chosen)
