# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The report of a training run: newest figures, learning curves, depth of held-out worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mem3r_ros.reports.depth_pictures import depth_strip
from mem3r_ros.reports.page import card, write_page
from mem3r_ros.reports.plots import Curve, curves_svg
from mem3r_ros.reports.result import StripFrame

# name of a validation figure, label, format; name and label of its trivial answer
FIGURES = (
    ('rotation_deg', 'rotation error per frame', '{:.2f} deg', 'rotation_none_deg', 'no motion'),
    ('translation_m', 'translation error per frame', '{:.3f} m', 'translation_none_m',
     'no motion'),
    ('direction_cos', 'cosine of the direction', '{:.2f}', '', ''),
    ('end_error_m', 'position error at the end', '{:.2f} m', 'end_error_none_m', 'no motion'),
    ('absrel', 'depth AbsRel, median-scaled', '{:.3f}', 'absrel_constant', 'constant depth'),
    ('absrel_unscaled', 'depth AbsRel, unscaled', '{:.3f}', '', ''),
    ('focal_error', 'relative error of the estimated focal length', '{:.3f}', '', ''),
)  # fmt: skip
LOSSES = ('loss', 'log_depth', 'rotation', 'translation', 'gradient_norm')


def write_training_page(
    path: Path,
    history: Sequence[Mapping[str, Any]],
    frames: Sequence[StripFrame],
    config: Mapping[str, Any],
) -> None:
    """
    Write the page.

    :param path: file to write.
    :param history: entries of the log, oldest first.
    :param frames: depth of the newest validation, one frame of a clip each.
    :param config: the recipe.
    """
    newest = next((e for e in reversed(history) if e['kind'] == 'validation'), {})
    write_page(
        path,
        'training.html',
        title='Training',
        subtitle=f'preset {config.get("preset", "")}',
        files='weights.safetensors, state.safetensors, log.jsonl, config.yaml, tensorboard',
        cards=_cards(newest),
        config=config,
        curves_svg=curves_svg(_curves(history)),
        rows=_rows(newest),
        strip=depth_strip(frames, [f'world {number}' for number in range(1, len(frames) + 1)]),
    )


def _cards(newest: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the progress of the run, and the errors that have a trivial answer."""
    if not newest:
        return []
    cards = [
        card(f'{newest["minutes"]:.1f} min', 'training', f'{newest["frames"]} frames'),
        card(f'{newest["update"]}', 'updates', f'{newest["skipped"]} skipped'),
    ]
    return cards + [
        card(ours, label, trivial) for label, ours, trivial in _rows(newest) if trivial
    ]


def _rows(newest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return label, value and trivial answer of each figure of a validation."""
    rows = []
    for name, label, form, trivial, answer in FIGURES:
        if newest.get(name) is not None:
            value = newest.get(trivial)
            compared = '' if value is None else f'{answer}: {form.format(value)}'
            rows.append((label, form.format(newest[name]), compared))
    return rows


def _curves(history: Sequence[Mapping[str, Any]]) -> list[Curve]:
    curves = [
        Curve(
            _with_unit(label, form),
            _column(history, 'validation', name),
            _column(history, 'validation', trivial),
        )
        for name, label, form, trivial, _ in FIGURES
    ]
    nothing = np.empty((0, 2))
    curves += [
        Curve(name.replace('_', ' '), _column(history, 'train', name), nothing) for name in LOSSES
    ]
    return [curve for curve in curves if len(curve.points)]


def _with_unit(label: str, form: str) -> str:
    """Return the label with the unit of the format, if it has one."""
    unit = form.partition('}')[2].strip()
    return f'{label} ({unit})' if unit else label


def _column(history: Sequence[Mapping[str, Any]], kind: str, name: str) -> np.ndarray:
    """Return minutes and values of one name of the log, [N, 2]."""
    points = [
        (entry['minutes'], entry[name])
        for entry in history
        if entry['kind'] == kind and entry.get(name) is not None
    ]
    return np.array(points, np.float64).reshape(-1, 2)
