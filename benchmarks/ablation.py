# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Ablation: the same network without its memories, trained from scratch in the same way.

    python benchmarks/ablation.py --steps 120 --output benchmarks/results

Each variant is trained with the whole recipe in the same number of batches, on the same worlds in
the same order, and is measured on the same held-out worlds. With --start each begins with the same
weights, except for modules that it does not have. Writes ablation.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
import sys

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import worlds

from mem3r_ros.config import load_yaml
from mem3r_ros.training import TrainConfig, Trainer

VARIANTS = {
    'Mem3R': {},
    'no fast weights (CUT3R memory)': {'pose_memory': 'local', 'local_mem_size': 64},
    'no state gate': {'state_gate': False},
    'neither': {'pose_memory': 'local', 'local_mem_size': 64, 'state_gate': False},
}
FIGURES = ('ate_over_still', 'rotation_deg', 'translation_m', 'absrel', 'delta1')


def trained(name: str, args: argparse.Namespace) -> Path:
    """Train one variant and return its weights; a run that was stopped goes on."""
    output = args.work / name.split(' (')[0].replace(' ', '_').replace(',', '')
    config = load_yaml(TrainConfig, args.recipe)
    config = replace(
        config,
        model=VARIANTS[name],
        initial_weights=args.start,
        is_partial_start=bool(args.start),
        steps=args.steps,
        runtime=replace(config.runtime, threads=args.threads, validation_clips=0),
    )
    trainer = Trainer(config, output, resume=(output / 'state.safetensors').exists())
    trainer.run()
    return output / 'weights.safetensors'


def main() -> int:
    """Print one row per length and variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--start', default='', help='initial weights of all variants')
    parser.add_argument('--recipe', default='recipes/tiny.yaml')
    parser.add_argument('--steps', type=int, default=120, help='batches of training')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--frames', type=int, nargs='+', default=[16])
    parser.add_argument('--worlds', type=int, default=64)
    parser.add_argument('--variants', nargs='+', default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument(
        '--work', type=Path, default=Path('ablation_output'), help='for the training runs'
    )
    parser.add_argument('--output', type=Path, help='folder for ablation.md')
    args = parser.parse_args()
    names = ('frames', 'trained without', *(name.replace('_', ' ') for name in FIGURES))
    lines = ['| ' + ' | '.join(names) + ' |', '|---' * len(names) + '|']
    print('\n'.join(lines))
    models = {name: str(trained(name, args)) for name in args.variants}
    as_it_is = worlds.NAMES[:1]
    for num_frames in args.frames:
        for name, model in models.items():
            (clips,) = worlds.measure(model, num_frames, args.worlds, as_it_is).values()
            cells = [f'{np.nanmean([c.get(f, np.nan) for c in clips]):.3f}' for f in FIGURES]
            lines.append(f'| {num_frames} | {name} | ' + ' | '.join(cells) + ' |')
            print(lines[-1], flush=True)
    if args.output:
        head = (
            f'# Trained alike for {args.steps} batches from {args.start or "nothing"}; '
            f'{args.worlds} held-out worlds\n\n'
        )
        (args.output / 'ablation.md').write_text(head + '\n'.join(lines) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
