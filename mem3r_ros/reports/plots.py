# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Plots of the reports as SVG text: path, position error, timing, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import io
from typing import Any

import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.trajectory_error import align, matched
from mem3r_ros.geometry import invert
from mem3r_ros.reports.result import TOTAL, RunResult

ESTIMATE, TRUTH, INK, GRID = '#1864ab', '#f08c00', '#343a40', '#e9ecef'
BASELINE = '#adb5bd'
# Of several runs; none is that of the truth.
RUNS = ('#1864ab', '#2f9e44', '#c2255c', '#7048e8', '#0c8599', '#5c940d', '#862e9c', '#495057')
_MAX_POINTS = 2000  # of a line; more cannot be distinguished on a screen


@dataclass(frozen=True, slots=True)
class Curve:
    """One panel of learning curves."""

    title: str
    points: np.ndarray  # [N, 2]: minutes, value
    baseline: np.ndarray  # [M, 2]: the same of the trivial answer; M may be 0


def trajectory_svg(run: RunResult) -> str:
    """
    Draw the path to scale, from above and from the side, in the odom frame.

    :param run: the result; its ground truth, if any, is aligned to the estimate.
    :return: an SVG element.
    """
    lines = _lines(run)
    figure = _figure(10.0, 4.4)
    for index, (vertical, name) in enumerate(((1, 'left y'), (2, 'up z'))):
        axes = figure.add_subplot(1, 2, index + 1)
        for line in lines:
            positions = _thinned(line['positions'])
            axes.plot(positions[:, 0], positions[:, vertical], **line['style'])
        start = lines[-1]['positions'][0]
        axes.plot(start[0], start[vertical], 'o', color=INK, ms=5, label='start', zorder=5)
        axes.set_aspect('equal', adjustable='datalim')
        axes.set_xlabel('forward x (m)')
        axes.set_ylabel(f'{name} (m)')
        axes.set_title('from above' if index == 0 else 'from the side', loc='left')
        axes.margins(0.08)
        _widen(axes)
        _tidy(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc='lower center', ncols=len(labels), frameon=False, fontsize=9
    )
    figure.tight_layout(rect=(0, 0.07, 1, 1), w_pad=3.0)
    return _svg(figure)


def position_error_svg(run: RunResult) -> str:
    """Draw the position error of each pose, scale fitted; empty without ground truth."""
    if run.error is None or run.truth is None:
        return ''
    estimate, truth = matched(run.trajectory, run.truth)
    aligned = align(estimate, truth, True).apply(estimate.poses)
    error_m = np.linalg.norm(aligned[:, :3, 3] - truth.positions, axis=1)
    time_s = (truth.stamps_ns - run.trajectory.stamps_ns[0]) * 1e-9
    figure = _figure(10.0, 1.9)
    axes = figure.add_subplot()
    values = _thinned(np.stack([time_s, error_m], axis=1))
    axes.fill_between(values[:, 0], values[:, 1], color=ESTIMATE, alpha=0.15, lw=0)
    axes.plot(values[:, 0], values[:, 1], color=ESTIMATE, lw=1.5)
    axes.axhline(run.error.ate_sim3_rmse_m, color=INK, lw=0.8, ls='--', label='ATE (RMSE)')
    axes.set_ylim(bottom=0.0)
    axes.set_xlim(values[0, 0], max(values[-1, 0], values[0, 0] + 1e-3))
    axes.set_xlabel('time (s)')
    axes.set_ylabel('position error (m)')
    axes.legend(frameon=False, loc='upper right', fontsize=8)
    _tidy(axes)
    figure.tight_layout()
    return _svg(figure)


