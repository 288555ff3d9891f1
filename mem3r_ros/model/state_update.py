# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Update of the mapping memory (Mem3R, arXiv 2604.07279): gates, blend and statistics.

The rules are in :mod:`mem3r_ros.model.update_rules`.
"""

# B streams, S state tokens, C width

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mem3r_ros.model.decoder import Decoded
from mem3r_ros.model.pose_memory import FastReadOut, ReadOut
from mem3r_ros.model.state import State, where_stream
from mem3r_ros.model.update_rules import RuleInput, RuleState, UpdateRule

# Added to the running values of a rule: whether the stream had a frame under this rule, [B] bool.
STARTED = 'started'


class MemoryUpdate(NamedTuple):
    """Both memories after a frame, and the gates of the mapping memory."""

    tokens: Tensor  # [B, S, C]
    camera_memory: Tensor  # see State
    rule: RuleState  # running values of the rule
    channel_gate: Tensor | None  # [B, S, C]; None = 1
    token_gate: Tensor | None  # [B, S, 1]; None = 1


def blend(
    previous: Tensor, candidate: Tensor, channel_gate: Tensor | None, token_gate: Tensor | None
) -> Tensor:
    """
    Mix the candidate into the state: G (z C + (1 - z) S) + (1 - G) S.

    The paper prints G as a factor of the whole sum, which would shrink the state (choice).

    :param previous: S, [B, S, C].
    :param candidate: C, [B, S, C].
    :param channel_gate: Mem3R's z, [B, S, C], or None for 1.
    :param token_gate: the rule's G, [B, S, 1], or None for 1.
    """
    mixed = candidate
    if channel_gate is not None:
        mixed = channel_gate * candidate + (1 - channel_gate) * previous
    if token_gate is not None:
        mixed = token_gate * mixed + (1 - token_gate) * previous
    return mixed


def rule_gate(
    rule: UpdateRule, seen: RuleInput, state: State, update: Tensor
) -> tuple[Tensor | None, RuleState]:
    """
    Return the gate of the rule; the first frame of a stream under a rule has gate 1.

    :param update: which streams remember the frame, bool [B].
    :return: gate [B, S, 1] (None: all ones) and the rule's running values after the frame.
    """
    begun = rule.initial_state(seen)
    before = _running_values(state.rule, begun, state.is_first)
    first = state.is_first | ~before[STARTED] if begun else state.is_first
    gate, after = rule.gate(seen, before)
    if gate is not None:
        gate = where_stream(first, torch.ones_like(gate), gate)
    if not begun:
        return gate, {}
    values = {
        key: where_stream(update, where_stream(first, begun[key], after[key]), before[key])
        for key in begun
    }
    return gate, {**values, STARTED: before[STARTED] | update}


def _running_values(
    stored: Mapping[str, Tensor], begun: Mapping[str, Tensor], like: Tensor
) -> RuleState:
    """Return the stored running values; empty ones if they are of another rule or image size."""
    if not begun:
        return {}
    fitting = all(key in stored and stored[key].shape == begun[key].shape for key in begun)
    if fitting and len(stored) == len(begun) + 1:
        return dict(stored)
    empty = {key: torch.zeros_like(value) for key, value in begun.items()}
    return {**empty, STARTED: torch.zeros_like(like)}


def telemetry(
    state: State, update: MemoryUpdate, read: ReadOut, decoded: Decoded
) -> dict[str, Tensor]:
    """
    Return memory statistics, each [B].

    :param state: the streams before the frame.
    """
    gate = torch.ones_like(state.is_first, dtype=torch.float32)
    for factor in (update.channel_gate, update.token_gate):
        if factor is not None:
            gate = gate * factor.mean(dim=(1, 2))
    values = {
        'gate_mean': gate,
        'state_change': (update.tokens - state.tokens).square().mean(dim=(1, 2)).sqrt(),
    }
    if isinstance(read, FastReadOut):
        values['fast_weight_norm'] = update.camera_memory.flatten(1).norm(dim=1)
        values['learning_rate_mean'] = read.learning_rate.mean(dim=(1, 2))
        values['tracking_cosine'] = torch.cosine_similarity(
            read.prior[:, 0].float(), decoded.pose_token[:, 0].float(), dim=-1
        )
    return values


def all_finite(*tensors: Tensor | None) -> Tensor:
    """Return which streams are finite in all tensors, bool [B]; None counts as finite."""
    # The largest magnitude is NaN or infinite if any element is; all() is slow on a CPU.
    finite = [
        tensor.detach().flatten(1).abs().amax(dim=1).isfinite()
        for tensor in tensors
        if tensor is not None
    ]
    return torch.stack(finite).all(dim=0)
