# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The step of a network in fixed memory, recorded once and then repeated: a CUDA graph on a GPU.

A step of the full network starts over a thousand kernels. A recording starts all of them at once.
A recorded step reads and writes fixed memory, so the state has two places: a step reads one and
writes the other, and the next step goes back. Update masks, resets, first frames and the running
values of the update rule are tensors, so none of them needs another recording. Another image size,
update rule or selection of outputs does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import Any
import weakref

import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.model.device_queue import DeviceQueue, device_queue
from mem3r_ros.model.frame import FrameInput, Prediction
from mem3r_ros.model.network import Mem3R
from mem3r_ros.model.state import RULE_PREFIX, State
from mem3r_ros.model.update_rules import UpdateRule, update_rule

_MAX_PROGRAMS = 8  # recordings that are kept; each holds the memory of its outputs
_TELEMETRY = 'telemetry.'


class StaticStep:
    """
    A network with recorded steps; it is used like a :class:`Mem3R`.

    States and predictions stay usable as those of a network do: memory that a step is about to
    overwrite is copied first if somebody still holds the tensor. Views of such a tensor are not
    known here; copy what you keep of them. One thread at a time may call :meth:`step`.
    """

    def __init__(self, network: Mem3R, queue: DeviceQueue | None = None) -> None:
        """
        Record the steps of a network.

        :param network: in evaluation mode.
        :param queue: of the network's device (default: the one of the process).
        :raises UserError: the network has two-view geometry, whose optical flow runs on the host.
        """
        if network.front_end is not None:
            raise UserError('a network with two-view geometry cannot be recorded')
        self.network = network
        self.queue = queue or device_queue(network.device)
        self.copies_results = False  # true where other threads read them during the next step
        self._memories: dict[tuple, _StateMemory] = {}
        self._programs: dict[tuple, _Program] = {}

    def __getattr__(self, name: str) -> Any:
        """Return everything else from the network."""
        return getattr(self.network, name)

    @property
    def num_recordings(self) -> int:
        """Number of recorded steps."""
        return sum(len(program.recordings) for program in self._programs.values())

    @torch.inference_mode()
    def step(
        self,
        frame: FrameInput,
        state: State,
        rule: UpdateRule | None = None,
        outputs: Collection[str] | None = None,
        *,
        masked_tokens: bool = False,
    ) -> tuple[Prediction, State]:
        """Advance each stream by one frame, see :meth:`Mem3R.step`."""
        rule = rule or update_rule('cut3r')
        wanted = None if outputs is None else frozenset(outputs)
        given = tensors_of(frame)
        shapes = tuple((name, tuple(value.shape)) for name, value in given.items())
        place = (shapes, state.batch_size, rule)
        key = (*place, wanted, masked_tokens)
        if key not in self._programs:
            if len(self._programs) >= _MAX_PROGRAMS:
                self._programs.clear()
                self._memories.clear()
            # Run once as it is: that checks the input and shows which tensors a state has.
            _, after = self.network.step(frame, state, rule, wanted, masked_tokens=masked_tokens)
            memory = self._memories.setdefault(place, _StateMemory(after, self.queue))
            run = _Run(self.network, rule, wanted, masked_tokens)
            self._programs[key] = _Program(run, given, memory, self.queue)
        prediction, after = self._programs[key].step(given, state)
        if self.copies_results:
            named = {name: value.clone() for name, value in named_outputs(prediction).items()}
            return prediction_of(named), after.clone()
        return prediction, after

    def query(
        self, ray_map: Tensor, state: State, outputs: Collection[str] | None = None
    ) -> Prediction:
        """Predict the view of a camera without changing the state, see :meth:`Mem3R.query`."""
        return self.step(FrameInput(ray_map=ray_map), state, outputs=outputs)[0]


@dataclass(frozen=True, slots=True)
class _Run:
    """A step of the network with its choices."""

    network: Mem3R
    rule: UpdateRule
    wanted: frozenset[str] | None
    masked_tokens: bool

    def __call__(self, frame: FrameInput, state: State, into: State) -> tuple[Prediction, State]:
        return self.network.step(
            frame, state, self.rule, self.wanted, masked_tokens=self.masked_tokens, into=into
        )


class _Lent:
    """Tensors of fixed memory that callers hold; they get a copy before it changes."""

    def __init__(self) -> None:
        self._held: list[weakref.ref] = []

    def lend(self, tensors: Collection[Tensor]) -> list[Tensor]:
        """Return the tensors as new objects, whose life shows whether somebody holds them."""
        lent = [tensor.detach() for tensor in tensors]
        self._held = [weakref.ref(tensor) for tensor in lent]
        return lent

    def is_lent(self, tensors: Collection[Tensor]) -> bool:
        """Return whether these are the objects of the last :meth:`lend`."""
        held = [ref() for ref in self._held]
        return len(held) == len(tensors) and all(a is b for a, b in zip(held, tensors))

    @property
    def is_held(self) -> bool:
        """Return whether somebody holds one of them."""
        return any(ref() is not None for ref in self._held)

    def call_in(self) -> None:
        """Give every holder a copy, so that the memory can change."""
        for ref in self._held:
            tensor = ref()
            if tensor is not None:
                tensor.data = tensor.clone()
        self._held = []


