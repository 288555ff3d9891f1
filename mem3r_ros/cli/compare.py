# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r compare``: several runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = 'put several runs side by side on one page'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'runs',
        metavar='RUN',
        nargs='+',
        help='folders of mem3r run, replay or demo, or folders of these (evaluate, batch)',
    )
    parser.add_argument(
        '--output',
        metavar='DIR',
        default='comparison_output',
        help='folder for comparison.html and comparison.json (comparison_output)',
    )


def run(args: argparse.Namespace) -> int:
    """
    Compare the runs, print their figures and write the page.

    :return: 0.
    :raises UserError: a folder is no run, or there are fewer than two.
    """
    from mem3r_ros.cli.arguments import check_paths
    from mem3r_ros.errors import UserError

    check_paths(args.runs)
    places = []
    for word in args.runs:
        path = Path(word)
        folders = [path] if (path / 'summary.json').exists() else sorted(path.glob('*/'))
        found = [folder for folder in folders if (folder / 'summary.json').exists()]
        if not found:
            raise UserError(f'{path} is no folder of a run, and holds none')
        places += found
    from mem3r_ros.evaluation.tables import print_table
    from mem3r_ros.reports.comparison import grouped, read_run, table, write_comparison

    runs = [read_run(folder) for folder in places]
    page = write_comparison(Path(args.output), runs)
    groups = grouped(runs)
    columns = ('', *(group[0].name for group in groups))
    rows = [
        (row['name'], *(cell['text'] + ' *' * cell['is_best'] for cell in row['cells']))
        for row in table(groups)
    ]
    print_table('comparison (* best)', columns, rows)
    print(f'page: {page}')
    return 0
