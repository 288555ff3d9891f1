# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Motion and depth errors on pairs of real images, each with its trivial answer.

Rotation error against no motion, cosine of the direction of the translation, and
depth AbsRel after median scaling against one constant depth. They are given for each pair from an
initial state (the network sees two frames), and for a stream whose state is kept.

    python benchmarks/real_pairs.py --model mem3r-tiny --data ../shared/data
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import fields
import json
import math
from pathlib import Path
import sys

import numpy as np
import torch

from mem3r_ros.data import open_sequence
from mem3r_ros.model import load_model, update_rule
from mem3r_ros.se3 import relative_poses
from mem3r_ros.training.batch import Batch, Clip, collate
from mem3r_ros.training.batch_loader import clip_flow
from mem3r_ros.training.chunk_loss import frame_input
from mem3r_ros.training.clip_sources import fit_frame
from mem3r_ros.training.validation import depth_figures, motion_figures

# Folder, stride, network size (width, height).
CASES = (
    ('indoor_redkitchen', 1, (128, 96)),
    ('indoor_redkitchen', 2, (128, 96)),
    ('indoor_redkitchen', 4, (128, 96)),
    ('indoor_tum_fr2desk_mini', 1, (128, 96)),
    ('outdoor_kitti_a', 1, (192, 64)),
)


def read_sequence(path: Path, size: tuple[int, int], flow_scale: int) -> list[Clip]:
    """Read posed frames at network size, a clip of one frame each."""
    width, height = (side * flow_scale for side in size)
    found = []
    for frame in open_sequence(path):
        if frame.T_world_camera is None or frame.camera is None:
            continue
        image, depth, intrinsics = fit_frame(frame, (width, height))
        clip = Clip(
            image=image[None],
            depth_m=depth[None],
            T_world_camera=frame.T_world_camera[None],
            intrinsics=intrinsics,
            moving=np.zeros((1, height, width), bool),
        )
        found.append(clip.reduced(flow_scale))
    return found


def clips(sequence: list[Clip], chosen: list[list[int]]) -> Iterator[Batch]:
    """Yield a batch of one clip for each list of frame numbers."""
    for numbers in chosen:
        clip = joined([sequence[number] for number in numbers])
        yield collate([clip], [clip_flow(clip)], [True])


def joined(parts: list[Clip]) -> Clip:
    """Return clips of one camera as one."""
    frames = {
        item.name: np.concatenate([getattr(part, item.name) for part in parts])
        for item in fields(Clip)
        if item.name != 'intrinsics' and getattr(parts[0], item.name) is not None
    }
    return Clip(intrinsics=parts[0].intrinsics, **frames)


@torch.inference_mode()
def evaluate(model: torch.nn.Module, batches: Iterator[Batch], rule: str) -> dict[str, float]:
    """Return the mean figures of every frame that has a predecessor."""
    sums: dict[str, list[float]] = {}
    for batch in batches:
        state = model.initial_state(1)
        true = relative_poses(batch.T_world_camera)
        for index in range(batch.num_frames):
            prediction, state = model.step(frame_input(batch, index), state, update_rule(rule))
            if index == 0:
                continue
            figures = motion_figures(prediction.T_previous_camera, true[index])
            figures |= depth_figures(prediction.points_camera[..., 2], batch.depth_m[index])
            for name, value in figures.items():
                if math.isfinite(value):
                    sums.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in sums.items()}


def row(name: str, stride: int, mode: str, figures: dict[str, float]) -> str:
    """Return one row of the table."""
    depth = '-'
    if 'absrel' in figures:
        depth = f'{figures["absrel"]:.3f} / {figures["absrel_constant"]:.3f}'
    return (
        f'| {name}, {stride} | {mode} | {figures["rotation_deg"]:.2f} / '
        f'{figures["rotation_none_deg"]:.2f} deg | {figures.get("direction_cos", math.nan):.2f} | '
        f'{figures["translation_m"]:.3f} / {figures["translation_none_m"]:.3f} m | {depth} |'
    )


def main() -> int:
    """Print the table and, where asked, write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--model', default='mem3r-tiny', help='preset or weights file')
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--rule', default='cut3r', help='update rule of the state tokens')
    parser.add_argument('--modes', nargs='+', default=['pair', 'stream'])
    parser.add_argument('--json', type=Path, help='file for the figures')
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f'{args.data} does not exist: no real pairs to measure on')
        return 0
    model = load_model(args.model).eval()
    print(
        '| sequence, stride | state | rotation error / no motion | direction cos '
        '| translation error / no motion | depth AbsRel / constant |\n|---|---|---|---|---|---|'
    )
    results = []
    for name, stride, size in CASES:
        if not (args.data / name).is_dir():
            print(f'{args.data / name} is absent: skipped')
            continue
        sequence = read_sequence(args.data / name, size, model.config.flow_scale)
        count = len(sequence)
        chosen = {
            'pair': [[i, i + stride] for i in range(count - stride)],
            'stream': [list(range(0, count, stride))],
        }
        for mode in args.modes:
            figures = evaluate(model, clips(sequence, chosen[mode]), args.rule)
            print(row(name, stride, mode, figures), flush=True)
            results.append({'sequence': name, 'stride': stride, 'mode': mode, **figures})
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
