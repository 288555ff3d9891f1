# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r demo``: play the shipped recording through the node."""

from __future__ import annotations

import argparse
from pathlib import Path

from mem3r_ros.cli.replay import add_node_arguments, check_replay, parse_parameters, show_replay
from mem3r_ros.errors import UserError

HELP = 'play the shipped recording through the node and report the results'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        '--output',
        metavar='DIR',
        type=Path,
        default=Path('demo_output'),
        help='folder for trajectory, depth, map and report (%(default)s)',
    )
    add_node_arguments(parser)


def sample_bag() -> Path:
    """
    Return the shipped recording.

    :raises UserError: it is not installed.
    """
    samples = Path(__file__).resolve().parents[1] / 'samples'
    bags = sorted(path.parent for path in samples.glob('*/metadata.yaml'))
    if not bags:
        raise UserError(f'the sample recording is missing under {samples}; reinstall mem3r_ros')
    return bags[0]


def run(args: argparse.Namespace) -> int:
    """
    Replay the sample.

    :return: 0.
    :raises UserError: the node failed.
    """
    check_replay(args)
    from mem3r_ros.ros.replay.session import ReplayOptions

    options = ReplayOptions(
        path=sample_bag(),
        output_dir=args.output,
        title='Demo: a rendered room through the node',
        model=args.model,
        params_file=args.params_file,
        parameters=parse_parameters(args.param),
        domain=args.domain,
    )
    return show_replay(options)
