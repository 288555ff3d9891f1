# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
From CUT3R to Mem3R in the small: the recipe for the public checkpoint, on a network of minutes.

    python benchmarks/conversion.py --output benchmarks/results

A CUT3R of reduced size is trained on clips of 12 frames in the room of memory_effect.py. Then
recipes/cut3r-to-mem3r.yaml runs on it as it is written: frozen encoders, all stages, losses and
shares of rays. Only sizes, batches, number of steps and learning rate fit the small network. The
same recipe also continues the CUT3R itself: the difference of the two is the gain of the memories,
without that of more training. ATE after Sim(3), relative to a camera that stands still, over 50 to
256 frames of other paths: mean and standard error. Writes conversion.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
import json
from pathlib import Path
import sys
import tempfile
import time

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from memory_effect import FRAME_NS, SMALL, figures, path_clip, positions, room, trained

from mem3r_ros.config import load_yaml
from mem3r_ros.model import Mem3R, load_model, save_checkpoint
from mem3r_ros.training import TrainConfig, Trainer
from mem3r_ros.training.batch import Batch, Clip, collate
from mem3r_ros.training.config import SourceConfig
from mem3r_ros.trajectory import Trajectory, write_tum

RECIPE = Path(__file__).resolve().parent.parent / 'recipes' / 'cut3r-to-mem3r.yaml'
DEPTH_FACTOR = 5000.0
LENGTHS = (50, 100, 200, 256)
REDUCED = replace(SMALL, ray_enc_depth=1, ray_num_heads=4, rgb_head=True, world_head=True)
CHANGES = {
    'the CUT3R, continued by the recipe': {},
    'Mem3R by the recipe': {'pose_memory': 'fast_weights', 'state_gate': True},
}
START = 'CUT3R, the start'


def write_sequence(folder: Path, clip: Clip) -> SourceConfig:
    """Write a path as a recording that training reads."""
    for name in ('rgb', 'depth'):
        (folder / name).mkdir(parents=True)
    count = len(clip.image)
    for index in range(count):
        name = f'{index:06d}.png'
        cv2.imwrite(str(folder / 'rgb' / name), cv2.cvtColor(clip.image[index], cv2.COLOR_RGB2BGR))
        depth = np.rint(np.nan_to_num(clip.depth_m[index]) * DEPTH_FACTOR).clip(0, 65535)
        cv2.imwrite(str(folder / 'depth' / name), depth.astype(np.uint16))
    stamps = np.arange(count, dtype=np.int64) * FRAME_NS
    (folder / 'timestamps.txt').write_text(''.join(f'{ns * 1e-9:.6f}\n' for ns in stamps))
    write_tum(folder / 'groundtruth.txt', Trajectory(stamps, clip.T_world_camera))
    height, width = clip.image.shape[1:3]
    camera = dict(zip(('fx', 'fy', 'cx', 'cy'), map(float, clip.intrinsics), strict=True))
    (folder / 'camera.json').write_text(json.dumps(camera | {'width': width, 'height': height}))
    (folder / 'meta.json').write_text(json.dumps({'depth_factor': DEPTH_FACTOR}))
    return SourceConfig(kind='sequence', path=str(folder), strides=(1, 2))


def recipe(
    start: Path, sources: list[SourceConfig], fields: dict, args: argparse.Namespace
) -> TrainConfig:
    """Return the recipe for the small network; everything that is not named here stays."""
    config = load_yaml(TrainConfig, RECIPE)
    network = replace(REDUCED, **fields).to_metadata()
    size = f'{SMALL.img_size[0]}x{SMALL.img_size[1]}'
    stages = tuple(
        replace(stage, batch_size=2 * stage.batch_size, sizes=(size,)) for stage in config.stages
    )
    return replace(
        config,
        model=network,
        initial_weights=str(start),
        steps=args.steps,
        sources=tuple(sources),
        stages=stages,
        optimiser=replace(
            config.optimiser,
            learning_rate=args.learning_rate,
            base_factor=args.base_factor,
            new_modules=config.optimiser.new_modules if fields else ('pose_memory',),
        ),
        runtime=replace(
            config.runtime, workers=0, prefetch=1, use_checkpointing=False, use_bf16=False,
            threads=1, validation_clips=0,
        ),
    )  # fmt: skip


