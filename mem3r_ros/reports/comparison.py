# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several runs side by side: figures with the best marked, paths, errors over time, settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.trajectory_error import align, matched
from mem3r_ros.files import write_text
from mem3r_ros.reports.compared_runs import Run, labels
from mem3r_ros.reports.page import TEMPLATES
from mem3r_ros.reports.plots import error_lines_svg, path_lines_svg
from mem3r_ros.trajectory import Trajectory


def grouped(runs: list[Run]) -> list[list[Run]]:
    """Return the runs, those of one recording with the same settings together (repetitions)."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.about, []).append(run)
    return list(groups.values())


def is_one_recording(groups: list[list[Run]]) -> bool:
    """Return whether all paths are of one recording; else no run is better than another."""
    runs = [run for group in groups for run in group if run.trajectory is not None]
    return len({run.title for run in runs}) <= 1


def table(groups: list[list[Run]]) -> list[dict[str, Any]]:
    """
    Return one row a figure that at least one run has: name, and a cell a group.

    A cell has the mean, the spread (half the range) where a group has several runs, and whether
    it is the best. Groups whose ranges touch that of the best are marked as well. Runs of
    different recordings have no best one.
    """
    rows = []
    is_fair = is_one_recording(groups)
    for label in labels(run for group in groups for run in group):
        found = [[run.figures[label] for run in group if label in run.figures] for group in groups]
        measure = next(figures[0].measure for figures in found if figures)
        # A group of which one run lacks the figure has none.
        values = [
            np.array([figure.value for figure in figures] if len(figures) == len(group) else [])
            for figures, group in zip(found, groups, strict=True)
        ]
        known = [index for index, value in enumerate(values) if len(value)]
        if not known:
            continue
        ranks = [np.array([measure.best(number) for number in value]) for value in values]
        best = min(known, key=lambda index: ranks[index].mean())
        cells = []
        for index, value in enumerate(values):
            if index not in known:
                cells.append({'text': '', 'is_best': False})
                continue
            text = measure.text(float(value.mean()))
            if len(value) > 1:
                text += f' +- {measure.text(0.5 * float(np.ptp(value)))}'
            is_best = is_fair and len(known) > 1 and ranks[index].min() <= ranks[best].max()
            cells.append({'text': text, 'is_best': bool(is_best)})
        # What is printed alike is alike.
        winners = {cell['text'] for cell in cells if cell['is_best']}
        for cell in cells:
            cell['is_best'] = cell['text'] in winners
        rows.append({'name': label, 'cells': cells})
    return rows


def differences(groups: list[list[Run]]) -> list[tuple[str, list[str]]]:
    """Return the settings that are not the same in all groups that have them."""
    settings = [group[0].config for group in groups]
    names = sorted({name for values in settings for name in values})
    return [
        (name, [str(values.get(name, '')) for values in settings])
        for name in names
        if len({json.dumps(v[name], default=str) for v in settings if name in v}) > 1
    ]


def write_comparison(output: Path, runs: list[Run]) -> Path:
    """
    Write one page and the same as JSON.

    :param output: folder; made where it is missing.
    :param runs: at least two.
    :return: the page.
    :raises UserError: there are fewer than two runs.
    """
    import jinja2

    if len(runs) < 2:
        raise UserError(f'{len(runs)} run to compare; give at least two')
    groups = grouped(runs)
    names = [_name(group) for group in groups]
    rows, settings = table(groups), differences(groups)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template('comparison.html').render(
        names=names,
        titles=sorted({run.title for run in runs} - {''}),
        is_fair=is_one_recording(groups),
        rows=rows,
        settings=settings,
        style=(TEMPLATES / 'report.css').read_text(encoding='utf-8'),
        paths_svg=path_lines_svg(*_paths(groups, names)),
        errors_svg=error_lines_svg(_errors(groups, names)),
    )
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / 'comparison.html', page)
    content = {
        'runs': names,
        'figures': {row['name']: [cell['text'] for cell in row['cells']] for row in rows},
        'best': {row['name']: [cell['is_best'] for cell in row['cells']] for row in rows},
        'settings': dict(settings),
    }
    write_text(output / 'comparison.json', json.dumps(content, indent=2) + '\n')
    return output / 'comparison.html'


def _name(group: list[Run]) -> str:
    first = group[0].name
    return first if len(group) == 1 else f'{first} and {len(group) - 1} more'


def _paths(
    groups: list[list[Run]], names: list[str]
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return positions by name, in the frame of the first truth where there is one."""
    truths = [group[0].truth for group in groups if group[0].truth is not None]
    lines = {}
    for name, group in zip(names, groups, strict=True):
        if group[0].trajectory is None:
            continue  # a file of results has figures alone
        positions = group[0].trajectory.positions
        aligned = _aligned(group[0])
        lines[name] = positions if aligned is None else aligned[0][:, :3, 3]
    return lines, truths[0].positions if truths else None


def _errors(groups: list[list[Run]], names: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return times (s) and position errors (m, scale fitted) by name."""
    lines = {}
    for name, group in zip(names, groups, strict=True):
        aligned = _aligned(group[0])
        if aligned is not None:
            poses, truth = aligned
            error_m = np.linalg.norm(poses[:, :3, 3] - truth.positions, axis=1)
            lines[name] = (truth.stamps_ns - truth.stamps_ns[0]) * 1e-9, error_m
    return lines


def _aligned(run: Run) -> tuple[np.ndarray, Trajectory] | None:
    """Return poses laid onto the truth with a fitted scale, and the truth at their stamps."""
    if run.truth is None or run.trajectory is None:
        return None
    try:
        estimate, truth = matched(run.trajectory, run.truth)
    except UserError:
        return None  # too few poses have a true one; the table shows that there is no error
    return align(estimate, truth, True).apply(estimate.poses), truth
