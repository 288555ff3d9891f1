# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Training-free update rules: a gate for each state token.

CUT3R (arXiv 2501.12387) has no gate; TTT3R (arXiv 2509.26645), TTSA3R, MeMix (arXiv 2603.15330)
and FILT3R (arXiv 2603.18493) have one. A rule is a frozen dataclass of hyperparameters with pure
methods; its running values are part of the stream's state. The gate multiplies the channel-wise
gate of Mem3R.
"""

# B streams, S state tokens, C state width, N image tokens, E encoder width, H heads, D head width

from __future__ import annotations

from dataclasses import fields
import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
import torch.nn.functional as F

from mem3r_ros.config import setting, settings
from mem3r_ros.errors import UserError

RuleState = dict[str, Tensor]


class _LayerMean:
    """Running sum of the logits of all decoder layers; one object serves one frame."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._layers = 0

    @property
    def value(self) -> Tensor:
        """Mean over the layers so far."""
        assert self._sum is not None, 'the decoder has not run yet'
        return self._sum / self._layers

    @property
    def total(self) -> tuple[Tensor, int]:
        """Sum over the layers so far, and their number."""
        assert self._sum is not None, 'the decoder has not run yet'
        return self._sum, self._layers

    def take(self, total: Tensor, num_layers: int) -> None:
        """Take the sum of another observer of the same frame."""
        self._sum, self._layers = total, num_layers


class AttentionMean(_LayerMean):
    """
    Mean over keys, heads and layers of the state-to-image logits: one value a state token, [B, S].

    The mean over keys of q.k is q.(mean of k), so no attention map is needed.
    """

    def add(self, query: Tensor, key: Tensor) -> None:
        """Add queries [B, H, S, D] and keys [B, H, N+1, D] of one layer."""
        mean_key = key.float().mean(dim=2, keepdim=True)
        logits = (query.float() * mean_key).sum(-1).mean(1) * query.shape[-1] ** -0.5
        self._sum = logits if self._sum is None else self._sum + logits
        self._layers += 1


class AttentionProduct(_LayerMean):
    """Mean over heads and layers of the state-to-image logits (pose token first), [B, S, N+1]."""

    def add(self, query: Tensor, key: Tensor) -> None:
        """Add queries [B, H, S, D] and keys [B, H, N+1, D] of one layer."""
        scale = query.shape[-1] ** -0.5 / query.shape[1]
        # With the heads side by side the product sums over them.
        left = query.float().transpose(1, 2).flatten(2)
        right = key.float().permute(0, 1, 3, 2).flatten(1, 2)
        if self._sum is None:
            self._sum = torch.bmm(left, right).mul_(scale)
        else:
            self._sum = torch.baddbmm(self._sum, left, right, alpha=scale)
        self._layers += 1


class RuleInput(NamedTuple):
    """Input of a rule after the decoder."""

    candidate: Tensor  # [B, S, C] proposed state
    features: Tensor  # [B, N, E] encoder tokens F_t
    mean_image_token: Tensor  # [B, C] mean of the encoder tokens, embedded into the decoder
    observer: AttentionMean | AttentionProduct | None


@settings
class UpdateRule:
    """The CUT3R rule, gate 1, and the interface of all rules."""

    name: ClassVar[str] = 'cut3r'
    observer: ClassVar[type | None] = None

    def initial_state(self, seen: RuleInput) -> RuleState:
        """Return the running values after the first frame of a segment, whose gate is 1."""
        return {}

    def gate(self, seen: RuleInput, state: RuleState) -> tuple[Tensor | None, RuleState]:
        """
        Return the gate of a frame that is not the first.

        :param seen: the frame's candidate, features and attention.
        :param state: running values as they were before the frame.
        :return: gate [B, S, 1] in [0, 1] (None: all ones) and the running values after it.
        """
        return None, state


Cut3rRule = UpdateRule


@settings
class Ttt3rRule(UpdateRule):
    """Gate each token by its attention to the image: beta = sigmoid(mean logit)."""

    name: ClassVar[str] = 'ttt3r'
    observer: ClassVar[type | None] = AttentionMean

    def gate(self, seen: RuleInput, state: RuleState) -> tuple[Tensor | None, RuleState]:
        """See :meth:`UpdateRule.gate`."""
        return torch.sigmoid(seen.observer.value)[..., None], state


@settings
class Ttsa3rRule(UpdateRule):
    """Gate a token by the change of its candidate and by its attention to changed image tokens."""

    name: ClassVar[str] = 'ttsa3r'
    observer: ClassVar[type | None] = AttentionProduct

    threshold: float = setting(1.5, 'candidate change, over its mean, at which the gate is half')

    def initial_state(self, seen: RuleInput) -> RuleState:
        """Keep the frame for comparison with the next one."""
        return {'candidate': seen.candidate, 'features': seen.features}

    def gate(self, seen: RuleInput, state: RuleState) -> tuple[Tensor | None, RuleState]:
        """See :meth:`UpdateRule.gate`."""
        change = (seen.candidate - state['candidate']).norm(dim=-1)
        temporal = torch.sigmoid(
            change / _positive(change.mean(-1, keepdim=True)) - self.threshold
        )
        novelty = 1 - F.cosine_similarity(seen.features, state['features'], dim=-1)  # [B, N]
        attention = seen.observer.value[..., 1:].abs()  # the pose column is dropped
        spatial = torch.sigmoid((attention * novelty[:, None]).amax(-1))
        return (temporal * spatial)[..., None], self.initial_state(seen)


