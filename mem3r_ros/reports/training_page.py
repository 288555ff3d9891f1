# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A self-contained HTML page of a training run: learning curves and pictures."""

from __future__ import annotations

import base64
from dataclasses import dataclass
import html
from pathlib import Path

import numpy as np

from mem3r_ros.files import write_text

WIDTH, HEIGHT, MARGIN = 420, 200, 36  # px of one chart
CURVES = (
    ('loss', 'train', 'loss', None),
    ('rotation error, deg (grey: no motion)', 'validation', 'rotation_deg', 'rotation_none_deg'),
    (
        'translation error, m (grey: no motion)',
        'validation',
        'translation_m',
        'translation_none_m',
    ),
    ('direction cosine', 'validation', 'direction_cos', None),
    ('depth AbsRel, median-scaled (grey: constant)', 'validation', 'absrel', 'absrel_constant'),
    ('focal length error where unknown', 'validation', 'focal_error', None),
)
STYLE = (
    'body{font:14px sans-serif;margin:2em;max-width:1100px}'
    'svg{background:#fafafa;margin:4px}img{margin:2px;image-rendering:pixelated}'
    'table{border-collapse:collapse}td,th{padding:2px 10px;text-align:right}'
)


@dataclass
class Picture:
    """One image with its true and its predicted depth."""

    image: np.ndarray  # [H, W, 3] uint8
    depth_true: np.ndarray  # [H, W] m
    depth: np.ndarray  # [H, W] m


def write_page(path: Path, history: list[dict], pictures: list[Picture]) -> None:
    """
    Write the page.

    :param history: entries of the log, oldest first.
    :param pictures: of the newest validation.
    """
    charts = [_curve(title, history, kind, name, base) for title, kind, name, base in CURVES]
    charts += [
        _curve(name, history, 'train', name, None)
        for name in ('log_depth', 'rotation', 'translation', 'gradient_norm')
    ]
    rows = ''.join(f'<div>{_picture_row(picture)}</div>' for picture in pictures)
    write_text(
        path,
        '<!doctype html><meta charset="utf-8"><title>Training</title>'
        f'<style>{STYLE}</style><h1>Training</h1>{_table(history)}'
        f'<h2>Learning curves over minutes</h2>{"".join(charts)}'
        f'<h2>Held-out worlds: image, true depth, predicted depth</h2>{rows}',
    )


def _table(history: list[dict]) -> str:
    """Return the newest validation as a table."""
    newest = next((e for e in reversed(history) if e['kind'] == 'validation'), None)
    if newest is None:
        return ''
    rows = ''.join(
        f'<tr><td>{html.escape(name)}</td><td>{value}</td></tr>'
        for name, value in newest.items()
        if name != 'kind'
    )
    return f'<table>{rows}</table>'


def _curve(title: str, history: list[dict], kind: str, name: str, base: str | None) -> str:
    """Return one chart as SVG, or nothing where there is nothing to draw."""
    lines = []
    for column, colour in ((base, '#999'), (name, '#06c')):
        points = [
            (entry['minutes'], entry[column])
            for entry in history
            if entry['kind'] == kind and column and entry.get(column) is not None
        ]
        if points:
            lines.append((np.array(points, float), colour))
    if not lines:
        return ''
    values = np.concatenate([line for line, _ in lines])
    left, right = values[:, 0].min(), max(values[:, 0].max(), values[:, 0].min() + 1e-6)
    low, high = min(values[:, 1].min(), 0.0), np.percentile(values[:, 1], 98) * 1.05 + 1e-9
    marks = []
    for line, colour in lines:
        x = MARGIN + (line[:, 0] - left) / (right - left) * (WIDTH - 2 * MARGIN)
        y = HEIGHT - MARGIN / 2 - (line[:, 1] - low) / (high - low) * (HEIGHT - 1.3 * MARGIN)
        path = ' '.join(f'{a:.1f},{max(b, 0):.1f}' for a, b in zip(x, y, strict=True))
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}"><text x="8" y="14" font-size="12">'
        f'{html.escape(title)}</text>{"".join(marks)}'
        f'<text x="2" y="{HEIGHT - 20}" font-size="10">{low:.3g}</text>'
        f'<text x="2" y="30" font-size="10">{high:.3g}</text>'
        f'<text x="{WIDTH - 60}" y="{HEIGHT - 4}" font-size="10">{right:.0f} min</text></svg>'
    )


def _picture_row(picture: Picture) -> str:
    near, far = np.nanpercentile(
        np.where(np.isfinite(picture.depth_true), picture.depth_true, np.nan), [2, 98]
    )
    parts = [
        picture.image,
        _depth_colours(picture.depth_true, near, far),
        _depth_colours(picture.depth, near, far),
    ]
    return _png(np.concatenate(parts, axis=1))


def _depth_colours(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Paint inverse depth, near bright; unknown grey."""
    import cv2

    inverse = 1 / np.clip(np.nan_to_num(depth, nan=1e6, posinf=1e6), 1e-3, 1e6)
    level = (inverse - 1 / far) / max(1 / near - 1 / far, 1e-9)
    coloured = cv2.applyColorMap(np.uint8(np.clip(level, 0, 1) * 255), cv2.COLORMAP_INFERNO)
    coloured[np.isnan(depth)] = 128
    return coloured[..., ::-1]


def _png(image: np.ndarray) -> str:
    import cv2

    encoded = cv2.imencode('.png', np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
    data = base64.b64encode(encoded).decode()
    width = image.shape[1] * 2
    return f'<img width="{width}" src="data:image/png;base64,{data}">'
