# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Fit the covariance of the odometry to sequences with ground truth, and measure its consistency.

The normalised estimation error squared (NEES; Bar-Shalom, Li and Kirubarajan 2001) of a true
covariance has the mean of its number of dimensions: 3 for a translation or a rotation, 6 for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
import math
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data import open_sequence
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.geometry import compose_covariance, invert, orthonormalise, so3_log
from mem3r_ros.tracker.config import CovarianceConfig
from mem3r_ros.tracker.frame import CameraFrame, Status
from mem3r_ros.tracker.tracker import Tracker
from mem3r_ros.tracker.uncertainty import increment_covariance, window_covariance
from mem3r_ros.worlds import render_clip

_FIRST_CLIP = 9_000_000  # index of the first rendered clip
_SIZE = (160, 120)  # px of rendered clips, width and height
_NO_WINDOW = np.full((6, 6), np.nan)
_CHI2_95 = 12.592  # 95th percentile of chi squared with 6 degrees of freedom


@dataclass(frozen=True, slots=True)
class Increments:
    """Measured and true increments of one sequence."""

    name: str
    measured: np.ndarray  # [N, 4, 4]
    true: np.ndarray  # [N, 4, 4]
    confidence_ratio: np.ndarray  # [N], to the usual confidence
    is_degraded: np.ndarray  # [N] bool
    durations_s: np.ndarray  # [N]
    window: np.ndarray  # [N, 6, 6] covariance by the sliding window, NaN where it has none

    @property
    def has_window(self) -> np.ndarray:
        """Return which increments are those of the sliding window, [N] bool."""
        return np.isfinite(self.window).all(axis=(1, 2))

    @property
    def scale(self) -> float:
        """True metres per measured metre, from the lengths of both paths."""
        measured = np.linalg.norm(self.measured[:, :3, 3], axis=1).sum()
        return float(np.linalg.norm(self.true[:, :3, 3], axis=1).sum() / max(measured, 1e-9))

    def scaled(self) -> Increments:
        """Return the increments with the scale of the whole sequence corrected."""
        measured, units = self.measured.copy(), np.array([self.scale] * 3 + [1.0] * 3)
        measured[:, :3, 3] *= self.scale
        return replace(self, measured=measured, window=self.window * np.outer(units, units))


def collect(
    tracker: Tracker, frames: Iterable[CameraFrame], truth: Iterable, name: str
) -> Increments:
    """
    Track a sequence and collect measured and true increments.

    :param truth: ``T_world_camera`` of each frame, or None where it is unknown.
    :raises UserError: fewer than 5 increments have a true motion.
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
                    _NO_WINDOW
                    if tracked.health.window_covariance is None
                    else tracked.health.window_covariance,
                )
            )
        previous = None if T_world_camera is None else (tracked, T_world_camera)
    if len(rows) < 5:
        raise UserError(f'{name} has only {len(rows)} motions with ground truth; 5 are needed')
    columns = [np.array(column) for column in zip(*rows)]
    return Increments(name, *columns)


def errors(measured: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return translation and rotation error of a motion in its start frame, [6]."""
    rotation = so3_log(orthonormalise(measured @ invert(true))[:3, :3])
    return np.concatenate([measured[:3, 3] - true[:3, 3], rotation])


def fit(data: Sequence[Increments], start: CovarianceConfig | None = None) -> CovarianceConfig:
    """
    Fit the settings of the increments that the sequences have, by window or by network.

    :param data: sequences; the scale error of each is separated from its other errors.
    :param start: initial settings.
    """
    config = start or CovarianceConfig()
    logs = np.log([one.scale for one in data])
    config = replace(config, model_scale_spread=float(np.sqrt((logs**2).mean())))
    scaled = [one.scaled() for one in data]
    by_network = [one for one in scaled if not one.has_window.any()]
    by_window = [one for one in scaled if one.has_window.any()]
    if by_network:
        config = _fit_network(by_network, config)
    return _fit_window(by_window, config) if by_window else config


def _fit_network(scaled: Sequence[Increments], config: CovarianceConfig) -> CovarianceConfig:
    """Fit by maximum likelihood, then the correlation over windows of one second."""
    config = replace(config, correlation=1.0)
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
    config = replace(
        config,
        position_floor_m=position[0],
        position_share=position[1],
        rotation_floor_rad=rotation[0],
        rotation_share=rotation[1],
    )
    correlation = np.mean(np.concatenate([window_nees(one, config, 1.0) for one in scaled])) / 6
    return replace(config, correlation=float(np.clip(correlation, 1.0, 1000.0)))


def _fit_window(scaled: Sequence[Increments], config: CovarianceConfig) -> CovarianceConfig:
    """Scale all that belongs to the window, so that the mean of the sequences is consistent."""
    means = [np.mean(nees) for one in scaled if len(nees := window_nees(one, config, 1.0))]
    if not means:
        return config
    factor = float(np.clip(np.mean(means) / 6, 0.01, 100.0))
    root = math.sqrt(factor)
    return replace(
        config,
        window_factor=config.window_factor * factor,
        window_position_floor_m=config.window_position_floor_m * root,
        window_position_share=config.window_position_share * root,
        window_rotation_floor_rad=config.window_rotation_floor_rad * root,
        window_rotation_share=config.window_rotation_share * root,
    )


