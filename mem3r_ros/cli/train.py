# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r train``: train a network with a recipe."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

HELP = 'train a network with a recipe (recipes/*.yaml)'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from mem3r_ros.cli.arguments import add_set_argument

    parser.add_argument('config', metavar='CONFIG.yaml', help='recipe')
    parser.add_argument(
        '--output',
        default='training_output',
        help='folder for the results (%(default)s)',
    )
    plan = parser.add_mutually_exclusive_group()
    plan.add_argument('--minutes', type=float, help='duration in minutes; overrides the recipe')
    plan.add_argument('--steps', type=int, help='number of batches; overrides the recipe')
    parser.add_argument('--resume', action='store_true', help='continue the run in --output')
    add_set_argument(parser, 'runtime.workers=2')


def run(args: argparse.Namespace) -> int:
    """
    Train to the end of the plan.

    :return: 0.
    :raises UserError: the recipe is wrong, or there is nothing to resume.
    """
    from mem3r_ros.cli.arguments import check_paths
    from mem3r_ros.cli.settings import with_assignments
    from mem3r_ros.config import load_yaml

    check_paths([args.config])
    from mem3r_ros.training import TrainConfig, Trainer

    config = load_yaml(TrainConfig, args.config)
    if args.minutes is not None:
        config = dataclasses.replace(config, minutes=args.minutes, steps=0)
    if args.steps is not None:
        config = dataclasses.replace(config, steps=args.steps)
    config = with_assignments(config, args.set)
    output = Path(args.output)
    trainer = Trainer(config, output, resume=args.resume)
    counters = trainer.run()
    if trainer.processes.is_first:
        print(
            f'{counters.updates} updates in {counters.elapsed_s / 60:.1f} min '
            f'({counters.skipped} skipped); weights: {output / "weights.safetensors"}, '
            f'curves: {output / "index.html"}'
        )
    return 0
