# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r score``: results of any system against the truth, scored alike."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = 'score a trajectory, depth images or a cloud of any system'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'results',
        metavar='PATH',
        nargs='+',
        help='trajectory (TUM, KITTI, EuRoC), folder of depth images (PNG, NPY, EXR) or PLY cloud',
    )
    parser.add_argument(
        '--truth',
        metavar='PATH',
        required=True,
        help='recording with truth; or a trajectory, or a PLY cloud in the frame of the results',
    )
    parser.add_argument(
        '--depth-factor', type=float, default=1000.0, help='units of depth PNGs in a metre (1000)'
    )
    parser.add_argument('--output', metavar='FILE', help='also write the figures there as JSON')


def run(args: argparse.Namespace) -> int:
    """
    Score each result and print the figures.

    :return: 0.
    :raises UserError: a result or the truth cannot be read, or they do not fit each other.
    """
    from mem3r_ros.cli.arguments import check_paths
    from mem3r_ros.errors import UserError
    from mem3r_ros.evaluation.result_store import ResultStore

    if args.depth_factor <= 0:
        raise UserError(f'--depth-factor is {args.depth_factor}; it must be positive')
    check_paths([args.truth, *args.results])
    truth = _Truth(Path(args.truth))
    store = None
    if args.output:
        settings = {'truth': args.truth, 'depth_factor': args.depth_factor}
        store = ResultStore(Path(args.output), settings, resumes=False)
    for path in map(Path, args.results):
        if path.is_dir():
            found = {'depth': _score_depth(path, truth, args.depth_factor)}
        elif path.suffix.lower() == '.ply':
            found = {'cloud': _score_cloud(path, Path(args.truth))}
        else:
            found = {'trajectory_error': _score_trajectory(path, truth)}
        if store is not None:
            store.add(str(path), [found])
    if args.output:
        print(f'figures: {args.output}')
    return 0


class _Truth:
    """A recording with truth, or a trajectory alone."""

    def __init__(self, path: Path) -> None:
        from mem3r_ros.data import open_sequence
        from mem3r_ros.evaluation.other_systems import read_trajectory

        self.path, self.sequence, self.trajectory = path, None, None
        if path.suffix.lower() == '.ply':
            return
        if path.is_file() and path.suffix.lower() in ('.txt', '.csv', '.tum', '.kitti'):
            self.trajectory = read_trajectory(path)
        else:
            self.sequence = open_sequence(path)
            self.trajectory = self.sequence.truth

    def stamps_ns(self) -> Any:
        """Return the stamps of the recording's images, None where there is none."""
        import numpy as np

        if self.sequence is None:
            return None
        return np.array([frame.stamp_ns for frame in self.sequence])


def _score_trajectory(path: Path, truth: _Truth) -> dict[str, Any]:
    from dataclasses import asdict

    from mem3r_ros.errors import UserError
    from mem3r_ros.evaluation import trajectory_error
    from mem3r_ros.evaluation.other_systems import read_trajectory
    from mem3r_ros.evaluation.tables import print_table, trajectory_rows

    if truth.trajectory is None:
        raise UserError(f'{truth.path} has no true path to compare {path} with')
    has_stamps = _words(path) != 12
    estimate = read_trajectory(path, None if has_stamps else truth.stamps_ns())
    error = trajectory_error(estimate, truth.trajectory)
    columns = (path.name, 'estimate', 'at rest', 'constant velocity')
    print_table(f'{path}: {error.num_poses} poses', columns, trajectory_rows(error))
    return asdict(error)


def _words(path: Path) -> int:
    from mem3r_ros.text_files import text_rows

    return len(next(text_rows(path), (0, []))[1])


def _score_depth(folder: Path, truth: _Truth, factor: float) -> dict[str, Any]:
    from dataclasses import asdict

    from mem3r_ros.errors import UserError
    from mem3r_ros.evaluation.depth_protocol import ALIGNMENTS, PixelPairs
    from mem3r_ros.evaluation.other_systems import depth_files, read_depth
    from mem3r_ros.evaluation.tables import print_table

    files = depth_files(folder)
    if truth.sequence is None:
        raise UserError(f'{truth.path} has no true depth; give the recording as --truth')
    pixels, count = PixelPairs(), 0
    for path, frame in zip(files, truth.sequence):
        count += 1
        if frame.depth_m is not None:
            pixels.add(read_depth(path, factor), frame.depth_m)
    num_frames = truth.sequence.num_frames
    if len(files) != count or (num_frames is not None and num_frames != count):
        raise UserError(
            f'{folder} has {len(files)} depth images, {truth.path} {num_frames} images; give one '
            'for each image'
        )
    scores = {align: pixels.score(align) for align in ALIGNMENTS}
    rows = [
        (align, f'{s.abs_rel:.3f}', f'{s.delta1_percent:.1f}', f'{s.rmse_m:.3f}')
        for align, s in scores.items()
    ]
    columns = ('alignment of the sequence', 'AbsRel', 'delta < 1.25 (%)', 'RMSE (m)')
    print_table(f'{folder}: {count} images', columns, rows)
    return {align: asdict(score) for align, score in scores.items()}


def _score_cloud(path: Path, truth: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from mem3r_ros.errors import UserError
    from mem3r_ros.evaluation.other_systems import read_points
    from mem3r_ros.evaluation.reconstruction_error import reconstruction_error
    from mem3r_ros.evaluation.tables import length, print_table

    if truth.suffix.lower() != '.ply':
        raise UserError(f'{path} is a cloud; give the true cloud (PLY) as --truth, not {truth}')
    error = reconstruction_error(read_points(path), read_points(truth))
    rows = [
        ('accuracy', length(error.accuracy_m)),
        ('completeness', length(error.completeness_m)),
        ('chamfer', length(error.chamfer_m)),
        ('normal consistency', f'{error.normal_consistency:.3f}'),
    ]
    print_table(f'{path}, registered to {truth.name}', ('measure', 'value'), rows)
    return asdict(error) | {'chamfer_m': error.chamfer_m}
