# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Measures the recognition of places on rendered worlds, and writes a table.

    python benchmarks/places.py --walks FOLDER --kept places.jsonl

loops: the real network and tracker on walks that return; error of the odometry, of the path after
the last correction, and of the poses in the map as they were published. alike: corridors that
repeat themselves, with a simulated odometry that drifts, and the same with a break half way; every
recognition there is a false one unless its pose is right. tracked: the same corridors with the
real network and tracker. retrieval: is the place among the first candidates, by features and by
tokens of the network. state: depth of the network at a known place with its own state, with the
state of the first visit, and with an empty one. long: time and memory over many keyframes.

Each result is kept in a file of JSON lines, so an interrupted run goes on where it was. The folder
``--walks`` keeps the rendered images and the keyframes of the tracker, so that a change of the
places is measured without the network; after a change of the tracker, remove the keyframes.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Iterator
import json
from pathlib import Path
import pickle
import sys
import time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for place_worlds.py

import cv2
import numpy as np
from place_worlds import (
    FRAME_NS,
    Walk,
    drifting,
    false_recognitions,
    frame_of,
    remembered,
    rendered,
)
import torch

from mem3r_ros.camera import Intrinsics
from mem3r_ros.evaluation.trajectory_error import trajectory_error
from mem3r_ros.geometry import invert, matrix, rotation_angle
from mem3r_ros.model import load_model, update_rule
from mem3r_ros.model.frame import FrameInput
from mem3r_ros.places import Choice, PlaceMap, Places, PlacesConfig, Sighting
from mem3r_ros.places.features import find_features
from mem3r_ros.places.retrieval import WordIndex, best_of, token_scores, words_of
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.trajectory import Trajectory

FRAMES = (300, 300, 300, 300, 300, 600, 600, 600, 1000, 1000, 2000)  # of each loop, in turn
SIZE, SMALL = (320, 240), (192, 144)  # px, of tracked and of other images
SAME_DEPTHS, SAME_RAD = 0.5, 0.35  # two views of one place, usual depths and rad


class Kept(PlaceMap):
    """A place memory that keeps what it was given."""

    given: list[Sighting]

    def process(self, sighting: Sighting, config: PlacesConfig) -> None:
        """Keep the sighting, and take it in."""
        self.given.append(sighting)
        PlaceMap.process(self, sighting, config)


def followed(network: Any, walk: Walk, file: Path | None) -> dict[str, Any]:
    """
    Return what the real tracker makes of a walk: its odometry and keyframes.

    :param file: keeps it for the next run, which then measures the places alone.
    """
    if file is not None and file.exists():
        return pickle.loads(file.read_bytes())
    config = TrackerConfig(places=PlacesConfig(enabled=True, wait=True))
    tracker, kept = Tracker(network, config), Kept()
    kept.given = []
    tracker.places._map = kept
    odom, num_unsure = [], 0
    for image, stamp_ns in zip(walk.image, walk.stamps_ns, strict=True):
        result = tracker.track(CameraFrame(int(stamp_ns), image, walk.camera), ())
        odom.append(result.T_odom_camera)
        num_unsure += result.status.value in ('lost', 'degraded')
    made = {'odom': np.stack(odom), 'given': kept.given, 'unsure': num_unsure}
    if file is not None:
        part = file.with_name(f'part_{file.name}')
        part.write_bytes(pickle.dumps(made))
        part.replace(file)
    return made


