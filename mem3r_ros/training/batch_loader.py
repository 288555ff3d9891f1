# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Prepares batches ahead of training in worker processes; their order depends on the seed alone.

Batch n of a run does not depend on the worker or the time, so a resumed run gets the same batches
as an uninterrupted one.

Building a world costs as much as rendering several frames. Therefore the batches of a group share
long clips: each batch is another section of them, and each section is used a second time, mirrored
and reversed in time. Workers make the long clips; batches are cut from them in this process.

Consecutive batches come from different groups. Otherwise the weights would follow the few scenes
of one group, for example their scale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
import multiprocessing
import signal
from typing import NamedTuple

import numpy as np

from mem3r_ros.training.batch import Batch, Clip, collate
from mem3r_ros.training.blind_frames import with_blind_frames
from mem3r_ros.training.clip_sources import HELD_OUT_WORLDS, ClipSource, build_source, network_clip
from mem3r_ros.training.config import SourceConfig, StageConfig, TrainConfig, parse_size

GROUP_FRAMES = 8  # frames of a long clip, unless the clips of the stage are longer
PASSES = 2  # times that each of them is used
STAGE_CLIPS = 10_000_000  # indices of clips that belong to one stage of one seed
SEED_CLIPS = 79_190_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipOrder:
    """Description of one long clip; small, because it is sent to a worker process."""

    source: SourceConfig
    index: int
    num_frames: int
    size: tuple[int, int]  # width, height, px
    flow_scale: int  # see ModelConfig; 0 = the network takes no flow
    blind_share: float = 0.0  # see StageConfig


@dataclass(frozen=True, slots=True)
class LongClip:
    """A long clip with its flow in both directions of time."""

    clip: Clip
    flow: np.ndarray | None  # [T, 3, H, W] see clip_flow
    mirrored_flow: np.ndarray | None  # of the mirrored and reversed clip

    def stretch(self, start: int, stop: int, is_mirrored: bool) -> tuple[Clip, np.ndarray | None]:
        """Return a section of the clip and its flow, which is 0 in its first frame."""
        clip, flow = self.clip.cut(slice(start, stop)), self.flow
        if is_mirrored:
            clip, flow = clip.mirrored_backwards(), self.mirrored_flow
            count = len(self.clip.image)
            start, stop = count - stop, count - start
        if flow is None:
            return clip, None
        flow = flow[start:stop].copy()
        flow[0] = 0.0
        return clip, flow


def make_clip(order: ClipOrder) -> LongClip:
    """Make one long clip."""
    source, scale = _source(order.source), max(order.flow_scale, 1)
    surplus = round(order.blind_share * order.num_frames)  # in place of frames that are left out
    clip = network_clip(source, order.index, order.num_frames + surplus, order.size, scale)
    if order.blind_share:
        clip = with_blind_frames(clip, order.num_frames, order.blind_share, [order.index, 3])
    if not order.flow_scale:
        return LongClip(clip, None, None)
    flow, mirrored_flow = clip_flow(clip), clip_flow(clip.mirrored_backwards())
    return LongClip(replace(clip, fine_gray=None), flow, mirrored_flow)


def parts_of(stage: StageConfig) -> int:
    """Return the number of sections of the long clips of a stage."""
    return max(1, GROUP_FRAMES // stage.num_frames)


def steps_of(stage: StageConfig) -> int:
    """Return the number of batches that share the long clips of a group."""
    return PASSES * parts_of(stage)


def clip_index(seed: int, stage_number: int, group: int, slot: int, batch_size: int) -> int:
    """Return the index of a clip; it is unique for the seed and never a held-out one."""
    base = seed * SEED_CLIPS + stage_number * STAGE_CLIPS + group * batch_size + slot
    return base % HELD_OUT_WORLDS


def clip_flow(clip: Clip) -> np.ndarray:
    """Return the checked flow of each frame to its predecessor, [T, 3, H, W] px; 0 at first."""
    import cv2

    from mem3r_ros.two_view.optical_flow import checked_flow

    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in clip.image]
    flow = np.zeros((len(grays), 3, *grays[0].shape), np.float32)
    for frame in range(1, len(grays)):
        before = flow[frame - 1, :2].transpose(1, 2, 0)
        fine = None
        if clip.fine_gray is not None:
            fine = (clip.fine_gray[frame - 1], clip.fine_gray[frame])
        found = checked_flow(grays[frame - 1], grays[frame], before, fine)
        flow[frame] = found.transpose(2, 0, 1)
    return flow


_sources: dict[SourceConfig, ClipSource] = {}


def _source(config: SourceConfig) -> ClipSource:
    """Open a source once per process."""
    if config not in _sources:
        _sources[config] = build_source(config)
    return _sources[config]


