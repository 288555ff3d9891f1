# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Errors of a model on held-out rendered worlds, with trivial answers and without its memories.

    python benchmarks/worlds.py --model mem3r-tiny --output benchmarks/results

Paths: ATE after Sim(3) alignment relative to standing still, and that of constant velocity;
motion from frame to frame against no motion. Depth: AbsRel after median scaling against one
constant depth, delta < 1.25. Confidence: rank correlation with the depth error in each frame.
Variants: each memory reset to its initial value after every frame, other update rules, unknown
focal length, exact flow. Writes worlds.md and worlds.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
import multiprocessing
from pathlib import Path
import sys

import cv2
import numpy as np
import torch

from mem3r_ros.evaluation import trajectory_error
from mem3r_ros.model import State, load_model, update_rule
from mem3r_ros.se3 import relative_poses
from mem3r_ros.training.batch import Batch, collate
from mem3r_ros.training.batch_loader import clip_flow
from mem3r_ros.training.chunk_loss import frame_input
from mem3r_ros.training.clip_sources import HELD_OUT_WORLDS, build_source, network_clip
from mem3r_ros.training.config import SourceConfig
from mem3r_ros.training.validation import depth_figures, mean_figures, motion_figures
from mem3r_ros.trajectory import Trajectory
from mem3r_ros.two_view.pixels import static_flow, viewing_rays
from mem3r_ros.two_view.stream_memory import DepthMemory

FIRST_WORLD = HELD_OUT_WORLDS + 1000  # validation during training uses the ones before
FRAME_NS = 66_666_667
DEPTH_FRAMES = 32  # frames of a clip whose depth is measured, evenly spaced
BATCH_FRAMES = 4096  # frames of all clips that are kept in memory
BATCH_WORLDS = 16  # maximum number of worlds in one batch
_model: torch.nn.Module | None = None  # of this process, see start_worker
COLUMNS = {
    'ATE / still': ('ate_over_still', None),
    'ATE / still, median': ('ate_over_still', np.nanmedian),
    'const. velocity / still': ('constant_velocity_over_still', None),
    'rotation, deg': ('rotation_deg', None),
    'no rotation, deg': ('rotation_none_deg', None),
    'translation, m': ('translation_m', None),
    'no translation, m': ('translation_none_m', None),
    'AbsRel': ('absrel', None),
    'constant depth': ('absrel_constant', None),
    'delta < 1.25': ('delta1', None),
    'AbsRel, unscaled': ('absrel_unscaled', None),
    'focal error': ('focal_error', None),
    'confidence rank': ('confidence_rank', None),
}


@dataclass(frozen=True)
class Variant:
    """One way of running the same weights."""

    name: str
    rule: str = 'cut3r'
    forget: Callable[[State, State], State] | None = None  # after each frame, given the initial
    is_focal_known: bool = True
    is_flow_exact: bool = False


def forget_fast_weights(state: State, initial: State) -> State:
    """Put the camera memory back to its start."""
    return replace(state, camera_memory=initial.camera_memory)


def forget_tokens(state: State, initial: State) -> State:
    """Put the mapping memory back to its start."""
    return replace(state, tokens=initial.tokens)


def forget_depth(state: State, initial: State) -> State:
    """Remember no depth."""
    if state.motion is None or state.motion.depth is None:
        return state
    unknown = DepthMemory.unknown(state.motion.previous_gray)
    motion = replace(state.motion, log_depth=unknown.log_depth, depth_variance=unknown.variance)
    return replace(state, motion=motion)


def forget_all(state: State, initial: State) -> State:
    """Keep only the last image and pose."""
    return forget_depth(forget_tokens(forget_fast_weights(state, initial), initial), initial)


VARIANTS = (
    Variant('as it is'),
    Variant('fast weights reset', forget=forget_fast_weights),
    Variant('state tokens reset', forget=forget_tokens),
    Variant('depth memory reset', forget=forget_depth),
    Variant('all reset', forget=forget_all),
    Variant('ttt3r', rule='ttt3r'),
    Variant('ttsa3r', rule='ttsa3r'),
    Variant('filt3r', rule='filt3r'),
    Variant('unknown focal length', is_focal_known=False),
    Variant('exact flow', is_flow_exact=True),
)
NAMES = tuple(variant.name for variant in VARIANTS)
# Frames: worlds and variants. Long clips are dear, so fewer variants are run on them.
PLAN = {
    16: (64, NAMES),
    64: (64, ('as it is', 'depth memory reset', 'all reset', 'ttt3r')),
    256: (64, ('as it is',)),
    1000: (64, ('as it is',)),
}


