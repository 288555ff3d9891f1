# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""All that one stream remembers between two frames; its size never grows."""

# B streams, S state tokens, C width, M slots, H heads, D head width

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace

import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.model.motion import DepthMemory

RULE_PREFIX = 'rule.'


@dataclass(frozen=True, slots=True)
class MotionState:
    """What the presets with motion input remember: where the camera was, and what it saw."""

    T_world_camera: Tensor  # [B, 4, 4] float64, pose of the last remembered frame
    previous_gray: Tensor  # [B, H, W] uint8, the last remembered image
    previous_flow: Tensor  # [B, 2, H, W] px, flow of that image to the one before it
    has_previous: Tensor  # [B] bool
    log_depth: Tensor | None = None  # [B, H, W] of metres, what was seen of that image
    depth_variance: Tensor | None = None  # [B, H, W] of the log depth
    previous_fine: Tensor | None = None  # [B, kH, kW] uint8, that image as the flow looks at it

    @property
    def depth(self) -> DepthMemory | None:
        """Depth of the last remembered image, where the network keeps one."""
        if self.log_depth is None:
            return None
        return DepthMemory(self.log_depth, self.depth_variance)


@dataclass(frozen=True, slots=True)
class State:
    """
    The recurrent state of B streams, a value: a step returns a new one.

    Tokens and memories are float32 whatever the network computes in.
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
    def num_bytes(self) -> int:
        """Memory that the state holds, in bytes."""
        return sum(value.numel() * value.element_size() for value in self.to_dict().values())

    def to_dict(self) -> dict[str, Tensor]:
        """Return the state as plain named tensors, for a snapshot."""
        named = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                named[item.name] = value
        if self.motion is not None:
            values = {item.name: getattr(self.motion, item.name) for item in fields(MotionState)}
            named |= {name: value for name, value in values.items() if value is not None}
        return named | {RULE_PREFIX + name: value for name, value in self.rule.items()}

    @classmethod
    def from_dict(cls, tensors: Mapping[str, Tensor]) -> State:
        """
        Rebuild a state from :meth:`to_dict`'s tensors.

        :raises UserError: a tensor is missing.
        """
        motion_names = [item.name for item in fields(MotionState)]
        required = [item.name for item in fields(MotionState) if item.default is MISSING]
        has_motion = any(name in tensors for name in motion_names)
        needed = {'tokens', 'camera_memory', 'is_first', *(required if has_motion else ())}
        missing = sorted(needed - set(tensors))
        if missing:
            raise UserError(f'the stream state lacks {", ".join(missing)}')
        motion = None
        if has_motion:
            motion = MotionState(
                **{name: tensors[name] for name in motion_names if name in tensors}
            )
        rule = {
            name.removeprefix(RULE_PREFIX): value
            for name, value in tensors.items()
            if name.startswith(RULE_PREFIX)
        }
        return cls(tensors['tokens'], tensors['camera_memory'], tensors['is_first'], motion, rule)

    def apply(self, function: Callable[[Tensor], Tensor]) -> State:
        """Return the state with ``function`` applied to every tensor."""
        return State.from_dict({name: function(value) for name, value in self.to_dict().items()})

    def to(self, device: torch.device | str) -> State:
        """Return the state on another device."""
        return self.apply(lambda tensor: tensor.to(device))

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

    def with_rule(self, rule: Mapping[str, Tensor]) -> State:
        """Return the state with other running values of the update rule."""
        return replace(self, rule=dict(rule))

    @staticmethod
    def cat(states: Sequence[State]) -> State:
        """
        Join streams into one batch.

        Streams that have not had a frame under the others' update rule begin it there.

        :raises UserError: the states belong to different networks.
        """
        named = [state.to_dict() for state in states]
        every = {name: value for tensors in reversed(named) for name, value in tensors.items()}
        return State.from_dict({name: _join(name, like, named) for name, like in every.items()})


def _join(name: str, like: Tensor, streams: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Join one tensor of several states; running values that a stream lacks start at zero."""
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


def where_stream(mask: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """
    Choose whole streams.

    A choice, not arithmetic: what is not chosen may be NaN without harm.

    :param mask: [B] bool.
    :param chosen: [B, ...] where the mask is true.
    :param other: [B, ...] elsewhere.
    """
    return torch.where(mask.reshape(-1, *[1] * (chosen.dim() - 1)), chosen, other)
