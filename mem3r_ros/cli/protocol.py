# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The protocol runs of ``mem3r evaluate``: a paper's table beside its published figures."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
import sys
from typing import Any

from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.protocol_run import evaluate_sequence
from mem3r_ros.evaluation.protocols import protocol, published
from mem3r_ros.evaluation.result_store import ResultStore, file_hash
from mem3r_ros.evaluation.tables import print_table
from mem3r_ros.model import update_rule
from mem3r_ros.model.backend import load_backend
from mem3r_ros.model.checkpoints.find import find_weights
from mem3r_ros.reports.progress import progress

# metric -> its name in tables, decimals, whether more is better
METRICS = {
    'ate_m': ('ATE (m), Sim(3)', 3, False),
    'ate_first_m': ('ATE (m), first pose aligned, metric', 3, False),
    'rpe_translation_m': ('RPE translation (m)', 3, False),
    'rpe_rotation_deg': ('RPE rotation (deg)', 3, False),
    'abs_rel_metric': ('AbsRel, metric', 3, False),
    'delta1_percent_metric': ('delta < 1.25 (%), metric', 1, True),
    'abs_rel_scale': ('AbsRel, one scale a sequence', 3, False),
    'delta1_percent_scale': ('delta < 1.25 (%), one scale a sequence', 1, True),
    'abs_rel_scale_shift': ('AbsRel, one scale and shift a sequence', 3, False),
    'delta1_percent_scale_shift': ('delta < 1.25 (%), one scale and shift a sequence', 1, True),
    'accuracy_m': ('accuracy (m)', 3, False),
    'completeness_m': ('completeness (m)', 3, False),
    'chamfer_m': ('chamfer (m)', 3, False),
    'normal_consistency': ('normal consistency', 3, True),
}


def run_protocol(args: argparse.Namespace, config: Any) -> int:
    """
    Score every sequence of a data set and print the figures beside the published ones.

    What an earlier run with the same settings has finished is not computed again.

    :param args: parsed arguments of ``mem3r evaluate``.
    :param config: the settings in force, a RunConfig.
    :return: 0; 2 where a sequence failed.
    :raises UserError: the data set, the model or a setting is of no use.
    """
    chosen = protocol(args.protocol)
    if len(args.paths) != 1:
        raise UserError(f'--protocol takes one PATH, the folder of the data set: {chosen.layout}')
    views = _numbers(args.views) if args.views else list(chosen.lengths)
    rules = args.rules.split(',') if args.rules else [config.tracking.update_rule]
    sequences = chosen.find(Path(args.paths[0]))
    settings = {
        'protocol': args.protocol,
        'model': Path(config.model).name,
        'weights_sha256': file_hash(find_weights(config.model)[1]),
        'dtype': config.dtype,
        'views': views,
    }
    store = ResultStore(Path(args.output) / f'{args.protocol}.json', settings)
    network, _ = load_backend(config)
    failed = _score_all(network, rules, chosen, sequences, views, store)
    _print(args.protocol, Path(config.model).name, store.rows)
    print(f'results: {store.path}')
    return 2 if failed else 0


def _numbers(text: str) -> list[int]:
    try:
        numbers = sorted({int(word) for word in text.split(',')})
    except ValueError as error:
        raise UserError(f'--views is {text!r}; give numbers such as 50,200,1000') from error
    if numbers[0] < 3:
        raise UserError(f'--views is {text!r}; a path needs at least 3 views')
    return numbers


def _score_all(
    network: Any,
    rules: list[str],
    chosen: Any,
    sequences: list[Path],
    views: list[int],
    store: Any,
) -> int:
    """Score what is missing; return the number of sequences that failed."""
    by_rule = {name: update_rule(name) for name in rules}
    failed = 0
    for path in sequences:
        for name, rule in by_rule.items():
            key = f'{path.parent.name}/{path.name} {name}'
            if key in store:
                continue
            try:
                with progress(key, views[-1] * len(chosen.tasks)) as bar:
                    rows = evaluate_sequence(network, rule, chosen, path, views, bar.advance)
            except (ValueError, OSError) as error:  # UserError is a ValueError
                print(f'{key}: {" ".join(str(error).split())}', file=sys.stderr)
                failed += 1
            else:
                store.add(key, [{'sequence': path.name, 'rule': name, **row} for row in rows])
    return failed


def _print(name: str, model: str, rows: list[dict[str, Any]]) -> None:
    """Print one table a metric: our rules, then the published methods; views across."""
    known = published(name)
    for metric, (label, decimals, is_more_better) in METRICS.items():
        ours = means(rows, metric)
        if not ours:
            continue
        better = 'higher' if is_more_better else 'lower'
        others: dict[str, dict[int, float]] = {}
        for row in known:
            if row['metric'] == metric:
                others.setdefault(row['method'], {})[row['views']] = row['value']
        views = sorted({number for values in ours.values() for number in values})
        table = {f'{model}, {rule}': values for rule, values in ours.items()} | others
        print_table(
            f'{protocol(name).title}: {label}, {better} is better',
            ('method', *(f'{number} views' for number in views)),
            [
                (method, *(_cell(values.get(number), decimals) for number in views))
                for method, values in table.items()
                if method.startswith(model) or values.keys() & set(views)
            ],
        )
    for source in sorted({row['source'] for row in known}):
        print(f'published figures: {source}')
    print(f'protocol: {protocol(name).source}')


def means(rows: Iterable[dict[str, Any]], metric: str) -> dict[str, dict[int, float]]:
    """
    Average a metric over sequences, depth by the number of valid pixels.

    :return: rule -> number of views -> mean.
    """
    parts: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for row in rows:
        if metric in row:
            weight = row['num_pixels'] if metric.startswith(('abs_rel', 'delta1')) else 1.0
            values = parts.setdefault(row['rule'], {}).setdefault(row['views'], [])
            values.append((row[metric], weight))
    return {
        rule: {views: _weighted(pairs) for views, pairs in by_views.items()}
        for rule, by_views in parts.items()
    }


def _weighted(pairs: list[tuple[float, float]]) -> float:
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)


def _cell(value: float | None, decimals: int) -> str:
    return '' if value is None else f'{value:.{decimals}f}'
