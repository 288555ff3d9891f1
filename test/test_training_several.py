# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Training in two processes, as started by torchrun."""

from __future__ import annotations

import socket

import pytest
from test_training_loop import make_small, recipe
import torch
from two_processes import NUM_PROCESSES, batch_of, train_as_one_of_two

from mem3r_ros.errors import UserError
from mem3r_ros.training import trainer


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    make_small(monkeypatch)


def test_two_processes_average_their_gradients_and_skip_together(tmp_path):
    with socket.socket() as server:
        server.bind(('localhost', 0))
        port = server.getsockname()[1]
    torch.multiprocessing.spawn(
        train_as_one_of_two, (port, str(tmp_path)), NUM_PROCESSES, join=True
    )
    kept = [torch.load(tmp_path / f'{rank}.pt') for rank in range(NUM_PROCESSES)]

    # By hand: the mean of both gradients, then one update.
    run = trainer.Trainer(recipe(), tmp_path / 'by_hand')
    slopes = []
    for rank in range(NUM_PROCESSES):
        stage, batch = batch_of(run.config, rank, NUM_PROCESSES)
        run.optimiser.zero_grad()
        run.chunk_loss(batch, None, 0, stage.num_frames, run.config.losses)[0].backward()
        slopes.append([p.grad for p in run.trained])
    for parameter, one, other in zip(run.trained, *slopes):
        parameter.grad = None if one is None else (one + other) / 2
    trainer.clip_gradients(run.trained, run.config.optimiser.clip_norm)
    trainer.set_learning_rate(
        run.optimiser, trainer.learning_rate(run.config.optimiser, run.progress())
    )
    run.optimiser.step()

    for name, value in run.model.state_dict().items():
        assert torch.equal(kept[0]['good'][name], kept[1]['good'][name]), name
        torch.testing.assert_close(kept[0]['good'][name], value, rtol=1e-3, atol=2e-6)
    for found in kept:
        assert found['counters'] == (5, 1)
        for name, value in found['spoilt'].items():
            assert torch.equal(value, found['good'][name]), name
    for name, value in kept[0]['odd'].items():
        assert torch.equal(value, kept[1]['odd'][name]), name
    assert 'log.jsonl' in kept[0]['files']
    assert kept[1]['files'] == []


def test_several_processes_refuse_a_plan_by_time(tmp_path, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')

    with pytest.raises(UserError, match='give --steps'):
        trainer.Trainer(recipe(steps=0, minutes=1.0), tmp_path)
