# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The figures of a run, as JSON and on the terminal."""

from __future__ import annotations

from dataclasses import asdict
import json
from pathlib import Path
from typing import Any

from mem3r_ros import __version__
from mem3r_ros.evaluation.result_store import plain
from mem3r_ros.evaluation.tables import depth_rows, print_table, trajectory_rows
from mem3r_ros.evaluation.timing import timing_summary
from mem3r_ros.files import write_text
from mem3r_ros.reports.result import RunResult


def summary(run: RunResult) -> dict[str, Any]:
    """Return the figures as plain containers, with units in their names; None is unknown."""
    return plain(
        {
            'title': run.title,
            'source': run.source,
            'model': run.model,
            'device': run.device,
            'version': __version__,
            'num_images': run.num_images,
            'num_poses': len(run.trajectory),
            'num_skipped': run.num_skipped,
            'balance': asdict(run.balance) if run.balance else None,
            'num_map_points': len(run.points),
            'path_length_m': run.trajectory.length_m,
            'duration_s': run.trajectory.duration_s,
            'wall_time_s': run.wall_time_s,
            'rate_hz': run.rate_hz,
            'trajectory_error': asdict(run.error) if run.error else None,
            'depth_error': asdict(run.depth_error) if run.depth_error else None,
            'timing': {
                stage: asdict(timing)
                for stage, times in run.timings_ms.items()
                if (timing := timing_summary(times)) is not None
            },
            'status': status_history(run),
            'notes': list(run.notes),
        }
    )


def status_history(run: RunResult) -> str:
    """Return the statuses in order, each with its number of frames, in one line."""
    merged: list[list[Any]] = []
    for span in run.statuses:
        if merged and merged[-1][0] == span.status:
            merged[-1][1] += span.num_frames
        else:
            merged.append([span.status, span.num_frames])
    shown = [f'{status} {count}' for status, count in merged[:8]]
    return ' > '.join(shown + ([f'... ({len(merged)} changes)'] if len(merged) > 8 else []))


def write_summary(path: Path, run: RunResult) -> None:
    """Write the figures as JSON."""
    write_text(path, json.dumps(summary(run), indent=2) + '\n')


def print_summary(run: RunResult, output_dir: Path) -> None:
    """
    Print the main figures of a run and the path of the report.

    :param run: the result.
    :param output_dir: output folder.
    """
    if run.error is not None:
        columns = ('path', 'this run', 'standing still', 'constant velocity')
        print_table('Trajectory against truth', columns, trajectory_rows(run.error))
    if run.depth_error is not None:
        print_table(
            'Depth against truth', ('depth', 'this run', 'constant'), depth_rows(run.depth_error)
        )
    rows = [
        ('images', f'{run.num_images}' + (f', {run.num_skipped} skipped' * bool(run.num_skipped))),
        ('path', f'{run.trajectory.length_m:.2f} m in {run.trajectory.duration_s:.1f} s'),
        ('frames per second', f'{run.rate_hz:.1f}'),
    ]
    if run.timing is not None:
        rows.append(
            ('time per frame', f'{run.timing.p50_ms:.0f} ms (p99 {run.timing.p99_ms:.0f})')
        )
    if run.statuses:
        rows.append(('status', status_history(run)))
    if run.balance is not None and not run.balance.is_even:
        rows.append(('balance', run.balance.line()))
    rows.append(('map', f'{len(run.points)} points'))
    rows.append(('report', str(output_dir / 'index.html')))
    print_table(run.title, ('run', ''), rows)
    for note in run.notes:
        print(f'note: {note}')
