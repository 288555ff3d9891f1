# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Depth of the rendered worlds beside that of recordings: how far, and how spread within an image.

    python benchmarks/depth_range.py SEQUENCE... --output benchmarks/results

For each set of images: 5 %, 50 % and 95 % quantile of the median depth of an image (m), and of its
spread, the 90 % over the 10 % quantile of the depth within the image. Sequences without depth are
refused. Writes depth_range.md and histograms, depth_range.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
import sys

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch

from mem3r_ros.data import open_sequence
from mem3r_ros.errors import UserError
from mem3r_ros.reports.progress import ProgressBar, progress
from mem3r_ros.worlds import WorldConfig, render_clip
from mem3r_ros.worlds.config import WORLD_KINDS

SIZE = (128, 96)
FRAMES = 4  # of each world
PIXELS = 500  # of each image in the histogram of depth
COLUMNS = ('set', 'images', 'median depth, m', 'far over near within an image')


def rendered(config: WorldConfig, worlds: int) -> Iterator[np.ndarray]:
    """Yield the depth of rendered images, m [H, W]."""
    for index in range(worlds):
        clip = render_clip(index, FRAMES, SIZE, config)
        yield from clip.depth_m.numpy()


def recorded(path: Path) -> Iterator[np.ndarray]:
    """Yield the depth images of a recording, m [H, W]."""
    for frame in open_sequence(path):
        if frame.depth_m is not None:
            yield frame.depth_m


def advancing(images: Iterator[np.ndarray], bar: ProgressBar) -> Iterator[np.ndarray]:
    """Yield the images; count them on the bar."""
    for image in images:
        yield image
        bar.advance()


def figures(images: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return median depth (m) and spread of each image [N], and some of its depths (m) [M]."""
    rng = np.random.default_rng(0)
    medians, spreads, some = [], [], []
    for image in images:
        known = image[np.isfinite(image) & (image > 0)]
        if len(known) < PIXELS:
            continue
        near, middle, far = np.quantile(known, (0.1, 0.5, 0.9))
        medians.append(middle)
        spreads.append(far / near)
        some.append(rng.choice(known, PIXELS))
    return np.array(medians), np.array(spreads), np.concatenate(some or [np.empty(0)])


def row(name: str, medians: np.ndarray, spreads: np.ndarray) -> str:
    """Return one row of the table."""
    cells = [name, str(len(medians))]
    for values in (medians, spreads):
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
        cells.append(f'{low:.2g} / {middle:.2g} / {high:.2g}')
    return '| ' + ' | '.join(cells) + ' |'


def draw(path: Path, found: dict[str, tuple[np.ndarray, ...]]) -> None:
    """Draw the histograms of depth and of its spread."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    edges = (np.geomspace(0.1, 120, 40), np.geomspace(1, 60, 30))
    labels = ('depth of a pixel, m', '90 % over 10 % quantile of the depth within an image')
    for axis, bins, label, which in zip(axes, edges, labels, (2, 1), strict=True):
        for name, values in found.items():
            counts, _ = np.histogram(values[which], bins)
            width = 2 if name.startswith('worlds') else 1
            axis.stairs(counts / max(counts.sum(), 1), bins, label=name, linewidth=width)
        axis.set(xscale='log', xlabel=label, ylabel='share')
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print the table; with --output, write it and the histograms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('sequences', nargs='*', type=Path, help='recordings with depth')
    parser.add_argument('--worlds', type=int, default=120, help='worlds of each set (%(default)s)')
    parser.add_argument('--output', type=Path, help='folder for depth_range.md')
    args = parser.parse_args()
    torch.set_num_threads(1)
    sets = {
        'worlds, ordinary': rendered(WorldConfig(), args.worlds),
        'worlds, wide': rendered(WorldConfig(wide_share=1.0), args.worlds),
    }
    sets |= {
        f'worlds, wide: {kind}': rendered(
            WorldConfig(wide_share=1.0, world=kind), args.worlds // 4
        )
        for kind in WORLD_KINDS
    }
    sets |= {path.name: recorded(path) for path in args.sequences}
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|---' * len(COLUMNS) + '|']
    found = {}
    for name, images in sets.items():
        with progress(name, None) as bar:
            values = figures(advancing(images, bar))
        if not len(values[0]):
            raise UserError(f'{name} has no depth; give recordings with depth images')
        lines.append(row(name, *values[:2]))
        if ':' not in name:
            found[name] = values
    print('\n'.join(lines))
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        head = (
            '# Depth of the rendered worlds beside that of recordings\n\n'
            'Each cell: 5 %, 50 % and 95 % quantile over the images.\n\n'
        )
        text = head + '\n'.join(lines) + '\n\n![histograms](depth_range.png)\n'
        (args.output / 'depth_range.md').write_text(text)
        draw(args.output / 'depth_range.png', found)
    return 0


if __name__ == '__main__':
    sys.exit(main())