def tracked(network: Any, walk: Walk, file: Path | None) -> dict[str, Any]:
    """Return the path in the map, the poses as published, and the false recognitions."""
    made, places = followed(network, walk, file), PlaceMap()
    config, live = PlacesConfig(enabled=True, wait=True), []
    waiting, correction = deque(made['given']), places.correction()
    for stamp_ns, T_odom_camera in zip(walk.stamps_ns, made['odom'], strict=True):
        if waiting and waiting[0].stamp_ns <= stamp_ns:
            places.process(waiting.popleft(), config)
            correction = places.correction()
        live.append(correction.pose(T_odom_camera))
    scale = np.full(len(walk), np.nan)
    for sighting in made['given']:  # metres of the odometry per true metre, by the depths
        frame = frame_of(sighting.stamp_ns)
        true = walk.depth[frame].astype(np.float32)
        own = cv2.resize(sighting.depth, true.shape[::-1], interpolation=cv2.INTER_NEAREST)
        scale[frame] = np.nanmedian(own / true)
    return {
        'odom': made['odom'],
        'live': np.stack(live),
        'map': correction.path(walk.stamps_ns, made['odom']),
        'given': made['given'],
        'row': {
            'frames': len(walk),
            'unsure': made['unsure'],
            'recognised': places.num_recognised,
            'rejected': places.num_rejected,
            'false': false_recognitions(places, walk, scale),
        },
    }


def keyframes_file(walks: Path | None, route: str, index: int, num_frames: int) -> Path | None:
    """Return the file that keeps the keyframes of a walk; None without a folder."""
    return None if walks is None else walks / f'keyframes_{route}_{index}_{num_frames}.pkl'


def loop(network: Any, index: int, walks: Path | None) -> dict[str, Any]:
    """Return the errors of one loop with the real tracker, and its retrieval."""
    route = 'there_and_back' if index % 4 == 3 else 'loop'
    num_frames = FRAMES[index % len(FRAMES)]
    walk = rendered(route, index, num_frames, SIZE, 1, 4, walks)
    made = tracked(network, walk, keyframes_file(walks, route, index, num_frames))
    truth = Trajectory(walk.stamps_ns, walk.T_world_camera)
    errors = {
        f'{name}_m': trajectory_error(
            Trajectory(walk.stamps_ns, made[name]), truth
        ).ate_sim3_rmse_m
        for name in ('odom', 'map', 'live')
    }
    steps = np.linalg.norm(np.diff(walk.T_world_camera[:, :3, 3], axis=0), axis=1)
    return {
        'kind': 'loops',
        'index': index,
        'route': route,
        'length_m': float(steps.sum()),
        **errors,
        **made['row'],
        **retrieval(made['given'], walk),
    }


def retrieval(given: list[Sighting], walk: Walk) -> dict[str, Any]:
    """Return for how many keyframes at known places each ranking puts the place in front."""
    index, T = WordIndex(), walk.T_world_camera
    tokens, frames, first_seen = [], [], 12
    counts = {'revisits': 0, 'features_1': 0, 'features_5': 0, 'tokens_1': 0, 'tokens_5': 0}
    for sighting in given:
        frame = frame_of(sighting.stamp_ns)
        words = words_of(find_features(sighting, 400).descriptors)
        old = len(frames) - first_seen
        if old > 0:
            usual = walk.usual_depth(frame)
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