@settings
class MemixRule(UpdateRule):
    """Update only the patches of tokens with the lowest similarity to the image."""

    name: ClassVar[str] = 'memix'

    num_patches: int = setting(
        768, 'patches of consecutive tokens, updated together; at most one per token', low=1
    )
    num_written: int = setting(
        708, 'patches that a frame updates; smaller states update the same fraction', low=0
    )
    soft_gate: str = setting(
        'cut3r', 'rule whose gate the updated tokens have', choices=('cut3r', 'ttt3r', 'ttsa3r')
    )

    def check(self) -> None:
        """Refuse values that do not fit together."""
        if self.num_written > self.num_patches:
            raise UserError(
                f'memix num_written is {self.num_written}; it must be at most num_patches '
                f'({self.num_patches})'
            )

    @property
    def observer(self) -> type | None:
        """Observer of the soft gate."""
        return self._soft_rule.observer

    @property
    def _soft_rule(self) -> UpdateRule:
        return UPDATE_RULES[self.soft_gate]()

    def initial_state(self, seen: RuleInput) -> RuleState:
        """Return the running values of the soft gate."""
        return self._soft_rule.initial_state(seen)

    def gate(self, seen: RuleInput, state: RuleState) -> tuple[Tensor | None, RuleState]:
        """See :meth:`UpdateRule.gate`."""
        score = torch.einsum('bsc,bc->bs', seen.candidate, seen.mean_image_token)
        num_tokens = int(score.shape[1])  # while a step is recorded, sizes are tensors
        patches_wanted = min(self.num_patches, num_tokens)
        # As in the public code: patches of equal length, the last one may be shorter.
        length = math.ceil(num_tokens / patches_wanted)
        patch = torch.arange(num_tokens, device=score.device) // length
        members = F.one_hot(patch, math.ceil(num_tokens / length)).to(score.dtype)  # [S, P]
        patch_score = (score @ members) / members.sum(0)
        num_written = round(self.num_written * patches_wanted / self.num_patches)
        lowest = patch_score.topk(min(num_written, members.shape[1]), dim=-1, largest=False)
        written = torch.zeros_like(patch_score).scatter(1, lowest.indices, 1.0)
        soft, after = self._soft_rule.gate(seen, state)
        hard = written[:, patch][..., None]
        return hard if soft is None else hard * soft, after


@settings
class Filt3rRule(UpdateRule):
    """Gate each token by the gain of a scalar Kalman filter with change-dependent noise."""

    name: ClassVar[str] = 'filt3r'

    initial_variance: float = setting(1.5, 'variance after the first frame', low=0.0)
    mean_rate: float = setting(0.05, 'rate of the running mean change', low=0.0, high=1.0)
    mean_floor: float = setting(1e-2, 'smallest running mean change', low=0.0)
    noise_low: float = setting(0.02, 'process noise of a token at rest', low=0.0)
    noise_span: float = setting(0.48, 'process noise added by a large change', low=0.0)
    noise_slope: float = setting(20.0, 'steepness of the step between the two')
    noise_threshold: float = setting(3.0, 'change, over its running mean, of the step')

    GAIN_LIMITS: ClassVar[tuple[float, float]] = (0.01, 0.99)

    def initial_state(self, seen: RuleInput) -> RuleState:
        """Start each token at the initial variance, without a change."""
        token = seen.candidate[..., 0]
        return {
            'candidate': seen.candidate,
            'variance': torch.full_like(token, self.initial_variance),
            'mean_change': torch.zeros_like(token[:, :1]),
        }

    def gate(self, seen: RuleInput, state: RuleState) -> tuple[Tensor | None, RuleState]:
        """See :meth:`UpdateRule.gate`."""
        change = (seen.candidate - state['candidate']).norm(dim=-1)
        mean, before = change.mean(-1, keepdim=True), state['mean_change']
        # The first change is the first mean.
        mean = torch.where(before > 0, before + self.mean_rate * (mean - before), mean)
        mean = _positive(mean.clamp(min=self.mean_floor))
        step = torch.sigmoid(self.noise_slope * (change / mean - self.noise_threshold))
        predicted = state['variance'] + self.noise_low + self.noise_span * step
        gain = (predicted / (predicted + 1)).clamp(*self.GAIN_LIMITS)
        after = {
            'candidate': seen.candidate,
            'variance': (1 - gain).square() * predicted + gain.square(),
            'mean_change': mean,
        }
        return gain[..., None], after


def _positive(value: Tensor) -> Tensor:
    return value.clamp(min=torch.finfo(value.dtype).tiny)


UPDATE_RULES: dict[str, type[UpdateRule]] = {
    rule.name: rule for rule in (Cut3rRule, Ttt3rRule, Ttsa3rRule, MemixRule, Filt3rRule)
}


def update_rule(name: str, **options: float | str) -> UpdateRule:
    """
    Return the rule of that name with its hyperparameters.

    :raises UserError: the name or an option is unknown, or a value is refused.
    """
    if name not in UPDATE_RULES:
        raise UserError(f'no update rule {name!r}; choose one of {", ".join(UPDATE_RULES)}')
    known = [item.name for item in fields(UPDATE_RULES[name])]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UserError(
            f'update rule {name!r} has no option {", ".join(unknown)}; '
            f'it has: {", ".join(known) or "none"}'
        )
    return UPDATE_RULES[name](**options)
