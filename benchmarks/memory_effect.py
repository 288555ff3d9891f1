# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The effect of the memories in the small: the network of the paper, without flow and solver.

    python benchmarks/memory_effect.py --updates 1500 --output benchmarks/results

One room that all clips share, so that a small network can learn in minutes where it is. Each clip
starts elsewhere, and poses are relative to its first frame: the network has to remember its start.
Networks with LocalMemory (CUT3R), fast weights, state gate, and both (Mem3R) are trained alike on
clips of 12 frames and run over 50 to 1,000 frames of other paths, under the rules of CUT3R and
TTT3R. ATE after Sim(3) alignment, and the error of position without alignment, each relative to a
camera that stands still; mean and standard error over paths. Writes memory_effect.md and .png.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
import sys
import time

import numpy as np
import torch

from mem3r_ros.evaluation import trajectory_error
from mem3r_ros.model import FrameInput, Mem3R, ModelConfig, build_model, update_rule
from mem3r_ros.training.batch import Batch, Clip, collate
from mem3r_ros.training.chunk_loss import ChunkLoss
from mem3r_ros.training.config import LossConfig
from mem3r_ros.trajectory import Trajectory
from mem3r_ros.worlds import WorldConfig, furniture
from mem3r_ros.worlds.catalogue import World
from mem3r_ros.worlds.painter import Painter, indoor_light
from mem3r_ros.worlds.paths import Arena, PathMaker
from mem3r_ros.worlds.renderer import render_world
from mem3r_ros.worlds.scene import Scene
from mem3r_ros.worlds.site import along_wall

SIZE = (48, 32)
CAMERA = np.array([30.0, 30.0, 23.5, 15.5])
HALF = np.array([2.0, 1.6, 1.3])  # of the room, m
CLIP, CHUNK, BATCH = 12, 6, 8  # frames of a clip and between updates; clips of a batch
STRIDES = (1, 2, 4)
TRAIN_FRAMES = 256  # of each training path
LENGTHS = (50, 100, 200, 500, 1000)
RULES = ('cut3r', 'ttt3r')
FRAME_NS = 66_666_667
SMALL = ModelConfig(
    img_size=SIZE, patch_size=8, enc_embed_dim=96, enc_depth=2, enc_num_heads=4, dec_embed_dim=96,
    dec_depth=2, dec_num_heads=4, state_dec_num_heads=4, state_size=24, local_mem_size=24,
    ray_enc_depth=0, dpt_feature_dim=16, dpt_last_dim=8, dpt_layer_dims=(8, 8, 16, 16),
    rgb_head=False, world_head=False, fast_num_heads=3, state_gate_dim=48, head_type='linear',
)  # fmt: skip
VARIANTS = {
    'LocalMemory (CUT3R)': {},
    'fast weights': {'pose_memory': 'fast_weights'},
    'LocalMemory + gate': {'state_gate': True},
    'fast weights + gate (Mem3R)': {'pose_memory': 'fast_weights', 'state_gate': True},
}
LOSSES = LossConfig(
    log_depth=0.2, scale_free_depth=0.0, rotation=0.0, translation=0.0, world_pose=1.0, focal=0.0,
    confidence=0.0, confidence_alpha=0.0,
)  # fmt: skip


def room() -> Scene:
    """Return a room with pictures on its walls and nothing in the way of the camera."""
    rng = np.random.default_rng(12)
    paint = Painter(rng, 24)
    middle = np.array([0.0, 0.0, HALF[2]])
    scene = Scene(indoor_light(rng, middle + [0, 0, 0.8 * HALF[2]], HALF[2]))
    for _ in range(24):
        at, yaw = along_wall(rng, HALF)
        at[2] = rng.uniform(0.4, 2.2)
        furniture.picture(rng, paint, rng.uniform(0.25, 0.6)).place(scene, None, at, yaw)
    walls = paint.faced(paint.skin('wood', 1.2), paint.skin('wall', 2.0), (5,))
    scene.shell(middle, HALF, walls)
    return scene


