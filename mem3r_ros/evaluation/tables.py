# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results as rows of label and text, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Iterable
import sys

from mem3r_ros.evaluation.depth_error import DepthError
from mem3r_ros.evaluation.trajectory_error import TrajectoryError


def length(metres: float) -> str:
    """Return a length in mm, cm or m, depending on its size."""
    if metres != metres:
        return 'unknown'
    if abs(metres) < 0.01:
        return f'{1000 * metres:.1f} mm'
    return f'{100 * metres:.1f} cm' if abs(metres) < 1.0 else f'{metres:.2f} m'


def percent(value: float, decimals: int = 0) -> str:
    """Return a deviation in percent with its sign."""
    return 'unknown' if value != value else f'{value:+.{decimals}f} %'


def trajectory_rows(error: TrajectoryError) -> list[tuple[str, str, str, str]]:
    """Return rows of label, estimate, standing still and constant velocity."""
    still, line = error.stand_still, error.constant_velocity
    return [
        (
            'ATE, scale fitted (Sim3)',
            length(error.ate_sim3_rmse_m),
            length(still.ate_rmse_m),
            length(line.ate_rmse_m),
        ),
        ('ATE, metres as published (SE3)', length(error.ate_se3_rmse_m), '', ''),
        ('ATE, metres, first pose aligned', length(error.ate_first_rmse_m), '', ''),
        (
            'RPE translation per frame',
            length(error.rpe_translation_m),
            length(still.rpe_translation_m),
            length(line.rpe_translation_m),
        ),
        (
            'RPE rotation per frame',
            f'{error.rpe_rotation_deg:.2f} deg',
            f'{still.rpe_rotation_deg:.2f} deg',
            f'{line.rpe_rotation_deg:.2f} deg',
        ),
        ('scale error', percent(error.scale_error_percent, 1), '', ''),
    ]


def depth_rows(error: DepthError) -> list[tuple[str, str, str]]:
    """Return rows of label, prediction and constant-depth baseline."""
    return [
        ('AbsRel (median-aligned)', f'{error.abs_rel:.3f}', f'{error.constant_abs_rel:.3f}'),
        (
            'depth within 25 %',
            f'{error.delta1_percent:.1f} %',
            f'{error.constant_delta1_percent:.1f} %',
        ),
        ('RMSE (median-aligned)', length(error.rmse_m), ''),
    ]


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """
    Print a table on the terminal.

    :param title: title of the table.
    :param columns: headings; the first column is aligned left, the others right.
    :param rows: text of each cell.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify='left' if index == 0 else 'right', overflow='fold')
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    # A file or a pipe has no width: do not fold rows at 80 columns there.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(title, style='bold', markup=False)
    console.print(table)
