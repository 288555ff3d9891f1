# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Spread of the path error over equal runs whose images differ by noise of one grey level.

    python benchmarks/odometry_spread.py SEQUENCE... --runs 8 --output spread.md

Where few corners can be followed, another processor or a different rounding leads to another path,
and one run shows chance. The tracker and the textbook methods (textbook_odometry.py) get the same
noisy images; their ATE after Sim(3) is compared run by run. --drop leaves images out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
import sys

import cv2
from dropped_images import DROPS, without_dropped
import numpy as np
from odometry import OURS, measure, read, run_baseline, run_tracker, true_path
from scipy.stats import gmean
from textbook_odometry import BASELINES

from mem3r_ros.data.sequence import SequenceFrame
from mem3r_ros.model import load_model

NOISE = 1.0  # grey levels
LIMIT = 1.1  # of the ratio
HEADER = (
    '| sequence | runs | ours, ATE m | smallest | largest | best textbook, ATE m | smallest '
    f'| largest | ratio | largest | above {LIMIT} |\n|---|{"---:|" * 10}\n'
)


def with_noise(frames: Sequence[SequenceFrame], seed: int) -> list[SequenceFrame]:
    """Add noise of one grey level to all images; equal seeds give equal noise."""
    random = np.random.default_rng(seed)
    return [
        replace(frame, image=_noisy(frame.image, random.normal(0.0, NOISE, frame.image.shape)))
        for frame in frames
    ]


def _noisy(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def run(frames: list[SequenceFrame], model: object) -> tuple[float, float]:
    """Return the ATE of the tracker and of the best textbook method, m."""
    truth = true_path(frames)
    ours = measure(OURS, run_tracker(frames, model, True, True), truth)
    textbook = [measure(name, run_baseline(frames, name), truth) for name in BASELINES]
    return ours.ate_m, min(result.ate_m for result in textbook)


def row(name: str, errors_m: Sequence[tuple[float, float]]) -> str:
    """
    Return one line of the table: geometric means, smallest and largest.

    :param errors_m: of the tracker and of the textbook, of each run.
    """
    ours, textbook = np.array(errors_m).T
    ratio = ours / textbook
    cells = [f'{gmean(ours):.4f}', f'{ours.min():.4f}', f'{ours.max():.4f}']
    cells += [f'{gmean(textbook):.4f}', f'{textbook.min():.4f}', f'{textbook.max():.4f}']
    cells += [f'{gmean(ratio):.2f}', f'{ratio.max():.2f}', str(int((ratio > LIMIT).sum()))]
    return f'| {name} | {len(ours)} | {" | ".join(cells)} |\n'


def main() -> None:
    """Run all sequences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('sequences', nargs='+', metavar='SEQUENCE')
    parser.add_argument('--runs', type=int, default=8)
    parser.add_argument('--drop', choices=DROPS, default='nothing', help='images that are missing')
    parser.add_argument('--model', default='mem3r-tiny')
    parser.add_argument('--output', type=Path, help='file of the table')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    model, text = load_model(args.model), HEADER
    for name in args.sequences:
        frames = without_dropped(read(name, None), args.drop)
        errors = []
        for seed in range(1, args.runs + 1):
            errors.append(run(with_noise(frames, seed), model))
            print(f'{Path(name).name}: run {seed} of {args.runs}', file=sys.stderr)
        text += row(Path(name).name, errors)
        if args.output is not None:
            args.output.write_text(text)
    print(text, end='')


if __name__ == '__main__':
    main()
