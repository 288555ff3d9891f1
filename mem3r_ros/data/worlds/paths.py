# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Smooth camera paths.

Position and attitude are functions of two clocks, metres travelled and degrees turned, that run at
smoothly varying rates and sometimes stop. A path has a horizon that does not depend on how many of
its frames are rendered, so a longer clip begins with the shorter one.
"""

from __future__ import annotations

import numpy as np

HORIZON = 1024  # frames for which a scene keeps free of obstacles


class SmoothNoise:
    """A random smooth function of a clock with zero mean and about unit variance."""

    def __init__(
        self, rng: np.random.Generator, shortest: float, longest: float, count: int = 6
    ) -> None:
        """
        Draw the function.

        :param rng: where its randomness comes from.
        :param shortest: shortest period in it, in units of the clock.
        :param longest: longest period in it, in units of the clock.
        :param count: how many sine waves it is the sum of.
        """
        self._periods = np.exp(rng.uniform(np.log(shortest), np.log(longest), count))
        self._phases = rng.uniform(0, 2 * np.pi, count)
        self._weights = self._periods / np.sqrt((self._periods**2).sum() / 2)

    def __call__(self, clock: np.ndarray) -> np.ndarray:
        """Return the values at the times of a clock, [N]."""
        angles = 2 * np.pi * clock[:, None] / self._periods + self._phases
        return (self._weights * np.sin(angles)).sum(axis=1)


def _clock(
    rng: np.random.Generator, rate: float, num_frames: int, stop_share: float
) -> np.ndarray:
    """Return a running sum whose rate varies smoothly about its mean and sometimes stops."""
    frames = np.arange(num_frames, dtype=np.float64)
    pace = np.exp(0.5 * SmoothNoise(rng, 20, 160)(frames))
    stops = SmoothNoise(rng, 30, 150)(frames)
    pace *= 1 / (1 + np.exp(-8 * (stops - np.quantile(stops, stop_share)))) if stop_share else 1
    steps = rate * pace / pace.mean()
    return np.concatenate([[0.0], np.cumsum(steps)[:-1]])


def rotation_from_angles(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """
    Return the attitude of a camera (x right, y down, z forward) in a world with z up.

    :param yaw: heading of the optical axis about the world's z, rad, [N].
    :param pitch: elevation of the optical axis, rad, [N].
    :param roll: rotation about the optical axis, rad, [N].
    :return: R_world_camera, [N, 3, 3].
    """
    forward = np.stack(
        [np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)], axis=-1
    )
    right = np.stack([np.sin(yaw), -np.cos(yaw), np.zeros_like(yaw)], axis=-1)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([cos * right + sin * down, cos * down - sin * right, forward], axis=-1)


def _angle(
    rng: np.random.Generator, clock_rad: np.ndarray, amplitude: float, share: float
) -> np.ndarray:
    """Return an angle that swings within about +-amplitude at a given share of the clock."""
    period = 2 * np.pi * amplitude
    swing = SmoothNoise(rng, 0.5 * period, 1.2 * period, 4)
    probe = np.linspace(0, 50 * period, 2000)
    pace = 0.7 * amplitude * np.abs(np.diff(swing(probe))).sum() / (50 * period)
    return 0.7 * amplitude * swing(clock_rad * share / pace)


def _positions(curves: list[SmoothNoise], region: np.ndarray, clock: np.ndarray) -> np.ndarray:
    return 0.45 * region * np.stack([curve(clock) for curve in curves], axis=-1)


def handheld_path(
    rng: np.random.Generator, region: np.ndarray, num_frames: int = HORIZON
) -> np.ndarray:
    """
    Return the path of a camera held by hand.

    :param region: half extents of the space that the camera roams, centred on zero, m, [3].
    :return: T_world_camera, float64 [N, 4, 4].
    """
    num_frames = max(num_frames, HORIZON)
    frames = np.arange(num_frames, dtype=np.float64)
    speed = float(np.exp(rng.uniform(np.log(0.012), np.log(0.26))))
    turn = np.deg2rad(float(np.exp(rng.uniform(np.log(0.5), np.log(6.0)))))
    mode = rng.random()
    speed = 0.0 if mode < 0.04 else speed
    turn = turn * 0.1 if 0.04 < mode < 0.1 else turn
    stop_share = float(rng.choice([0.0, 0.15, 0.4]))
    metres = _clock(rng, speed, num_frames, stop_share)
    radians = _clock(rng, turn, num_frames, stop_share if rng.random() < 0.5 else 0.0)
    lap = 2.0 * float(np.linalg.norm(region))
    curves = [SmoothNoise(rng, (0.7 + (axis == 2)) * lap, 2.5 * lap, 4) for axis in range(3)]
    probe = np.linspace(0, 20 * lap, 2000)
    steps = np.diff(_positions(curves, region, probe), axis=0)
    metres *= 20 * lap / np.linalg.norm(steps, axis=1).sum()  # so that the clock tells metres
    position = _positions(curves, region, metres)
    shake = min(speed, 0.02) * 0.25
    position += shake * np.stack([SmoothNoise(rng, 4, 20)(frames) for _ in range(3)], axis=-1)
    position = np.clip(position, -region, region)
    yaw = rng.uniform(0, 2 * np.pi) + _angle(rng, radians, rng.uniform(0.4, 3.0), 0.8)
    pitch = rng.normal(-0.15, 0.15) + _angle(rng, radians, rng.uniform(0.1, 0.4), 0.5)
    roll = rng.normal(0, 0.03) + _angle(rng, radians, rng.uniform(0.02, 0.15), 0.3)
    wobble = min(turn, 0.01) * 0.15
    yaw += wobble * SmoothNoise(rng, 3, 12)(frames)
    pitch += wobble * SmoothNoise(rng, 3, 12)(frames)
    return pose_matrices(rotation_from_angles(yaw, np.clip(pitch, -1.3, 1.3), roll), position)


def pose_matrices(rotation: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return T_world_camera [N, 4, 4] from R_world_camera [N, 3, 3] and positions [N, 3]."""
    poses = np.tile(np.eye(4), (len(position), 1, 1))
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = position
    return poses
