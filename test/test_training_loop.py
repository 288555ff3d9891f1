# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The training loop on a very small network and flat clips: seconds, and no renderer."""

from __future__ import annotations

import dataclasses
import signal

import numpy as np
import pytest
from tiny_networks import MEM3R
import torch

from mem3r_ros.config import from_dict
from mem3r_ros.errors import UserError
from mem3r_ros.model import ModelConfig, build_model
from mem3r_ros.training import batch_loader as loader
from mem3r_ros.training import trainer
from mem3r_ros.training.batch import Clip, collate
from mem3r_ros.training.config import TrainConfig
from mem3r_ros.training.validation import figures_line, validate_model

SIZE = (48, 32)
SMALL = {
    'enc_embed_dim': 48,
    'enc_depth': 1,
    'enc_num_heads': 2,
    'dec_embed_dim': 48,
    'dec_depth': 2,
    'dec_num_heads': 2,
    'state_dec_num_heads': 2,
    'state_size': 8,
    'fast_num_heads': 2,
    'state_gate_dim': 16,
    'dpt_feature_dim': 16,
    'dpt_last_dim': 8,
    'dpt_layer_dims': (8, 8, 8, 8),
    'patch_size': 16,
    'stem_dims': (8, 8, 16),
}


class PlaneSource:
    """A textured wall before a camera that slides along it: enough to have depth and motion."""

    def clip(self, index: int, num_frames: int, size: tuple[int, int]) -> Clip:
        """Return shifted windows of one random, smooth picture."""
        import cv2

        generator = np.random.default_rng(index)
        width, height = size
        wall = generator.integers(0, 255, (height // 4, width // 2, 3), np.uint8)
        wall = cv2.resize(wall, (4 * width, height), interpolation=cv2.INTER_CUBIC)
        focal, depth = 0.9 * width, float(generator.uniform(1.0, 4.0))
        step = int(generator.integers(1, 4))
        poses = np.tile(np.eye(4), (num_frames, 1, 1))
        poses[:, 0, 3] = np.arange(num_frames) * step * depth / focal
        return Clip(
            image=np.stack([wall[:, i * step : i * step + width] for i in range(num_frames)]),
            depth_m=np.full((num_frames, height, width), depth, np.float32),
            T_world_camera=poses,
            intrinsics=np.array([focal, focal, (width - 1) / 2, (height - 1) / 2], np.float32),
            moving=np.zeros((num_frames, height, width), bool),
        )


def make_small(patch: pytest.MonkeyPatch) -> ModelConfig:
    """Replace network and worlds by small ones."""
    torch.set_num_threads(1)
    config = dataclasses.replace(ModelConfig.preset('mem3r-tiny'), img_size=SIZE, **SMALL)
    patch.setattr(trainer.ModelConfig, 'preset', classmethod(lambda cls, name: config))
    patch.setattr(loader, 'build_source', lambda source: PlaneSource())
    patch.setattr(loader, '_sources', {})
    return config


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    return make_small(monkeypatch)


def recipe(**changes) -> TrainConfig:
    return from_dict(
        TrainConfig,
        {
            'steps': 6,
            'unknown_focal': 0.4,
            'stages': [
                {'num_frames': 2, 'chunk': 2, 'batch_size': 2, 'sizes': ['48x32']},
                {'num_frames': 4, 'chunk': 2, 'batch_size': 2, 'sizes': ['48x32']},
            ],
            'losses': {
                'depth_seen': 0.5,
                'depth_gradient': 0.5,
                'direction': 0.5,
                'flow': 0.2,
                'spread': 0.2,
            },
            'optimiser': {'ema_decay': 0.9},
            'runtime': {'workers': 0, 'use_bf16': False, 'validation_clips': 0, 'device': 'cpu'},
        }
        | changes,
    )


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path):
    whole = trainer.Trainer(recipe(), tmp_path / 'whole')
    whole.run()

    stopped = trainer.Trainer(recipe(), tmp_path / 'parts')
    for _ in range(3):
        stage, batch = loader.BatchLoader(
            stopped.config, stopped.stage_of, stopped.counters.batches, flow_scale=2
        ).next()
        stopped.train_batch(stage, batch)
    stopped.save()
    resumed = trainer.Trainer(recipe(), tmp_path / 'parts', resume=True)
    resumed.run()

    assert resumed.counters.batches == whole.counters.batches == 6
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    average = resumed.averaged_model().state_dict()
    for name, value in whole.averaged_model().state_dict().items():
        assert torch.equal(value, average[name]), name


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_batch_stops_after_it(tmp_path, monkeypatch, number, capsys):
    whole = trainer.Trainer(recipe(), tmp_path / 'whole')
    whole.run()
    stopped = trainer.Trainer(recipe(), tmp_path / 'parts')
    train_chunk = stopped._train_chunk

    def interrupted(batch, state, start, *rest):
        if stopped.counters.batches == 4 and start == 2:
            signal.raise_signal(number)
        return train_chunk(batch, state, start, *rest)

    monkeypatch.setattr(stopped, '_train_chunk', interrupted)

    handler = signal.getsignal(number)
    stopped.run()
    resumed = trainer.Trainer(recipe(), tmp_path / 'parts', resume=True)

    assert signal.getsignal(number) == handler
    assert 'stopping after this batch' in capsys.readouterr().out
    assert resumed.counters.batches == 5
    resumed.run()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch):
    run = trainer.Trainer(recipe(), tmp_path)

    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run, 'train_batch', interrupted)

    with pytest.raises(KeyboardInterrupt):
        run.run()


