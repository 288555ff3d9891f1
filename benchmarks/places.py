# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Measures the recognition of places on rendered worlds, and writes a table.

loops: the real network and tracker on walks that return; error of the path in odom and in map.
alike: corridors that repeat themselves, with a drifting odometry, and the same with a break half
way, after which odometry says nothing; every recognition there is a false one unless its pose is
right. retrieval: is the place among the first candidates, by features and by tokens of the
network. state: depth of the network at a known place with its own state, with the state of the
first visit, and with an empty one.

Each result is kept in a file of JSON lines, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import json
from pathlib import Path
import time
from typing import Any

import cv2
import numpy as np
import torch

from mem3r_ros.camera import Intrinsics
from mem3r_ros.evaluation.trajectory_error import trajectory_error
from mem3r_ros.geometry import T_FLU_OPTICAL, invert, rotation_angle, se3_exp
from mem3r_ros.model import load_model, update_rule
from mem3r_ros.model.frame import FrameInput
from mem3r_ros.places import Choice, PlaceMap, PlacesConfig, Sighting
from mem3r_ros.places.features import find_features
from mem3r_ros.places.retrieval import WordIndex, best_of, token_scores, words_of
from mem3r_ros.places.selection import Selection
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.trajectory import Trajectory
from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.renderer import Clip, render_world
from mem3r_ros.worlds.revisits import revisit_world

CALM = WorldConfig(seed=2026, moving_share=0.0, motion_blur_share=0.0, rolling_share=0.0)
FRAME_NS = 100_000_000
SAME_DEPTHS, SAME_RAD = 0.5, 0.35  # two views of one place, usual depths and rad
FALSE_DEPTHS = 0.2  # a recognition whose pose is farther off is a false one, usual depths
DRIFT = 0.03  # of the simulated odometry, of the distance


def rendered(route: str, index: int, num_frames: int, size: tuple[int, int], stride: int) -> Any:
    """Return the clip of a route and its true poses [F, 4, 4]."""
    world = revisit_world(index, num_frames * stride, route, CALM)
    clip = render_world(world, num_frames, size, CALM, stride=stride)
    return clip, world.poses[::stride][:num_frames]


def camera_of(clip: Clip) -> Intrinsics:
    """Return the camera of a clip."""
    height, width = clip.image.shape[1:3]
    return Intrinsics(*map(float, clip.intrinsics), width, height)


def known_depth(clip: Clip, frame: int) -> np.ndarray:
    """Return the true depth of a frame, NaN where there is none."""
    depth = clip.depth_m[frame].numpy().copy()
    depth[~np.isfinite(depth)] = np.nan
    return depth


def false_recognitions(places: PlaceMap, clip: Clip, T: np.ndarray, scale: np.ndarray) -> int:
    """Return how many accepted recognitions have a wrong pose; scale: odometry per true metre."""
    wrong = 0
    for one in places.history:
        query, place = (places.graph.places.get(n) for n in (one.query, one.place))
        if query is None or place is None:
            continue
        here, there = (round(p.stamp_ns / FRAME_NS) - 1 for p in (query, place))
        true = invert(T[there]) @ T[here]
        found = one.match.T_place_query[:3, 3] / scale[there]
        apart = float(np.linalg.norm(found - true[:3, 3]))
        wrong += apart > FALSE_DEPTHS * float(np.nanmedian(known_depth(clip, here)))
    return wrong


class Kept(PlaceMap):
    """A place memory that keeps what it was given."""

    given: list[Sighting]

    def process(self, sighting: Sighting, config: PlacesConfig) -> None:
        """Keep the sighting, and take it in."""
        self.given.append(sighting)
        PlaceMap.process(self, sighting, config)


