# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Batches made ahead of training by a few processes, in an order that only the seed decides.

Batch number n of a run is the same whoever makes it and whenever, so that a resumed run sees
what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
import multiprocessing

import numpy as np

from mem3r_ros.training.batch import Batch, Clip, collate
from mem3r_ros.training.config import SourceConfig, StageConfig, TrainConfig, parse_size
from mem3r_ros.training.sources import HELD_OUT_WORLDS, ClipSource, build_source

GROUP_FRAMES = 16  # frames of a world that the batches of a group share
PASSES = 2  # times that they see each of them


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOrder:
    """What one batch shall be; small, so that it travels cheaply to a process."""

    number: int  # of the batch, over all processes of a run
    seed: int
    stage: StageConfig
    sources: tuple[SourceConfig, ...]
    unknown_focal: float


_sources: dict[SourceConfig, ClipSource] = {}
_long_clips: dict[tuple, Clip] = {}  # of the present group of batches


def make_batch(order: BatchOrder) -> Batch:
    """
    Draw the clips of one batch and measure their optical flow.

    Building a world costs as much as a dozen of its frames. So a group of batches of short clips
    shares its worlds: each batch of the group has another stretch of all of them, and then each
    stretch once more, mirrored and backwards in time.
    """
    group, part = divmod(order.number, PASSES * parts_of(order.stage))
    is_second, part = divmod(part, parts_of(order.stage))
    generator = np.random.default_rng([order.seed, group])
    size = parse_size(str(generator.choice(order.stage.sizes)))
    weights = np.array([source.weight for source in order.sources])
    chosen = generator.choice(
        len(order.sources), size=order.stage.batch_size, p=weights / weights.sum()
    )
    num_frames = order.stage.num_frames
    stretch = slice(part * num_frames, (part + 1) * num_frames)
    clips, is_metric = [], []
    for slot, which in enumerate(chosen):
        config = order.sources[int(which)]
        whole = _long_clip(config, clip_index(order, slot), parts_of(order.stage), order, size)
        clip = whole.cut(stretch)
        clips.append(clip.mirrored_backwards() if is_second else clip)
        is_metric.append(config.is_metric)
    batch = collate(clips, [clip_flow(clip) for clip in clips], is_metric)
    if np.random.default_rng([order.seed, order.number, 1]).random() < order.unknown_focal:
        batch = replace(batch, is_focal_known=False)
    return batch


def parts_of(stage: StageConfig) -> int:
    """Return into how many stretches the worlds of one group are cut."""
    return max(1, GROUP_FRAMES // stage.num_frames)


def clip_index(order: BatchOrder, slot: int) -> int:
    """Return the index of a clip: no two groups of one seed share one; all are training's."""
    group = order.number // (PASSES * parts_of(order.stage))
    base = order.seed * 7_919 * 10_000 + group * order.stage.batch_size + slot
    return base % HELD_OUT_WORLDS


def _long_clip(
    config: SourceConfig, index: int, parts: int, order: BatchOrder, size: tuple[int, int]
) -> Clip:
    """Return the clip that the batches of a group cut; it is made once per process."""
    key = (config, index, parts * order.stage.num_frames, size)
    if key not in _long_clips:
        if len(_long_clips) >= order.stage.batch_size:
            del _long_clips[next(iter(_long_clips))]
        _long_clips[key] = _source(config).clip(index, key[2], size)
    return _long_clips[key]


def clip_flow(clip: Clip) -> np.ndarray:
    """Return the checked flow of each frame to its predecessor, [T, 3, H, W] px; 0 at first."""
    import cv2

    from mem3r_ros.model.motion import checked_flow

    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in clip.image]
    flow = np.zeros((len(grays), 3, *grays[0].shape), np.float32)
    for frame in range(1, len(grays)):
        flow[frame] = checked_flow(grays[frame - 1], grays[frame]).transpose(2, 0, 1)
    return flow


def _source(config: SourceConfig) -> ClipSource:
    """Open a source once per process."""
    if config not in _sources:
        _sources[config] = build_source(config)
    return _sources[config]


def _start_worker() -> None:
    """Keep a preparing process to one thread: the other cores are training's."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


class BatchLoader:
    """Hands out batches in order; at most ``prefetch`` of them wait or are being made."""

    def __init__(
        self,
        config: TrainConfig,
        stage_of: Callable[[int], StageConfig],
        first_batch: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """
        Start the processes.

        :param stage_of: asked for the stage when a batch is ordered.
        :param first_batch: number of batches that this rank has already had.
        """
        self._config, self._stage_of = config, stage_of
        self._ordered, self._rank, self._world_size = first_batch, rank, world_size
        self._waiting: deque[tuple[StageConfig, Future]] = deque()
        self._pool = None
        if config.runtime.workers:
            self._pool = ProcessPoolExecutor(
                config.runtime.workers,
                mp_context=multiprocessing.get_context('spawn'),
                initializer=_start_worker,
            )

    def next(self) -> tuple[StageConfig, Batch]:
        """
        Return the next batch and its stage.

        :raises Exception: whatever went wrong while it was made.
        """
        if self._pool is None:
            order = self._order()
            return order.stage, make_batch(order)
        while len(self._waiting) < self._config.runtime.prefetch:
            order = self._order()
            self._waiting.append((order.stage, self._pool.submit(make_batch, order)))
        stage, future = self._waiting.popleft()
        return stage, future.result()

    def close(self) -> None:
        """Stop the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _order(self) -> BatchOrder:
        order = BatchOrder(
            number=self._ordered * self._world_size + self._rank,
            seed=self._config.seed,
            stage=self._stage_of(self._ordered),
            sources=self._config.sources,
            unknown_focal=self._config.unknown_focal,
        )
        self._ordered += 1
        return order
