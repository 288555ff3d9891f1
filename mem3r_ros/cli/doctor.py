# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r doctor``: find the cause of missing output."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from mem3r_ros.installed import REPORTING, ROS, TRACKING, missing, missing_sentence
from mem3r_ros.ros.finding import Finding, Level

HELP = 'find what keeps the node from working: GPU, model, middleware, camera, stamps, TF'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('--model', default='mem3r-tiny', help='parameter model of the node')
    parser.add_argument(
        '--image-topic',
        default='',
        metavar='TOPIC',
        help='default: topic of a running node',
    )
    parser.add_argument(
        '--camera-info-topic',
        default='',
        metavar='TOPIC',
        help='default: beside the image topic',
    )
    parser.add_argument('--base-frame', default='base_link', help='frame of the robot')
    parser.add_argument('--use-sim-time', action='store_true', help='use the time of /clock')
    parser.add_argument(
        '--seconds', type=float, default=3.0, help='how long to receive images (%(default)s)'
    )


def find_missing() -> Iterator[Finding]:
    """Yield one finding for each package that is missing, without the import of any."""
    for names, level, user in (
        (TRACKING, Level.ERROR, 'the node'),
        (ROS, Level.ERROR, 'the node'),
        (REPORTING, Level.WARN, 'some commands (replay, run, evaluate, score)'),
    ):
        for name in missing(names):
            yield Finding(level, name, missing_sentence(user, name))


def run(args: argparse.Namespace) -> int:
    """
    Check the system and print one line per finding.

    :return: 0 if no finding is an error, else 1.
    """
    is_complete = True
    for finding in find_missing():
        print(finding, flush=True)
        is_complete &= finding.level is not Level.ERROR
    if not is_complete:
        return 1
    # Only now: these imports need the packages.
    from mem3r_ros.ros.doctor import Examination, examine

    examination = Examination(
        model=args.model,
        image_topic=args.image_topic,
        camera_info_topic=args.camera_info_topic,
        base_frame=args.base_frame,
        use_sim_time=args.use_sim_time,
        duration_s=args.seconds,
    )
    has_error = False
    for finding in examine(examination):
        print(finding, flush=True)
        has_error |= finding.level is Level.ERROR
    return int(has_error)