def loop(network: Any, index: int, num_frames: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return the errors of one loop with the real tracker, and its retrieval."""
    route = 'there_and_back' if index % 4 == 3 else 'loop'
    clip, T = rendered(route, index, num_frames, size, 1)
    config = TrackerConfig(places=PlacesConfig(enabled=True, wait=True, retrieval='both'))
    tracker = Tracker(network, config)
    kept = Kept()
    kept.given = []
    tracker.places._map = kept
    camera, poses, stamps = camera_of(clip), [], []
    started_s = time.process_time()
    for frame in range(num_frames):
        stamps.append((frame + 1) * FRAME_NS)
        image = CameraFrame(stamps[-1], clip.image[frame].numpy(), camera)
        poses.append(tracker.track(image, ()).T_odom_camera)
    spent_ms = 1e3 * (time.process_time() - started_s) / num_frames
    truth = Trajectory(np.array(stamps), T)
    odom = Trajectory(np.array(stamps), np.stack(poses))
    in_map = Trajectory(odom.stamps_ns, tracker.places.correction.path(odom.stamps_ns, odom.poses))
    scale = np.full(num_frames, np.nan)
    for sighting in kept.given:  # metres of the odometry per true metre, by the depths
        frame = round(sighting.stamp_ns / FRAME_NS) - 1
        own = cv2.resize(sighting.depth, size, interpolation=cv2.INTER_NEAREST)
        scale[frame] = np.nanmedian(own / known_depth(clip, frame))
    return {
        'kind': 'loops',
        'index': index,
        'route': route,
        'frames': num_frames,
        'odom_m': trajectory_error(odom, truth).ate_sim3_rmse_m,
        'map_m': trajectory_error(in_map, truth).ate_sim3_rmse_m,
        'recognised': kept.num_recognised,
        'rejected': kept.num_rejected,
        'false': false_recognitions(kept, clip, T, scale),
        'ms': spent_ms,
        **retrieval(kept.given, clip, T),
    }


def retrieval(given: list[Sighting], clip: Clip, T: np.ndarray) -> dict[str, Any]:
    """Return for how many keyframes at known places each ranking puts the place in front."""
    index, counts = WordIndex(), {}
    tokens, frames, first_seen = [], [], 12
    counts = {'revisits': 0, 'features_1': 0, 'features_5': 0, 'tokens_1': 0, 'tokens_5': 0}
    for sighting in given:
        frame = round(sighting.stamp_ns / FRAME_NS) - 1
        words = words_of(find_features(sighting, 400).descriptors)
        old = len(frames) - first_seen
        if old > 0:
            usual = float(np.nanmedian(known_depth(clip, frame)))
            steps = invert(T[frames[:old]]) @ T[frame]
            near = np.linalg.norm(steps[:, :3, 3], axis=1) < SAME_DEPTHS * usual
            near &= rotation_angle(steps[:, :3, :3]) < SAME_RAD
            if near.any():
                counts['revisits'] += 1
                ranked = best_of(index.scores(words, range(old)), 5)
                counts['features_1'] += bool(near[ranked[:1]].any())
                counts['features_5'] += bool(near[ranked].any())
                if sighting.token is not None:
                    ranked = best_of(token_scores(sighting.token, np.stack(tokens[:old])), 5)
                    counts['tokens_1'] += bool(near[ranked[:1]].any())
                    counts['tokens_5'] += bool(near[ranked].any())
        index.add(len(frames), words)
        frames.append(frame)
        tokens.append(sighting.token)
    return counts


def alike(index: int, num_frames: int, size: tuple[int, int], has_break: bool) -> dict[str, Any]:
    """Return the recognitions in a corridor that repeats itself."""
    clip, T = rendered('alike', index, num_frames, size, 2)
    random = np.random.default_rng((7, index))
    bias, camera = random.normal(0, 1, 6), camera_of(clip)
    T_odom, scale, path_m = [np.array(T_FLU_OPTICAL)], [1.0], 0.0
    for frame in range(1, num_frames):
        step = invert(T[frame - 1]) @ T[frame]
        distance = float(np.linalg.norm(step[:3, 3]))
        scale.append(scale[-1] * float(np.exp(0.3 * DRIFT * distance * bias[0])))
        step[:3, 3] *= scale[-1]
        error = DRIFT * distance * (bias + random.normal(0, 1, 6)) * [1, 1, 1, 0.3, 0.3, 0.3]
        T_odom.append(T_odom[-1] @ step @ se3_exp(error))
    places, selection, config = PlaceMap(), Selection(), PlacesConfig(enabled=True)
    middle = num_frames // 2
    for frame in range(num_frames):
        if has_break and frame == middle:
            selection = Selection()
        depth = known_depth(clip, frame) * np.float32(scale[frame])
        stamp_ns = (frame + 1) * FRAME_NS
        choice = selection.choose(stamp_ns, T_odom[frame], True)
        if frame:
            path_m += float(np.linalg.norm(T_odom[frame][:3, 3] - T_odom[frame - 1][:3, 3]))
        if choice is Choice.NONE:
            continue
        selection.take(choice, stamp_ns, T_odom[frame], float(np.nanmedian(depth)))
        grey = cv2.cvtColor(clip.image[frame].numpy(), cv2.COLOR_RGB2GRAY)
        stretch = int(has_break and frame >= middle)
        none = np.zeros((0, 2)), np.zeros(0)
        places.process(
            Sighting(stamp_ns, T_odom[frame], path_m, stretch, grey, camera, depth, camera, *none),
            config,
        )
    return {
        'kind': 'alike, break' if has_break else 'alike',
        'index': index,
        'frames': num_frames,
        'recognised': places.num_recognised,
        'false': false_recognitions(places, clip, T, np.array(scale)),
    }


@torch.inference_mode()
def state(network: Any, index: int, num_frames: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return depth errors on a second lap: own state, state of the first visit, empty state."""
    clip, T = rendered('loop', index, num_frames, size, 1)
    rule, K = update_rule('ttt3r'), clip.intrinsics[None]
    images = clip.image.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    patch = network.config.patch_size
    high, wide = (side // patch * patch for side in images.shape[-2:])
    images = images[..., :high, :wide]

    def depth_error(state: Any, frame: int) -> float:
        """Return the relative error of the depth, median aligned, after three frames."""
        for now in range(frame, frame + 3):
            answer, state = network.step(
                FrameInput(image=images[now][None], intrinsics=K), state, rule, {'points_camera'}
            )
        predicted = answer.points_camera[0, ..., 2].numpy()
        true = known_depth(clip, frame + 2)[:high, :wide]
        usable = np.isfinite(true) & (predicted > 0)
        ratio = predicted[usable] / true[usable]
        return float(np.median(np.abs(ratio / np.median(ratio) - 1.0)))

    kept, now, errors = {}, network.initial_state(1), []
    lap = int(num_frames / 1.25)
    for frame in range(num_frames - 4):
        if frame % 10 == 0:
            kept[frame] = now
        if frame >= lap and frame % 10 == 0:
            steps = invert(T[list(kept)[: lap // 20]]) @ T[frame]
            nearest = list(kept)[int(np.linalg.norm(steps[:, :3, 3], axis=1).argmin())]
            starts = now, kept[nearest], network.initial_state(1)
            errors.append([depth_error(start, frame) for start in starts])
        image = FrameInput(image=images[frame][None], intrinsics=K)
        _, now = network.step(image, now, rule, {'T_world_camera'})
    own, first, empty = np.mean(errors, axis=0).tolist()
    return {'kind': 'state', 'index': index, 'own': own, 'first_visit': first, 'empty': empty}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield '# Places on rendered worlds'
    yield ''
    yield 'Made by `python benchmarks/places.py`. ATE after Sim(3) alignment.'
    yield ''
    yield '| loop | frames | ATE odom m | ATE map m | map / odom | recognised | false | ms |'
    yield '|---|---:|---:|---:|---:|---:|---:|---:|'
    loops = [row for row in rows if row['kind'] == 'loops']
    for row in loops:
        yield (
            f'| {row["route"]} {row["index"]} | {row["frames"]} | {row["odom_m"]:.4f} | '
            f'{row["map_m"]:.4f} | {row["map_m"] / row["odom_m"]:.2f} | {row["recognised"]} | '
            f'{row["false"]} | {row["ms"]:.0f} |'
        )
    yield ''
    yield '| places that look alike | worlds | worlds with a recognition | false recognitions |'
    yield '|---|---:|---:|---:|'
    for kind in ('alike', 'alike, break'):
        some = [row for row in rows if row['kind'] == kind]
        seen = sum(row['recognised'] > 0 for row in some)
        yield f'| {kind} | {len(some)} | {seen} | {sum(row["false"] for row in some)} |'
    total = sum(row['revisits'] for row in loops)
    if total:
        yield ''
        yield f'| candidates for {total} keyframes at known places | first | among five |'
        yield '|---|---:|---:|'
        for name in ('features', 'tokens'):
            shares = [sum(row[f'{name}_{k}'] for row in loops) / total for k in (1, 5)]
            yield f'| {name} | {shares[0]:.2f} | {shares[1]:.2f} |'
    states = [row for row in rows if row['kind'] == 'state']
    if states:
        yield ''
        yield '| depth at a known place, relative error | mean |'
        yield '|---|---:|'
        for name in ('own', 'first_visit', 'empty'):
            mean = float(np.mean([row[name] for row in states]))
            yield f'| state: {name.replace("_", " ")} | {mean:.3f} |'


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--loops', type=int, default=12, help='walks with the real tracker (12)')
    parser.add_argument('--frames', type=int, default=400, help='frames of each walk (400)')
    parser.add_argument('--alike', type=int, default=200, help='worlds that look alike (200)')
    parser.add_argument('--states', type=int, default=3, help='walks for the state (3)')
    parser.add_argument('--width', type=int, default=320, help='of the images, px (320)')
    parser.add_argument('--alike-width', type=int, default=192, help='of images alike, px (192)')
    parser.add_argument('--alike-frames', type=int, default=60, help='frames of each (60)')
    parser.add_argument('--kept', default='places.jsonl', help='file of single results')
    parser.add_argument('--output', default='benchmarks/results/places.md')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    kept = Path(args.kept)
    lines = kept.read_text().splitlines() if kept.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row['kind'], row['index']) for row in rows}
    size, small = ((width, width * 3 // 4) for width in (args.width, args.alike_width))
    network = load_model('mem3r-tiny')
    jobs = [('loops', i, lambda i=i: loop(network, i, args.frames, size)) for i in
            range(args.loops)]  # fmt: skip
    jobs += [('state', i, lambda i=i: state(network, i, args.frames, size)) for i in
             range(1, 1 + args.states)]  # fmt: skip
    for i in range(args.alike):
        jobs.append(('alike', i, lambda i=i: alike(i, args.alike_frames, small, False)))
        jobs.append(('alike, break', i, lambda i=i: alike(i, args.alike_frames, small, True)))
    for kind, index, job in jobs:
        if (kind, index) in done:
            continue
        row = job()
        rows.append(row)
        with kept.open('a') as file:
            file.write(json.dumps(row) + '\n')
        print(row, flush=True)
    Path(args.output).write_text('\n'.join(table(rows)) + '\n')


if __name__ == '__main__':
    main()
