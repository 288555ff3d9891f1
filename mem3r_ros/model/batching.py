# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One run of the network for several streams: join their inputs, step, split the answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from mem3r_ros.model.frame import FrameInput

# Rows of streams that lack an input which another stream of the batch has.
_IF_ABSENT = {
    'update': torch.ones(1, dtype=torch.bool),
    'intrinsics': torch.full((1, 4), float('nan')),  # unknown
}


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Arguments of ``step`` for one stream (batch of 1)."""

    frame: FrameInput
    state: Any
    rule: Any = None
    outputs: Collection[str] | None = None

    @property
    def group(self) -> tuple:
        """Requests of one group can share a step: same inputs, shapes and update rule."""
        inputs = tuple(
            (item.name, _shape(getattr(self.frame, item.name)))
            for item in fields(FrameInput)
            if item.name not in _IF_ABSENT
        )
        state = sorted((name, _shape(value)) for name, value in self.state.to_dict().items())
        return inputs, tuple(state), self.rule


Answer = tuple[Any, Any] | Exception


def run_together(model: Any, requests: Sequence[StepRequest]) -> list[Answer]:
    """
    Run the network once for each group of requests.

    :param model: a network with ``step``.
    :param requests: one for each stream.
    :return: in the same order, prediction and next state of each stream, or its exception. A
        request that fails does not affect the others.
    """
    groups: dict[tuple, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(request.group, []).append(index)
    answers: dict[int, Answer] = {}
    for members in groups.values():
        answers |= zip(members, _run_group(model, [requests[i] for i in members]), strict=True)
    return [answers[index] for index in range(len(requests))]


def _run_group(model: Any, group: list[StepRequest]) -> list[Answer]:
    if len(group) == 1:
        return [_run_alone(model, group[0])]
    try:
        wanted = _all_outputs(group)
        prediction, state = model.step(
            _joined([request.frame for request in group]),
            type(group[0].state).cat([request.state for request in group]),
            group[0].rule,
            outputs=wanted,
        )
    except Exception:  # found out below which of the streams is the cause
        return [_run_alone(model, request) for request in group]
    return [(_row(prediction, row), state.select([row])) for row in range(len(group))]


def _run_alone(model: Any, request: StepRequest) -> Answer:
    try:
        return model.step(request.frame, request.state, request.rule, outputs=request.outputs)
    except Exception as error:  # raised again in the thread of its stream
        return error


def _all_outputs(group: list[StepRequest]) -> frozenset[str] | None:
    """Return the outputs that any stream wants; None, if one wants all."""
    wanted = [request.outputs for request in group]
    return None if None in wanted else frozenset().union(*wanted)


def _joined(frames: list[FrameInput]) -> FrameInput:
    """Stack the inputs of single streams."""
    joined = {}
    for item in fields(FrameInput):
        values = [getattr(frame, item.name) for frame in frames]
        given = next((value for value in values if value is not None), None)
        if given is not None:
            rows = [_IF_ABSENT[item.name].to(given) if v is None else v for v in values]
            joined[item.name] = torch.cat(rows)
    return FrameInput(**joined)


def _shape(value: Tensor | None) -> tuple[int, ...] | None:
    """Return the shape of one stream's tensor; None without a tensor."""
    return None if value is None else tuple(value.shape[1:])


def _row(prediction: Any, row: int) -> Any:
    """Return the prediction of one stream of the batch, without the two-view details."""
    chosen: dict[str, Any] = {}
    for item in fields(prediction):
        value = getattr(prediction, item.name)
        if isinstance(value, Tensor):
            chosen[item.name] = value[row : row + 1]
        elif isinstance(value, dict):
            chosen[item.name] = {name: tensor[row : row + 1] for name, tensor in value.items()}
        else:
            chosen[item.name] = None
    return replace(prediction, **chosen)