def path_clip(scene: Scene, number: int, num_frames: int) -> Clip:
    """Render one hand-held path through the room."""
    rng = np.random.default_rng([77, number])
    arena = Arena(np.array([1.1, 0.8, 0.25]), 1.3, pitch=-0.1)
    poses = PathMaker(rng, arena, num_frames, 1.0).make('handheld')
    world = World('room', 'handheld', (77, number), scene, poses, (1.0, 1.0), 1e9)
    found = render_world(world, num_frames, SIZE, WorldConfig(noise=0.5), intrinsics=CAMERA)
    return Clip(
        image=found.image.numpy(),
        depth_m=found.depth_m.numpy(),
        T_world_camera=found.T_world_camera.double().numpy(),
        intrinsics=CAMERA.astype(np.float32),
        moving=found.moving.numpy(),
    )


def batch_of(paths: list[Clip], rng: np.random.Generator) -> Batch:
    """Cut random clips out of the paths."""
    clips = []
    for _ in range(BATCH):
        path, stride = paths[int(rng.integers(len(paths)))], int(rng.choice(STRIDES))
        start = int(rng.integers(len(path.image) - (CLIP - 1) * stride))
        frames = start + stride * np.arange(CLIP)
        clips.append(path.cut(frames if rng.random() < 0.5 else frames[::-1]))
    return collate(clips, None, [True] * BATCH)


