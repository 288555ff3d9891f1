# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Parameter groups, the learning-rate schedule and the averaged weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mem3r_ros.errors import UserError
from mem3r_ros.training.config import OptimiserConfig


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """
    Build AdamW with four groups: new or base modules, with or without weight decay.

    Vectors (biases, norms) and tokens have no decay. Frozen parameters require no gradient.

    :raises UserError: a prefix of the recipe matches no parameter.
    """
    check_prefixes(model, config)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name.startswith(tuple(config.frozen)):
            parameter.requires_grad_(False)
            continue
        is_new = not config.new_modules or name.startswith(tuple(config.new_modules))
        is_decayed = parameter.ndim >= 2 and 'token' not in name
        groups.setdefault((is_new, is_decayed), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                'params': parameters,
                'factor': 1.0 if is_new else config.base_factor,
                'weight_decay': config.weight_decay if is_decayed else 0.0,
            }
            for (is_new, is_decayed), parameters in groups.items()
        ],
        lr=config.learning_rate,
        betas=config.betas,
        fused=all(p.is_floating_point() for p in model.parameters()),
    )


def check_prefixes(model: nn.Module, config: OptimiserConfig) -> None:
    """
    Check that the recipe names modules that exist.

    :raises UserError: a prefix matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in (*config.new_modules, *config.frozen):
        if not any(name.startswith(prefix) for name in names):
            parts = sorted({name.split('.')[0] for name in names})
            raise UserError(
                f'no parameter of the model starts with {prefix!r}; it has {", ".join(parts)}'
            )


def learning_rate(config: OptimiserConfig, progress: float) -> float:
    """
    Return the learning rate: a linear rise, then a cosine decay.

    :param progress: part of the run that is done, 0 to 1.
    """
    if progress < config.warmup:
        return config.learning_rate * (0.05 + 0.95 * progress / config.warmup)
    done = min((progress - config.warmup) / max(1 - config.warmup, 1e-9), 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (config.final_factor + (1 - config.final_factor) * cosine)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of each group: the rate times the factor of the group."""
    for group in optimiser.param_groups:
        group['lr'] = rate * group['factor']


def average_of(model: nn.Module, decay: float) -> AveragedModel:
    """
    Return an exponential moving average of a model's parameters, starting at the current ones.

    The decay is smaller in the first updates, so that the initial weights are forgotten quickly.
    """

    @torch.no_grad()
    def move(averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor) -> None:
        count = int(num_averaged)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + count) / (10 + count)))

    average = AveragedModel(model, multi_avg_fn=move)
    average.n_averaged.fill_(1)  # with 0 the first update would replace the initial weights
    return average


def clip_gradients(parameters: list[nn.Parameter], largest: float) -> Tensor:
    """
    Clip the gradients to a norm.

    :return: the norm before clipping, a scalar; not finite if any gradient is not.
    """
    return nn.utils.clip_grad_norm_(parameters, largest if largest > 0 else math.inf)
