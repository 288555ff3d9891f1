# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The step of a small network as a recorded program, for predictions on a CPU.

A step is over a thousand short operations. Python between them takes a tenth of the time, and
before each operation it waits for the lock of the interpreter, which the thread that finishes the
last frame may hold. A recorded step needs the lock once. Results are equal bit by bit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mem3r_ros.model.frame import FrameInput, Prediction
from mem3r_ros.model.network import Mem3R
from mem3r_ros.model.state import State
from mem3r_ros.model.static_step import named_outputs, prediction_of, tensors_of
from mem3r_ros.model.update_rules import UpdateRule, update_rule
from mem3r_ros.two_view.recorded import Recorded


class RecordedStep:
    """
    A network with two-view geometry and recorded steps; it is used like a :class:`Mem3R`.

    The optical flow is searched before the program, because OpenCV cannot be recorded. Each size
    of images, update rule and selection of outputs has a program of its own. One thread at a time
    may call :meth:`step`.
    """

    def __init__(self, network: Mem3R) -> None:
        """
        Record the steps of a network.

        :param network: in evaluation mode, with two-view geometry, on a CPU.
        """
        self.network = network.requires_grad_(False)
        self.is_recorded = True  # False: Python runs each operation, so that hooks are called
        self._program = Recorded(self._run)
        self._names: dict[tuple, tuple[list[str], list[str]]] = {}  # of the results

    def __getattr__(self, name: str) -> Any:
        """Return everything else from the network."""
        return getattr(self.network, name)

    def step(
        self,
        frame: FrameInput,
        state: State,
        rule: UpdateRule | None = None,
        outputs: Collection[str] | None = None,
        *,
        masked_tokens: bool = False,
    ) -> tuple[Prediction, State]:
        """Advance each stream by one frame, see :meth:`Mem3R.step`; without ``two_view``."""
        wanted = self.network.checked_outputs(frame, state, outputs, masked_tokens)
        rule = rule or update_rule('cut3r')
        # What a reset does depends on its value; rays and masks are not for robots.
        is_usual = frame.reset is None and frame.image is not None and not masked_tokens
        if torch.is_grad_enabled() or not self.is_recorded or not is_usual:
            return self.network.step(frame, state, rule, wanted, masked_tokens=masked_tokens)
        given = tensors_of(_completed(self.network.front_end.with_flow(frame, state.motion)))
        before = state.to_dict()
        choices = (tuple(given), tuple(before), rule, wanted)
        found = self._program(*given.values(), *before.values(), fixed=choices)
        names, state_names = self._names[choices]
        prediction = prediction_of(dict(zip(names, found)))
        return prediction, State.from_dict(dict(zip(state_names, found[len(names) :])))

    def _run(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Run the step on plain tensors; note the names of the results."""
        *tensors, names, state_names, rule, wanted = arguments
        frame = FrameInput(**dict(zip(names, tensors)))
        state = State.from_dict(dict(zip(state_names, tensors[len(names) :])))
        prediction, after = self.network.step(frame, state, rule, wanted)
        results, tokens = named_outputs(prediction), after.to_dict()
        self._names[names, state_names, rule, wanted] = list(results), list(tokens)
        return (*results.values(), *tokens.values())


def _completed(frame: FrameInput) -> FrameInput:
    """Return a frame without absent inputs: one program serves frames with and without them."""
    intrinsics = frame.intrinsics
    if intrinsics is None:
        intrinsics = torch.full((len(frame.image), 4), float('nan'))  # unknown
    return replace(frame, intrinsics=intrinsics)
