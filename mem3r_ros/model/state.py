# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The recurrent state of the network, of constant size."""

# B streams, S state tokens, C width, M slots, H heads, D head width

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields

import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.two_view.stream_memory import MotionState

RULE_PREFIX = 'rule.'


@dataclass(frozen=True, slots=True)
class State:
    """
    The recurrent state of B streams, immutable: a step returns a new one.

    Tokens and memories are float32, whatever the dtype of the network.
    """

    tokens: Tensor  # [B, S, C] mapping memory
    camera_memory: Tensor  # [B, 3, H, D, D] fast weights, or [B, M, 2C] slots of LocalMemory
    is_first: Tensor  # [B] bool: the next frame starts a segment
    motion: MotionState | None = None
    rule: Mapping[str, Tensor] = field(default_factory=dict)  # running values of the rule

    @property
    def batch_size(self) -> int:
        """Number of streams."""
        return self.tokens.shape[0]

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Width and height of the remembered images, px; None for a network without them."""
        return None if self.motion is None else self.motion.image_size

    def to_dict(self) -> dict[str, Tensor]:
        """Return the state as plain named tensors, for a snapshot."""
        named = {
            'tokens': self.tokens,
            'camera_memory': self.camera_memory,
            'is_first': self.is_first,
        }
        if self.motion is not None:
            named |= self.motion.tensors()
        return named | {RULE_PREFIX + name: value for name, value in self.rule.items()}

    @classmethod
    def from_dict(cls, tensors: Mapping[str, Tensor]) -> State:
        """
        Rebuild a state from :meth:`to_dict`'s tensors.

        :raises UserError: a tensor is missing.
        """
        motion = {i.name: tensors[i.name] for i in fields(MotionState) if i.name in tensors}
        needed = {'tokens', 'camera_memory', 'is_first'}
        if motion:
            needed |= {item.name for item in fields(MotionState) if item.default is MISSING}
        missing = sorted(needed - set(tensors))
        if missing:
            raise UserError(f'the stream state lacks {", ".join(missing)}')
        rule = {
            name.removeprefix(RULE_PREFIX): value
            for name, value in tensors.items()
            if name.startswith(RULE_PREFIX)
        }
        return cls(
            tensors['tokens'],
            tensors['camera_memory'],
            tensors['is_first'],
            MotionState(**motion) if motion else None,
            rule,
        )

    def apply(self, function: Callable[[Tensor], Tensor]) -> State:
        """Apply a function to every tensor of the state."""
        return State.from_dict({name: function(value) for name, value in self.to_dict().items()})

    def clone(self) -> State:
        """Return a copy that shares no memory."""
        return self.apply(torch.clone)

    def detach(self) -> State:
        """Return the state cut from the autograd graph."""
        return self.apply(torch.Tensor.detach)

    def select(self, streams: Sequence[int]) -> State:
        """Return the state of some of the streams."""
        index = torch.as_tensor(streams, device=self.tokens.device)
        return self.apply(lambda tensor: tensor[index])

    @staticmethod
    def cat(states: Sequence[State]) -> State:
        """
        Join streams into one batch.

        Running values of an update rule start at zero for streams that lack them.

        :raises UserError: the states belong to different networks.
        """
        named = [state.to_dict() for state in states]
        every = {name: value for tensors in reversed(named) for name, value in tensors.items()}
        return State.from_dict({name: _join(name, like, named) for name, like in every.items()})


def _join(name: str, like: Tensor, streams: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Join one tensor of several states."""
    parts = []
    for tensors in streams:
        part = tensors.get(name)
        if part is None and name.startswith(RULE_PREFIX):
            part = like.new_zeros((len(tensors['is_first']), *like.shape[1:]))
        if part is None or part.shape[1:] != like.shape[1:]:
            raise UserError(
                f'streams of different networks or image sizes cannot share a batch ({name})'
            )
        parts.append(part)
    return torch.cat(parts)


def where_stream(mask: Tensor, chosen: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """
    Choose whole streams; NaN in a stream that is not chosen has no effect.

    :param mask: [B] bool.
    :param chosen: [B, ...] where the mask is true.
    :param other: [B, ...] elsewhere.
    :param out: memory for the result (default: new memory).
    """
    wide = mask.reshape(-1, *[1] * (chosen.dim() - 1))
    if out is None:
        return torch.where(wide, chosen, other)
    return torch.where(wide, chosen, other, out=out)
