# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r evaluate``: track several sequences and print a table of errors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mem3r_ros.data import Sequence
    from mem3r_ros.evaluation.result_store import ResultStore
    from mem3r_ros.reports import RunResult

HELP = 'track several sequences and print a table of errors'
PATH_COLUMNS = ('sequence', 'ATE', 'at rest', 'RPE', 'at rest', 'deg', 'at rest', 'scale error')
OTHER_COLUMNS = ('sequence', 'images', 'AbsRel', 'constant', 'frames/s', 'status')

PATH_NOTE = 'ATE, RPE: scale fitted (Sim3); RPE, deg: per frame; at rest: no motion.'
DEPTH_NOTE = 'AbsRel: median-aligned; constant: one depth for the whole image.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from mem3r_ros.cli.arguments import add_sequence_arguments, add_tracking_arguments

    parser.add_argument(
        'paths',
        metavar='PATH',
        nargs='+',
        help='bags, videos, data sets, folders of images, or a folder of these',
    )
    parser.add_argument(
        '--output',
        metavar='DIR',
        default='evaluation_output',
        help='folder for the overview and one report per sequence (evaluation_output)',
    )
    add_sequence_arguments(parser)
    add_tracking_arguments(parser)
    parser.add_argument(
        '--protocol',
        metavar='NAME',
        help="a paper's evaluation of the data set in PATH, the network without the tracker: "
        'tum-dynamics, scannet, sintel, bonn, kitti-depth, kitti-odometry, 7scenes, nrgbd, euroc',
    )
    parser.add_argument(
        '--views',
        metavar='N,N',
        help="numbers of views of --protocol, such as 50,200 or 50..1000 (the papers')",
    )
    parser.add_argument(
        '--rules', metavar='R,R', help='update rules of --protocol (tracking.update_rule)'
    )


def run(args: argparse.Namespace) -> int:
    """
    Track every sequence and print the table; a sequence that fails is reported and left out.

    :return: 0; 2 if a sequence failed.
    :raises UserError: a recording, the model or a setting cannot be used.
    """
    from mem3r_ros.cli.arguments import check_paths
    from mem3r_ros.cli.main import EXIT_USER_ERROR
    from mem3r_ros.cli.settings import config_from
    from mem3r_ros.errors import UserError

    # First what can be wrong with the arguments; the imports below take seconds.
    check_paths(args.paths)
    if not args.protocol and (args.views or args.rules):
        raise UserError('--views and --rules belong to --protocol; name one')
    config = config_from(args)
    if args.protocol:
        from mem3r_ros.cli.protocol import run_protocol

        return run_protocol(args, config)
    from mem3r_ros.cli.run import check_place
    from mem3r_ros.config import to_dict
    from mem3r_ros.data import open_sequence
    from mem3r_ros.evaluation.result_store import ResultStore, file_hash
    from mem3r_ros.model.backend import load_backend
    from mem3r_ros.model.checkpoints.find import find_weights

    # Open all sequences first, so that a wrong path is reported before an hour of work.
    sequences = [
        open_sequence(
            path,
            args.image_topic,
            stride=args.stride,
            max_frames=args.max_frames,
            fps=args.fps,
            max_pixels=config.input.max_pixels,
        )
        for given in args.paths
        for path in sequences_in(Path(given))
    ]
    output_dir = Path(args.output)
    folders = [output_dir / folder for folder in _folders(sequences)]
    for sequence, folder in zip(sequences, folders, strict=True):
        check_place(sequence, folder)
    network, device = load_backend(config)
    settings = {
        'weights_sha256': file_hash(find_weights(config.model)[1]),
        'stride': args.stride,
        'max_frames': args.max_frames,
        'fps': args.fps,
        'config': to_dict(config),
    }
    store = ResultStore(output_dir / 'results.json', settings, resumes=False)
    results, done = _results(sequences, folders, network, device, config, store)
    if results:
        title = f'{Path(config.model).name}, {config.tracking.update_rule}'
        _report(title, results, done, output_dir)
    return 0 if len(results) == len(sequences) else EXIT_USER_ERROR


