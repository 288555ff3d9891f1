# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The training loop: batches in, updated weights, checkpoints and learning curves out."""

from __future__ import annotations

import copy
from pathlib import Path
import time

import torch
from torch import Tensor

from mem3r_ros.config import dump_yaml
from mem3r_ros.errors import UserError
from mem3r_ros.model import Mem3R, ModelConfig, State, build_model, save_checkpoint
from mem3r_ros.training.batch import Batch
from mem3r_ros.training.batch_loader import BatchLoader
from mem3r_ros.training.chunk_loss import ChunkLoss
from mem3r_ros.training.config import (
    LossConfig,
    StageConfig,
    TrainConfig,
    losses_of,
    parse_size,
    stage_at,
)
from mem3r_ros.training.distributed import Processes
from mem3r_ros.training.optimiser import (
    average_of,
    build_optimiser,
    clip_gradients,
    learning_rate,
    set_learning_rate,
)
from mem3r_ros.training.run_log import RunLog
from mem3r_ros.training.stop_signal import StopSignal
from mem3r_ros.training.training_state import (
    STATE_FILE,
    Counters,
    load_state,
    save_state,
    start_weights,
)
from mem3r_ros.training.validation import Validation, validate_model, validation_batches

WEIGHTS_FILE = 'weights.safetensors'


def network_config(config: TrainConfig) -> ModelConfig:
    """
    Return the configuration of the network of a recipe: its preset with the changed fields.

    :raises UserError: there is no such preset or field.
    """
    fields = ModelConfig.preset(config.preset).to_metadata() | (config.model or {})
    return ModelConfig.from_metadata(fields)


