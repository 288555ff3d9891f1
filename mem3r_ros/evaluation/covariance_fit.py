# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Fit the covariance to sequences with ground truth, and print how honest it is.

    python -m mem3r_ros.evaluation.covariance_fit --model mem3r-tiny SEQUENCE [SEQUENCE ...]

The normalised estimation error squared (NEES; Bar-Shalom, Li and Kirubarajan 2001) of a true
covariance averages its number of dimensions, 3 for a translation, 3 for a rotation, 6 for both.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
import sys

import numpy as np
from scipy.optimize import minimize

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.geometry import compose_covariance, invert, orthonormalise, so3_log
from mem3r_ros.tracker.config import CovarianceConfig
from mem3r_ros.tracker.frame import CameraFrame, Status
from mem3r_ros.tracker.tracker import Tracker
from mem3r_ros.tracker.uncertainty import increment_covariance

_FIRST_CLIP = 9_000_000  # of the rendered clips; none that a network was trained on
_CHI2_95 = 12.592  # 95th percentile of chi squared with 6 degrees of freedom


@dataclass(frozen=True, slots=True)
class Increments:
    """What one sequence gave: measured motions, true motions, and how sure the network was."""

    name: str
    measured: np.ndarray  # [N, 4, 4]
    true: np.ndarray  # [N, 4, 4]
    confidence_ratio: np.ndarray  # [N]
    is_degraded: np.ndarray  # [N] bool
    durations_s: np.ndarray  # [N]

    @property
    def scale(self) -> float:
        """True metres per measured metre, by the lengths of both paths."""
        measured = np.linalg.norm(self.measured[:, :3, 3], axis=1).sum()
        return float(np.linalg.norm(self.true[:, :3, 3], axis=1).sum() / max(measured, 1e-9))

    def scaled(self) -> Increments:
        """Return the same with the scale of the whole sequence put right."""
        measured = self.measured.copy()
        measured[:, :3, 3] *= self.scale
        return replace(self, measured=measured)


def collect(
    tracker: Tracker, frames: Iterable[CameraFrame], truth: Iterable, name: str
) -> Increments:
    """
    Track a sequence from its first frame and note measured and true increments.

    :param truth: ``T_world_camera`` of each frame, or None where it is not known.
    """
    tracker.reset()
    rows, previous = [], None
    for frame, T_world_camera in zip(frames, truth, strict=True):
        try:
            tracked = tracker.track(frame, {'confidence'})
        except BadFrame:
            continue
        usable = (
            tracked.status in (Status.TRACKING, Status.DEGRADED) and T_world_camera is not None
        )
        if previous is not None and usable and not tracked.health.is_still:
            before, T_world_before = previous
            rows.append(
                (
                    invert(before.T_odom_camera) @ tracked.T_odom_camera,
                    invert(T_world_before) @ T_world_camera,
                    tracked.health.confidence_ratio,
                    tracked.status is Status.DEGRADED,
                    (tracked.stamp_ns - before.stamp_ns) * 1e-9,
                )
            )
        previous = None if T_world_camera is None else (tracked, T_world_camera)
    if len(rows) < 5:
        raise UserError(f'{name} gives only {len(rows)} motions with ground truth; 5 are needed')
    columns = [np.array(column) for column in zip(*rows)]
    return Increments(name, *columns)


