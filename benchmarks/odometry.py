# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Odometry of the tracker beside textbook visual odometry, on any recordings with true poses.

    python benchmarks/odometry.py SEQUENCE... --worlds room:11 street:14 --output odometry_output

Methods: the tracker with and without its sliding window, each with and without the calibration;
standing still; the best line at constant velocity, fitted to the truth; KLT+E, ORB+E and KLT+BA
with the calibration (textbook_odometry.py); PnP on the true depth where it is known, which shows
how well truth and images agree. With --colmap also COLMAP, which is offline and needs pycolmap.
Figures: ATE after Sim(3), RPE, drift of the scale over stretches of ten frames, error of the
metres; AbsRel after one scale for the run (the median ratio of a pixel), near steps of depth too,
AUSE of the confidence beside a random order, scale of the depth over that of the path; AbsRel and
scale once more by the ratio of the median depths; processor time of an image (what the window
costs is the difference of *ours* and *ours, no window*), statuses. The last line is the
geometric mean of the tracker's ATE over that of the best online baseline. --drop leaves images
out; --focal-error makes the calibration of the tracker and of the textbook methods wrong.
--colmap-truth measures against the poses of COLMAP in place of the recorded ones, which some
recordings' images contradict. Writes odometry.md, odometry.json and index.html.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict, dataclass, replace
import html
import json
import math
from pathlib import Path
import time

import cv2
from dropped_images import DROPS, without_dropped
import numpy as np
from scipy.stats import gmean
from textbook_odometry import BASELINES, depth_pnp

from mem3r_ros.camera import Intrinsics, Rectifier
from mem3r_ros.data import open_sequence
from mem3r_ros.data.sequence import SequenceFrame
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.evaluation import trajectory_error
from mem3r_ros.evaluation.depth_error import true_depth_at
from mem3r_ros.evaluation.depth_quality import DepthQuality, DepthQualityMeter
from mem3r_ros.evaluation.scale_drift import scale_drift
from mem3r_ros.evaluation.trajectory_error import align, matched
from mem3r_ros.model import load_model
from mem3r_ros.odometry import RefinementConfig
from mem3r_ros.reports.plots import error_lines_svg, path_lines_svg
from mem3r_ros.tracker import CameraFrame, Status, Tracker, TrackerConfig
from mem3r_ros.trajectory import Trajectory
from mem3r_ros.worlds import WorldConfig, render_clip

WORLD_SIZE = (640, 480)
WORLD_FRAME_NS = 66_666_667
FIRST_DEPTH = 8  # frames; before, no motion has shown any depth
OURS = 'ours'
TRUE_DEPTH = 'PnP on true depth'
OFFLINE = ('COLMAP', TRUE_DEPTH)
MIN_LOCATED = 0.9  # of the images, for the poses of COLMAP to be a truth
VARIANTS = {
    OURS: (True, True),  # the window, the calibration
    'ours, no window': (False, True),
    'ours, not calibrated': (True, False),
    'ours, no window, not calibrated': (False, False),
}
COLUMNS = (
    ('ATE m', 'ate_m', '{:.4f}'),
    ('RPE m', 'rpe_m', '{:.4f}'),
    ('RPE deg', 'rpe_deg', '{:.3f}'),
    ('scale drift', 'scale_drift', '{:.2f}'),
    ('metres', 'scale_error_percent', '{:+.0f} %'),
    ('AbsRel', 'abs_rel', '{:.3f}'),
    ('near edges', 'abs_rel_edges', '{:.3f}'),
    ('AUSE', 'ause', '{:.2f}'),
    ('random', 'ause_random', '{:.2f}'),
    ('depth / path', 'depth_over_path', '{:.2f}'),
    ('AbsRel by medians', 'abs_rel_by_medians', '{:.3f}'),
    ('depth / path by medians', 'depth_over_path_by_medians', '{:.2f}'),
    ('CPU ms', 'time_ms', '{:.0f}'),
)


