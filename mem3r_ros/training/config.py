# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of a training run; a recipe is a YAML file of a TrainConfig."""

from __future__ import annotations

from collections.abc import Mapping

from mem3r_ros.config import from_dict, section, setting, settings
from mem3r_ros.errors import UserError
from mem3r_ros.worlds.config import WorldConfig

SOURCE_KINDS = ('worlds', 'sequence')


@settings
class SourceConfig:
    """One source of clips and its weight in the mixture."""

    kind: str = setting(
        'worlds', 'rendered worlds, or a posed RGB-D sequence', choices=SOURCE_KINDS
    )
    path: str = setting('', 'folder or bag of the sequence (kind sequence)')
    weight: float = setting(1.0, 'relative number of clips from this source', low=0.0)
    strides: tuple = setting((1,), 'frame strides; each clip draws one', low=1)
    is_metric: bool = setting(True, 'whether its depth and poses are in metres')
    worlds: WorldConfig = section(WorldConfig)

    def check(self) -> None:
        """Refuse values that do not fit together."""
        if self.kind == 'sequence' and not self.path:
            raise UserError('SourceConfig.path is empty; name the folder or bag of the sequence')


@settings
class LossConfig:
    """Weights of the losses; 0 disables a loss."""

    log_depth: float = setting(1.0, 'confidence-weighted error of log depth', low=0.0)
    scale_free_depth: float = setting(0.5, 'the same with the frame scale removed', low=0.0)
    depth_seen: float = setting(
        0.0, 'both for the depth predicted from the image alone, before fusion', low=0.0
    )
    depth_gradient: float = setting(0.0, 'gradients of log depth at several scales', low=0.0)
    scale: float = setting(
        0.0,
        'error of the mean log depth of each frame, before and after fusion: metres, from the '
        'first frame on',
        low=0.0,
    )
    points_metric: float = setting(0.0, 'camera-frame points in metres', low=0.0)
    points_normalised: float = setting(
        0.0, 'camera-frame points relative to their mean distance', low=0.0
    )
    points_world: float = setting(
        0.0, 'world-frame points relative to their mean distance', low=0.0
    )
    rotation: float = setting(1.0, 'relative rotation (rad), divided by a typical step', low=0.0)
    translation: float = setting(1.0, 'relative translation, divided by its true length', low=0.0)
    direction: float = setting(0.0, '1 - cosine of the relative translation', low=0.0)
    world_pose: float = setting(0.2, 'pose from the first frame: |t - t*| / d + |q - q*|', low=0.0)
    focal: float = setting(1.0, 'error of log focal length where it is predicted', low=0.0)
    rgb: float = setting(
        0.0, 'squared error of the image predicted for frames given by their rays', low=0.0
    )
    flow: float = setting(
        0.0, 'cross entropy between the flow weights and whether the flow is right', low=0.0
    )
    spread: float = setting(
        0.0,
        'negative log likelihood of the depth and motion errors before the fit to the flow',
        low=0.0,
    )
    confidence: float = setting(
        1.0, 'match of the confidence with the depth error after the fit to the flow', low=0.0
    )
    confidence_alpha: float = setting(0.2, 'weight of log confidence (alpha of DUSt3R)', low=0.0)


@settings
class StageConfig:
    """One stage of the curriculum: length, size and chunks of the clips."""

    name: str = setting('pairs', 'name in logs')
    share: float = setting(1.0, 'duration, relative to the other stages', low=0.0)
    num_frames: int = setting(2, 'frames in a clip', low=2, unit='frames')
    chunk: int = setting(
        4, 'frames of a chunk; the gradient ends at its first frame', low=1, unit='frames'
    )
    batch_size: int = setting(8, 'clips in a batch, per process', low=1)
    sizes: tuple = setting(
        ('128x96',), 'input sizes WxH; each group draws one, so repeat a size to prefer it'
    )
    losses: dict | None = setting(None, 'loss weights of this stage that differ from the recipe')
    ray_map_share: float = setting(
        0.0,
        'share of the frames after the first that are given by their rays alone',
        low=0.0,
        high=1.0,
    )

    blind_share: float = setting(
        0.0,
        'share of the frames that show little or nothing (dark, blurred, occluded, empty) or are '
        'left out, in runs',
        low=0.0,
        high=1.0,
    )

    def check(self) -> None:
        """Refuse values that do not fit together."""
        for size in self.sizes:
            parse_size(size)