def timing_svg(run: RunResult) -> str:
    """Draw the time of each frame; empty if it was not measured."""
    times_ms = run.timings_ms.get(TOTAL)
    if times_ms is None or not len(times_ms) or run.timing is None:
        return ''
    figure = _figure(10.0, 2.0)
    axes = figure.add_subplot()
    frames = np.arange(len(times_ms), dtype=np.float64)
    if len(frames) > _MAX_POINTS:
        # Subsampling would hide slow frames: show the slowest of each group.
        groups = np.array_split(times_ms, _MAX_POINTS)
        frames = np.linspace(0, len(times_ms) - 1, _MAX_POINTS)
        times_ms = np.array([group.max() for group in groups])
    axes.plot(frames, times_ms, color=ESTIMATE, lw=1.0)
    # The first frame includes warm-up; it would compress the axis of all others.
    top = max(run.timing.p99_ms * 1.3, run.timing.p50_ms * 2.0)
    axes.set_ylim(0.0, top)
    axes.set_xlim(0, max(len(run.timings_ms[TOTAL]) - 1, 1))
    for value, name in ((run.timing.p50_ms, 'median'), (run.timing.p99_ms, '99th percentile')):
        axes.axhline(value, color=INK, lw=0.8, ls='--')
        axes.text(
            1.005, value, f'{name}\n{value:.0f} ms', transform=axes.get_yaxis_transform(),
            va='center', fontsize=8, color=INK,
        )  # fmt: skip
    axes.set_xlabel('frame')
    axes.set_ylabel('time (ms)')
    _tidy(axes)
    figure.tight_layout(rect=(0, 0, 0.99, 1))
    return _svg(figure)


def series_svg(title: str, x_label: str, series: Mapping[str, np.ndarray]) -> str:
    """
    Draw series over a common counter, one panel per series.

    :param title: above the first panel.
    :param x_label: name of the counter.
    :param series: label with unit -> values.
    :return: an SVG document.
    """
    figure = _figure(10.0, 2.2 * len(series))
    for index, (label, values) in enumerate(series.items()):
        axes = figure.add_subplot(len(series), 1, index + 1)
        points = _thinned(np.stack([np.arange(len(values)), values], axis=1))
        axes.plot(points[:, 0], points[:, 1], color=ESTIMATE, lw=1.2)
        axes.set_ylim(0.0, 1.15 * float(np.percentile(values, 99.5)))
        axes.set_ylabel(label)
        if index == 0:
            axes.set_title(title, loc='left')
        _tidy(axes)
    axes.set_xlabel(x_label)
    figure.set_facecolor('white')
    figure.tight_layout()
    return _svg(figure)


def curves_svg(curves: Sequence[Curve]) -> str:
    """Draw learning curves in two columns, each with its trivial answer in grey."""
    rows = -(-len(curves) // 2)
    figure = _figure(10.0, 1.9 * rows)
    for index, curve in enumerate(curves):
        axes = figure.add_subplot(rows, 2, index + 1)
        if len(curve.baseline):
            axes.plot(*curve.baseline.T, color=BASELINE, lw=1.2, marker=_marker(curve.baseline))
        points = _thinned(curve.points)
        axes.plot(*points.T, color=ESTIMATE, lw=1.2, marker=_marker(points))
        values = np.concatenate([curve.baseline[:, 1], curve.points[:, 1]])
        # A few of the first values are far above all others.
        axes.set_ylim(min(values.min(), 0.0), 1.05 * float(np.percentile(values, 98)) + 1e-9)
        axes.set_title(curve.title, loc='left')
        _tidy(axes)
    figure.tight_layout()
    return _svg(figure)


def _marker(points: np.ndarray) -> str:
    """Return the marker of a line: a single point has no line to be seen."""
    return 'o' if len(points) == 1 else ''


def _lines(run: RunResult) -> list[dict[str, Any]]:
    """Return positions and styles in the odom frame, the estimate last."""
    estimate_style = {'color': ESTIMATE, 'lw': 2.0}
    plain = [{'positions': run.trajectory.positions, 'style': estimate_style | {'label': 'path'}}]
    if run.truth is None:
        return plain
    try:
        estimate, truth = matched(run.trajectory, run.truth)
    except UserError:
        return plain
    sim3, se3 = align(estimate, truth, True), align(estimate, truth, False)
    T_odom_truth = invert(sim3.T_truth_estimate)
    scaled = T_odom_truth @ sim3.apply(estimate.poses)
    published = T_odom_truth @ se3.apply(estimate.poses)
    true = T_odom_truth @ truth.poses
    return [
        {
            'positions': true[:, :3, 3],
            'style': {'color': TRUTH, 'lw': 4.0, 'alpha': 0.6, 'label': 'truth'},
        },
        {
            'positions': published[:, :3, 3],
            'style': {
                'color': ESTIMATE, 'lw': 1.2, 'ls': (0, (4, 2)), 'alpha': 0.8,
                'label': 'metres as published',
            },
        },
        {
            'positions': scaled[:, :3, 3],
            'style': estimate_style | {'label': 'scale fitted to the truth'},
        },
    ]  # fmt: skip


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor='none')


