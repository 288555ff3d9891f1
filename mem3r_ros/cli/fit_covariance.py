# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r fit-covariance``: fit the covariance to sequences with ground truth."""

from __future__ import annotations

import argparse

from mem3r_ros.cli.arguments import check_paths
from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoints.find import find_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('sequences', nargs='*', help='folders or bags with ground truth')
    parser.add_argument(
        '--worlds', type=int, default=0, metavar='N', help='use N rendered clips as well'
    )
    parser.add_argument('--model', default='mem3r-tiny', help='preset or file of weights')
    parser.add_argument('--output', metavar='FILE', help='write the fitted settings there as YAML')


def run(args: argparse.Namespace) -> int:
    """
    Print the NEES before and after the fit, and the fitted settings.

    :return: 0.
    :raises UserError: there is no sequence, or one of them cannot be used.
    """
    if not args.sequences and args.worlds < 1:
        raise UserError('there is nothing to fit; name sequences with ground truth, or --worlds N')
    check_paths(args.sequences)
    find_weights(args.model)
    from mem3r_ros.config import dump_yaml
    from mem3r_ros.evaluation.covariance_fit import (
        collect_rendered,
        collect_sequence,
        fit,
        report,
    )
    from mem3r_ros.model import load_model
    from mem3r_ros.tracker import Tracker

    tracker = Tracker(load_model(args.model))
    data = [collect_sequence(tracker, path) for path in args.sequences]
    data += [collect_rendered(tracker, index) for index in range(args.worlds)]
    before = tracker.config.covariance
    fitted = fit(data, before)
    print(report(data, {'before': before, 'fitted': fitted}))
    print(f'\n{fitted}')
    if args.output:
        dump_yaml(fitted, args.output)
    return 0