def errors(model: Mem3R, batch: Batch, rule: str) -> dict[int, np.ndarray]:
    """Return ATE over standing still, by length, [B]."""
    truth = batch.T_world_camera.double().numpy()
    found = figures(positions(model, batch, rule), truth, LENGTHS)
    return {length: values[:, 0] for length, values in found.items()}


def row(name: str, rule: str, values: dict[int, np.ndarray]) -> str:
    """Return one line of the table."""
    cells = [f'{v.mean():.2f} +- {v.std() / len(v) ** 0.5:.2f}' for v in values.values()]
    return f'| {name} | {rule} | {" | ".join(cells)} |'


def main() -> int:
    """Train, convert and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--updates', type=int, default=3000, help='of the CUT3R that is the start')
    parser.add_argument('--steps', type=int, default=600, help='batches of the recipe')
    parser.add_argument('--learning-rate', type=float, default=1e-3)
    parser.add_argument('--base-factor', type=float, default=0.1)
    parser.add_argument('--paths', type=int, default=32, help='training paths')
    parser.add_argument('--test-paths', type=int, default=12, help='paths of the table')
    parser.add_argument('--work', type=Path, help='folder that keeps start and runs')
    parser.add_argument('--output', type=Path, help='folder for conversion.md')
    args = parser.parse_args()
    torch.set_num_threads(1)
    work = args.work or Path(tempfile.mkdtemp(prefix='conversion-'))
    scene = room()
    paths = [path_clip(scene, number, max(LENGTHS)) for number in range(args.paths)]
    tests = [path_clip(scene, 10**6 + n, max(LENGTHS)) for n in range(args.test_paths)]
    batch = collate(tests, None, [True] * len(tests))
    start, notes = work / 'cut3r.safetensors', []
    if not start.exists():
        began = time.process_time()
        model, loss = trained(REDUCED, paths, args.updates, 0)
        work.mkdir(parents=True, exist_ok=True)
        save_checkpoint(model, start, names='cut3r')
        minutes = (time.process_time() - began) / 60
        notes.append(f'{START}: loss {loss:.3f} after {minutes:.1f} min of one core')
        print(notes[-1], file=sys.stderr, flush=True)
    sources = []
    for number, path in enumerate(paths):
        folder = work / 'paths' / f'{number:03d}'
        if folder.exists():
            sources.append(SourceConfig(kind='sequence', path=str(folder), strides=(1, 2)))
        else:
            sources.append(write_sequence(folder, path))
    networks = {START: load_model(start)}
    for number, (name, fields) in enumerate(CHANGES.items()):
        began, output = time.process_time(), work / f'run{number}'
        counters = Trainer(recipe(start, sources, fields, args), output).run()
        minutes = (time.process_time() - began) / 60
        notes.append(f'{name}: {counters.updates} updates in {minutes:.1f} min of one core')
        print(notes[-1], file=sys.stderr, flush=True)
        networks[name] = load_model(output / 'weights.safetensors')
    lines = [
        '| network | rule | ' + ' | '.join(f'{n} frames' for n in LENGTHS) + ' |',
        '|---' * (2 + len(LENGTHS)) + '|',
    ]
    for name, model in networks.items():
        lines += [row(name, rule, errors(model, batch, rule)) for rule in ('cut3r', 'ttt3r')]
    print('\n'.join(lines))
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        head = (
            f'# From CUT3R to Mem3R in the small: {args.steps} batches of the recipe\n\n'
            f'ATE over that of a camera that stands still, {args.test_paths} paths.\n\n'
        )
        text = head + '\n'.join(lines) + '\n\n' + '\n'.join(f'- {note}' for note in notes) + '\n'
        (args.output / 'conversion.md').write_text(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
