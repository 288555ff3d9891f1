# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The plain step and the variants that are compared with it.

The plain step is what the public code of CUT3R does: eager, float32, every output head, attention
with an explicit softmax, all projections of the memory write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
import copy
from dataclasses import dataclass, field
import time
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from mem3r_ros.model import FrameInput, Mem3R, Prediction, State, UpdateRule, layers
from mem3r_ros.model.freed_memory import keep_freed_memory
from mem3r_ros.model.int8 import has_int8
from mem3r_ros.model.pose_memory import LocalMemory
from mem3r_ros.model.processor import multiplies_bfloat16
from mem3r_ros.model.speedups import SpeedUps
from mem3r_ros.model.update_rules import AttentionMean

ODOMETRY_AND_DEPTH = ('T_world_camera', 'points_camera', 'confidence_camera')


def explicit_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend as the formula is printed, keeping the whole matrix of weights."""
    weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
    return weights @ value


def full_cross_attention(
    self: layers.CrossAttention,
    tokens: Tensor,
    other: Tensor,
    positions: object,
    other_positions: object,
    observer: layers.AttentionObserver | None = None,
) -> Tensor:
    """Project and attend, also where there is a single key."""
    query, key, value = (
        part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        for part in (self.query(tokens), self.key(other), self.value(other))
    )
    query, key = layers.rotate(query, positions), layers.rotate(key, other_positions)
    if observer is not None:
        observer.add(query, key)
    return self.proj(explicit_attention(query, key, value).transpose(1, 2).flatten(2))


def full_logits(self: AttentionMean, query: Tensor, key: Tensor) -> None:
    """Compute and keep all logits of a layer, then take their mean."""
    logits = query.float() @ key.float().transpose(-2, -1) * query.shape[-1] ** -0.5
    self.__dict__.setdefault('kept', []).append(logits)
    mean = logits.mean(dim=(1, 3))
    self._sum = mean if self._sum is None else self._sum + mean
    self._layers += 1


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute each attention explicitly, sums in new memory, TTT3R's gate from all logits."""
    with (
        mock.patch.object(layers, 'add_to', torch.add),
        mock.patch.object(layers, 'attend', explicit_attention),
        mock.patch.object(layers.CrossAttention, 'forward', full_cross_attention),
        mock.patch.object(AttentionMean, 'add', full_logits),
    ):
        yield


@dataclass
class Variant:
    """One variant of the step, its stream and its times."""

    name: str
    model: Mem3R
    fused: bool = False  # the project's attention
    outputs: tuple[str, ...] | None = None
    keeps_memory: bool = False  # that is freed, see model.freed_memory
    rule: UpdateRule | None = None
    state: State | None = None
    prediction: Prediction | None = None
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    errors: list[tuple[float, ...]] = field(default_factory=list)  # against plain, of each frame
    step_errors: list[tuple[float, ...]] = field(default_factory=list)  # from the state of plain

    def step(self, frame: FrameInput) -> None:
        """Advance by one frame and record the time."""
        if self.state is None:
            size = frame.image.shape[-1], frame.image.shape[-2]
            self.state = self.model.initial_state(image_size=size)
        wall, cpu = time.perf_counter(), time.process_time()
        self.prediction, self.state = self._run(frame, self.state)
        self.cpu_s.append(time.process_time() - cpu)
        self.wall_s.append(time.perf_counter() - wall)

    def step_from(self, frame: FrameInput, state: State) -> Variant:
        """Return the answer to a frame from another state, as a variant."""
        prediction, after = self._run(frame, state)
        return Variant(self.name, self.model, state=after, prediction=prediction)

    def _run(self, frame: FrameInput, state: State) -> tuple[Prediction, State]:
        keep_freed_memory(self.keeps_memory)
        with nullcontext() if self.fused else plain_attention():
            return self.model.step(frame, state, self.rule, self.outputs)


def variants(model: Mem3R, wanted: Collection[str] = ()) -> list[Variant]:
    """
    Return the plain step, each lever alone, and those of each dtype together.

    :param wanted: names of variants; empty: all.
    """
    int8, half = has_int8(), multiplies_bfloat16() and model.front_end is None
    slots = half and isinstance(model.pose_memory, LocalMemory)
    none, everything = SpeedUps(), SpeedUps.int8(model)
    together = {'fused': True, 'outputs': ODOMETRY_AND_DEPTH, 'keeps_memory': True}
    known: list[tuple[str, bool, SpeedUps, dict[str, Any]]] = [
        ('plain', True, none, {}),
        ('fused attention', True, none, {'fused': True}),
        ('wanted heads only', True, none, {'outputs': ODOMETRY_AND_DEPTH}),
        ('kept memory', True, none, {'keeps_memory': True}),
        ('channels-last heads', True, SpeedUps(channels_last=True), {}),
        ('rotated pairs', True, SpeedUps(rotated_pairs=True), {'fused': True}),
        ('bfloat16 heads', half, SpeedUps(bfloat16_heads=True), {}),
        ('bfloat16 attention', half, SpeedUps(bfloat16_attention=True), {'fused': True}),
        ('bfloat16 camera memory', slots, SpeedUps(bfloat16_memory=True), {}),
        ('int8 linear layers', int8, SpeedUps(int8_linear=True), {}),
        ('dtype float32', True, SpeedUps.float32(model), together),
        ('dtype int8', int8, everything, together),
    ]
    return [
        Variant(name, model if levers == none else with_levers(model, levers), **how)
        for name, is_possible, levers, how in known
        if is_possible and (not wanted or name in wanted)
    ]


def with_levers(model: Mem3R, levers: SpeedUps) -> Mem3R:
    """Return a network with levers; weights that no lever changes are shared."""
    shared = {id(weight): weight for weight in model.parameters()}
    if levers.channels_last or levers.bfloat16_heads:
        for name, weight in model.named_parameters():
            if '_head.' in name:
                del shared[id(weight)]
    return levers.apply(copy.deepcopy(model, shared))


def errors(variant: Variant, plain: Variant) -> tuple[float, float, float, float]:
    """Return rotation (deg), translation, depth and state error against another variant."""
    pose, exact = (v.prediction.T_world_camera[0].double() for v in (variant, plain))
    turn = pose[:3, :3].T @ exact[:3, :3]
    sine = torch.stack((turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]))
    rotation = torch.atan2(sine.norm(), turn.trace() - 1).rad2deg()
    length = exact[:3, 3].norm().clamp(min=1e-9)
    depth, depth_exact = (v.prediction.points_camera[..., 2].double() for v in (variant, plain))
    tokens, tokens_exact = variant.state.tokens, plain.state.tokens
    return (
        float(rotation),
        float((pose[:3, 3] - exact[:3, 3]).norm() / length),
        float(((depth - depth_exact) / depth_exact).abs().median()),
        float((tokens - tokens_exact).norm() / tokens_exact.norm()),
    )
