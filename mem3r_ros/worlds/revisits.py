# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Worlds in which a camera returns to places, and worlds in which different places look alike.

They test the recognition of places: a loop or a way there and back must be recognised, a corridor
that repeats itself must not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.worlds.catalogue import World, draw_world
from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.paths import Arena, SmoothNoise, rotation_from_angles
from mem3r_ros.worlds.site import Rng

# N frames of a route

LAPS = 1.25  # of a loop: the last quarter is the first one again
_LAPS_APART = 0.06  # difference of two laps: of the radius and the height, and rad
ROUTES = ('loop', 'there_and_back', 'alike')
_FEW_TEXTURES = 2  # of each kind of surface, where places look alike
_ALIKE_STEP_M = 0.12  # between two frames


def revisit_world(index: int, num_frames: int, route: str, config: WorldConfig) -> World:
    """
    Draw a world with one of the routes.

    ``loop``: a closed curve through a room, hall or yard, 1.25 times. ``there_and_back``: along a
    corridor, a turn, back, a turn, and on again. ``alike``: straight on through a corridor of
    which every part is like the others; no place is seen twice.

    :param index: number of the world.
    :param num_frames: number of frames to render, at most paths.HORIZON for ``alike``.
    :param route: one of ROUTES.
    :param config: seed and effects; the kind of world and path come from the route.
    :raises UserError: there is no such route.
    """
    if route not in ROUTES:
        raise UserError(f'the route is {route!r}; choose of {", ".join(ROUTES)}')
    kind = ('room', 'hall', 'yard')[index % 3] if route == 'loop' else 'corridor'
    config = replace(config, world=kind, path='walk')
    if route == 'loop':
        return draw_world(index, num_frames, config, _loop)
    if route == 'there_and_back':
        return draw_world(index, num_frames, config, _there_and_back)
    config = replace(config, textures_per_kind=_FEW_TEXTURES)
    return draw_world(index, num_frames, config, _straight_on, block_period=1 + index % 3)


def _loop(rng: Rng, arena: Arena, num_frames: int) -> np.ndarray:
    """Return poses on a curve that nearly closes; the camera looks ahead and to one side."""
    laps = LAPS * np.arange(num_frames + 1) / num_frames
    phase = 2 * np.pi * laps + rng.uniform(0, 2 * np.pi)
    turn = rng.choice([-1.0, 1.0])
    half = np.maximum(arena.half[:2], 0.9) * rng.uniform(0.85, 1.0, 2)
    wobble = [rng.uniform(-0.1, 0.1) * np.sin(k * phase + rng.uniform(0, 6.3)) for k in (2, 3)]
    # No camera returns to exactly the same pose: each lap differs a little from the others.
    apart = [SmoothNoise(rng, 0.6, 2.5)(laps) for _ in range(3)]
    radius = 1.0 + sum(wobble) + _LAPS_APART * apart[0]
    x, y = half[0] * radius * np.cos(phase), turn * half[1] * radius * np.sin(phase)
    yaw = np.unwrap(np.arctan2(np.gradient(y), np.gradient(x)))
    yaw = yaw + rng.uniform(-0.6, 0.6) + 0.15 * np.sin(3 * phase + rng.uniform(0, 6.3))
    yaw = yaw + _LAPS_APART * apart[1]
    pitch = 0.5 * arena.pitch + 0.08 * np.sin(2 * phase + rng.uniform(0, 6.3))
    roll = 0.03 * np.sin(4 * phase)
    height = arena.height + arena.half[2] * (0.3 * np.sin(phase) + _LAPS_APART * apart[2])
    return _poses(np.stack([x, y, height], axis=-1), yaw, pitch, roll)


def _there_and_back(rng: Rng, arena: Arena, num_frames: int) -> np.ndarray:
    """Return poses along x, a turn on the spot, the same way back, a turn, and on again."""
    turn = max(12, num_frames // 10)
    walk = (2 * (num_frames + 1 - 2 * turn)) // 5
    again = num_frames + 1 - 2 * turn - 2 * walk
    there, rest = np.linspace(0, 1, walk), np.arange(again) / max(walk - 1, 1)
    share = np.concatenate([there, np.ones(turn), there[::-1], np.zeros(turn), rest])
    heading = np.concatenate(
        [np.zeros(walk), _eased(turn), np.ones(walk), 1 + _eased(turn), np.full(again, 2.0)]
    )
    x = min(12.0, 0.06 * walk) * share
    y = 0.3 * arena.half[1] * SmoothNoise(rng, 2.0, 8.0)(x)
    pitch = 0.5 * arena.pitch + 0.03 * SmoothNoise(rng, 30, 90)(np.arange(len(x)))
    height = np.full(len(x), arena.height)
    return _poses(np.stack([x, y, height], axis=-1), np.pi * heading, pitch, 0.0 * x)


def _straight_on(rng: Rng, arena: Arena, num_frames: int) -> np.ndarray:
    """Return poses along x that never come back."""
    x = _ALIKE_STEP_M * np.arange(num_frames + 1)
    zero = np.zeros(len(x))
    yaw = rng.uniform(-0.9, 0.9) + 0.05 * np.sin(x / 2)
    height = np.full(len(x), arena.height)
    return _poses(np.stack([x, zero, height], axis=-1), yaw, zero + 0.5 * arena.pitch, zero)


def _eased(count: int) -> np.ndarray:
    """Return numbers from 0 to 1 with a slow start and end."""
    return 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, count))


def _poses(
    position: np.ndarray, yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray
) -> np.ndarray:
    poses = np.tile(np.eye(4), (len(position), 1, 1))
    poses[:, :3, :3] = rotation_from_angles(yaw, pitch, roll)
    poses[:, :3, 3] = position
    return poses
