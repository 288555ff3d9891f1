# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Figures of a model on held-out rendered worlds, beside trivial answers and without its memories.

    python benchmarks/worlds.py --model mem3r-tiny --frames 16 64 --worlds 16

Paths: ATE after Sim(3) alignment, against standing still and against
constant velocity. Depth: AbsRel after median scaling and
delta < 1.25, against one constant depth. Calibration: rank correlation of the confidence with the
depth error, per frame. Memory: the same weights with the fast weights kept at their start, with
the state tokens kept at their start, with both.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
import json
from pathlib import Path
import sys

import numpy as np
import torch

from mem3r_ros.evaluation import trajectory_error
from mem3r_ros.model import State, load_model, update_rule
from mem3r_ros.training.batch import Batch, collate, relative_poses
from mem3r_ros.training.chunk import frame_input
from mem3r_ros.training.config import SourceConfig
from mem3r_ros.training.loader import clip_flow
from mem3r_ros.training.sources import HELD_OUT_WORLDS, build_source
from mem3r_ros.training.validation import depth_figures, motion_figures
from mem3r_ros.trajectory import Trajectory

FIRST_WORLD = HELD_OUT_WORLDS + 1000  # validation during training uses the ones before
FRAME_NS = 66_666_667
MEMORIES = ('on', 'no fast weights', 'no state', 'neither')


def world_batches(count: int, num_frames: int, size: tuple[int, int]) -> Iterator[Batch]:
    """Yield held-out worlds, one clip each."""
    source = build_source(SourceConfig())
    for index in range(count):
        clip = source.clip(FIRST_WORLD + index, num_frames, size)
        yield collate([clip], [clip_flow(clip)], [True])


def without_memory(state: State, initial: State, memory: str) -> State:
    """Return the state with a memory put back to its start."""
    if memory in ('no fast weights', 'neither'):
        state = replace(state, camera_memory=initial.camera_memory)
    if memory in ('no state', 'neither'):
        state = replace(state, tokens=initial.tokens)
    return state


@torch.inference_mode()
def run_clip(model: torch.nn.Module, batch: Batch, rule_name: str, memory: str) -> dict:
    """Run one clip and return its figures."""
    rule = update_rule(rule_name)
    initial = state = model.initial_state(1)
    true = relative_poses(batch.T_world_camera)
    poses, figures = [], []
    for index in range(batch.num_frames):
        prediction, state = model.step(frame_input(batch, index), state, rule)
        state = without_memory(state, initial, memory)
        poses.append(prediction.T_world_camera[0].double().numpy())
        depth = prediction.points_camera[..., 2]
        found = depth_figures(depth, batch.depth_m[index])
        found |= confidence_figures(depth, prediction.confidence_camera, batch.depth_m[index])
        if index:
            found |= motion_figures(prediction.T_previous_camera, true[index])
        figures.append(found)
    names = sorted({name for found in figures for name in found})
    means = {n: float(np.nanmean([f[n] for f in figures if n in f])) for n in names}
    return means | path_figures(np.stack(poses), batch.T_world_camera[:, 0].double().numpy())


def confidence_figures(
    depth: torch.Tensor, confidence: torch.Tensor, depth_true: torch.Tensor
) -> dict[str, float]:
    """Return delta < 1.25 and how well the confidence ranks the pixels by their error."""
    valid = torch.isfinite(depth_true) & (depth_true > 0)
    if valid.sum() < 16:
        return {}
    predicted, true = depth[valid], depth_true[valid]
    ratio = predicted * (true.median() / predicted.median()) / true
    error = ratio.log().abs()
    rank = lambda values: values.argsort().argsort().double()  # noqa: E731
    pair = torch.stack([rank(confidence[valid]), rank(-error)])
    return {
        'delta1': float((error < np.log(1.25)).double().mean()),
        'confidence_rank_correlation': float(torch.corrcoef(pair)[0, 1]),
    }


def path_figures(estimate: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return ATE of the estimate and of constant velocity, over that of standing still."""
    stamps = np.arange(len(truth), dtype=np.int64) * FRAME_NS
    error = trajectory_error(Trajectory(stamps, estimate), Trajectory(stamps, truth))
    still = error.stand_still.ate_rmse_m
    if still < 1e-3:
        return {}  # a camera that did not move has no path to compare
    return {
        'ate_m': error.ate_sim3_rmse_m,
        'ate_still_m': still,
        'ate_over_still': error.ate_sim3_rmse_m / still,
        'ate_unscaled_over_still': error.ate_se3_rmse_m / still,
        'constant_velocity_over_still': error.constant_velocity.ate_rmse_m / still,
    }


def main() -> int:
    """Print one row per length and variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--model', default='mem3r-tiny', help='anything that load_model takes')
    parser.add_argument('--frames', type=int, nargs='+', default=[16, 64])
    parser.add_argument('--worlds', type=int, default=16)
    parser.add_argument('--rules', nargs='+', default=['cut3r'])
    parser.add_argument('--memories', nargs='+', default=list(MEMORIES), choices=MEMORIES)
    parser.add_argument('--json', type=Path, help='file for the figures')
    args = parser.parse_args()
    model = load_model(args.model).eval()
    size = tuple(model.config.img_size)
    print(
        '| frames | rule | memories | ATE / still (median) | rotation / none, deg '
        '| direction cos | AbsRel / constant | delta1 | confidence rank |\n' + '|---' * 9 + '|'
    )
    results = []
    for num_frames in args.frames:
        batches = list(world_batches(args.worlds, num_frames, size))
        for rule in args.rules:
            for memory in args.memories:
                clips = [run_clip(model, batch, rule, memory) for batch in batches]
                mean = lambda n, c=clips: float(np.nanmean([f[n] for f in c if n in f]))  # noqa: E731
                ratio = np.median([f['ate_over_still'] for f in clips if 'ate_over_still' in f])
                print(
                    f'| {num_frames} | {rule} | {memory} | {mean("ate_over_still"):.2f} '
                    f'({ratio:.2f}) | {mean("rotation_deg"):.2f} / '
                    f'{mean("rotation_none_deg"):.2f} | {mean("direction_cos"):.2f} | '
                    f'{mean("absrel"):.3f} / {mean("absrel_constant"):.3f} | '
                    f'{mean("delta1"):.2f} | {mean("confidence_rank_correlation"):.2f} |',
                    flush=True,
                )
                results.append(
                    {'frames': num_frames, 'rule': rule, 'memories': memory, 'clips': clips}
                )
    if args.json:
        args.json.write_text(json.dumps(results) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