@dataclass(frozen=True)
class Result:
    """Figures of one method on one sequence; NaN where it has none."""

    method: str
    ate_m: float
    rpe_m: float = math.nan
    rpe_deg: float = math.nan
    scale_drift: float = math.nan
    scale_error_percent: float = math.nan
    abs_rel: float = math.nan
    abs_rel_edges: float = math.nan
    ause: float = math.nan
    ause_random: float = math.nan  # of a confidence without meaning
    depth_over_path: float = math.nan  # scale of the depth over that of the path
    abs_rel_by_medians: float = math.nan  # with the ratio of the medians as scale, and the same
    depth_over_path_by_medians: float = math.nan
    time_ms: float = math.nan  # processor time of an image
    statuses: str = ''
    is_online: bool = True


@dataclass(frozen=True)
class Run:
    """What a method made of a sequence."""

    path: Trajectory
    settled: int = 0  # first frame that counts for the drift of the scale
    depth: DepthQuality | None = None
    time_ms: float = math.nan
    statuses: str = ''
    is_metric: bool = False


def read(name: str, max_frames: int | None) -> list[SequenceFrame]:
    """
    Return the frames of a recording.

    :raises UserError: it has no true poses or no calibration.
    """
    frames = []
    for frame in open_sequence(Path(name)):
        if max_frames is not None and len(frames) == max_frames:
            break
        frames.append(frame)
    if not any(frame.T_world_camera is not None for frame in frames):
        raise UserError(f'{name} has no true poses to compare with')
    if frames[0].camera is None:
        raise UserError(f'{name} has no calibration, which the textbook methods need')
    return frames


def with_focal_error(frames: list[SequenceFrame], percent: float) -> list[SequenceFrame]:
    """Give all frames a calibration whose focal length is too long by so much."""
    if not percent:
        return frames
    factor = 1.0 + percent / 100.0
    return [replace(frame, camera=frame.camera.zoomed(factor)) for frame in frames]


def rendered(name: str, num_frames: int) -> list[SequenceFrame]:
    """Render a world, given as KIND:INDEX."""
    kind, _, index = name.partition(':')
    clip = render_clip(int(index), num_frames, WORLD_SIZE, WorldConfig(world=kind))
    camera = Intrinsics(*map(float, clip.intrinsics), *WORLD_SIZE)
    return [
        SequenceFrame(
            (i + 1) * WORLD_FRAME_NS,
            clip.image[i].numpy(),
            camera,
            clip.T_world_camera[i].double().numpy(),
            clip.depth_m[i].numpy(),
        )
        for i in range(num_frames)
    ]


def true_path(frames: list[SequenceFrame]) -> Trajectory:
    """Return the true poses, of the frames that have one."""
    known = [frame for frame in frames if frame.T_world_camera is not None]
    stamps = np.array([frame.stamp_ns for frame in known])
    return Trajectory(stamps, np.stack([frame.T_world_camera for frame in known]))


def run_tracker(
    frames: list[SequenceFrame], model: object, has_window: bool, is_calibrated: bool
) -> Run:
    """Track a sequence."""
    config = TrackerConfig(refinement=RefinementConfig(enabled=has_window))
    tracker, meter = Tracker(model, config), DepthQualityMeter()
    stamps, poses, statuses = [], [], []
    spent_s = 0.0
    for frame in frames:
        camera = frame.camera if is_calibrated else None
        try:
            # Either way the network predicts depth in every frame, as for a user of depth.
            wanted = {'confidence'} if frame.depth_m is None else {'depth', 'confidence'}
            start_s = time.process_time()
            tracked = tracker.track(CameraFrame(frame.stamp_ns, frame.image, camera), wanted)
            spent_s += time.process_time() - start_s
        except BadFrame:
            continue
        stamps.append(frame.stamp_ns)
        poses.append(tracked.T_odom_camera)
        statuses.append(tracked.status)
        if frame.depth_m is not None and tracked.depth is not None:
            seen_by = frame.camera if is_calibrated else tracked.source_camera
            true_m = true_depth_at(frame.depth_m, seen_by, tracked.intrinsics)
            if len(poses) > FIRST_DEPTH:
                meter.add(tracked.depth, tracked.confidence, true_m)
    settled = next((i for i, s in enumerate(statuses) if s is not Status.INITIALISING), 0)
    return Run(
        Trajectory(np.array(stamps), np.array(poses)),
        settled,
        meter.result(),
        1e3 * spent_s / len(poses),
        ', '.join(f'{n} {s.value}' for s, n in Counter(statuses).items()),
        True,
    )


