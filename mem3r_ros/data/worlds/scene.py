# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A scene: convex bodies inside one hollow shell, each face with its texture.

A body is the intersection of six half spaces in its own frame. The shell is a body seen from
within: the walls, floor and ceiling of a room.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.data.worlds.textures import SIDE

# O bodies, the last one is the shell; 6 faces of each

# outward normals of a box, and the two directions in which its faces' textures run
BOX_NORMALS = np.array(
    [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64
)
FACE_S = np.array([[0, 1, 0], [0, -1, 0], [-1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.float64)
FACE_T = np.array([[0, 0, -1]] * 4 + [[0, -1, 0], [0, 1, 0]], np.float64)


@dataclass
class Scene:
    """Bodies as they are collected; ``arrays`` hands them to the renderer."""

    normals: list[np.ndarray] = field(default_factory=list)  # [6, 3] outward, body frame
    offsets: list[np.ndarray] = field(default_factory=list)  # [6] m: inside is n . p <= offset
    halves: list[np.ndarray] = field(default_factory=list)  # [3] m, half extents of the bounds
    rotations: list[np.ndarray] = field(default_factory=list)  # [3, 3] R_world_body
    centres: list[np.ndarray] = field(default_factory=list)  # [3] m, in world
    s_axes: list[np.ndarray] = field(default_factory=list)  # [6, 4] texels from (p_body, 1)
    t_axes: list[np.ndarray] = field(default_factory=list)  # [6, 4]
    textures: list[np.ndarray] = field(default_factory=list)  # [6] numbers of textures
    gains: list[np.ndarray] = field(default_factory=list)  # [6, 3] colour factor of each face

    def add_box(
        self,
        centre: np.ndarray,
        half: np.ndarray,
        rotation: np.ndarray,
        textures: np.ndarray,
        gains: np.ndarray,
        period_m: np.ndarray,
        shift: np.ndarray,
    ) -> None:
        """
        Add a box.

        :param centre: its centre in world, m, [3].
        :param half: its half extents, m, [3].
        :param rotation: R_world_body, [3, 3].
        :param textures: number of the texture of each face, [6].
        :param gains: factor on the colours of each face, [6, 3].
        :param period_m: length after which each face's texture repeats; 0 fits it once, m, [6].
        :param shift: where the textures begin, as a share of the period, [6, 2].
        """
        self.normals.append(BOX_NORMALS)
        self.offsets.append(np.repeat(half, 2))
        self.halves.append(half)
        self.rotations.append(rotation)
        self.centres.append(centre)
        self.textures.append(textures)
        self.gains.append(gains)
        for axes, directions, column in ((self.s_axes, FACE_S, 0), (self.t_axes, FACE_T, 1)):
            extent = 2 * np.abs(directions) @ half
            fitted = period_m <= 0
            density = SIDE / np.where(fitted, extent, np.where(fitted, 1.0, period_m))
            start = np.where(fitted, 0.5, shift[:, column]) * SIDE
            axes.append(np.concatenate([directions * density[:, None], start[:, None]], axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all bodies stacked, the shell last."""
        return {name: np.stack(getattr(self, name)) for name in self.__dataclass_fields__}


def rotation_about_z(angle: float) -> np.ndarray:
    """Return the rotation by an angle (rad) about the vertical, [3, 3]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def distance_to_box(
    points: np.ndarray, centre: np.ndarray, half: np.ndarray, rotation: np.ndarray
) -> float:
    """Return the smallest distance of points [N, 3] to a solid box; 0 if one is inside it."""
    local = np.abs((points - centre) @ rotation)
    return float(np.linalg.norm(np.maximum(local - half, 0), axis=1).min())


class Painter:
    """Choose textures and shades for the faces of bodies."""

    def __init__(self, rng: np.random.Generator, num_textures: int) -> None:
        """Draw the light and the set of textures that the scene uses."""
        self._rng = rng
        self._palette = rng.integers(0, num_textures, int(rng.integers(8, 24)))
        self._light = rng.normal(0, 1, 3) * [1, 1, 0.6] + [0, 0, 0.9]
        self._light /= np.linalg.norm(self._light)
        self._ambient = rng.uniform(0.6, 0.95)
        self._sun = rng.uniform(0.1, 0.7)

    def paint(
        self, rotation: np.ndarray, typical_m: float, inside: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return textures [6], gains [6, 3], periods in m [6] and shifts [6, 2] of a box."""
        rng = self._rng
        textures = self._palette[rng.integers(0, len(self._palette), 6)]
        if rng.random() < 0.6:  # most things are of one material
            textures = np.where(rng.random(6) < 0.8, textures[0], textures)
        normals = BOX_NORMALS @ rotation.T * (-1 if inside else 1)
        shade = self._ambient + self._sun * np.clip(normals @ self._light, 0, 1)
        tint = rng.uniform(0.75, 1.1, 3) * rng.uniform(0.6, 1.15)
        period = typical_m * np.exp(rng.uniform(-0.7, 0.9, 6))
        period = np.where(rng.random(6) < (0.15 if inside else 0.4), 0.0, period)
        return textures, shade[:, None] * tint, period, rng.random((6, 2))


def room(
    rng: np.random.Generator, path: np.ndarray, region: np.ndarray, num_textures: int
) -> Scene:
    """
    Furnish a room around a path.

    :param path: where the camera goes, m, [N, 3], centred on zero.
    :param region: half extents of the space that the path stays in, m, [3].
    :return: the scene; the camera keeps clear of everything in it.
    """
    painter = Painter(rng, num_textures)
    scene = Scene()
    size = region + rng.uniform(0.5, 1.2, 3) + rng.uniform(0, 1, 3) * rng.choice([0.3, 2.0, 5.0])
    size[2] = min(size[2], region[2] + rng.uniform(0.6, 2.0))
    middle = rng.uniform(-0.6, 0.6, 3) * (size - region - 0.45)
    spare = path[::4]
    wanted = int(rng.integers(8, 25))
    clearance = rng.uniform(0.2, 0.5)
    placed = 0
    for _ in range(100):
        if placed == wanted:
            break
        half = np.exp(rng.normal(np.log(0.35), 0.6, 3)).clip(0.04, 1.6)
        half = np.minimum(half, size * 0.45)
        rotation = rotation_about_z(rng.choice([0.0, rng.uniform(0, 2 * np.pi)]))
        reach = rng.uniform(-1, 1, 3) * (size - 0.3 * half)
        kind = rng.random()
        if kind < 0.65:  # on the floor
            reach[2] = -size[2] + half[2]
        elif kind < 0.8 and placed:  # on top of another body
            base = int(rng.integers(placed))
            reach = scene.centres[base] - middle
            reach[2] += scene.halves[base][2] + half[2]
        centre = middle + reach
        if distance_to_box(spare, centre, half, rotation) < clearance:
            continue
        scene.add_box(centre, half, rotation, *painter.paint(rotation, 0.8))
        placed += 1
    level = np.eye(3)
    scene.add_box(middle, size, level, *painter.paint(level, 2.0, inside=True))
    return scene
