# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r replay``: play a bag through the node."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
import sys
from typing import TYPE_CHECKING

from mem3r_ros.cli.arguments import check_paths
from mem3r_ros.errors import UserError
from mem3r_ros.text_files import parse_yaml

if TYPE_CHECKING:
    from mem3r_ros.ros.replay.session import ReplayOptions

HELP = 'play a rosbag2 to the node over ROS topics and report what it publishes'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('bag', metavar='BAG', type=Path, help='rosbag2 folder or file')
    parser.add_argument(
        '--output',
        metavar='DIR',
        type=Path,
        default=Path('replay_output'),
        help='folder for trajectory, depth, map and report (%(default)s)',
    )
    parser.add_argument(
        '--image-topic', metavar='TOPIC', help='image topic; default: the only or most likely one'
    )
    add_node_arguments(parser)


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments about the node, for replay and demo."""
    parser.add_argument('--model', help='preset, .safetensors or .pth file')
    parser.add_argument(
        '--params-file', metavar='YAML', type=Path, help='ROS parameter file for the node'
    )
    parser.add_argument(
        '-p',
        '--param',
        action='append',
        default=[],
        metavar='NAME:=VALUE',
        help='parameter of the node (repeatable)',
    )
    parser.add_argument(
        '--domain',
        type=int,
        metavar='N',
        help='ROS domain, for example to watch with RViz; default: a free one',
    )


def parse_parameters(assignments: list[str]) -> dict[str, object]:
    """
    Read ``name:=value`` pairs; values are YAML, as on a ROS command line.

    :raises UserError: a pair does not have this form.
    """
    parameters = {}
    for assignment in assignments:
        name, sign, text = assignment.partition(':=')
        if not sign or not name:
            raise UserError(f'--param {assignment!r} is not NAME:=VALUE')
        parameters[name] = parse_yaml(text, f'--param {name}')
    return parameters


def check_replay(args: argparse.Namespace) -> None:
    """
    Check the arguments before ROS and torch are imported, which takes seconds.

    :raises UserError: an argument is wrong, or ROS is missing.
    """
    from mem3r_ros.model.checkpoints.find import find_weights
    from mem3r_ros.reports.output_folder import check_output
    from mem3r_ros.ros.parameter_names import check_names

    if args.params_file is not None:
        check_paths([args.params_file])
    check_names(parse_parameters(args.param), '--param')
    check_output(args.output)
    if args.model is not None:
        find_weights(args.model)
    require_ros()


def require_ros() -> None:
    """
    Check that ROS can be imported.

    :raises UserError: rclpy cannot be imported.
    """
    try:
        import_module('rclpy')  # only to check that it exists
    except ImportError as error:
        raise UserError(
            f'this command needs ROS 2 ({error}); source a distribution or run make env. '
            'Without ROS use: mem3r run'
        ) from error


def run(args: argparse.Namespace) -> int:
    """
    Replay the bag.

    :return: 0.
    :raises UserError: the bag cannot be used or the node failed.
    """
    check_paths([args.bag])
    check_replay(args)
    from mem3r_ros.ros.replay.session import ReplayOptions

    options = ReplayOptions(
        path=args.bag,
        output_dir=args.output,
        image_topic=args.image_topic,
        model=args.model,
        params_file=args.params_file,
        parameters=parse_parameters(args.param),
        domain=args.domain,
    )
    return show_replay(options)


def show_replay(options: ReplayOptions) -> int:
    """
    Replay with a progress bar and print the summary, or the log of the node if it failed.

    :return: 0.
    :raises UserError: the bag cannot be used or the node failed.
    """
    from mem3r_ros.reports.progress import progress
    from mem3r_ros.reports.summary import print_summary
    from mem3r_ros.ros.replay.node_process import NodeFailed
    from mem3r_ros.ros.replay.session import replay

    try:
        result = replay(options, progress)
    except NodeFailed as error:
        for line in error.last_lines:
            print(f'node: {line}', file=sys.stderr)
        raise
    print_summary(result, options.output_dir)
    return 0