def run_baseline(frames: list[SequenceFrame], name: str) -> Run:
    """Run a textbook method on the rectified images."""
    rectifier = Rectifier(frames[0].camera)
    images = [cv2.cvtColor(rectifier.image(f.image), cv2.COLOR_RGB2GRAY) for f in frames]
    start = time.process_time()
    poses = BASELINES[name](images, rectifier.rectified)
    time_ms = 1e3 * (time.process_time() - start) / len(frames)
    stamps = np.array([frame.stamp_ns for frame in frames])
    return Run(Trajectory(stamps, poses), time_ms=time_ms)


def run_true_depth(frames: list[SequenceFrame]) -> Run:
    """Run PnP against the true depth, in true metres."""
    rectifier = Rectifier(frames[0].camera)
    camera = rectifier.rectified
    images = [cv2.cvtColor(rectifier.image(f.image), cv2.COLOR_RGB2GRAY) for f in frames]
    depths = [
        None if f.depth_m is None else true_depth_at(f.depth_m, f.camera, camera) for f in frames
    ]
    stamps = np.array([frame.stamp_ns for frame in frames])
    return Run(Trajectory(stamps, depth_pnp(images, depths, camera)), is_metric=True)


def run_colmap(frames: list[SequenceFrame], folder: Path) -> Run | None:
    """
    Run COLMAP's incremental mapper offline; None where it finds no model.

    :raises UserError: pycolmap is not installed.
    """
    try:
        import pycolmap
    except ImportError as error:
        raise UserError('COLMAP needs the package pycolmap: pip install pycolmap') from error

    images, work = folder / 'images', folder / 'colmap'
    for path in (images, work):
        path.mkdir(parents=True, exist_ok=True)
    rectifier = Rectifier(frames[0].camera)
    for index, frame in enumerate(frames):
        picture = cv2.cvtColor(rectifier.image(frame.image), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(images / f'{index:06d}.png'), picture)
    camera = rectifier.rectified
    options = pycolmap.ImageReaderOptions(
        camera_model='PINHOLE',
        camera_params=f'{camera.fx},{camera.fy},{camera.cx},{camera.cy}',
    )
    database = work / 'database.db'
    database.unlink(missing_ok=True)
    pycolmap.extract_features(
        database, images, camera_mode=pycolmap.CameraMode.SINGLE, reader_options=options
    )
    pycolmap.match_sequential(database)
    models = pycolmap.incremental_mapping(database, images, work)
    if not models:
        return None
    best = max(models.values(), key=lambda model: model.num_reg_images())
    found = {}
    for image in best.images.values():
        T_camera_world = np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]])
        found[int(Path(image.name).stem)] = np.linalg.inv(T_camera_world)
    order = sorted(found)
    stamps = np.array([frames[index].stamp_ns for index in order])
    return Run(Trajectory(stamps, np.stack([found[index] for index in order])))