def _tidy(axes: Any) -> None:
    axes.set_facecolor('none')
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ('left', 'bottom'))
        spine.set_color('#ced4da')
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(9)
    axes.title.set_fontsize(10)
    axes.title.set_color(INK)


def _widen(axes: Any) -> None:
    """Extend the axes to a few centimetres if the camera hardly moved."""
    middle = axes.dataLim.get_points().mean(axis=0)
    # As data, not as limits: fixed limits of both axes conflict with the equal scale.
    axes.update_datalim([middle - 0.01, middle + 0.01])
    axes.autoscale_view()


def _thinned(values: np.ndarray) -> np.ndarray:
    if len(values) <= _MAX_POINTS:
        return values
    return values[np.linspace(0, len(values) - 1, _MAX_POINTS).round().astype(int)]


def _svg(figure: Any) -> str:
    import matplotlib

    buffer = io.StringIO()
    # Text stays text: the page is small and searchable. The salt makes ids reproducible.
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'mem3r_ros'}):
        figure.savefig(buffer, format='svg', metadata={'Date': None, 'Creator': None})
    text = buffer.getvalue()
    return text[text.index('<svg') :]


def path_lines_svg(lines: Mapping[str, np.ndarray], truth: np.ndarray | None) -> str:
    """
    Draw several paths over each other, from above.

    :param lines: name -> positions [N, 3] m.
    :param truth: positions of the true path, None where unknown.
    :return: an SVG element; empty without a line. Up is the direction in which the paths spread
        the least.
    """
    if not lines:
        return ''
    figure = _figure(10.0, 5.0)
    axes = figure.add_subplot()
    everything = np.concatenate([*lines.values(), *([] if truth is None else [truth])])
    plane = np.argsort(np.ptp(everything, axis=0))[:0:-1]
    if truth is not None:
        shown = _thinned(truth[:, plane])
        axes.plot(*shown.T, color=TRUTH, lw=4.0, alpha=0.6, label='truth')
    axes.set_prop_cycle(color=RUNS)
    for name, positions in lines.items():
        axes.plot(*_thinned(positions[:, plane]).T, lw=1.6, label=name)
    axes.set_aspect('equal', adjustable='datalim')
    for set_label, axis in zip((axes.set_xlabel, axes.set_ylabel), plane, strict=True):
        set_label(f'{"xyz"[axis]} (m)')
    axes.legend(frameon=False, fontsize=9)
    _widen(axes)
    _tidy(axes)
    figure.tight_layout()
    return _svg(figure)


def error_lines_svg(lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """
    Draw errors over time.

    :param lines: name -> times (s) and errors (m); empty gives an empty text.
    :return: an SVG element.
    """
    if not lines:
        return ''
    figure = _figure(10.0, 3.0)
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=RUNS)
    for name, (time_s, error_m) in lines.items():
        axes.plot(*_thinned(np.stack([time_s, error_m], axis=1)).T, lw=1.4, label=name)
    axes.set_xlabel('time (s)')
    axes.set_ylabel('position error (m)')
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize=9)
    _tidy(axes)
    figure.tight_layout()
    return _svg(figure)


def length_svg(
    label: str, ours: Mapping[str, Mapping[int, float]], others: Mapping[str, Mapping[int, float]]
) -> str:
    """
    Draw a metric over the number of views.

    :param label: of the metric, with its unit.
    :param ours: name -> number of views -> value; full lines.
    :param others: the same of published methods; dashed lines.
    :return: an SVG element; empty with fewer than two numbers of views.
    """
    if len({number for values in ours.values() for number in values}) < 2:
        return ''
    figure = _figure(10.0, 4.0)
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=RUNS)
    dashed = {'lw': 1.0, 'ls': (0, (4, 2)), 'ms': 3}
    for style, lines in (({'lw': 2.0, 'zorder': 3}, ours), (dashed, others)):
        for name, values in lines.items():
            points = np.array(sorted(values.items()), dtype=np.float64)
            axes.plot(*points.T, marker='o', label=name, **style)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel('number of views')
    axes.set_ylabel(label)
    _tidy(axes)
    axes.legend(frameon=False, fontsize=8, loc='upper left', bbox_to_anchor=(0, -0.15), ncols=3)
    figure.tight_layout()
    return _svg(figure)
