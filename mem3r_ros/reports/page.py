# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The HTML report of a run: one file that needs no network and no other file."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import re
from typing import Any

from mem3r_ros import __version__
from mem3r_ros.evaluation.tables import depth_rows, length, percent, trajectory_rows
from mem3r_ros.evaluation.timing import timing_summary
from mem3r_ros.files import write_text
from mem3r_ros.reports.cloud_view import cloud_view, confident
from mem3r_ros.reports.depth_pictures import depth_strip, jpeg_uri
from mem3r_ros.reports.moments import moments
from mem3r_ros.reports.plots import position_error_svg, timing_svg, trajectory_svg
from mem3r_ros.reports.result import TOTAL, RunResult

TEMPLATES = Path(__file__).parent / 'templates'
STATUS_COLOURS = {
    'initialising': '#74c0fc',
    'tracking': '#51cf66',
    'degraded': '#fcc419',
    'lost': '#fa5252',
}


def write_report(output_dir: str | Path, run: RunResult) -> Path:
    """
    Write ``index.html``.

    :param output_dir: existing folder.
    :param run: result to show.
    :return: path of the page.
    """
    view = cloud_view(
        *confident(run.points, run.colours, run.weights),
        run.trajectory.positions,
        run.trajectory.poses,
    )
    path = Path(output_dir) / 'index.html'
    write_page(
        path,
        'report.html',
        title=run.title,
        subtitle=', '.join(
            filter(None, (run.source, run.model and f'model {run.model}', run.device))
        ),
        files='trajectory.txt (TUM), depth/*.png (mm), map.ply, summary.json',
        cards=_cards(run),
        config=run.config,
        run=run,
        script=(TEMPLATES / 'cloud.js').read_text(encoding='utf-8'),
        trajectory_svg=trajectory_svg(run),
        error_svg=position_error_svg(run),
        trajectory_rows=trajectory_rows(run.error) if run.error else [],
        depth_rows=depth_rows(run.depth_error) if run.depth_error else [],
        strip=_strip(run),
        moments=moments(run),
        moments_script=(TEMPLATES / 'moments.js').read_text(encoding='utf-8'),
        cloud=None if view is None else json.dumps(view.packed()),
        cloud_picture='' if view is None else jpeg_uri(view.picture(), 82),
        timing_svg=timing_svg(run),
        stages=_stages(run),
        statuses=_statuses(run),
    )
    return path


def write_page(
    path: Path,
    template: str,
    *,
    title: str,
    subtitle: str,
    files: str,
    cards: list[dict[str, str]],
    config: Mapping[str, Any],
    **values: Any,
) -> None:
    """
    Write a page from a template.

    :param path: file to write.
    :param template: name of a template that extends ``base.html``.
    :param title: heading of the page.
    :param subtitle: line below it.
    :param files: list of the files beside the page, as text.
    :param cards: figures at the top, see ``card``.
    :param config: settings shown at the end.
    :param values: further values of the template.
    """
    import jinja2
    import yaml

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = yaml.safe_dump(config, sort_keys=False, default_flow_style=None) if config else ''
    page = environment.get_template(template).render(
        title=title,
        subtitle=subtitle,
        files=files,
        cards=cards,
        config=text,
        version=__version__,
        style=(TEMPLATES / 'report.css').read_text(encoding='utf-8'),
        **values,
    )
    write_text(path, page)


def _cards(run: RunResult) -> list[dict[str, str]]:
    """Return the figures at the top of the page."""
    cards = []
    if run.error is not None:
        error = run.error
        cards += [
            card(
                length(error.ate_sim3_rmse_m),
                'ATE, scale fitted',
                f'standing still: {length(error.stand_still.ate_rmse_m)}',
            ),
            card(
                length(error.rpe_translation_m),
                'RPE per frame',
                f'standing still: {length(error.stand_still.rpe_translation_m)}',
            ),
            card(
                f'{error.rpe_rotation_deg:.2f} deg',
                'rotation per frame',
                f'standing still: {error.stand_still.rpe_rotation_deg:.2f} deg',
            ),
            card(
                percent(error.scale_error_percent, int(abs(error.scale_error_percent) < 10)),
                'scale error',
                f'true path: {length(error.path_length_m)}',
            ),
        ]
    if run.depth_error is not None:
        cards.append(
            card(
                f'{run.depth_error.abs_rel:.3f}',
                'depth AbsRel',
                f'constant depth: {run.depth_error.constant_abs_rel:.3f}',
            )
        )
    skipped = f', {run.num_skipped} skipped' if run.num_skipped else ''
    cards += [
        card(
            length(run.trajectory.length_m), 'path travelled', f'{run.trajectory.duration_s:.1f} s'
        ),
        card(f'{run.num_images}', 'images', f'{len(run.trajectory)} poses{skipped}'),
    ]
    if run.wall_time_s > 0:
        per_frame = f'{run.timing.p50_ms:.0f} ms a frame' if run.timing else ''
        cards.append(card(f'{run.rate_hz:.1f}', 'frames per second', per_frame))
    return cards


def card(value: str, label: str, detail: str = '') -> dict[str, str]:
    """Return a figure: value with unit, name, and a detail such as a baseline."""
    # Keep a number and its unit on one line.
    detail = re.sub(r'(?<=\d) (?=\w)', '\N{NO-BREAK SPACE}', detail)
    return {'value': value, 'label': label, 'detail': detail}


def _strip(run: RunResult) -> dict[str, Any] | None:
    start_ns = run.trajectory.stamps_ns[0]
    times = [f'{(frame.stamp_ns - start_ns) * 1e-9:.1f} s' for frame in run.strip]
    return depth_strip(run.strip, times)


def _stages(run: RunResult) -> list[dict[str, Any]]:
    """Return the stages of a frame in order, the whole frame last."""
    names = [name for name in run.timings_ms if name != TOTAL] + [TOTAL]
    stages: list[dict[str, Any]] = []
    for name in names:
        timing = timing_summary(run.timings_ms.get(name, ()))
        if timing is not None:
            stages.append({'name': name, 'timing': timing})
    longest = max((stage['timing'].p50_ms for stage in stages), default=0.0)
    for stage in stages:
        stage['share'] = 100.0 * stage['timing'].p50_ms / longest if longest else 0.0
    return stages


def _statuses(run: RunResult) -> dict[str, Any] | None:
    if not run.statuses:
        return None
    start_ns = run.statuses[0].start_ns
    total = sum(span.num_frames for span in run.statuses)
    spans = [
        {
            'status': span.status,
            'reason': span.reason,
            'colour': STATUS_COLOURS.get(span.status, '#adb5bd'),
            'share': 100.0 * span.num_frames / total,
            'time': f'{(span.start_ns - start_ns) * 1e-9:.1f} s',
            'num_frames': span.num_frames,
        }
        for span in run.statuses
    ]
    counts = {
        status: sum(span.num_frames for span in run.statuses if span.status == status)
        for status in dict.fromkeys(span.status for span in run.statuses)
    }
    legend = [
        {
            'status': status,
            'colour': STATUS_COLOURS.get(status, '#adb5bd'),
            'percent': f'{100.0 * count / total:.0f}',
        }
        for status, count in counts.items()
    ]
    return {'spans': spans, 'legend': legend}