def errors(measured: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return translation and rotation error of motions, seen in the frame they start from, [6]."""
    rotation = so3_log(orthonormalise(measured @ invert(true))[:3, :3])
    return np.concatenate([measured[:3, 3] - true[:3, 3], rotation])


def fit(data: Sequence[Increments], start: CovarianceConfig | None = None) -> CovarianceConfig:
    """
    Fit the parameters by maximum likelihood, then the correlation by windows of a second.

    :param data: sequences; the scale of each is judged apart from the rest of its error.
    :param start: settings to start from.
    """
    config = replace(start or CovarianceConfig(), correlation=1.0)
    scaled = [one.scaled() for one in data]
    factor = np.concatenate([_factors(one, config) for one in scaled])
    wrong = np.concatenate(
        [[errors(m, t) for m, t in zip(one.measured, one.true)] for one in scaled]
    )
    steps = np.concatenate([np.linalg.norm(one.measured[:, :3, 3], axis=1) for one in scaled])
    turns = np.concatenate(
        [[np.linalg.norm(so3_log(m[:3, :3])) for m in one.measured] for one in scaled]
    )
    position = _floor_and_share(wrong[:, :3], steps, factor)
    rotation = _floor_and_share(wrong[:, 3:], turns, factor)
    logs = np.log([one.scale for one in data])
    config = replace(
        config,
        position_floor_m=position[0],
        position_share=position[1],
        rotation_floor_rad=rotation[0],
        rotation_share=rotation[1],
        model_scale_spread=float(np.sqrt((logs**2).mean())),
    )
    correlation = np.mean(np.concatenate([window_nees(one, config, 1.0) for one in scaled])) / 6
    return replace(config, correlation=float(np.clip(correlation, 1.0, 1000.0)))


def window_nees(data: Increments, config: CovarianceConfig, window_s: float) -> np.ndarray:
    """
    Return the NEES of the motion over windows, one after the other.

    :param window_s: length of a window; 0 means single increments.
    """
    result, start = [], 0
    elapsed = np.concatenate([[0.0], np.cumsum(data.durations_s)])
    while start < len(data.measured):
        measured, true, covariance, index = np.eye(4), np.eye(4), np.zeros((6, 6)), start
        while index < len(data.measured):
            covariance = compose_covariance(
                covariance, measured, data.measured[index], _covariance(data, index, config)
            )
            measured, true = measured @ data.measured[index], true @ data.true[index]
            index += 1
            if elapsed[index] - elapsed[start] >= window_s - 1e-9:
                wrong = errors(measured, true)
                result.append(wrong @ np.linalg.solve(covariance, wrong))
                break
        start = index
    return np.array(result)


def report(data: Sequence[Increments], configs: dict[str, CovarianceConfig]) -> str:
    """Return a table of NEES for several settings, with the scale of each sequence put right."""
    rows = ['| sequence | true scale | settings | NEES, one step | NEES, 1 s | within 95 % |']
    rows.append('|---|---|---|---|---|---|')
    for one in data:
        for name, config in configs.items():
            steps, windows = (window_nees(one.scaled(), config, s) for s in (0.0, 1.0))
            inside = 100 * float((windows < _CHI2_95).mean()) if len(windows) else float('nan')
            mean = windows.mean() if len(windows) else float('nan')
            rows.append(
                f'| {one.name} | {one.scale:.3f} | {name} | {steps.mean():.1f} | {mean:.1f} | '
                f'{inside:.0f} % |'
            )
    return '\n'.join([*rows, '', 'NEES should be 6, and 95 % of the windows within the bound.'])


def _covariance(data: Increments, index: int, config: CovarianceConfig) -> np.ndarray:
    return increment_covariance(
        data.measured[index],
        float(data.confidence_ratio[index]),
        bool(data.is_degraded[index]),
        config,
    )


def _factors(data: Increments, config: CovarianceConfig) -> np.ndarray:
    """Return what confidence and flaws multiply each standard deviation by."""
    unit = replace(config, position_floor_m=1.0, position_share=0.0, correlation=1.0)
    return np.array(
        [np.sqrt(_covariance(data, index, unit)[0, 0]) for index in range(len(data.measured))]
    )


def _floor_and_share(
    wrong: np.ndarray, motion: np.ndarray, factor: np.ndarray
) -> tuple[float, float]:
    """Return floor and share that make the errors [N, 3] most likely."""
    squares = (wrong**2).sum(axis=1)

    def surprise(logs: np.ndarray) -> float:
        floor, share = np.exp(logs)
        variance = factor**2 * (floor**2 + (share * motion) ** 2)
        return float((3 * np.log(variance) + squares / variance).sum())

    typical = np.sqrt(squares.mean() / 3)
    begin = np.log([0.3 * typical + 1e-6, 0.5 * typical / (motion.mean() + 1e-9) + 1e-6])
    found = minimize(surprise, begin, method='Nelder-Mead')
    floor, share = np.exp(found.x)
    return float(np.clip(floor, 1e-6, 1.0)), float(np.clip(share, 0.0, 10.0))


def rendered(index: int, num_frames: int = 60) -> tuple[list[CameraFrame], list[np.ndarray]]:
    """Return the frames of a rendered clip and their true poses."""
    from mem3r_ros.worlds import render_clip

    clip = render_clip(index, num_frames, (160, 120))
    fx, fy, cx, cy = clip.intrinsics.tolist()
    camera = Intrinsics(fx, fy, cx, cy, 160, 120)
    stamps = (clip.stamps_s.numpy() * 1e9).round().astype(np.int64) + 1
    frames = [
        CameraFrame(int(stamp), image, camera) for stamp, image in zip(stamps, clip.image.numpy())
    ]
    return frames, list(clip.T_world_camera.double().numpy())


def main(arguments: list[str] | None = None) -> int:
    """Fit on sequences given on the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m mem3r_ros.evaluation.covariance_fit', description=__doc__.split('\n\n')[0]
    )
    parser.add_argument('sequences', nargs='*', help='folders or bags with ground truth')
    parser.add_argument(
        '--worlds', type=int, default=0, metavar='N', help='use N rendered clips as well'
    )
    parser.add_argument('--model', default='mem3r-tiny', help='preset or file of weights')
    parser.add_argument('--output', help='write the fitted settings there as YAML')
    args = parser.parse_args(arguments)
    try:
        _run(args)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


def _run(args: argparse.Namespace) -> None:
    from mem3r_ros.config import dump_yaml
    from mem3r_ros.data import open_sequence
    from mem3r_ros.model import load_model

    tracker = Tracker(load_model(args.model))
    data = []
    for path in args.sequences:
        items = list(open_sequence(path))
        frames = [CameraFrame(item.stamp_ns, item.image, item.camera) for item in items]
        truth = [item.T_world_camera for item in items]
        data.append(collect(tracker, frames, truth, str(path).rstrip('/').rpartition('/')[2]))
    for index in range(args.worlds):
        frames, truth = rendered(_FIRST_CLIP + index)
        data.append(collect(tracker, frames, truth, f'rendered {index}'))
    if not data:
        raise UserError('nothing to fit to; name sequences with ground truth, or give --worlds')
    fitted = fit(data, tracker.config.covariance)
    print(report(data, {'before': tracker.config.covariance, 'fitted': fitted}))
    print(f'\n{fitted}')
    if args.output:
        dump_yaml(fitted, args.output)


if __name__ == '__main__':
    sys.exit(main())