def with_colmap_truth(frames: list[SequenceFrame], folder: Path) -> list[SequenceFrame]:
    """
    Replace the recorded poses by those of COLMAP, in the frame and scale of the recorded ones.

    :raises UserError: COLMAP locates too few of the images.
    """
    run = run_colmap(frames, folder)
    num_located = 0 if run is None else len(run.path)
    if num_located < MIN_LOCATED * len(frames):
        raise UserError(
            f'COLMAP locates {num_located} of {len(frames)} images of {folder.name}; '
            f'measure against the recorded poses'
        )
    estimate, true = matched(run.path, true_path(frames))
    poses = align(estimate, true, True).apply(estimate.poses)
    located = dict(zip(estimate.stamps_ns.tolist(), poses, strict=True))
    return [replace(frame, T_world_camera=located.get(frame.stamp_ns)) for frame in frames]


def measure(method: str, run: Run, truth: Trajectory) -> Result:
    """Compare a path with the truth."""
    error = trajectory_error(run.path, truth)
    estimate, true = matched(run.path, truth)
    settled = estimate.stamps_ns >= run.path.stamps_ns[run.settled]
    result = Result(
        method,
        error.ate_sim3_rmse_m,
        error.rpe_translation_m,
        error.rpe_rotation_deg,
        scale_drift(estimate.select(settled), true.select(settled)),
        error.scale_error_percent if run.is_metric else math.nan,
        time_ms=run.time_ms,
        statuses=run.statuses,
        is_online=method not in OFFLINE,
    )
    if run.depth is None:
        return result
    return replace(
        result,
        abs_rel=run.depth.abs_rel,
        abs_rel_edges=run.depth.abs_rel_near_edges,
        ause=run.depth.ause,
        ause_random=run.depth.ause_random,
        depth_over_path=error.scale / run.depth.scale,
        abs_rel_by_medians=run.depth.abs_rel_by_medians,
        depth_over_path_by_medians=error.scale / run.depth.ratio_of_medians,
    )


def compare(
    name: str, frames: list[SequenceFrame], model: object, output: Path, has_colmap: bool
) -> tuple[list[Result], str]:
    """Run all methods on a sequence; return their figures and the plots as SVG."""
    truth = true_path(frames)
    runs = {method: run_tracker(frames, model, *variant) for method, variant in VARIANTS.items()}
    runs |= {method: run_baseline(frames, method) for method in BASELINES}
    if any(frame.depth_m is not None for frame in frames):
        runs[TRUE_DEPTH] = run_true_depth(frames)
    if has_colmap:
        run = run_colmap(frames, output / name)
        runs |= {} if run is None else {'COLMAP': run}
    error = trajectory_error(runs[OURS].path, truth)
    results = [
        Result('still', error.stand_still.ate_rmse_m),
        Result('line', error.constant_velocity.ate_rmse_m, is_online=False),
    ]
    results += [measure(method, run, truth) for method, run in runs.items()]
    return results, plots(runs, truth)


def plots(runs: dict[str, Run], truth: Trajectory) -> str:
    """Draw the paths, aligned to the truth, and their errors over time."""
    lines, errors, shown = {}, {}, (OURS, 'ours, no window', 'KLT+E', 'KLT+BA', 'COLMAP')
    for method in (method for method in shown if method in runs):
        estimate, true = matched(runs[method].path, truth)
        positions = align(estimate, true, True).apply(estimate.poses)[:, :3, 3]
        lines[method] = positions
        seconds = (estimate.stamps_ns - truth.stamps_ns[0]) * 1e-9
        errors[method] = seconds, np.linalg.norm(positions - true.positions, axis=1)
    return path_lines_svg(lines, truth.positions) + error_lines_svg(errors)


def ratio(results: list[Result], method: str = OURS) -> float:
    """Return the ATE of a method over that of the best online baseline."""
    baselines = [r.ate_m for r in results if r.method in BASELINES]
    return next(r.ate_m for r in results if r.method == method) / min(baselines)


