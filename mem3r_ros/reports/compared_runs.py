# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What is compared: folders of runs, and the JSON files of evaluate, score and benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.depth_protocol import ALIGNMENTS
from mem3r_ros.evaluation.result_store import read_results
from mem3r_ros.evaluation.tables import length
from mem3r_ros.text_files import read_json
from mem3r_ros.trajectory import Trajectory, read_tum

TRUTH_FILE = 'truth.txt'


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a file of results."""

    name: str
    path: tuple[str, ...]  # of keys
    text: Callable[[float], str]
    best: Callable[[float], float] = abs  # the run with the smallest value of this is the best


@dataclass(frozen=True, slots=True)
class Figure:
    """The value of a measure in one run."""

    value: float
    measure: Measure


@dataclass(frozen=True, slots=True)
class Run:
    """One run, or one column of a file of results."""

    name: str
    title: str  # of the recording
    about: str  # the same for repetitions
    figures: dict[str, Figure]  # label of the row -> figure
    config: dict[str, Any] = field(default_factory=dict)  # dotted name -> value
    trajectory: Trajectory | None = None
    truth: Trajectory | None = None


def _number(decimals: int, unit: str = '') -> Callable[[float], str]:
    return lambda value: f'{value:.{decimals}f}{unit}'


def _largest(value: float) -> float:
    return -value


MEASURES = (
    Measure('ATE, scale fitted', ('trajectory_error', 'ate_sim3_rmse_m'), length),
    Measure('ATE, metres', ('trajectory_error', 'ate_se3_rmse_m'), length),
    Measure('ATE, first pose aligned', ('trajectory_error', 'ate_first_rmse_m'), length),
    Measure('RPE per frame', ('trajectory_error', 'rpe_translation_m'), length),
    Measure('rotation per frame', ('trajectory_error', 'rpe_rotation_deg'), _number(2, ' deg')),
    Measure('scale error', ('trajectory_error', 'scale_error_percent'), lambda v: f'{v:+.1f} %'),
    Measure('depth AbsRel', ('depth_error', 'abs_rel'), _number(3)),
    Measure('delta < 1.25', ('depth_error', 'delta1_percent'), _number(1, ' %'), _largest),
    Measure('frames per second', ('rate_hz',), _number(1), _largest),
    Measure('time of a frame, median', ('timing', 'total', 'p50_ms'), _number(0, ' ms')),
    Measure('poses', ('num_poses',), _number(0), _largest),
    # mem3r score
    *(Measure(f'AbsRel, {a}', ('depth', a, 'abs_rel'), _number(3)) for a in ALIGNMENTS),
    *(
        Measure(f'delta < 1.25, {a}', ('depth', a, 'delta1_percent'), _number(1, ' %'), _largest)
        for a in ALIGNMENTS
    ),
    Measure('accuracy', ('cloud', 'accuracy_m'), length),
    Measure('completeness', ('cloud', 'completeness_m'), length),
    Measure('chamfer', ('cloud', 'chamfer_m'), length),
    Measure('normal consistency', ('cloud', 'normal_consistency'), _number(3), _largest),
    # mem3r benchmark
    Measure('time of a frame, median', ('stages', 'total', 'p50_ms'), _number(0, ' ms')),
    Measure('time of a frame, 99 %', ('stages', 'total', 'p99_ms'), _number(0, ' ms')),
    Measure('memory', ('memory_mib',), _number(0, ' MiB')),
    Measure(
        'memory growth in 1000 frames', ('memory_growth_mib_per_1000_frames',), _number(2, ' MiB')
    ),
)


def read_runs(path: Path) -> list[Run]:
    """
    Return what a path holds: a run, a folder of runs, or the columns of a file of results.

    :raises UserError: it holds none of these.
    """
    if path.is_file():
        return _runs_of_file(path)
    folders = [path] if (path / 'summary.json').exists() else sorted(path.glob('*/'))
    found = [folder for folder in folders if (folder / 'summary.json').exists()]
    if not found:
        raise UserError(f'{path} is no folder of a run, and holds none')
    return [read_run(folder) for folder in found]


def read_run(folder: Path) -> Run:
    """
    Read the folder of a run.

    :raises UserError: it is no such folder.
    """
    try:
        summary = read_json(folder / 'summary.json')
        trajectory = read_tum(folder / 'trajectory.txt')
        config_file = folder / 'config.yaml'
        config = flat(
            yaml.safe_load(config_file.read_text()) or {} if config_file.exists() else {}
        )
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f'{folder} is no folder of a run: {error}') from error
    truth_file = folder / TRUTH_FILE
    return Run(
        folder.resolve().name,
        str(summary.get('title', '')),
        _about(summary.get('title'), summary.get('model'), config),
        figures_of(summary),
        config,
        trajectory,
        read_tum(truth_file) if truth_file.exists() else None,
    )


def _runs_of_file(path: Path) -> list[Run]:
    content = read_json(path)
    name = path.resolve().parent.name if path.name == 'results.json' else path.stem
    if isinstance(content.get('stages'), dict):
        config, title = _config(content.get('settings') or {}), str(content.get('title', ''))
        return [Run(name, title, _about(title, config), figures_of(content), config)]
    content = read_results(path)
    settings, parts = content['settings'], content['parts']
    config = _config(settings)
    if 'protocol' in settings:
        rows = [row for rows in parts.values() for row in rows]
        return _runs_of_protocol(name, config, rows)
    if 'truth' in settings:
        return [
            Run(Path(part).name, settings['truth'], _about(path, part), figures_of(row), config)
            for part, rows in parts.items()
            for row in rows
        ]
    figures: dict[str, Figure] = {}
    for part, rows in parts.items():
        for row in rows:
            figures |= figures_of(row, f'{part}: ')
    return [Run(name, ', '.join(parts), _about(sorted(parts), config), figures, config)]


def _runs_of_protocol(name: str, config: dict[str, Any], rows: list[dict[str, Any]]) -> list[Run]:
    """Return one column a rule; a row for each metric and number of views."""
    # Imports the readers of data sets, and with them OpenCV.
    from mem3r_ros.evaluation.protocol_table import METRICS, means

    figures: dict[str, dict[str, Figure]] = {}
    for key, metric in METRICS.items():
        best = _largest if metric.is_more_better else abs
        for rule, values in means(rows, key).items():
            for views, value in sorted(values.items()):
                measure = Measure(f'{metric.label}, {views} views', (key,), metric.text, best)
                figures.setdefault(rule, {})[measure.name] = Figure(value, measure)
    return [
        Run(f'{name}, {rule}', config['protocol'], _about(config, rule), found, config)
        for rule, found in figures.items()
    ]


def figures_of(content: dict[str, Any], prefix: str = '') -> dict[str, Figure]:
    """Return the figures that some results have, by their label."""
    found = {}
    for measure in MEASURES:
        value: Any = content
        for key in measure.path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, (int, float)) and np.isfinite(value):
            found[prefix + measure.name] = Figure(float(value), measure)
    return found


def flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return the values of nested groups by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f'{prefix}{name}.')
        else:
            found[f'{prefix}{name}'] = value
    return found


def _config(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings under the names that the folder of a run has for them."""
    return flat({n: v for n, v in settings.items() if n != 'config'} | settings.get('config', {}))


def _about(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, default=str)


def labels(runs: Iterable[Run]) -> list[str]:
    """Return the labels of all figures, those of the first run first."""
    return list(dict.fromkeys(label for run in runs for label in run.figures))