def alike(index: int, num_frames: int, has_break: bool, walks: Path | None) -> dict[str, Any]:
    """Return the recognitions in a corridor that repeats itself, with a simulated odometry."""
    walk = rendered('alike', index, num_frames, SMALL, 2, 1, walks)
    T_odom, scale = drifting(walk, index)
    places = remembered(walk, T_odom, scale, num_frames // 2 if has_break else None)
    return {
        'kind': 'alike, break' if has_break else 'alike',
        'index': index,
        'frames': num_frames,
        'recognised': places.num_recognised,
        'false': false_recognitions(places, walk, scale),
    }


def alike_tracked(network: Any, index: int, walks: Path | None) -> dict[str, Any]:
    """Return the recognitions in a corridor that repeats itself, with the real tracker."""
    walk = rendered('alike', index, 120, SIZE, 1, 4, walks)
    file = keyframes_file(walks, 'alike', index, 120)
    return {'kind': 'alike, tracker', 'index': index, **tracked(network, walk, file)['row']}


@torch.inference_mode()
def state(network: Any, index: int, walks: Path | None) -> dict[str, Any]:
    """Return depth errors on a second lap: own state, state of the first visit, empty state."""
    num_frames = 300
    walk = rendered('loop', index, num_frames, SIZE, 1, 1, walks)
    T, camera = walk.T_world_camera, walk.camera
    rule, K = update_rule('ttt3r'), torch.tensor([[camera.fx, camera.fy, camera.cx, camera.cy]])
    images = torch.from_numpy(walk.image).permute(0, 3, 1, 2).float() / 127.5 - 1.0
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
        true = walk.depth[frame + 2, :high, :wide].astype(np.float32)
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


def long(num_frames: int) -> dict[str, Any]:
    """Return time and memory of the places of a camera that moves to and fro along a wall."""
    config, places = PlacesConfig(enabled=True, wait=True), Places()
    random = np.random.default_rng(0)
    canvas = random.integers(0, 255, (120, 40_000), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    camera = Intrinsics(200.0, 200.0, 159.5, 119.5, 320, 240)
    depth, none = np.full((120, 160), 2.0, np.float32), np.zeros((0, 2))
    half, spent_ms, most = num_frames // 4, [], [0, 0]
    for frame in range(num_frames):
        along = 0.06 * abs((frame / half) % 2 - 1) * half  # m
        T, stamp_ns = matrix(np.eye(3), np.array([along, 0.0, 0.0])), (frame + 1) * FRAME_NS
        choice = places.choose(stamp_ns, T)
        if choice is Choice.NONE:
            continue
        left = int(along * 100)
        grey = np.ascontiguousarray(canvas[:, left : left + 320])
        started_s = time.process_time()
        places.add(
            Sighting(
                stamp_ns, T, places.path_m, 0, grey, camera, depth, camera.resized(160, 120),
                none, np.zeros(0),
            ),
            config,
        )  # fmt: skip
        spent_ms.append(1e3 * (time.process_time() - started_s))
        graph = places._map.graph
        most = [max(most[0], len(graph)), max(most[1], len(graph.edges))]
    parts = np.array_split(spent_ms, 5)
    return {
        'kind': 'long',
        'index': 0,
        'frames': num_frames,
        'keyframes': len(spent_ms),
        'places': most[0],
        'edges': most[1],
        'mib': sum(v.nbytes for v in vars_of(places)) / 2**20,
        'ms': [float(np.median(part)) for part in parts],
        'most_ms': float(np.max(spent_ms)),
    }


def vars_of(places: Places) -> list[np.ndarray]:
    """Return the arrays that a place memory holds."""
    record = places.record()
    values = [getattr(record, name) for name in record.__dataclass_fields__]
    return [value for value in values if isinstance(value, np.ndarray)]


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the page."""
    loops = [row for row in rows if row['kind'] == 'loops']
    yield '# Places on rendered worlds'
    yield ''
    yield 'Made by `python benchmarks/places.py`. ATE after Sim(3) alignment: of the odometry, of'
    yield 'the path after the last correction, and of the poses in the map as they were published.'
    yield '"Unsure": images without a reliable pose.'
    yield ''
    names = 'loop', 'frames', 'm', 'unsure', 'ATE odom m', 'map m', 'live m', 'map / odom'
    yield f'| {" | ".join(names)} | recognised | false |'
    yield '|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|'
    for row in loops:
        yield (
            f'| {row["route"]} {row["index"]} | {row["frames"]} | {row["length_m"]:.1f} | '
            f'{row["unsure"]} | {row["odom_m"]:.4f} | {row["map_m"]:.4f} | {row["live_m"]:.4f} | '
            f'{row["map_m"] / row["odom_m"]:.2f} | {row["recognised"]} | {row["false"]} |'
        )
    if loops:
        mean = np.exp(np.mean([np.log(row['map_m'] / row['odom_m']) for row in loops]))
        total = sum(row['map_m'] for row in loops) / sum(row['odom_m'] for row in loops)
        yield ''
        yield f'map / odom: geometric mean {mean:.2f}, of the sums {total:.2f}.'
    yield ''
    yield '| places that look alike | worlds | worlds with a recognition | false recognitions |'
    yield '|---|---:|---:|---:|'
    for kind in ('alike', 'alike, break', 'alike, tracker'):
        some = [row for row in rows if row['kind'] == kind]
        if not some:
            continue
        seen = sum(row['recognised'] > 0 for row in some)
        yield f'| {kind} | {len(some)} | {seen} | {sum(row["false"] for row in some)} |'
    yield from retrieval_lines(loops)
    yield from other_lines(rows)


def retrieval_lines(loops: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the table of the rankings."""
    total = sum(row['revisits'] for row in loops)
    if not total:
        return
    yield ''
    yield f'| candidates for {total} keyframes at known places | first | among five |'
    yield '|---|---:|---:|'
    for name in ('features', 'tokens'):
        shares = [sum(row[f'{name}_{k}'] for row in loops) / total for k in (1, 5)]
        yield f'| {name} | {shares[0]:.2f} | {shares[1]:.2f} |'


def other_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the tables of the states and of the bounds."""
    states = [row for row in rows if row['kind'] == 'state']
    if states:
        yield ''
        yield '| depth at a known place, relative error | mean |'
        yield '|---|---:|'
        for name in ('own', 'first_visit', 'empty'):
            mean = float(np.mean([row[name] for row in states]))
            yield f'| state: {name.replace("_", " ")} | {mean:.3f} |'
    for row in (row for row in rows if row['kind'] == 'long'):
        yield ''
        yield f'| {row["frames"]} frames, {row["keyframes"]} keyframes | |'
        yield '|---|---:|'
        yield f'| places at most | {row["places"]} |'
        yield f'| edges at most | {row["edges"]} |'
        yield f'| memory, MiB | {row["mib"]:.1f} |'
        times = ', '.join(f'{ms:.0f}' for ms in row['ms'])
        yield f'| CPU time per keyframe, ms: median of each fifth | {times} |'


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('.')[0])
    parser.add_argument('--loops', type=int, default=len(FRAMES), help='walks that return (11)')
    parser.add_argument('--alike', type=int, default=200, help='worlds that look alike (200)')
    parser.add_argument('--breaks', type=int, default=60, help='of them, also with a break (60)')
    parser.add_argument('--alike-frames', type=int, default=60, help='frames of each (60)')
    parser.add_argument('--tracked', type=int, default=90, help='of them, with the tracker (90)')
    parser.add_argument('--states', type=int, default=3, help='walks for the state (3)')
    parser.add_argument('--long', type=int, default=10_000, help='frames for the bounds (10000)')
    parser.add_argument('--walks', type=Path, help='folder that keeps the rendered images')
    parser.add_argument('--kept', type=Path, default='places.jsonl', help='file of single results')
    parser.add_argument('--output', type=Path, default='benchmarks/results/places.md')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    lines = args.kept.read_text().splitlines() if args.kept.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row['kind'], row['index']) for row in rows}
    for kind, index, job in jobs(args, load_model('mem3r-tiny')):
        if (kind, index) in done:
            continue
        row = job()
        rows.append(row)
        with args.kept.open('a') as file:
            file.write(json.dumps(row) + '\n')
        print(row, flush=True)
    rows.sort(key=lambda row: (row['kind'], row['index']))
    args.output.write_text('\n'.join(table(rows)) + '\n')


def jobs(args: Any, network: Any) -> Iterator[tuple[str, int, Callable[[], dict[str, Any]]]]:
    """Yield kind, number and function of each measurement, the quick ones first."""
    walks = args.walks
    for i in range(args.alike):
        yield 'alike', i, lambda i=i: alike(i, args.alike_frames, False, walks)
        if i < args.breaks:
            yield 'alike, break', i, lambda i=i: alike(i, args.alike_frames, True, walks)
    if args.long:
        yield 'long', 0, lambda: long(args.long)
    for i in range(args.tracked):
        yield 'alike, tracker', i, lambda i=i: alike_tracked(network, i, walks)
    for i in range(args.loops):
        yield 'loops', i, lambda i=i: loop(network, i, walks)
    for i in range(1, 1 + args.states):
        yield 'state', i, lambda i=i: state(network, i, walks)


if __name__ == '__main__':
    main()
