# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results of a protocol over the number of views: our rules, then the published methods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mem3r_ros.evaluation.protocols import protocol, published


@dataclass(frozen=True, slots=True)
class Metric:
    """One measure of a protocol."""

    label: str
    decimals: int
    is_more_better: bool = False

    def text(self, value: float) -> str:
        """Return a value as it is printed."""
        return f'{value:.{self.decimals}f}'


METRICS = {
    'ate_m': Metric('ATE (m), Sim(3)', 3),
    'ate_first_m': Metric('ATE (m), first pose aligned, metric', 3),
    'rpe_translation_m': Metric('RPE translation (m)', 3),
    'rpe_rotation_deg': Metric('RPE rotation (deg)', 3),
    'abs_rel_metric': Metric('AbsRel, metric', 3),
    'delta1_percent_metric': Metric('delta < 1.25 (%), metric', 1, True),
    'abs_rel_scale': Metric('AbsRel, one scale a sequence', 3),
    'delta1_percent_scale': Metric('delta < 1.25 (%), one scale a sequence', 1, True),
    'abs_rel_scale_shift': Metric('AbsRel, one scale and shift a sequence', 3),
    'delta1_percent_scale_shift': Metric(
        'delta < 1.25 (%), one scale and shift a sequence', 1, True
    ),
    'accuracy_m': Metric('accuracy (m)', 3),
    'completeness_m': Metric('completeness (m)', 3),
    'chamfer_m': Metric('chamfer (m)', 3),
    'normal_consistency': Metric('normal consistency', 3, True),
}


@dataclass(frozen=True, slots=True)
class MetricTable:
    """One metric of several methods at several numbers of views."""

    metric: Metric
    title: str
    ours: dict[str, dict[int, float]]  # model and rule -> number of views -> mean
    others: dict[str, dict[int, float]]  # published method -> number of views -> value

    @property
    def views(self) -> list[int]:
        """Return the numbers of views that were measured, increasing."""
        return sorted({number for values in self.ours.values() for number in values})

    @property
    def columns(self) -> list[str]:
        """Return the headings."""
        return ['method', *(f'{number} views' for number in self.views)]

    @property
    def rows(self) -> list[list[str]]:
        """Return the cells: our rules, then the methods with a figure at one of the numbers."""
        views = self.views
        known = {m: v for m, v in self.others.items() if v.keys() & set(views)}
        return [
            [method, *(self.metric.text(v[n]) if n in v else '' for n in views)]
            for method, v in (self.ours | known).items()
        ]


def metric_tables(name: str, model: str, rows: list[dict[str, Any]]) -> list[MetricTable]:
    """
    Return one table for each metric that the rows have.

    :param name: of the protocol.
    :param model: name of our network.
    :param rows: of ``evaluate_sequence``, each with the keys sequence, rule and views.
    """
    tables, known = [], published(name)
    for key, metric in METRICS.items():
        ours = means(rows, key)
        if not ours:
            continue
        others: dict[str, dict[int, float]] = {}
        for row in known:
            if row['metric'] == key:
                others.setdefault(row['method'], {})[row['views']] = row['value']
        better = 'higher' if metric.is_more_better else 'lower'
        title = f'{protocol(name).title}: {metric.label}, {better} is better'
        named = {f'{model}, {rule}': values for rule, values in ours.items()}
        tables.append(MetricTable(metric, title, named, others))
    return tables


def sources(name: str) -> list[str]:
    """Return where the published figures and the choices of a protocol come from."""
    figures = sorted({row['source'] for row in published(name)})
    return [
        *(f'published figures: {source}' for source in figures),
        f'protocol: {protocol(name).source}',
    ]


def means(rows: Iterable[dict[str, Any]], metric: str) -> dict[str, dict[int, float]]:
    """
    Average a metric over sequences, depth by the number of valid pixels.

    :return: rule -> number of views -> mean.
    """
    parts: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for row in rows:
        if row.get(metric) is not None:
            weight = row['num_pixels'] if metric.startswith(('abs_rel', 'delta1')) else 1.0
            values = parts.setdefault(row['rule'], {}).setdefault(row['views'], [])
            values.append((row[metric], weight))
    return {
        rule: {views: _weighted(pairs) for views, pairs in by_views.items()}
        for rule, by_views in parts.items()
    }


def _weighted(pairs: list[tuple[float, float]]) -> float:
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)