class _StateMemory:
    """Two places for the state of some streams."""

    def __init__(self, like: State, queue: DeviceQueue) -> None:
        self._queue = queue
        places = [{n: torch.zeros_like(v) for n, v in like.to_dict().items()} for _ in range(2)]
        self.states = [State.from_dict(place) for place in places]
        self._lent = [_Lent(), _Lent()]

    def enter(self, state: State) -> int:
        """Return the place of a state; it is copied to one unless it is there."""
        named = state.to_dict()
        for place, lent in enumerate(self._lent):
            if lent.is_lent(named.values()):
                return place
        place = 1 if self._lent[0].is_held and not self._lent[1].is_held else 0
        self._lent[place].call_in()
        for name, target in self.states[place].to_dict().items():
            source = named.get(name)
            if name.startswith(RULE_PREFIX) and (source is None or source.shape != target.shape):
                target.zero_()  # the rule starts with this frame
            else:
                self._queue.copy(source, target)
        return place

    def clear(self, place: int) -> None:
        """Make a place free for the next state."""
        self._lent[place].call_in()

    def leave(self, place: int) -> State:
        """Return the state in a place."""
        named = self.states[place].to_dict()
        return State.from_dict(dict(zip(named, self._lent[place].lend(named.values()))))


@dataclass(slots=True)
class _Recording:
    """A recorded step from one place of the state to the other."""

    names: list[str]
    results: list[Tensor]
    replay: Callable[[], None]
    lent: _Lent


class _Program:
    """Recorded steps for one shape of the input, one rule and one selection of outputs."""

    def __init__(
        self, run: _Run, given: dict[str, Tensor], memory: _StateMemory, queue: DeviceQueue
    ) -> None:
        self.recordings: dict[int, _Recording] = {}
        self._run, self._memory, self._queue = run, memory, queue
        device = run.network.device
        self._inputs = {name: torch.empty_like(v, device=device) for name, v in given.items()}

    def step(self, given: dict[str, Tensor], state: State) -> tuple[Prediction, State]:
        """Run the step; the first one from each place is recorded."""
        for name, value in given.items():
            self._queue.copy(value, self._inputs[name])
        place = self._memory.enter(state)
        self._memory.clear(1 - place)
        if place in self.recordings:
            recording = self.recordings[place]
            recording.lent.call_in()
            recording.replay()
        else:
            recording = self.recordings[place] = self._recorded(place)
        lent = dict(zip(recording.names, recording.lent.lend(recording.results)))
        return prediction_of(lent), self._memory.leave(1 - place)

    def _recorded(self, place: int) -> _Recording:
        frame = FrameInput(**self._inputs)
        before, into = self._memory.states[place], self._memory.states[1 - place]
        names: list[str] = []

        def function() -> list[Tensor]:
            prediction, after = self._run(frame, before, into)
            targets = into.to_dict()
            for name, value in after.to_dict().items():
                if value is not targets[name]:
                    targets[name].copy_(value)
            named = named_outputs(prediction)
            names[:] = named
            return list(named.values())

        results, replay = self._queue.record(function)
        return _Recording(names, results, replay, _Lent())


def tensors_of(frame: FrameInput) -> dict[str, Tensor]:
    """Return the tensors of a frame; the mask of updates is always one of them."""
    named = {item.name: getattr(frame, item.name) for item in fields(frame)}
    if frame.update is None:
        first = frame.image if frame.image is not None else frame.ray_map
        named['update'] = torch.ones(len(first), dtype=torch.bool, device=first.device)
    return {name: value for name, value in named.items() if value is not None}


def named_outputs(prediction: Prediction) -> dict[str, Tensor]:
    """Return the tensors of a prediction by name."""
    named: dict[str, Tensor] = {}
    for item in fields(prediction):
        value = getattr(prediction, item.name)
        if isinstance(value, Tensor):
            named[item.name] = value
        elif isinstance(value, dict):
            named |= {_TELEMETRY + name: tensor for name, tensor in value.items()}
    return named


def prediction_of(named: dict[str, Tensor]) -> Prediction:
    """Return the prediction of :func:`named_outputs`."""
    plain = {name: value for name, value in named.items() if not name.startswith(_TELEMETRY)}
    statistics = {
        name.removeprefix(_TELEMETRY): value
        for name, value in named.items()
        if name.startswith(_TELEMETRY)
    }
    return Prediction(**plain, telemetry=statistics or None)
