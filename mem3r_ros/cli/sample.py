# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r sample``: render the shipped recording."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        '--output',
        metavar='DIR',
        type=Path,
        default=Path('samples') / 'rendered_room',
        help='folder of the recording; an earlier recording there is replaced (%(default)s)',
    )


def run(args: argparse.Namespace) -> int:
    """
    Render the sample and write it.

    :return: 0.
    :raises UserError: the folder holds something else than a recording.
    """
    from mem3r_ros.worlds.sample_recording import SIZE, write_sample

    num_images = write_sample(args.output)
    num_bytes = sum(file.stat().st_size for file in args.output.iterdir())
    size = f'{SIZE[0]}x{SIZE[1]} px, {num_bytes / 2**20:.2f} MiB'
    print(f'{args.output}: {num_images} images of {size}')
    return 0