def _start_worker() -> None:
    """Limit a worker process to one thread; the other cores are for training."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process


@dataclass(slots=True)
class _Group:
    """Long clips of a group, finished or in preparation."""

    stage: StageConfig
    orders: list[ClipOrder]
    clips: list[LongClip] | list[Future]

    def batch(self, step: int) -> Batch:
        """Return one of its batches; wait for the clips if necessary."""
        if self.clips and isinstance(self.clips[0], Future):
            self.clips = [clip.result() for clip in self.clips]
        is_mirrored, part = divmod(step, parts_of(self.stage))
        start = part * self.stage.num_frames
        stop = start + self.stage.num_frames
        cut = [clip.stretch(start, stop, bool(is_mirrored)) for clip in self.clips]
        clips, flows = zip(*cut, strict=True)
        is_metric = [order.source.is_metric for order in self.orders]
        return collate(list(clips), None if flows[0] is None else list(flows), is_metric)


class _Place(NamedTuple):
    """The place of a batch: stage, group and section."""

    stage: int  # number of the stage
    group: int  # of that stage
    step: int  # number of the batch within its group


class BatchLoader:
    """Returns batches in order; at least ``prefetch`` of them are ready or in preparation."""

    def __init__(
        self,
        config: TrainConfig,
        stage_of: Callable[[int], StageConfig],
        first_batch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        flow_scale: int = 1,
    ) -> None:
        """
        Start the worker processes.

        :param stage_of: returns the stage of a batch; called when the batch is ordered.
        :param first_batch: number of batches that this rank has already used.
        :param flow_scale: see ModelConfig; 0 where the network takes no flow.
        """
        self._config, self._stage_of, self._flow_scale = config, stage_of, flow_scale
        self._number = first_batch  # of the next batch that is returned
        self._ordered: deque[_Place] = deque()  # of the batches from that one on
        self._rank, self._world_size = rank, world_size
        self._groups: dict[tuple[int, int], _Group] = {}  # by stage and group
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

        :raises Exception: any error of the worker that prepared it.
        """
        ahead = self._config.runtime.prefetch if self._pool else 1
        while len(self._ordered) < ahead:
            self._order_batch(self._number + len(self._ordered))
        place = self._ordered.popleft()
        group = self._groups[place.stage, place.group]
        batch = self._asked(group.batch(place.step), group.stage)
        self._number += 1
        if place.step == steps_of(group.stage) - 1:
            del self._groups[place.stage, place.group]
        for old in [key for key in self._groups if key[0] < place.stage]:
            del self._groups[old]
        return group.stage, batch

    def close(self) -> None:
        """Stop the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _order_batch(self, number: int) -> None:
        """Order the clips of a batch, unless an earlier batch of its group did."""
        stage = self._stage_of(number)
        place = self._place(stage, number)
        self._ordered.append(place)
        if (place.stage, place.group) in self._groups:
            return
        orders = self._clip_orders(stage, place.group * self._world_size + self._rank)
        make = (
            make_clip if self._pool is None else lambda order: self._pool.submit(make_clip, order)
        )
        self._groups[place.stage, place.group] = _Group(
            stage, orders, [make(order) for order in orders]
        )

    def _place(self, stage: StageConfig, number: int) -> _Place:
        """
        Return the place of a batch.

        Groups take turns at different sections, so a group ends and another begins at even
        intervals.
        """
        abreast, steps = self._config.groups_abreast, steps_of(stage)
        turn, lane = divmod(number, abreast)
        finished, step = divmod(turn + lane * steps // abreast, steps)
        return _Place(self._config.stages.index(stage), finished * abreast + lane, step)

    def _clip_orders(self, stage: StageConfig, group: int) -> list[ClipOrder]:
        config = self._config
        generator = np.random.default_rng([config.seed, group])
        size = parse_size(str(generator.choice(stage.sizes)))
        weights = np.array([source.weight for source in config.sources])
        chosen = generator.choice(
            len(config.sources), size=stage.batch_size, p=weights / weights.sum()
        )
        number = config.stages.index(stage)
        return [
            ClipOrder(
                source=config.sources[int(which)],
                index=clip_index(config.seed, number, group, slot, stage.batch_size),
                num_frames=parts_of(stage) * stage.num_frames,
                size=size,
                flow_scale=self._flow_scale,
                blind_share=stage.blind_share,
            )
            for slot, which in enumerate(chosen)
        ]

    def _asked(self, batch: Batch, stage: StageConfig) -> Batch:
        """Draw which inputs are withheld: the focal length, and the images of some frames."""
        number = self._number * self._world_size + self._rank
        generator = np.random.default_rng([self._config.seed, number, 1])
        is_focal_known = bool(generator.random() >= self._config.unknown_focal)
        by_rays = generator.random(batch.num_frames) < stage.ray_map_share
        by_rays[0] = False  # the memory is still empty
        if not bool(batch.is_metric.all()):
            by_rays[:] = False  # the origins of the rays have no unit
        return replace(batch, is_focal_known=is_focal_known, is_by_rays=tuple(by_rays.tolist()))