def world_ranges(count: int, num_frames: int) -> list[range]:
    """Return the indices of held-out worlds, as many side by side as fit."""
    width = max(1, min(BATCH_WORLDS, BATCH_FRAMES // num_frames))
    return [range(first, min(first + width, count)) for first in range(0, count, width)]


def render_batch(indices: range, num_frames: int, model: torch.nn.Module) -> Batch:
    """Render held-out worlds, to be run side by side."""
    source, size = build_source(SourceConfig()), tuple(model.config.img_size)
    clips = [
        network_clip(source, FIRST_WORLD + index, num_frames, size, model.config.flow_scale)
        for index in indices
    ]
    return collate(clips, [clip_flow(clip) for clip in clips], [True] * len(clips))


@torch.inference_mode()
def run_batch(model: torch.nn.Module, batch: Batch, variant: Variant) -> list[dict]:
    """Run clips side by side and return the figures of each."""
    rule = update_rule(variant.rule)
    batch = replace(batch, is_focal_known=variant.is_focal_known)
    if variant.is_flow_exact:
        batch = replace(batch, flow=exact_flow(batch))
    initial = state = model.initial_state(batch.batch_size, batch.image.shape[:-3:-1])
    true = relative_poses(batch.T_world_camera)
    streams = range(batch.batch_size)
    poses, figures = [], [[] for _ in streams]
    every = max(1, batch.num_frames // DEPTH_FRAMES)
    for index in range(batch.num_frames):
        prediction, state = model.step(frame_input(batch, index), state, rule)
        if variant.forget:
            state = variant.forget(state, initial)
        poses.append(prediction.T_world_camera.double().numpy())
        for stream in streams:
            one = slice(stream, stream + 1)
            found = {}
            if index % every == 0:
                found |= pixel_figures(
                    prediction.points_camera[one, ..., 2],
                    prediction.confidence_camera[one],
                    batch.depth_m[index, one],
                )
            if prediction.focal_px is not None:
                ratio = prediction.focal_px[stream] / batch.intrinsics[stream, :2].mean()
                found['focal_error'] = abs(float(ratio) - 1)
            if index:
                found |= motion_figures(prediction.T_previous_camera[one], true[index, one])
            figures[stream].append(found)
    paths = np.stack(poses, axis=1)
    return [
        mean_figures(figures[stream])
        | path_figures(paths[stream], batch.T_world_camera[:, stream].double().numpy())
        for stream in streams
    ]


def exact_flow(batch: Batch) -> torch.Tensor:
    """Return what the flow would be without an error, were nothing to move but the camera."""
    rays = viewing_rays(batch.intrinsics, *batch.image.shape[-2:])
    depth = torch.nan_to_num(batch.depth_m, nan=torch.inf)
    motion = relative_poses(batch.T_world_camera)
    return static_flow(depth, motion, rays, batch.intrinsics[:, :2])


def pixel_figures(
    depth: torch.Tensor, confidence: torch.Tensor, depth_true: torch.Tensor
) -> dict[str, float]:
    """Return errors of depth and how well the confidence ranks the pixels by them."""
    depth, confidence, depth_true = (x[:, ::2, ::2] for x in (depth, confidence, depth_true))
    valid = torch.isfinite(depth_true) & (depth_true > 0)
    if valid.sum() < 16:
        return {}
    predicted, true = depth[valid], depth_true[valid]
    ratio = predicted * (true.median() / predicted.median()) / true
    error = ratio.clamp(min=1e-6).log().abs()
    rank = lambda values: values.argsort().argsort().double()  # noqa: E731
    pair = torch.stack([rank(confidence[valid]), rank(-error)])
    return depth_figures(depth, depth_true) | {
        'delta1': float((error < np.log(1.25)).double().mean()),
        'confidence_rank': float(torch.corrcoef(pair)[0, 1]),
    }


def path_figures(estimate: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return ATE of the estimate and of constant velocity, over that of standing still."""
    stamps = np.arange(len(truth), dtype=np.int64) * FRAME_NS
    error = trajectory_error(Trajectory(stamps, estimate), Trajectory(stamps, truth))
    still = error.stand_still.ate_rmse_m
    if still < 1e-3:
        return {}  # a camera that did not move has no path to compare
    return {
        'ate_over_still': error.ate_sim3_rmse_m / still,
        'constant_velocity_over_still': error.constant_velocity.ate_rmse_m / still,
    }


def row(num_frames: int, name: str, clips: list[dict]) -> str:
    """Return one row of the table: means over the worlds."""
    cells = []
    for figure, reduce in COLUMNS.values():
        values = [clip.get(figure, np.nan) for clip in clips]
        known = np.isfinite(values).any()
        cells.append(f'{(reduce or np.nanmean)(values):.3f}' if known else '-')
    return f'| {num_frames} | {len(clips)} | {name} | ' + ' | '.join(cells) + ' |'


def header() -> str:
    """Return the head of the table."""
    names = ('frames', 'worlds', 'variant', *COLUMNS)
    return '| ' + ' | '.join(names) + ' |\n' + '|---' * len(names) + '|'


def plot(results: dict[tuple[int, str], list[dict]], path: Path) -> None:
    """Draw path error and depth error over the length of the clips, one line per variant."""
    import matplotlib as mpl

    mpl.use('Agg')
    import matplotlib.pyplot as plt

    lengths = sorted({num_frames for num_frames, _ in results})
    panels = {'ate_over_still': 'ATE over standing still', 'absrel': 'depth AbsRel'}
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        for variant in dict.fromkeys(variant for _, variant in results):
            known = [length for length in lengths if (length, variant) in results]
            means = [
                np.nanmean([clip.get(name, np.nan) for clip in results[length, variant]])
                for length in known
            ]
            axis.plot(known, means, 'o-', label=variant)
        axis.set(xscale='log', xlabel='frames', title=title, ylim=(0, None))
        axis.set_xticks(lengths, [str(length) for length in lengths])
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def start_worker(source: str) -> None:
    """Load the model once in each process; the processes are what runs side by side."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    global _model
    _model = load_model(source).eval()


def run_job(num_frames: int, indices: range, names: tuple[str, ...]) -> dict[str, list[dict]]:
    """Run variants over the same worlds, in a process that :func:`start_worker` prepared."""
    batch = render_batch(indices, num_frames, _model)
    return {v.name: run_batch(_model, batch, v) for v in VARIANTS if v.name in names}


def measure(
    source: str, num_frames: int, count: int, names: tuple[str, ...], processes: int | None = None
) -> dict[str, list[dict]]:
    """
    Run every variant of a model over the same worlds; progress goes to standard error.

    :param source: anything that load_model takes.
    :param processes: how many run side by side (default: one per core).
    :return: figures of each world, by variant.
    """
    found: dict[str, list[dict]] = {name: [] for name in NAMES if name in names}
    ranges = world_ranges(count, num_frames)
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context('spawn'), start_worker, (source,)
    ) as pool:
        jobs = [pool.submit(run_job, num_frames, indices, names) for indices in ranges]
        for indices, job in zip(ranges, jobs, strict=True):
            for name, clips in job.result().items():
                found[name] += clips
            done = f'{num_frames} frames: {indices.stop} of {count} worlds'
            print(done, file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Print one row per length and variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--model', default='mem3r-tiny', help='preset or weights file')
    parser.add_argument('--frames', type=int, nargs='+', default=list(PLAN), choices=PLAN)
    parser.add_argument('--worlds', type=int, help='worlds of each length')
    parser.add_argument('--variants', nargs='+', choices=NAMES, help='variants of each length')
    parser.add_argument('--processes', type=int, help='processes (default: one per core)')
    parser.add_argument('--output', type=Path, help='folder for worlds.md and worlds.png')
    args = parser.parse_args()
    lines, results = [header()], {}
    print(lines[0])
    for num_frames in args.frames:
        count, names = PLAN[num_frames]
        count, names = args.worlds or count, tuple(args.variants or names)
        found = measure(args.model, num_frames, count, names, args.processes)
        for name, clips in found.items():
            results[num_frames, name] = clips
            lines.append(row(num_frames, name, clips))
            print(lines[-1], flush=True)
        if args.output:
            # After each length: the long ones take an hour.
            args.output.mkdir(parents=True, exist_ok=True)
            plot(results, args.output / 'worlds.png')
            text = f'# Held-out rendered worlds: {args.model}\n\n' + '\n'.join(lines)
            (args.output / 'worlds.md').write_text(text + '\n\n![worlds](worlds.png)\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
