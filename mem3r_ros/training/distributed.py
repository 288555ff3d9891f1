# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Training in one process or in several processes started by torchrun."""

from __future__ import annotations

from dataclasses import dataclass
import os

import torch
from torch import nn

from mem3r_ros.errors import UserError
from mem3r_ros.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Processes:
    """Rank of this process, number of processes, and its device."""

    rank: int
    count: int
    device: torch.device

    @classmethod
    def from_environment(cls, config: TrainConfig) -> Processes:
        """
        Join the other processes if torchrun started this one.

        :raises UserError: the plan is by time, which several processes cannot agree on.
        """
        count = int(os.environ.get('WORLD_SIZE', '1'))
        rank = int(os.environ.get('RANK', '0'))
        device = _device(config.runtime.device, int(os.environ.get('LOCAL_RANK', '0')))
        if count > 1:
            if not config.steps:
                raise UserError('several processes need a plan by batches; give --steps')
            if not torch.distributed.is_initialized():
                backend = 'nccl' if device.type == 'cuda' else 'gloo'
                torch.distributed.init_process_group(backend)
        return cls(rank, count, device)

    @property
    def is_first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module wrapped so that gradients are averaged over the processes."""
        if self.count == 1:
            return module
        # A chunk of first frames leaves the fast weights and their learning rates unused.
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)

    def all_agree(self, answer: bool) -> bool:
        """Return whether the value is true in every process."""
        if self.count == 1:
            return answer
        vote = torch.tensor(int(answer), device=self.device)
        torch.distributed.all_reduce(vote, torch.distributed.ReduceOp.MIN)
        return bool(vote)


def _device(name: str, local_rank: int) -> torch.device:
    if name == 'auto':
        name = f'cuda:{local_rank}' if torch.cuda.is_available() else 'cpu'
    if name.startswith('cuda') and not torch.cuda.is_available():
        raise UserError(f'runtime.device is {name}, but torch sees no GPU; use cpu')
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UserError(f'runtime.device is {name!r}; use auto, cpu, cuda or cuda:N') from error