def trained(
    config: ModelConfig, paths: list[Clip], updates: int, seed: int
) -> tuple[Mem3R, float]:
    """Train one network; return it and the loss of its last tenth."""
    torch.manual_seed(seed)
    model = build_model(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, updates, pct_start=0.05)
    chunk_loss, rng = ChunkLoss(model, 'cut3r'), np.random.default_rng([seed, 1])
    losses: list[float] = []
    while len(losses) < updates:
        batch, state = batch_of(paths, rng), None
        for start in range(0, CLIP, CHUNK):
            if len(losses) == updates:
                break
            optimiser.zero_grad(set_to_none=True)
            loss, _, state = chunk_loss(batch, state, start, start + CHUNK, LOSSES)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
    return model.eval(), float(np.mean(losses[-max(1, updates // 10) :]))


@torch.inference_mode()
def positions(model: Mem3R, batch: Batch, rule: str) -> np.ndarray:
    """Return the estimated poses, [T, B, 4, 4]."""
    state, poses = model.initial_state(batch.batch_size), []
    for index in range(batch.num_frames):
        frame = FrameInput(image=batch.network_image(index))
        prediction, state = model.step(frame, state, update_rule(rule), ('T_world_camera',))
        poses.append(prediction.T_world_camera.double().numpy())
    return np.stack(poses)


def figures(
    estimate: np.ndarray, truth: np.ndarray, lengths: Sequence[int] = LENGTHS
) -> dict[int, np.ndarray]:
    """Return ATE and unaligned error over standing still, by length, [B, 2] each."""
    stamps = np.arange(len(truth), dtype=np.int64) * FRAME_NS
    found = {}
    for length in (n for n in lengths if n <= len(truth)):
        rows = []
        for path in range(truth.shape[1]):
            own, true = (poses[:length, path] for poses in (estimate, truth))
            error = trajectory_error(
                Trajectory(stamps[:length], own), Trajectory(stamps[:length], true)
            )
            gap = np.square(own[:, :3, 3] - true[:, :3, 3]).sum(1).mean() ** 0.5
            walked = np.square(true[:, :3, 3]).sum(1).mean() ** 0.5
            still = max(error.stand_still.ate_rmse_m, 1e-6)
            rows.append((error.ate_sim3_rmse_m / still, gap / max(walked, 1e-6)))
        found[length] = np.array(rows)
    return found


def plot(results: dict[tuple[str, str], dict[int, np.ndarray]], path: Path) -> None:
    """Draw ATE over the length, one panel for each rule."""
    import matplotlib as mpl

    mpl.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True, sharey=True)
    for axis, rule in zip(axes, RULES, strict=True):
        for name in VARIANTS:
            values = results[name, rule]
            mean = [values[n][:, 0].mean() for n in values]
            error = [values[n][:, 0].std() / len(values[n]) ** 0.5 for n in values]
            axis.errorbar(list(values), mean, error, fmt='o-', capsize=3, label=name)
        axis.set(xscale='log', xlabel='frames', title=f'rule {rule}', ylim=(0, None))
        axis.set_ylabel('ATE over standing still')
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def cell(values: np.ndarray) -> str:
    """Return mean and standard error."""
    return f'{values.mean():.2f} +- {values.std() / len(values) ** 0.5:.2f}'


def table(results: dict[tuple[str, str], dict[int, np.ndarray]]) -> list[str]:
    """Return one row for each variant, rule and measure."""
    lengths = list(next(iter(results.values())))
    head = ('network', 'rule', 'error', *(f'{n} frames' for n in lengths))
    lines = ['| ' + ' | '.join(head) + ' |', '|---' * len(head) + '|']
    for column, measure in enumerate(('ATE', 'not aligned')):
        for (name, rule), values in results.items():
            cells = ' | '.join(cell(values[n][:, column]) for n in lengths)
            lines.append(f'| {name} | {rule} | {measure} | {cells} |')
    return lines


def main() -> int:
    """Train and measure all variants; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--updates', type=int, default=1500, help='updates of each network')
    parser.add_argument('--seeds', type=int, default=1, help='trainings of each variant')
    parser.add_argument('--paths', type=int, default=48, help='training paths')
    parser.add_argument('--test-paths', type=int, default=12, help='paths of the table')
    parser.add_argument('--frames', type=int, default=max(LENGTHS), help='frames of a test path')
    parser.add_argument('--output', type=Path, help='folder for memory_effect.md and .png')
    args = parser.parse_args()
    torch.set_num_threads(1)
    scene = room()
    paths = [path_clip(scene, number, TRAIN_FRAMES) for number in range(args.paths)]
    tests = [path_clip(scene, 10**6 + n, args.frames) for n in range(args.test_paths)]
    batch = collate(tests, None, [True] * len(tests))
    truth = batch.T_world_camera.double().numpy()
    parts: dict[tuple[str, str], list[dict[int, np.ndarray]]] = {}
    notes = []
    for name, fields in VARIANTS.items():
        for seed in range(args.seeds):
            start = time.process_time()
            model, loss = trained(replace(SMALL, **fields), paths, args.updates, seed)
            minutes = (time.process_time() - start) / 60
            notes.append(f'{name}: loss {loss:.3f} after {minutes:.1f} min of one core')
            print(notes[-1], file=sys.stderr, flush=True)
            for rule in RULES:
                found = figures(positions(model, batch, rule), truth)
                parts.setdefault((name, rule), []).append(found)
    results = {
        key: {n: np.concatenate([one[n] for one in found]) for n in found[0]}
        for key, found in parts.items()
    }
    lines = table(results)
    print('\n'.join(lines))
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        plot(results, args.output / 'memory_effect.png')
        head = (
            f'# Memories in the small: {args.updates} updates of {BATCH} clips of {CLIP} frames, '
            f'{args.seeds} training(s) each, {args.test_paths} paths\n\nErrors over those of a '
            'camera that stands still; mean and standard error.\n\n'
        )
        text = head + '\n'.join(lines) + '\n\n' + '\n'.join(f'- {note}' for note in notes)
        (args.output / 'memory_effect.md').write_text(
            text + '\n\n![memory effect](memory_effect.png)\n'
        )
    return 0


if __name__ == '__main__':
    sys.exit(main())
