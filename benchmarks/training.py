# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Cost of training on this machine: time and memory of an update, images per second.

    python benchmarks/training.py --output benchmarks/results
    python benchmarks/training.py --recipe recipes/cut3r-to-mem3r.yaml --batches 1

Each line is measured in a separate process, so its peak memory is its own: memory of torch on a
GPU, otherwise the RAM of the process. An update is forward pass, backward pass and optimiser step
for one chunk of a rendered batch; larger batches repeat its clips. Ratios compare images per
second with the first line (without a GPU: per second of processor time, which other programs
hardly change). Lines that do not fit into memory are reported. The last line is the number of
images that one worker prepares per second: rendering and optical flow. Writes training.md.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
import multiprocessing
import os
from pathlib import Path
import platform
import resource
import statistics
import sys
import tempfile
import time

import cv2
import torch

from mem3r_ros.config import load_yaml
from mem3r_ros.errors import UserError
from mem3r_ros.training import TrainConfig, Trainer
from mem3r_ros.training.batch import Batch
from mem3r_ros.training.batch_loader import GROUP_FRAMES, PASSES, BatchLoader, ClipOrder, make_clip
from mem3r_ros.training.config import parse_size
from mem3r_ros.training.trainer import network_config

GIB = 2**30
PREPARED_CLIPS = 12  # the cost of worlds varies much
RENDERED_CLIPS = 4  # larger batches repeat them: the content does not change the time
DIFFERENCES = {
    'float32': {'use_bf16': False},
    'checkpointing': {'use_checkpointing': True},
    'compiled': {'use_compile': True},
}
COLUMNS = ('what', 'clips', 'size', 'update, s', 'images/s', 'over first line', 'peak, GiB')


@dataclass(frozen=True)
class Cost:
    """Measured cost of one variant."""

    machine: str
    on_gpu: bool
    images: int  # in an update
    size: str
    wall_s: float
    cpu_s: float
    peak_gib: float

    @property
    def steady_rate(self) -> float:
        """Images per second of the clock on a GPU, of the processor else."""
        return self.images / (self.wall_s if self.on_gpu else self.cpu_s)


def planned(args: argparse.Namespace, name: str, batch_size: int) -> TrainConfig:
    """Return the recipe with one stage of one chunk, rendered worlds and random weights."""
    config = load_yaml(TrainConfig, args.recipe)
    stages = {stage.name: stage for stage in config.stages}
    if args.stage and args.stage not in stages:
        raise UserError(f'--stage {args.stage}: {args.recipe} has {", ".join(stages)}')
    stage = stages.get(args.stage, config.stages[0])
    runtime = {'device': args.device, 'threads': args.threads, 'validation_clips': 0}
    return replace(
        config,
        steps=args.updates + 1,
        initial_weights='',
        is_partial_start=False,
        unknown_focal=0.0,
        sources=tuple(source for source in config.sources if source.kind == 'worlds'),
        stages=(
            replace(stage, num_frames=stage.chunk, batch_size=batch_size, sizes=stage.sizes[:1]),
        ),
        runtime=replace(config.runtime, **runtime, **DIFFERENCES.get(name, {})),
    )


def rendered(config: TrainConfig) -> Batch:
    """Return a batch of the only stage; beyond a few clips they are repeated."""
    (stage,) = config.stages
    few = min(stage.batch_size, RENDERED_CLIPS)
    stages = (replace(stage, batch_size=few),)
    runtime = replace(config.runtime, workers=0)
    loader = BatchLoader(replace(config, stages=stages, runtime=runtime), lambda number: stages[0])
    _, batch = loader.next()
    clips = torch.arange(stage.batch_size) % few
    frames_first = ('image', 'flow', 'depth_m', 'T_world_camera', 'moving')
    changes = {name: getattr(batch, name)[:, clips] for name in frames_first}
    changes |= {name: getattr(batch, name)[clips] for name in ('intrinsics', 'is_metric')}
    return replace(batch, **changes)