def table(found: dict[str, list[Result]]) -> str:
    """Return all figures as Markdown."""
    lines = [
        f'| sequence | method | {" | ".join(name for name, _, _ in COLUMNS)} | statuses |',
        f'|---|---|{"---:|" * len(COLUMNS)}---|',
    ]
    for name, results in found.items():
        for result in results:
            values = [(getattr(result, key), form) for _, key, form in COLUMNS]
            cells = [form.format(value) if value == value else '' for value, form in values]
            lines.append(f'| {name} | {result.method} | {" | ".join(cells)} | {result.statuses} |')
    lines.append('')
    for method in VARIANTS:
        ratios = {name: ratio(results, method) for name, results in found.items()}
        mean = gmean(list(ratios.values()))
        worst = max(ratios, key=ratios.get)
        lines.append(
            f'{method}: ATE over the best online baseline {mean:.2f} (geometric mean), '
            f'{ratios[worst]:.2f} at the most ({worst})  '
        )
    return '\n'.join(lines) + '\n'


def joined(folders: list[Path]) -> dict[str, list[Result]]:
    """Return the results of several runs."""
    found: dict[str, list[Result]] = {}
    for folder in folders:
        values = json.loads((folder / 'odometry.json').read_text())
        found |= {name: [Result(**row) for row in rows] for name, rows in values.items()}
    return found


def page(text: str, drawings: dict[str, str]) -> str:
    """Return the table and the plots as one page."""
    parts = [f'<h2>{html.escape(name)}</h2>{svg}' for name, svg in drawings.items()]
    return (
        '<!doctype html><meta charset="utf-8"><title>Odometry</title>'
        '<style>body{font-family:sans-serif;max-width:1100px;margin:2em auto}</style>'
        f'<h1>Odometry</h1><pre>{html.escape(text)}</pre>{"".join(parts)}'
    )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('sequences', nargs='*', metavar='SEQUENCE')
    parser.add_argument('--worlds', nargs='*', default=[], metavar='KIND:INDEX')
    parser.add_argument('--world-frames', type=int, default=60)
    parser.add_argument('--max-frames', type=int)
    parser.add_argument('--drop', choices=DROPS, default='nothing', help='images that are missing')
    parser.add_argument(
        '--focal-error', type=float, default=0.0, metavar='PERCENT', help='of the calibration'
    )
    parser.add_argument('--model', default='mem3r-tiny')
    colmap = parser.add_mutually_exclusive_group()
    colmap.add_argument('--colmap', action='store_true', help='run pycolmap too (slow)')
    colmap.add_argument(
        '--colmap-truth', action='store_true', help='measure against the poses of COLMAP'
    )
    parser.add_argument('--join', nargs='+', type=Path, metavar='FOLDER', help='outputs to join')
    parser.add_argument('--output', type=Path, default=Path('odometry_output'))
    args = parser.parse_args()
    if args.join:
        args.output.mkdir(parents=True, exist_ok=True)
        text = table(joined(args.join))
        (args.output / 'odometry.md').write_text(text)
        print(text)
        return
    cv2.setNumThreads(1)
    model = load_model(args.model)
    args.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Result]] = {}
    drawings: dict[str, str] = {}
    sources = [
        (Path(name).name, lambda n=name: read(n, args.max_frames)) for name in args.sequences
    ]
    sources += [(n, lambda n=n: rendered(n, args.world_frames)) for n in args.worlds]
    if not sources:
        parser.error('give at least one SEQUENCE or world')
    for name, load in sources:
        frames = without_dropped(load(), args.drop)
        if args.colmap_truth:
            frames = with_colmap_truth(frames, args.output / name)
        frames = with_focal_error(frames, args.focal_error)
        found[name], drawings[name] = compare(name, frames, model, args.output, args.colmap)
        text = table(found)
        (args.output / 'odometry.md').write_text(text)
        values = {key: [asdict(result) for result in rows] for key, rows in found.items()}
        (args.output / 'odometry.json').write_text(json.dumps(values, indent=2) + '\n')
        (args.output / 'index.html').write_text(page(text, drawings))
        print(table({name: found[name]}), flush=True)
    print(table(found))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from error