def _results(
    sequences: list[Sequence],
    folders: list[Path],
    network: Any,
    device: str,
    config: Any,
    store: ResultStore,
) -> tuple[list[RunResult], list[Path]]:
    """
    Track one sequence after the other; return results and folders, report failures.

    The figures of each are in the file of results when the next one begins.
    """
    import sys

    from mem3r_ros.cli.run import run_sequence
    from mem3r_ros.reports.summary import summary

    results, done = [], []
    for sequence, folder in zip(sequences, folders, strict=True):
        try:
            result = run_sequence(sequence, network, device, config, folder, depth_every=0)
        except (ValueError, OSError) as error:  # UserError is a ValueError
            print(f'{sequence.name}: {" ".join(str(error).split())}', file=sys.stderr)
        else:
            results.append(result)
            done.append(folder)
            store.add(folder.name, [summary(result)])
    return results, done


def _report(title: str, results: list[RunResult], done: list[Path], output_dir: Path) -> None:
    """Print the tables; write the overview."""
    from mem3r_ros.evaluation.tables import print_table
    from mem3r_ros.reports.overview import Table, write_overview

    rows, others = [*map(path_row, results)], [*map(other_row, results)]
    print_table(f'{title}: paths', PATH_COLUMNS, rows)
    print(PATH_NOTE)
    print_table(f'{title}: depth and health', OTHER_COLUMNS, others)
    print(DEPTH_NOTE)
    folders = [f'{folder.name}/index.html' for folder in done]
    tables = [
        Table('Paths', PATH_COLUMNS, rows, PATH_NOTE, folders),
        Table('Depth and health', OTHER_COLUMNS, others, DEPTH_NOTE, folders),
    ]
    page = output_dir / 'overview.html'
    write_overview(page, 'Evaluation', title, tables, files='results.json, one folder a sequence')
    print(f'overview: {page}, numbers: {output_dir / "results.json"}')


def sequences_in(path: Path) -> list[Path]:
    """
    Return the sorted sequences of a folder of sequences; otherwise the path itself.

    :param path: argument of the user.
    """
    from mem3r_ros.data import kind_of

    def is_sequence(candidate: Path) -> bool:
        try:
            return bool(kind_of(candidate))
        except ValueError:
            return False

    if not path.is_dir() or is_sequence(path):
        return [path]
    inside = sorted(entry for entry in path.iterdir() if entry.is_dir() and is_sequence(entry))
    return inside or [path]


def path_row(run: RunResult) -> list[str]:
    """Return one row of the table of paths; cells without ground truth are empty."""
    from mem3r_ros.evaluation.tables import length, percent

    error = run.error
    if error is None:
        return [run.title] + [''] * (len(PATH_COLUMNS) - 1)
    return [
        run.title,
        length(error.ate_sim3_rmse_m),
        length(error.stand_still.ate_rmse_m),
        length(error.rpe_translation_m),
        length(error.stand_still.rpe_translation_m),
        f'{error.rpe_rotation_deg:.2f}',
        f'{error.stand_still.rpe_rotation_deg:.2f}',
        percent(error.scale_error_percent),
    ]


def other_row(run: RunResult) -> list[str]:
    """Return one row of the table of depth, speed and status."""
    from mem3r_ros.reports.summary import status_history

    depth = run.depth_error
    depth_cells = ['', '']
    if depth is not None:
        depth_cells = [f'{depth.abs_rel:.3f}', f'{depth.constant_abs_rel:.3f}']
    images = f'{run.num_images}' + f' ({run.num_skipped} skipped)' * bool(run.num_skipped)
    return [run.title, images, *depth_cells, f'{run.rate_hz:.1f}', status_history(run)]


def _folders(sequences: list) -> list[str]:
    """Return a folder name for each sequence, numbered if names are equal."""
    names: list[str] = []
    for sequence in sequences:
        name, number = sequence.name, 2
        while name in names:
            name, number = f'{sequence.name}_{number}', number + 1
        names.append(name)
    return names