@settings
class OptimiserConfig:
    """AdamW, its learning-rate schedule, clipping and averaging."""

    learning_rate: float = setting(1e-3, 'peak learning rate of the new modules', low=0.0)
    base_factor: float = setting(
        1.0, 'learning rate of all other parameters, relative to the new modules', low=0.0
    )
    new_modules: tuple = setting((), 'name prefixes of the new modules; empty = all modules')
    frozen: tuple = setting((), 'name prefixes of parameters that are not trained')
    weight_decay: float = setting(
        0.02, 'weight decay of matrices (not of biases and norms)', low=0.0
    )
    betas: tuple = setting((0.9, 0.98), 'betas of AdamW', low=0.0, high=1.0)
    warmup: float = setting(
        0.02, 'share of the run in which the learning rate rises', low=0.0, high=1.0
    )
    final_factor: float = setting(
        0.02, 'learning rate at the end, relative to the peak', low=0.0, high=1.0
    )
    clip_norm: float = setting(1.0, 'gradients are clipped to this norm; 0 = no clipping', low=0.0)
    ema_decay: float = setting(
        0.998, 'decay of the exponential moving average of the weights', low=0.0, high=1.0
    )


@settings
class RuntimeConfig:
    """Device, threads, precision, workers, and intervals of logs and checkpoints."""

    device: str = setting('auto', 'auto, cpu, cuda or cuda:N')
    threads: int = setting(0, "threads of the training process; 0 = torch's default", low=0)
    workers: int = setting(
        1, 'worker processes that prepare clips; 0 = the training process does', low=0
    )
    prefetch: int = setting(4, 'minimum number of batches prepared ahead', low=1)
    use_bf16: bool = setting(True, 'bfloat16 matrix products (autocast)')
    use_compile: bool = setting(False, 'compile encoders, decoder and heads (torch.compile)')
    use_checkpointing: bool = setting(False, 'recompute activations to save memory')
    log_every: int = setting(20, 'batches between log lines', low=1)
    save_every_s: float = setting(240.0, 'between checkpoints', low=1.0, unit='s')
    validate_every_s: float = setting(600.0, 'between validations', low=1.0, unit='s')
    validation_clips: int = setting(12, 'held-out clips', low=0)
    validation_frames: int = setting(8, 'frames of each held-out clip', low=2, unit='frames')


@settings
class TrainConfig:
    """A recipe."""

    preset: str = setting('mem3r-tiny', 'model preset to build')
    model: dict | None = setting(None, 'fields of the preset to change, by name')
    initial_weights: str = setting('', 'checkpoint to start from; empty = from scratch')
    is_partial_start: bool = setting(
        False, 'initialise modules that are missing in the checkpoint'
    )
    seed: int = setting(0, 'seed of weights and of the order of clips', low=0)
    minutes: float = setting(60.0, 'duration; used if steps is 0', low=0.0, unit='min')
    steps: int = setting(0, 'number of batches; 0 = use minutes', low=0)
    unknown_focal: float = setting(
        0.25, 'share of the batches without intrinsics', low=0.0, high=1.0
    )
    update_rule: str = setting('cut3r', 'update rule of the state tokens during training')
    groups_abreast: int = setting(
        8, 'groups of clips that take turns, so consecutive batches show other scenes', low=1
    )
    sources: tuple = setting(({},), 'mixture of clip sources')
    stages: tuple = setting(({},), 'curriculum, in order')
    losses: LossConfig = section(LossConfig)
    optimiser: OptimiserConfig = section(OptimiserConfig)
    runtime: RuntimeConfig = section(RuntimeConfig)

    def check(self) -> None:
        """Refuse values that do not fit together."""
        for name, kind in (('sources', SourceConfig), ('stages', StageConfig)):
            entries = [
                from_dict(kind, entry) if isinstance(entry, Mapping) else entry
                for entry in getattr(self, name)
            ]
            object.__setattr__(self, name, tuple(entries))
        if sum(stage.share for stage in self.stages) <= 0:
            raise UserError('the share of all TrainConfig.stages is 0; make one positive')
        if sum(source.weight for source in self.sources) <= 0:
            raise UserError('the weight of all TrainConfig.sources is 0; make one positive')
        for stage in self.stages:
            losses_of(self, stage)  # report a mistake in a later stage at once
        if self.steps == 0 and self.minutes == 0:
            raise UserError('steps and minutes are both 0; set one of them')


def parse_size(text: str) -> tuple[int, int]:
    """
    Read a size such as '128x96'.

    :return: (width, height), px.
    :raises UserError: it is not of that form.
    """
    width, cross, height = text.partition('x')
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise UserError(f'{text!r} is not a size; write WIDTHxHEIGHT in pixels, such as 128x96')
    return int(width), int(height)


def stage_at(config: TrainConfig, progress: float) -> StageConfig:
    """
    Return the stage at a point of the run.

    :param progress: part of the run that is done, 0 to 1.
    """
    total = sum(stage.share for stage in config.stages)
    border = 0.0
    for stage in config.stages:
        border += stage.share / total
        if progress < border - 1e-9:
            return stage
    return config.stages[-1]


def losses_of(config: TrainConfig, stage: StageConfig) -> LossConfig:
    """Return the recipe's loss weights, overridden by those of the stage."""
    return from_dict(
        LossConfig,
        {name: getattr(config.losses, name) for name in LossConfig.__dataclass_fields__}
        | dict(stage.losses or {}),
    )
