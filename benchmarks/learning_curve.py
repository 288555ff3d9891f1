# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Learning curve of a training run, and the training needed to reach a target.

    python benchmarks/learning_curve.py training_output --output benchmarks/results

Reads log.jsonl of the run. A straight line is fitted to the error over the logarithm of the frames
and extrapolated to a target; the result is uncertain. Writes learning_curve.md and
learning_curve.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

# figure: its trivial answer, its label
FIGURES = {
    'absrel': ('absrel_constant', 'depth AbsRel'),
    'rotation_deg': ('rotation_none_deg', 'rotation, deg'),
    'translation_m': ('translation_none_m', 'translation, m'),
    'end_error_m': ('end_error_none_m', 'end of clip, m'),
}


def validations(run: Path) -> list[dict]:
    """
    Return the validations of a run, one per number of updates.

    :raises SystemExit: there are too few for a line.
    """
    lines = (run / 'log.jsonl').read_text(encoding='utf-8').splitlines()
    found = [json.loads(line) for line in lines]
    by_update = {row['update']: row for row in found if row['kind'] == 'validation'}
    if len(by_update) < 3:
        raise SystemExit(f'{run} holds {len(by_update)} validations; a curve needs at least 3')
    return [by_update[update] for update in sorted(by_update)]


def frames_needed(rows: list[dict], name: str, target: float) -> float:
    """Return the frames at which a line over log(frames) reaches the target; inf if never."""
    slope, start = np.polyfit(
        np.log([row['frames'] for row in rows]), [row[name] for row in rows], 1
    )
    return float(np.exp((target - start) / slope)) if slope < 0 else float('inf')


def table(rows: list[dict]) -> list[str]:
    """Return one line per validation; the last line is the trivial answer."""
    names = ('minutes', 'updates', 'frames', *(title for _, title in FIGURES.values()))
    lines = ['| ' + ' | '.join(names) + ' |', '|---' * len(names) + '|']
    for row in rows:
        cells = [f'{row["minutes"]:.0f}', f'{row["update"]}', f'{row["frames"]}']
        lines.append('| ' + ' | '.join(cells + [f'{row[name]:.3f}' for name in FIGURES]) + ' |')
    trivial = [f'{rows[-1][other]:.3f}' for other, _ in FIGURES.values()]
    lines.append('| ' + ' | '.join(['trivial answer', '-', '-', *trivial]) + ' |')
    return lines


def plot(rows: list[dict], path: Path) -> None:
    """Draw each figure over the frames seen, the trivial answer dashed."""
    import matplotlib as mpl

    mpl.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(FIGURES), figsize=(13, 3.2), constrained_layout=True)
    frames = [row['frames'] for row in rows]
    for axis, (name, (other, title)) in zip(axes, FIGURES.items(), strict=True):
        axis.plot(frames, [row[name] for row in rows], 'o-')
        axis.axhline(rows[-1][other], color='gray', linestyle='--')
        axis.set(xscale='log', xlabel='frames seen', title=title, ylim=(0, None))
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print the curve and what it says of the target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('run', type=Path, help='output folder of mem3r train')
    parser.add_argument('--figure', default='absrel', choices=FIGURES)
    parser.add_argument('--target', type=float, default=0.12)
    parser.add_argument('--output', type=Path, help='folder for learning_curve.md and .png')
    args = parser.parse_args()
    rows = validations(args.run)
    needed = frames_needed(rows, args.figure, args.target)
    rate = rows[-1]['frames'] / rows[-1]['minutes'] / 60
    lines = [
        *table(rows),
        '',
        f'{FIGURES[args.figure][1]} {args.target:g} by a straight line over log(frames): '
        f'{needed:.2g} frames, {needed / rate / 3600:.2g} hours at the {rate:.0f} frames/s of '
        'this run. An extrapolation far beyond what was seen.',
    ]
    print('\n'.join(lines))
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        plot(rows, args.output / 'learning_curve.png')
        text = '# Learning curve: held-out worlds while training\n\n' + '\n'.join(lines)
        (args.output / 'learning_curve.md').write_text(
            text + '\n\n![learning curve](learning_curve.png)\n', encoding='utf-8'
        )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
