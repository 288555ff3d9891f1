# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Common parts of the builders of worlds: site, course, motions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.worlds.furniture import Clearance, Group
from mem3r_ros.worlds.painter import Painter
from mem3r_ros.worlds.paths import Arena, SmoothNoise, log_uniform
from mem3r_ros.worlds.scene import Scene, turn_z

Rng = np.random.Generator


class Course:
    """The line of an endless path: slightly curved, without self-intersection."""

    STEP_M = 0.5

    def __init__(self, rng: Rng, length_m: float, bend: float) -> None:
        """
        Draw a course.

        :param length_m: length.
        :param bend: range of its heading, rad.
        """
        self._start = -200.0
        along = np.arange(self._start, length_m + 400.0, self.STEP_M)
        self._along = along
        swing = bend * SmoothNoise(rng, 120, 600, 4)(along)
        self._heading = np.clip(swing - np.interp(0.0, along, swing), -1.2, 1.2)
        x = np.cumsum(np.cos(self._heading)) * self.STEP_M
        y = np.cumsum(np.sin(self._heading)) * self.STEP_M
        self._x = x - np.interp(0.0, along, x)
        self._y = y - np.interp(0.0, along, y)

    def at(
        self, along: np.ndarray | float, lateral: np.ndarray | float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y and heading of a point given by its distance along and to the left."""
        heading = np.interp(along, self._along, self._heading)
        x = np.interp(along, self._along, self._x) - lateral * np.sin(heading)
        y = np.interp(along, self._along, self._y) + lateral * np.cos(heading)
        return x, y, heading

    def bend(self, poses: np.ndarray) -> np.ndarray:
        """Return poses [N, 4, 4] of a straight course, moved to this one."""
        x, y, heading = self.at(poses[:, 0, 3], poses[:, 1, 3])
        cos, sin, zero, one = np.cos(heading), np.sin(heading), 0 * heading, 0 * heading + 1
        turn = np.stack(
            [
                np.stack([cos, -sin, zero], -1),
                np.stack([sin, cos, zero], -1),
                np.stack([zero, zero, one], -1),
            ],
            axis=-2,
        )
        bent = poses.copy()
        bent[:, :3, :3] = turn @ poses[:, :3, :3]
        bent[:, 0, 3], bent[:, 1, 3] = x, y
        return bent


@dataclass(frozen=True)
class Site:
    """Everything that a builder needs to build a scene."""

    rng: Rng
    paint: Painter
    arena: Arena
    poses: np.ndarray  # T_world_camera until the horizon, [N, 4, 4]
    along: np.ndarray  # [N] distance along the course, m
    course: Course | None  # the line of an endless path
    num_frames: int  # number of rendered frames
    is_wide: bool  # whether sizes go beyond the ordinary range
    has_movers: bool
    key: tuple[int, ...]  # seed of the objects along an endless course
    block_period: int = 0  # a corridor repeats itself after this many blocks; 0: never

    @property
    def positions(self) -> np.ndarray:
        """Return the positions of the camera, m, [N, 3]."""
        return self.poses[:, :3, 3]

    def clearance(self, distance_m: float) -> Clearance:
        """Return a Clearance of the whole path."""
        return Clearance(self.positions, distance_m)


def motion_about(at: np.ndarray, shift: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """
    Return a motion that rotates about a point and translates.

    :param at: the point, m, [3].
    :param shift: translation, m, [N, 3].
    :param yaw: rotation about the vertical, rad, [N].
    :return: T_world_world, [N, 4, 4].
    """
    motion = np.tile(np.eye(4), (len(yaw), 1, 1))
    motion[:, 0, 0] = motion[:, 1, 1] = np.cos(yaw)
    motion[:, 1, 0] = np.sin(yaw)
    motion[:, 0, 1] = -motion[:, 1, 0]
    motion[:, :3, 3] = at + shift - motion[:, :3, :3] @ at
    return motion


def set_in_motion(
    site: Site,
    scene: Scene,
    clearance: Clearance,
    group: Group,
    reach_m: float,
    *,
    floats: bool = False,
) -> bool:
    """
    Place a group that moves around a point in front of the camera.

    :param reach_m: largest distance from the point.
    :param floats: whether it may leave the ground.
    :return: whether it was placed.
    """
    rng = site.rng
    frames = np.arange(site.num_frames, dtype=np.float64)
    period = 2 * np.pi * reach_m / log_uniform(rng, 0.006, 0.08)
    curves = [SmoothNoise(rng, 0.7 * period, 2 * period, 3)(frames) for _ in range(3)]
    shift = np.clip(0.6 * reach_m * np.stack(curves, axis=-1), -reach_m, reach_m)
    shift[:, 2] *= 0.3 * floats
    yaw = rng.uniform(0, 1.5) * SmoothNoise(rng, 40, 200, 3)(frames)
    spread = np.linalg.norm(np.array(group.centres)[:, :2], axis=1).max()
    for _ in range(6):
        at = _in_view(site, rng, floats)
        scene.motions.append(motion_about(at, shift, yaw))
        mover = len(scene.motions) - 1
        turn = rng.uniform(0, 6.3)
        swing = reach_m + 2 * spread
        if group.place(scene, clearance, at, turn, mover=mover, swing_m=swing):
            return True
        scene.motions.pop()
    return False


def _in_view(site: Site, rng: Rng, floats: bool) -> np.ndarray:
    """Return a point that is sometimes in view, on the ground or anywhere, [3]."""
    pose = site.poses[int(rng.integers(0, 40))]
    scale = float(np.linalg.norm(site.arena.half)) + (0.0 if floats else 1.0)
    at = pose[:3, 3] + pose[:3, 2] * scale * log_uniform(rng, 0.8, 3.0)
    at += rng.normal(0, 0.2, 3) * scale
    return at if floats else at * [1, 1, 0]


def along_wall(rng: Rng, half: np.ndarray, inset_m: float = 0.0) -> tuple[np.ndarray, float]:
    """
    Return a position at one of the four walls of a room and the heading into the room.

    :param half: half extents of the room, m, [3].
    """
    side = int(rng.integers(4))
    yaw = side * np.pi / 2
    depth, width = (half[0], half[1]) if side % 2 == 0 else (half[1], half[0])
    local = np.array([-depth + inset_m, rng.uniform(-0.9, 0.9) * width, 0.0])
    return turn_z(yaw) @ local, yaw
