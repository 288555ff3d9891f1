# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Smooth camera paths.

Position and orientation are functions of two clocks, metres travelled and radians turned. The
clocks run at smoothly varying rates and sometimes stop. The horizon of a path does not depend on
the number of rendered frames, so a longer clip begins with the shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# N frames of a path

SHARPEST_TURN = 0.1  # rad per frame, on a lap
HORIZON = 1024  # frames; a scene is free of obstacles for at least this long


@dataclass(frozen=True)
class Arena:
    """The space in which a camera moves."""

    half: np.ndarray  # half extents of the space, centred on (0, 0, height), m, [3]
    height: float  # mean height of the camera above the ground, m
    speed: float = 1.0  # factor on the motion between two frames
    endless: bool = False  # whether it travels along +x without end
    fast: bool = False  # whether it moves at the speed of traffic
    pitch: float = -0.25  # mean elevation of the optical axis, rad
    target: np.ndarray | None = None  # [3] object in view, m


class SmoothNoise:
    """A random smooth function of a clock with zero mean and about unit variance."""

    def __init__(
        self, rng: np.random.Generator, shortest: float, longest: float, count: int = 6
    ) -> None:
        """
        Draw the function.

        :param rng: generator of its parameters.
        :param shortest: shortest period, in units of the clock.
        :param longest: longest period, in units of the clock.
        :param count: number of sine waves.
        """
        self._periods = np.exp(rng.uniform(np.log(shortest), np.log(longest), count))
        self._phases = rng.uniform(0, 2 * np.pi, count)
        self._weights = self._periods / np.sqrt((self._periods**2).sum() / 2)

    def __call__(self, clock: np.ndarray) -> np.ndarray:
        """Return the values at the times of a clock, [N]."""
        angles = 2 * np.pi * np.asarray(clock)[..., None] / self._periods + self._phases
        return (self._weights * np.sin(angles)).sum(axis=-1)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number whose logarithm is uniformly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def rotation_from_angles(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """
    Return the orientation of a camera (x right, y down, z forward) in a world with z up.

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


class PathMaker:
    """Draw one path of a given kind through an arena."""

    def __init__(
        self, rng: np.random.Generator, arena: Arena, num_frames: int, speed_factor: float
    ) -> None:
        """
        Start the clocks.

        :param num_frames: number of frames; the path is at least HORIZON + 1 long.
        :param speed_factor: factor on both clocks.
        """
        self._rng = rng
        self._arena = arena
        self._frames = np.arange(max(num_frames, HORIZON) + 1, dtype=np.float64)
        self._factor = speed_factor
        self._stop_share = float(rng.choice([0.0, 0.1, 0.35], p=[0.55, 0.25, 0.2]))

    def make(self, kind: str) -> np.ndarray:
        """Return T_world_camera of a path, float64 [N, 4, 4]."""
        rotation, position = getattr(self, f'_{kind}')()
        poses = np.tile(np.eye(4), (len(self._frames), 1, 1))
        poses[:, :3, :3] = rotation
        poses[:, :3, 3] = position
        return poses

    def _clock(self, rate: float, stops: bool = True) -> np.ndarray:
        """Return a running sum whose rate varies smoothly about its mean and may stop."""
        rng, frames = self._rng, self._frames
        pace = np.exp(rng.uniform(0.1, 0.6) * SmoothNoise(rng, 20, 160)(frames))
        gate = SmoothNoise(rng, 30, 150)(frames)
        if stops and self._stop_share:
            pace *= 1 / (1 + np.exp(-8 * (gate - np.quantile(gate[:HORIZON], self._stop_share))))
        steps = rate * self._factor * pace / pace[:HORIZON].mean()
        return np.concatenate([[0.0], np.cumsum(steps)[:-1]])

    def _swing(self, clock: np.ndarray, amplitude: float, share: float) -> np.ndarray:
        """Return an angle within about +-1.5 amplitudes that turns at a share of the clock."""
        period = 2 * np.pi * amplitude
        swing = SmoothNoise(self._rng, 0.5 * period, 1.2 * period, 4)
        probe = np.linspace(0, 50 * period, 2000)
        pace = 0.7 * amplitude * np.abs(np.diff(swing(probe))).sum() / (50 * period)
        return 0.7 * amplitude * swing(clock * share / pace)

    def _shake(self, strength: float, shortest: float = 3, longest: float = 14) -> np.ndarray:
        return strength * SmoothNoise(self._rng, shortest, longest)(self._frames)

    def _roam(self, metres: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Return positions that wander in a box [3] about the arena's centre, [N, 3]."""
        lap = 2.0 * float(np.linalg.norm(half)) + 1e-6
        curves = [SmoothNoise(self._rng, (0.7 + (k == 2)) * lap, 2.5 * lap, 4) for k in range(3)]
        probe = np.linspace(0, 20 * lap, 2000)

        def at(clock: np.ndarray) -> np.ndarray:
            return 0.45 * half * np.stack([curve(clock) for curve in curves], axis=-1)

        pace = np.linalg.norm(np.diff(at(probe), axis=0), axis=1).sum() / (20 * lap)
        return np.clip(at(metres / (pace + 1e-9)), -half, half) + [0, 0, self._arena.height]

    def _lap(self, metres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return positions on a closed lap through the arena [N, 3] and headings, rad, [N]."""
        rng, half = self._rng, self._arena.half
        turns = np.linspace(0, 2 * np.pi, 721)
        radius = 1 + sum(
            rng.uniform(-0.25, 0.25) / k * np.sin(k * turns + rng.uniform(0, 6)) for k in (2, 3)
        )
        radius /= radius.max()
        x, y = half[0] * radius * np.cos(turns), half[1] * radius * np.sin(turns)
        along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        heading = np.unwrap(np.arctan2(np.gradient(y), np.gradient(x)))
        bend = np.quantile(np.abs(np.gradient(heading) / np.gradient(along)), 0.98)
        step = max(float(np.diff(metres[: HORIZON + 1]).max()), 1e-9)
        metres = metres * min(1.0, SHARPEST_TURN / (bend * step))  # slow where the lap is small
        start, sense = rng.uniform(0, along[-1]), rng.choice([-1.0, 1.0])
        where = (start + sense * metres) % along[-1]
        laps = np.floor((start + sense * metres) / along[-1])
        yaw = np.interp(where, along, heading) + laps * (heading[-1] - heading[0])
        yaw = yaw + (np.pi if sense < 0 else 0.0)
        height = np.full_like(metres, self._arena.height)
        return np.stack([np.interp(where, along, x), np.interp(where, along, y), height], -1), yaw

    def _travel(self, metres: np.ndarray, wander: float) -> tuple[np.ndarray, np.ndarray]:
        """Return positions along the arena's course or its lap [N, 3] and headings, rad, [N]."""
        arena = self._arena
        if not arena.endless:
            return self._lap(metres)
        drift = SmoothNoise(self._rng, 20 * arena.half[1], 80 * arena.half[1], 4)
        width = 0.4 * wander * arena.half[1]
        lateral = np.clip(width * drift(metres), -arena.half[1], arena.half[1])
        slope = width * (drift(metres + 0.05) - drift(metres - 0.05)) / 0.1
        height = np.full_like(metres, arena.height)
        return np.stack([metres, lateral, height], axis=-1), np.arctan(slope)

    def _handheld(self) -> tuple[np.ndarray, np.ndarray]:
        rng, arena = self._rng, self._arena
        speed = log_uniform(rng, 0.004, 0.2) * arena.speed
        turn = np.deg2rad(log_uniform(rng, 0.25, 6.0))
        if rng.random() < 0.08:  # hardly turning
            turn *= 0.1
        metres, radians = self._clock(speed), self._clock(turn, rng.random() < 0.5)
        position = self._roam(metres, arena.half)
        tremble = min(speed, 0.02) * rng.uniform(0, 0.3)
        position += np.stack([self._shake(tremble, 4, 20) for _ in range(3)], axis=-1)
        yaw = rng.uniform(0, 2 * np.pi) + self._swing(radians, rng.uniform(0.4, 3.0), 0.8)
        pitch = rng.normal(arena.pitch, 0.2) + self._swing(radians, rng.uniform(0.1, 0.4), 0.5)
        roll = rng.normal(0, 0.05) + self._swing(radians, rng.uniform(0.03, 0.2), 0.35)
        wobble = min(turn, 0.012) * rng.uniform(0, 0.25)
        yaw, pitch = yaw + self._shake(wobble), pitch + self._shake(wobble)
        return rotation_from_angles(yaw, np.clip(pitch, -1.35, 1.35), roll), position

    def _rotate(self) -> tuple[np.ndarray, np.ndarray]:
        rng, arena = self._rng, self._arena
        turn = np.deg2rad(log_uniform(rng, 0.3, 6.0))
        radians = self._clock(turn)
        sweep = rng.uniform(0.4, 6.0)
        yaw = rng.uniform(0, 2 * np.pi) + self._swing(radians, sweep, 0.85)
        pitch = rng.normal(arena.pitch, 0.2) + self._swing(radians, rng.uniform(0.05, 0.4), 0.4)
        roll = rng.normal(0, 0.05) + self._swing(radians, rng.uniform(0.03, 0.15), 0.3)
        rotation = rotation_from_angles(yaw, np.clip(pitch, -1.35, 1.35), roll)
        lever = np.array([0.0, 0.0, rng.choice([0.0, 1.0]) * rng.uniform(0.02, 0.3)])
        lever = np.minimum(lever, arena.half.min())
        start = rng.uniform(-0.6, 0.6, 3) * arena.half + [0, 0, arena.height]
        return rotation, start + rotation @ lever

    def _orbit(self) -> tuple[np.ndarray, np.ndarray]:
        """Keep an object in view while moving around it."""
        rng, arena = self._rng, self._arena
        speed = log_uniform(rng, 0.004, 0.2) * arena.speed
        metres = self._clock(speed)
        position = self._roam(metres, arena.half)
        target = arena.target
        if target is None:
            angle = rng.uniform(0, 2 * np.pi)
            reach = np.linalg.norm(arena.half[:2]) * rng.uniform(0.7, 2.0)
            target = np.array(
                [
                    np.cos(angle) * reach,
                    np.sin(angle) * reach,
                    max(0.0, arena.height + arena.pitch * reach),
                ]
            )
        gaze = target - position
        yaw = np.unwrap(np.arctan2(gaze[:, 1], gaze[:, 0]))
        pitch = np.arctan2(gaze[:, 2], np.hypot(gaze[:, 0], gaze[:, 1]))
        radians = self._clock(np.deg2rad(log_uniform(rng, 0.1, 1.5)), stops=False)
        yaw = yaw + self._swing(radians, rng.uniform(0.05, 0.4), 0.6)
        pitch = pitch + self._swing(radians, rng.uniform(0.05, 0.25), 0.5)
        roll = rng.normal(0, 0.05) + self._swing(radians, rng.uniform(0.03, 0.2), 0.4)
        yaw, pitch = yaw + self._shake(0.0006), pitch + self._shake(0.0006)
        return rotation_from_angles(yaw, np.clip(pitch, -1.45, 1.3), roll), position

    def _walk(self) -> tuple[np.ndarray, np.ndarray]:
        rng, arena = self._rng, self._arena
        metres = self._clock(log_uniform(rng, 0.025, 0.14))
        position, yaw = self._travel(metres, 1.0)
        steps = 2 * np.pi * metres / rng.uniform(0.6, 0.8)
        bob = rng.uniform(0.005, 0.03)
        position[:, 2] += bob * np.cos(steps)
        sway = 0.6 * bob * np.sin(steps / 2)
        position[:, 0] -= np.sin(yaw) * sway
        position[:, 1] += np.cos(yaw) * sway
        radians = self._clock(np.deg2rad(log_uniform(rng, 0.1, 2.0)), stops=False)
        yaw = yaw + self._swing(radians, rng.uniform(0.1, 0.8), 0.7)
        yaw = yaw + rng.normal(0, 0.15) + rng.uniform(0, 0.012) * np.sin(steps / 2 + 1)
        pitch = rng.normal(0.5 * arena.pitch, 0.12) + rng.uniform(0, 0.012) * np.sin(steps)
        pitch = pitch + self._swing(radians, rng.uniform(0.03, 0.2), 0.4)
        roll = rng.normal(0, 0.03) + rng.uniform(0, 0.012) * np.sin(steps / 2)
        return rotation_from_angles(yaw, pitch, roll), position

    def _drive(self) -> tuple[np.ndarray, np.ndarray]:
        rng, arena = self._rng, self._arena
        speed = log_uniform(rng, 0.25, 2.0) if arena.fast else log_uniform(rng, 0.015, 0.3)
        metres = self._clock(speed)
        position, yaw = self._travel(metres, 0.6)
        jolt = rng.uniform(0, 0.002) * min(1.0, speed * 4)
        position[:, 2] += self._shake(2 * jolt, 5, 30)
        pitch = rng.normal(0, 0.03) + self._shake(jolt, 5, 40)
        roll = rng.normal(0, 0.01) + self._shake(0.7 * jolt, 5, 40)
        yaw = yaw + (rng.normal(0, 0.03) if rng.random() < 0.8 else rng.uniform(-1.6, 1.6))
        return rotation_from_angles(yaw, pitch, roll), position

    def _drone(self) -> tuple[np.ndarray, np.ndarray]:
        rng, arena = self._rng, self._arena
        speed = log_uniform(rng, 0.02, 0.4) * np.sqrt(arena.speed)
        metres = self._clock(speed)
        if arena.endless:
            position, yaw = self._travel(metres, 1.0)
            position[:, 2] += 0.6 * arena.half[2] * SmoothNoise(rng, 20, 100)(metres)
            floor = 0.5 * arena.height
            position[:, 2] = np.clip(position[:, 2], floor, arena.height + arena.half[2])
        else:
            position = self._roam(metres, arena.half)
            yaw = rng.uniform(0, 2 * np.pi)
        radians = self._clock(np.deg2rad(log_uniform(rng, 0.2, 4.0)))
        yaw = yaw + self._swing(radians, rng.uniform(0.3, 2.5), 0.9)
        pitch = rng.uniform(-0.9, 0.0) + self._swing(radians, rng.uniform(0.05, 0.2), 0.3)
        roll = self._swing(radians, rng.uniform(0.03, 0.2), 0.3)
        return rotation_from_angles(yaw, np.clip(pitch, -1.4, 0.6), roll), position