def prepared(config: TrainConfig) -> str:
    """Say how many images one process prepares a second of processor time."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    network, size = network_config(config), config.stages[0].sizes[0]
    orders = [
        ClipOrder(
            source=config.sources[0],
            index=index,
            num_frames=GROUP_FRAMES,
            size=parse_size(size),
            flow_scale=network.flow_scale if network.two_view else 0,
        )
        for index in range(PREPARED_CLIPS + 1)
    ]
    make_clip(orders[0])
    started = time.process_time()
    for order in orders[1:]:
        make_clip(order)
    rate = PASSES * GROUP_FRAMES * PREPARED_CLIPS / (time.process_time() - started)
    return (
        f'One process prepares {rate:.0f} images/s of {size} (each frame is seen {PASSES} times).'
    )


def cost(config: TrainConfig, num_updates: int) -> Cost:
    """Update on one batch; the first time warms up and does not count."""
    batch, wall, cpu = rendered(config), [], []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Path(folder))
        on_gpu = trainer.device.type == 'cuda'
        for _ in range(num_updates + 1):
            started = time.perf_counter(), time.process_time()
            trainer.train_batch(config.stages[0], batch.to(trainer.device))
            if on_gpu:
                torch.cuda.synchronize()
            wall.append(time.perf_counter() - started[0])
            cpu.append(time.process_time() - started[1])
        trainer.log.close()
    if on_gpu:
        peak, name = torch.cuda.max_memory_allocated(), torch.cuda.get_device_name()
    else:
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        name = f'{platform.machine()}, {config.runtime.threads} of {os.cpu_count()} cores'
    return Cost(
        machine=name,
        on_gpu=on_gpu,
        images=batch.num_frames * batch.batch_size,
        size=config.stages[0].sizes[0],
        wall_s=statistics.median(wall[1:]),
        cpu_s=statistics.median(cpu[1:]),
        peak_gib=peak / GIB,
    )


def measured(config: TrainConfig, num_updates: int) -> Cost | str:
    """Measure in a process of its own; that it ran out of memory is a result."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
        try:
            return pool.submit(cost, config, num_updates).result()
        except (torch.OutOfMemoryError, MemoryError, BrokenProcessPool) as error:
            return f'out of memory ({type(error).__name__})'


def cells(name: str, batch_size: int, found: Cost | str, first: Cost | None) -> list[str]:
    """Return one row of the table."""
    if isinstance(found, str):
        return [name, str(batch_size), found, '', '', '', '']
    ratio = found.steady_rate / (first or found).steady_rate
    figures = (found.wall_s, found.images / found.wall_s, ratio, found.peak_gib)
    return [name, str(batch_size), found.size, *(f'{figure:.2f}' for figure in figures)]


def main() -> int:
    """Print each line as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--recipe', default='recipes/tiny.yaml')
    parser.add_argument('--stage', default='', help='stage of the recipe (the first one)')
    parser.add_argument('--batches', type=int, nargs='+', default=[10, 40], metavar='CLIPS',
                        help='batch sizes; the first is the baseline (10 40)')  # fmt: skip
    parser.add_argument('--variants', nargs='*', default=['float32', 'checkpointing'],
                        choices=DIFFERENCES, help='settings to compare')  # fmt: skip
    parser.add_argument('--updates', type=int, default=5, help='measured updates (5)')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads (1)')
    parser.add_argument('--device', default='auto')
    parser.add_argument('--output', type=Path, help='folder for training.md')
    args = parser.parse_args()
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|---' * len(COLUMNS) + '|']
    print('\n'.join(lines))
    plan = [('as it is', size) for size in args.batches]
    plan += [(name, args.batches[0]) for name in args.variants]
    first = None
    for name, size in plan:
        found = measured(planned(args, name, size), args.updates)
        first = first or (found if isinstance(found, Cost) else None)
        lines.append('| ' + ' | '.join(cells(name, size, found, first)) + ' |')
        print(lines[-1], flush=True)
    lines += ['', prepared(planned(args, 'as it is', args.batches[0]))]
    print(lines[-1])
    if args.output and first:
        args.output.mkdir(parents=True, exist_ok=True)
        lines[:0] = [f'# Cost of training: {args.recipe}', '']
        lines[2:2] = [f'torch {torch.__version__}, {first.machine}', '']
        (args.output / 'training.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