def test_an_existing_run_is_not_overwritten(tmp_path):
    trainer.Trainer(recipe(steps=1), tmp_path).run()

    with pytest.raises(UserError, match='holds a run; continue it with --resume'):
        trainer.Trainer(recipe(steps=1), tmp_path)


@pytest.mark.parametrize(
    'mistake, message',
    [
        ({'sizes': ['50x32']}, "'late' has size 50x32; both sides must be multiples of 16"),
        ({'ray_map_share': 0.5}, 'the network has no ray-map encoder; set it to 0'),
    ],
)
def test_a_later_stage_that_the_network_cannot_run_is_refused_at_once(tmp_path, mistake, message):
    stages = [{'sizes': ['48x32']}, {'name': 'late', 'sizes': ['48x32']} | mistake]

    with pytest.raises(UserError, match=message):
        trainer.Trainer(recipe(stages=stages), tmp_path)


def test_a_compiled_model_trains_the_same_and_its_average_is_not_compiled(tmp_path, monkeypatch):
    compile_module = torch.nn.Module.compile
    compiled = []

    def compile_fast(module):
        compiled.append(module)
        compile_module(module, backend='eager')  # traced, but not handed to a C++ compiler

    monkeypatch.setattr(torch.nn.Module, 'compile', compile_fast)
    runtime = {'workers': 0, 'validation_clips': 0, 'device': 'cpu', 'use_bf16': False}
    losses = []
    for use_compile in (False, True):
        config = recipe(runtime=runtime | {'use_compile': use_compile})
        run = trainer.Trainer(config, tmp_path / str(use_compile))
        stage, batch = loader.BatchLoader(config, run.stage_of).next()
        losses.append(run.train_batch(stage, batch)['loss'])

    average = run.averaged_model()
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert run.model.decoder in compiled and average.decoder not in compiled
    assert average.decoder._compiled_call_impl is None


def test_the_gradient_reaches_every_parameter(tmp_path):
    run = trainer.Trainer(recipe(unknown_focal=1.0), tmp_path)
    reached = set()
    # Gates and learning rates start at zero weights: moved, as the first updates do.
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
            parameter.register_hook(
                lambda slope, name=name: reached.add(name) if slope.abs().sum() > 0 else None
            )
    _, batch = loader.BatchLoader(run.config, lambda number: run.config.stages[1]).next()

    run.train_batch(run.config.stages[1], batch)

    assert [name for name, _ in run.model.named_parameters() if name not in reached] == []


def test_frames_given_by_their_rays_train_the_ray_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer.ModelConfig, 'preset', classmethod(lambda cls, name: MEM3R))
    stage = {'num_frames': 3, 'chunk': 3, 'batch_size': 2, 'sizes': ['48x32']}
    stages = [stage | {'ray_map_share': 1.0}]
    run = trainer.Trainer(recipe(stages=stages, losses={'rgb': 1.0}, steps=40), tmp_path)
    _, batch = loader.BatchLoader(run.config, run.stage_of, flow_scale=0).next()

    first = run.train_batch(run.config.stages[0], batch)
    before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
    for _ in range(19):
        last = run.train_batch(run.config.stages[0], batch)

    moved = {n.split('.')[0] for n, p in run.model.named_parameters() if (p != before[n]).any()}
    assert 'ray_encoder' in moved
    assert last['rgb'] < 0.95 * first['rgb']


def test_one_batch_can_be_overfitted(tmp_path):
    run = trainer.Trainer(recipe(steps=80, unknown_focal=0.0), tmp_path)
    _, batch = loader.BatchLoader(run.config, lambda number: run.config.stages[1]).next()

    first = run.train_batch(run.config.stages[1], batch)
    for _ in range(79):
        last = run.train_batch(run.config.stages[1], batch)

    assert last['loss'] < first['loss']
    for name in ('scale_free_depth', 'rotation', 'translation', 'world_pose'):
        assert last[name] < 0.4 * first[name], name


def test_an_update_that_is_not_finite_is_skipped_and_counted(tmp_path, capsys):
    run = trainer.Trainer(recipe(), tmp_path)
    stage, batch = loader.BatchLoader(run.config, run.stage_of).next()
    bad = dataclasses.replace(batch, T_world_camera=batch.T_world_camera * float('nan'))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}

    run.train_batch(stage, bad)

    assert run.counters.skipped == 1
    assert run.counters.updates == 0
    assert 'skipped' in capsys.readouterr().out
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_run_writes_weights_that_load_a_log_and_its_settings(tmp_path):
    from mem3r_ros.model import load_model

    run = trainer.Trainer(recipe(steps=2), tmp_path)
    run.run()

    model = load_model(str(tmp_path / 'weights.safetensors'))
    for name, value in run.averaged_model().state_dict().items():
        stored = model.state_dict()[name]  # written in float16
        assert torch.allclose(stored, value, rtol=1e-3, atol=1e-6), name
    assert (tmp_path / 'log.jsonl').exists()
    assert (tmp_path / 'config.yaml').exists()


def test_a_recipe_may_change_fields_of_its_preset(tmp_path):
    run = trainer.Trainer(recipe(model={'state_gate': False}), tmp_path / 'off')

    assert run.model.state_gate is None
    with pytest.raises(UserError, match='no_such_field'):
        trainer.Trainer(recipe(model={'no_such_field': 1}), tmp_path / 'bad')


def test_a_network_that_predicts_only_poses_is_validated_by_their_differences():
    batch = collate([PlaneSource().clip(1, 3, SIZE)], None, [True])
    model = build_model(MEM3R).eval()

    figures = validate_model(model, [batch], 'cut3r').figures

    assert figures['rotation_none_deg'] == pytest.approx(0, abs=0.1)
    assert figures['rotation_deg'] > 0
    assert 'nan' not in figures_line(figures)
