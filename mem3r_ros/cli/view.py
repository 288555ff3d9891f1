# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r view``: open the page of a run in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from mem3r_ros.cli.arguments import check_paths
from mem3r_ros.errors import UserError

HELP = 'open the page of a run in the browser'
PAGES = ('index.html', 'overview.html', 'comparison.html', 'benchmark.html')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('folder', metavar='DIR', type=Path, help='output folder of a command')


def run(args: argparse.Namespace) -> int:
    """
    Open the page; without a browser, print its address.

    :return: 0.
    :raises UserError: the folder has no page.
    """
    import webbrowser

    check_paths([args.folder])
    pages = [args.folder / name for name in PAGES if (args.folder / name).is_file()]
    if not pages:
        raise UserError(f'{args.folder} has no page; give the output folder of a run')
    address = pages[0].resolve().as_uri()
    if not webbrowser.open(address):
        print('no browser starts here; open this address in one:')
    print(address)
    return 0
