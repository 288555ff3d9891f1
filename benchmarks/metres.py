# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Metres of the network alone: length of the path, depth and focal length on real sequences.

    python benchmarks/metres.py SEQUENCE... --models mem3r-tiny my_run/weights.safetensors

Each model runs over the first frames of each sequence without tracker and window, with the focal
length given and not. *Path* is the estimated over the true length of the path minus 1, *start*
that of the first third, *depth* the same for the median depth. With --output, writes metres.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
import sys

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from real_pairs import joined

from mem3r_ros.data import open_sequence
from mem3r_ros.evaluation import trajectory_error
from mem3r_ros.model import load_model
from mem3r_ros.training.batch import Batch, Clip, collate
from mem3r_ros.training.batch_loader import clip_flow
from mem3r_ros.training.chunk_loss import frame_input
from mem3r_ros.training.clip_sources import fit_frame
from mem3r_ros.training.validation import depth_figures
from mem3r_ros.trajectory import Trajectory

AREA = 128 * 96  # px of the network's input
SIDE = 16  # px of which its sides are multiples
FRAME_NS = 66_666_667
COLUMNS = (
    'sequence', 'frames', 'model', 'focal length', 'path', 'start', 'depth', 'AbsRel', 'ATE, m',
    'focal',
)  # fmt: skip


def network_size(width: int, height: int) -> tuple[int, int]:
    """Return the size of the input with the area of the network and the shape of an image."""
    ratio = (width / height) ** 0.5
    sides = (AREA**0.5 * ratio, AREA**0.5 / ratio)
    return tuple(max(SIDE, round(side / SIDE) * SIDE) for side in sides)


def read(path: Path, count: int, flow_scale: int) -> Batch:
    """Read the first posed frames of a sequence."""
    found = []
    frames = (
        frame
        for frame in open_sequence(path)
        if frame.T_world_camera is not None and frame.camera is not None
    )
    for frame in islice(frames, count):
        width, height = network_size(*frame.image.shape[1::-1])
        size = (width * flow_scale, height * flow_scale)
        image, depth, intrinsics = fit_frame(frame, size)
        clip = Clip(
            image=image[None],
            depth_m=depth[None],
            T_world_camera=frame.T_world_camera[None],
            intrinsics=intrinsics,
            moving=np.zeros((1, *size[::-1]), bool),
        )
        found.append(clip.reduced(flow_scale))
    clip = joined(found)
    return collate([clip], [clip_flow(clip)], [True])


@torch.inference_mode()
def run(model: torch.nn.Module, batch: Batch) -> dict[str, float]:
    """Return the figures of one sequence."""
    state = model.initial_state(1, tuple(batch.image.shape[:-3:-1]))
    poses, focal, depth, absrel = [], [], [], []
    for index in range(batch.num_frames):
        prediction, state = model.step(frame_input(batch, index), state)
        poses.append(prediction.T_world_camera[0].double().numpy())
        focal.append(float(prediction.focal_px[0] / batch.intrinsics[0, 0]))
        own, true = prediction.points_camera[..., 2], batch.depth_m[index]
        found = depth_figures(own, true)
        if found:
            is_known = torch.isfinite(true) & (true > 0)
            depth.append(float((own[is_known].median() / true[is_known].median()).log()))
            absrel.append(found['absrel'])
    own, true = np.stack(poses), batch.T_world_camera[:, 0].double().numpy()
    stamps = np.arange(len(own), dtype=np.int64) * FRAME_NS
    error = trajectory_error(Trajectory(stamps, own), Trajectory(stamps, true))
    return {
        'path': longer(own, true),
        'start': longer(own[: len(own) // 3], true[: len(own) // 3]),
        'depth': float(np.exp(np.median(depth)) - 1) if depth else np.nan,
        'absrel': float(np.mean(absrel)) if absrel else np.nan,
        'ate_m': error.ate_sim3_rmse_m,
        'focal': float(np.median(focal)),
    }


def longer(own: np.ndarray, true: np.ndarray) -> float:
    """Return the estimated over the true length of a path, minus 1."""
    lengths = [
        np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1).sum() for path in (own, true)
    ]
    return float(lengths[0] / max(lengths[1], 1e-9) - 1)


def row(sequence: str, frames: int, model: str, focal: str, found: dict[str, float]) -> str:
    """Return one row of the table."""
    percent = lambda value: f'{value:+.0%}' if np.isfinite(value) else '-'  # noqa: E731
    absrel = f'{found["absrel"]:.3f}' if np.isfinite(found['absrel']) else '-'
    cells = (
        sequence, str(frames), model, focal, percent(found['path']), percent(found['start']),
        percent(found['depth']), absrel, f'{found["ate_m"]:.4f}', f'{found["focal"]:.2f}',
    )  # fmt: skip
    return '| ' + ' | '.join(cells) + ' |'


def table(sequences: Sequence[Path], models: Sequence[str], frames: int) -> list[str]:
    """Run all models over all sequences; print and return the rows."""
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|---' * len(COLUMNS) + '|']
    print('\n'.join(lines))
    networks = {name: load_model(name).eval() for name in models}
    for path in sequences:
        for name, network in networks.items():
            batch = read(path, frames, network.config.flow_scale)
            for focal in ('given', 'not given'):
                found = run(network, replace(batch, is_focal_known=focal == 'given'))
                label = name if not name.endswith('.safetensors') else Path(name).parent.name
                lines.append(row(path.name, batch.num_frames, label, focal, found))
                print(lines[-1], flush=True)
    return lines


def main() -> int:
    """Print the table; with --output, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('sequences', nargs='+', type=Path, help='folders or bags with poses')
    parser.add_argument('--models', nargs='+', default=['mem3r-tiny'], help='presets or files')
    parser.add_argument('--frames', type=int, default=100, help='frames of each sequence')
    parser.add_argument('--output', type=Path, help='folder for metres.md')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    lines = table(args.sequences, args.models, args.frames)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        head = '# Metres of the network alone\n\n'
        (args.output / 'metres.md').write_text(head + '\n'.join(lines) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
