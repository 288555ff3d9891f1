# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What one of several training processes does; they find it by this module's name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from test_training_loop import make_small, recipe
import torch

from mem3r_ros.training import batch_loader as loader
from mem3r_ros.training import trainer
from mem3r_ros.training.config import TrainConfig

NUM_PROCESSES = 2


def batch_of(config: TrainConfig, rank: int, count: int, stage: int = 0) -> tuple:
    """Return what a process gets first."""
    return loader.BatchLoader(config, lambda number: config.stages[stage], 0, rank, count).next()


def train_as_one_of_two(rank: int, port: int, folder: str) -> None:
    """Train on one good batch, then on one that is spoilt for the last process; keep all."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        for name, value in {
            'RANK': rank,
            'LOCAL_RANK': rank,
            'WORLD_SIZE': NUM_PROCESSES,
            'MASTER_ADDR': 'localhost',
            'MASTER_PORT': port,
        }.items():
            patch.setenv(name, str(value))
        run = trainer.Trainer(recipe(), Path(folder, str(rank)))
        stage, batch = batch_of(run.config, rank, NUM_PROCESSES)
        run.train_batch(stage, batch)
        after_good = {name: value.clone() for name, value in run.model.state_dict().items()}
        if rank:
            batch = dataclasses.replace(batch, T_world_camera=batch.T_world_camera * float('nan'))
        run.train_batch(stage, batch)
        spoilt = {name: value.clone() for name, value in run.model.state_dict().items()}
        # A chunk of a single frame, which leaves the fast weights unused, and what comes after.
        odd = dataclasses.replace(run.config.stages[1], chunk=3)
        _, batch = batch_of(run.config, rank, NUM_PROCESSES, 1)
        run.train_batch(odd, batch)
        run.train_batch(odd, batch)
        torch.save(
            {
                'odd': run.model.state_dict(),
                'good': after_good,
                'spoilt': spoilt,
                'counters': (run.counters.updates, run.counters.skipped),
                'files': sorted(path.name for path in run.output.iterdir()),
            },
            Path(folder, f'{rank}.pt'),
        )
        torch.distributed.destroy_process_group()
