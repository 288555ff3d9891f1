# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several runs side by side: figures with the best marked, paths, errors over time, settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.tables import length
from mem3r_ros.evaluation.trajectory_error import align, matched
from mem3r_ros.files import write_text
from mem3r_ros.reports.page import TEMPLATES
from mem3r_ros.reports.plots import error_lines_svg, path_lines_svg
from mem3r_ros.trajectory import Trajectory, read_tum

TRUTH_FILE = 'truth.txt'


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a run's summary."""

    name: str
    path: tuple[str, ...]  # of keys in summary.json
    text: Callable[[float], str]
    best: Callable[[float], float]  # the run with the smallest value of this is the best


def _number(decimals: int, unit: str = '') -> Callable[[float], str]:
    return lambda value: f'{value:.{decimals}f}{unit}'


MEASURES = (
    Measure('ATE, scale fitted', ('trajectory_error', 'ate_sim3_rmse_m'), length, abs),
    Measure('ATE, metres', ('trajectory_error', 'ate_se3_rmse_m'), length, abs),
    Measure('RPE per frame', ('trajectory_error', 'rpe_translation_m'), length, abs),
    Measure(
        'rotation per frame', ('trajectory_error', 'rpe_rotation_deg'), _number(2, ' deg'), abs
    ),
    Measure('scale error', ('trajectory_error', 'scale_error_percent'), _number(1, ' %'), abs),
    Measure('depth AbsRel', ('depth_error', 'abs_rel'), _number(3), abs),
    Measure('delta < 1.25', ('depth_error', 'delta1_percent'), _number(1, ' %'), lambda v: -v),
    Measure('frames per second', ('rate_hz',), _number(1), lambda v: -v),
    Measure('time of a frame, median', ('timing', 'total', 'p50_ms'), _number(0, ' ms'), abs),
    Measure('poses', ('num_poses',), _number(0), lambda v: -v),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run has left in its folder."""

    name: str
    summary: dict[str, Any]
    trajectory: Trajectory
    truth: Trajectory | None = None
    config: dict[str, Any] = field(default_factory=dict)

    def value(self, measure: Measure) -> float:
        """Return a figure, NaN where the run has none."""
        value: Any = self.summary
        for key in measure.path:
            value = value.get(key) if isinstance(value, dict) else None
        return float('nan') if value is None else float(value)


def read_run(folder: Path) -> Run:
    """
    Read the folder of a run.

    :raises UserError: it is no such folder.
    """
    try:
        summary = json.loads((folder / 'summary.json').read_text(encoding='utf-8'))
        trajectory = read_tum(folder / 'trajectory.txt')
        config_file = folder / 'config.yaml'
        config = yaml.safe_load(config_file.read_text()) if config_file.exists() else {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f'{folder} is no folder of a run: {error}') from error
    truth_file = folder / TRUTH_FILE
    truth = read_tum(truth_file) if truth_file.exists() else None
    return Run(folder.resolve().name, summary, trajectory, truth, config or {})


def grouped(runs: list[Run]) -> list[list[Run]]:
    """Return the runs, those of one recording with the same settings together (repetitions)."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        about = run.summary.get('title'), run.summary.get('model'), _flat(run.config)
        groups.setdefault(json.dumps(about, sort_keys=True, default=str), []).append(run)
    return list(groups.values())


def table(groups: list[list[Run]]) -> list[dict[str, Any]]:
    """
    Return one row a measure that at least one run has: name, and a cell a group.

    A cell has the mean, the spread (half the range) where a group has several runs, and whether
    it is the best. Groups whose ranges touch that of the best are marked as well.
    """
    rows = []
    for measure in MEASURES:
        values = [np.array([run.value(measure) for run in group]) for group in groups]
        known = [index for index, v in enumerate(values) if np.isfinite(v).all()]
        if not known:
            continue
        ranks = [np.array([measure.best(value) for value in v]) for v in values]
        best = min(known, key=lambda index: ranks[index].mean())
        cells = []
        for index, value in enumerate(values):
            if index not in known:
                cells.append({'text': '', 'is_best': False})
                continue
            spread = 0.5 * float(np.ptp(value))
            text = measure.text(float(value.mean()))
            if len(value) > 1:
                text += f' +- {measure.text(spread)}'
            is_best = len(known) > 1 and ranks[index].min() <= ranks[best].max()
            cells.append({'text': text, 'is_best': bool(is_best)})
        rows.append({'name': measure.name, 'cells': cells})
    return rows


def differences(groups: list[list[Run]]) -> list[tuple[str, list[str]]]:
    """Return the settings that are not the same in all groups, with their values."""
    settings = [_flat(group[0].config) for group in groups]
    names = sorted({name for values in settings for name in values})
    missing = object()
    return [
        (name, [str(values.get(name, '')) for values in settings])
        for name in names
        if len({json.dumps(v.get(name, str(missing)), default=str) for v in settings}) > 1
    ]


def _flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f'{prefix}{name}.')
        else:
            flat[prefix + name] = value
    return flat


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
        titles=sorted({str(run.summary.get('title', '')) for run in runs}),
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
    if run.truth is None:
        return None
    try:
        estimate, truth = matched(run.trajectory, run.truth)
    except UserError:
        return None  # too few poses have a true one; the table shows that there is no error
    return align(estimate, truth, True).apply(estimate.poses), truth