class Trainer:
    """One run of a recipe."""

    def __init__(self, config: TrainConfig, output: Path, resume: bool = False) -> None:
        """
        Build model, optimiser and log; with ``resume``, restore the state in the output folder.

        :raises UserError: the recipe cannot be run, or there is no state to resume.
        """
        self.config, self.output = config, output
        self.processes = Processes.from_environment(config)
        self.device = self.processes.device
        if config.runtime.threads:
            torch.set_num_threads(config.runtime.threads)
        torch.manual_seed(config.seed)
        self.model = build_model(network_config(config)).to(self.device)
        if config.initial_weights:
            start_weights(self.model, config.initial_weights, config.is_partial_start)
        self._check_stages()
        self.model.train()
        self.optimiser = build_optimiser(self.model, config.optimiser)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.average = average_of(self.model, config.optimiser.ema_decay)
        self.counters = Counters()
        output.mkdir(parents=True, exist_ok=True)
        if not resume and (output / STATE_FILE).exists():
            raise UserError(
                f'{output} holds a run; continue it with --resume, or choose another --output'
            )
        if resume:
            self.counters = load_state(
                output / STATE_FILE, self.model, self.average, self.optimiser
            )
        self.chunk_loss = self.processes.wrap(self._build_chunk_loss())
        self.log = RunLog(config, output, resume) if self.processes.is_first else None
        self._validation: list[Batch] | None = None
        if self.processes.is_first:
            dump_yaml(config, output / 'config.yaml')

    def run(self) -> Counters:
        """
        Train to the end of the plan; Ctrl-C or SIGTERM stops after a batch and saves.

        :return: the final counters.
        :raises KeyboardInterrupt: a second signal came; progress since the last save is lost.
        """
        try:
            self._run_plan()
        finally:
            if self.log:
                self.log.close()
        return self.counters

    def _run_plan(self) -> None:
        loader = BatchLoader(
            self.config,
            self.stage_of,
            self.counters.batches,
            self.processes.rank,
            self.processes.count,
            self.model.config.flow_scale if self.model.config.two_view else 0,
        )
        runtime = self.config.runtime
        last_save = last_validation = time.monotonic()
        try:
            with StopSignal(self._print) as asked_to_stop:
                while self.progress() < 1.0 and not asked_to_stop:
                    started = time.monotonic()
                    stage, batch = loader.next()
                    waited = time.monotonic() - started
                    terms = self.train_batch(stage, batch.to(self.device))
                    now = time.monotonic()
                    self.counters.elapsed_s += now - started
                    self._log(stage, terms, now - started, waited)
                    if now - last_save > runtime.save_every_s:
                        self.save()
                        last_save = time.monotonic()
                    if now - last_validation > runtime.validate_every_s:
                        self.validate()
                        last_validation = time.monotonic()
        finally:
            loader.close()
        self.save()
        self.validate()
        if asked_to_stop:
            self._print('stopped; the state is saved, continue with --resume')

    def train_batch(self, stage: StageConfig, batch: Batch) -> dict[str, float]:
        """
        Train on one batch, with one update of the weights after each chunk.

        :return: means of the loss terms, the loss and the norm of the gradient.
        """
        losses = losses_of(self.config, stage)
        state = None
        sums: dict[str, list[float]] = {}
        for start in range(0, batch.num_frames, stage.chunk):
            stop = min(start + stage.chunk, batch.num_frames)
            terms, state, is_good = self._train_chunk(batch, state, start, stop, losses)
            if not is_good:
                # The state may hold values that are not finite: skip the rest of the clips.
                break
            for name, value in terms.items():
                sums.setdefault(name, []).append(float(value))
        self.counters.batches += 1
        self.counters.frames += batch.num_frames * batch.batch_size
        self.counters.stages[stage.name] = self.counters.stages.get(stage.name, 0) + 1
        return {name: sum(values) / len(values) for name, values in sums.items()}

    def _train_chunk(
        self, batch: Batch, state: State | None, start: int, stop: int, losses: LossConfig
    ) -> tuple[dict[str, Tensor], State, bool]:
        rate = learning_rate(self.config.optimiser, self.progress())
        set_learning_rate(self.optimiser, rate)
        self.optimiser.zero_grad(set_to_none=True)
        loss, terms, state = self.chunk_loss(batch, state, start, stop, losses)
        loss.backward()
        norm = clip_gradients(self.trained, self.config.optimiser.clip_norm)
        is_good = self.processes.all_agree(bool(torch.isfinite(norm) & torch.isfinite(loss)))
        if is_good:
            self.optimiser.step()
            self.average.update_parameters(self.model)
            self.counters.updates += 1
        else:
            self.counters.skipped += 1
            self._print(
                f'batch {self.counters.batches}: loss {float(loss.detach()):.3g}, '
                f'gradient norm {float(norm):.3g}; '
                f'update skipped ({self.counters.skipped} so far)'
            )
        return terms | {'loss': loss.detach(), 'gradient_norm': norm.detach()}, state, is_good

    def progress(self) -> float:
        """Return the finished share of the plan, 0 to 1."""
        if self.config.steps:
            return min(self.counters.batches / self.config.steps, 1.0)
        return min(self.counters.elapsed_s / (60 * self.config.minutes), 1.0)

    def stage_of(self, batch: int) -> StageConfig:
        """Return the stage of a batch; with a plan by time, the current stage."""
        if self.config.steps:
            return stage_at(self.config, batch / self.config.steps)
        return stage_at(self.config, self.progress())

    def validate(self) -> Validation | None:
        """Measure the averaged weights on held-out worlds (first process only)."""
        if not self.processes.is_first or not self.config.runtime.validation_clips:
            return None
        if self._validation is None:
            self._validation = validation_batches(self.config, self.model.config.flow_scale)
        result = validate_model(self.averaged_model(), self._validation, self.config.update_rule)
        self.log.validation(self.counters, result)
        return result

    def averaged_model(self) -> torch.nn.Module:
        """Return the model with the averaged weights (not a copy)."""
        return self.average.module.eval()

    def save(self) -> None:
        """Write the state for ``resume`` and the averaged weights as a float16 checkpoint."""
        if not self.processes.is_first:
            return
        save_state(
            self.output / STATE_FILE, self.model, self.average, self.optimiser, self.counters
        )
        export_weights(self.averaged_model(), self.output / WEIGHTS_FILE, self.counters)

    def _log(
        self, stage: StageConfig, terms: dict[str, float], took_s: float, waited_s: float
    ) -> None:
        if self.log:
            rate = self.optimiser.param_groups[0]['lr']
            self.log.batch(
                self.counters, stage.name, self.progress(), terms, rate, took_s, waited_s
            )

    def _print(self, text: str) -> None:
        if self.log:
            self.log.print(text)

    def _check_stages(self) -> None:
        """Check all stages against the network before the first batch."""
        patch = self.model.config.patch_size
        for stage in self.config.stages:
            for size in stage.sizes:
                if any(side % patch for side in parse_size(size)):
                    raise UserError(
                        f'stage {stage.name!r} has size {size}; both sides must be multiples of '
                        f'{patch}'
                    )
            if stage.ray_map_share and self.model.ray_encoder is None:
                raise UserError(
                    f'stage {stage.name!r} has ray_map_share {stage.ray_map_share}, but the '
                    f'network has no ray-map encoder; set it to 0'
                )

    def _build_chunk_loss(self) -> torch.nn.Module:
        runtime = self.config.runtime
        if runtime.use_compile:
            for part in compiled_parts(self.model):
                part.compile()
        return ChunkLoss(
            self.model, self.config.update_rule, runtime.use_bf16, runtime.use_checkpointing
        )


def compiled_parts(model: Mem3R) -> list[torch.nn.Module]:
    """
    Return the modules that are worth compiling: they do nearly all of the arithmetic.

    The geometry between them takes minutes to trace and little time to run.
    """
    heads = model.predictor
    parts = (
        model.image_encoder,
        model.ray_encoder,
        model.decoder,
        heads.camera_head,
        heads.world_head,
        heads.rgb_head,
    )
    return [part for part in parts if part is not None]


def export_weights(model: torch.nn.Module, path: Path, counters: Counters) -> None:
    """Write a model as a float16 checkpoint that load_model reads."""
    metadata = {
        'trained_updates': str(counters.updates),
        'trained_frames': str(counters.frames),
        'trained_minutes': f'{counters.elapsed_s / 60:.1f}',
    }
    save_checkpoint(copy.deepcopy(model).half(), path, metadata=metadata)