def window_nees(data: Increments, config: CovarianceConfig, window_s: float) -> np.ndarray:
    """
    Return the NEES of the motion over consecutive windows.

    :param window_s: length of a window; 0: single increments.
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
    """Return a table of the NEES for several settings; the scale of each sequence is corrected."""
    rows = ['| sequence | true scale | settings | NEES, one step | NEES, 1 s | within 95 % |']
    rows.append('|---|---|---|---|---|---|')
    means: dict[str, list[float]] = {name: [] for name in configs}
    for one in data:
        for name, config in configs.items():
            steps, windows = (window_nees(one.scaled(), config, s) for s in (0.0, 1.0))
            inside = 100 * float((windows < _CHI2_95).mean()) if len(windows) else float('nan')
            mean = windows.mean() if len(windows) else float('nan')
            means[name] += [mean / 6] if len(windows) else []
            rows.append(
                f'| {one.name} | {one.scale:.3f} | {name} | {steps.mean():.1f} | {mean:.1f} | '
                f'{inside:.0f} % |'
            )
    rows += [
        '',
        'A consistent covariance has a NEES of 6, and 95 % of the windows within the bound.',
        'NEES at 1 s over its 6 degrees of freedom, mean of the sequences: '
        + ', '.join(f'{np.mean(values):.2f} {name}' for name, values in means.items() if values),
        _scale_coverage(data, configs),
    ]
    return '\n'.join(rows)


def _scale_coverage(data: Sequence[Increments], configs: dict[str, CovarianceConfig]) -> str:
    """Return how many true scales lie within the stated 95 % interval of the network's."""
    logs = np.abs(np.log([one.scale for one in data]))
    inside = {name: logs < 1.96 * config.model_scale_spread for name, config in configs.items()}
    parts = (f'{covered.sum()} {name}' for name, covered in inside.items())
    return f'true scale within the stated 95 % interval, of {len(data)}: {", ".join(parts)}'


def _covariance(data: Increments, index: int, config: CovarianceConfig) -> np.ndarray:
    if np.isfinite(data.window[index]).all():
        return window_covariance(
            data.measured[index], data.window[index], bool(data.is_degraded[index]), config
        )
    return increment_covariance(
        data.measured[index],
        float(data.confidence_ratio[index]),
        bool(data.is_degraded[index]),
        config,
    )


def _factors(data: Increments, config: CovarianceConfig) -> np.ndarray:
    """Return the factors on the standard deviations due to confidence and flaws, [N]."""
    unit = replace(config, position_floor_m=1.0, position_share=0.0, correlation=1.0)
    return np.array(
        [np.sqrt(_covariance(data, index, unit)[0, 0]) for index in range(len(data.measured))]
    )


def _floor_and_share(
    wrong: np.ndarray, motion: np.ndarray, factor: np.ndarray
) -> tuple[float, float]:
    """Return the maximum likelihood floor and share of the errors [N, 3]."""
    squares = (wrong**2).sum(axis=1)

    def cost(logs: np.ndarray) -> float:
        floor, share = np.exp(logs)
        variance = factor**2 * (floor**2 + (share * motion) ** 2)
        return float((3 * np.log(variance) + squares / variance).sum())

    typical = np.sqrt(squares.mean() / 3)
    begin = np.log([0.3 * typical + 1e-6, 0.5 * typical / (motion.mean() + 1e-9) + 1e-6])
    found = minimize(cost, begin, method='Nelder-Mead')
    floor, share = np.exp(found.x)
    return float(np.clip(floor, 1e-6, 1.0)), float(np.clip(share, 0.0, 10.0))


def collect_sequence(tracker: Tracker, path: str) -> Increments:
    """
    Track a recorded sequence with ground truth.

    :raises UserError: it cannot be read, or has too few true poses.
    """
    items = list(open_sequence(path))
    frames = [CameraFrame(item.stamp_ns, item.image, item.camera) for item in items]
    return collect(tracker, frames, [item.T_world_camera for item in items], Path(path).name)


def collect_rendered(tracker: Tracker, index: int, num_frames: int = 60) -> Increments:
    """Track a rendered clip; no network was trained on any of them."""
    clip = render_clip(_FIRST_CLIP + index, num_frames, _SIZE)
    fx, fy, cx, cy = clip.intrinsics.tolist()
    camera = Intrinsics(fx, fy, cx, cy, *_SIZE)
    stamps = (clip.stamps_s.numpy() * 1e9).round().astype(np.int64) + 1
    frames = [
        CameraFrame(int(stamp), image, camera) for stamp, image in zip(stamps, clip.image.numpy())
    ]
    return collect(tracker, frames, clip.T_world_camera.double().numpy(), f'rendered {index}')
