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
        help='folders of mem3r run, replay or demo, folders of these (evaluate, batch), or the '
        'JSON files of evaluate, score and benchmark',
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
    :raises UserError: a path holds no results, or there are fewer than two.
    """
    from mem3r_ros.cli.arguments import check_paths

    check_paths(args.runs)
    from mem3r_ros.reports.compared_runs import read_runs

    runs = [run for word in args.runs for run in read_runs(Path(word))]
    # After the check of the paths: pages import OpenCV.
    from mem3r_ros.evaluation.tables import print_table
    from mem3r_ros.reports.comparison import grouped, is_one_recording, table, write_comparison

    page = write_comparison(Path(args.output), runs)
    groups = grouped(runs)
    columns = ('', *(group[0].name for group in groups))
    rows = [
        (row['name'], *(cell['text'] + ' *' * cell['is_best'] for cell in row['cells']))
        for row in table(groups)
    ]
    note = '* best' if is_one_recording(groups) else 'different recordings: none is the best'
    print_table(f'comparison ({note})', columns, rows)
    print(f'page: {page}')
    return 0
