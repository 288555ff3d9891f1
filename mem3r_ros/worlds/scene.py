# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A scene: convex bodies inside one hollow shell, a texture for each face, and the light.

A body is the intersection of six half spaces. A round body is also intersected with an ellipsoid
or a cylinder about its z axis. The shell is a body seen from inside: the walls, floor and ceiling
of a room, or the ground.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.worlds.mipmaps import SIDE

# O bodies, the last one is the shell; 7 faces of each: six planes and the round side

FACES = 7
ROUND = 6  # index of the round side among the faces of a body
FAR_M = 1e9  # distance of a plane that bounds nothing

# outward normals of a box, and the two texture axes of each face
BOX_NORMALS = np.array(
    [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64
)
FACE_S = np.array([[0, 1, 0], [0, -1, 0], [-1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.float64)
FACE_T = np.array([[0, 0, -1]] * 4 + [[0, -1, 0], [0, 1, 0]], np.float64)


@dataclass(frozen=True)
class Skin:
    """Textures and material of one body."""

    textures: np.ndarray  # [7] numbers of textures
    gain: np.ndarray  # [3] factor on the colours
    period_m: np.ndarray  # [7] length after which a texture repeats; 0 fits it once to its face
    shift: np.ndarray  # [7, 2] offset of the textures, as a share of the period
    gloss: float = 0.0  # strength of the lamp's reflection
    glow: float = 0.0  # minimum light: screens and lamps emit light


@dataclass
class Light:
    """The light of a scene: sky, sun and one lamp."""

    ambient: float  # light from all directions
    upward: float  # additional light from above
    sun: float  # strength
    towards_sun: np.ndarray  # [3] in world, unit length
    lamp: float  # light at one metre
    lamp_at: np.ndarray  # [3] in world, m
    fog_m: float = FAR_M  # distance at which a third of the contrast is left
    sky: np.ndarray | None = None  # [2, 3] colours at the horizon and above, 0 .. 255
    clouds: int = 0  # number of the texture of the clouds


@dataclass
class Scene:
    """The bodies of a scene; ``arrays`` returns them for the renderer."""

    light: Light
    normals: list[np.ndarray] = field(default_factory=list)  # [6, 3] outward, body frame
    offsets: list[np.ndarray] = field(default_factory=list)  # [6] m: inside is n . p <= offset
    quadrics: list[np.ndarray] = field(default_factory=list)  # [3] 1/m: inside is |q * p| <= 1
    halves: list[np.ndarray] = field(default_factory=list)  # [3] m, half extents of the bounds
    rotations: list[np.ndarray] = field(default_factory=list)  # [3, 3] R_world_body
    centres: list[np.ndarray] = field(default_factory=list)  # [3] m, in world
    skins: list[Skin] = field(default_factory=list)
    movers: list[int] = field(default_factory=list)  # index of the body's motion; -1 stands still
    motions: list[np.ndarray] = field(
        default_factory=list
    )  # T_world_world at each frame [N, 4, 4]

    def box(
        self,
        centre: np.ndarray,
        half: np.ndarray,
        rotation: np.ndarray,
        skin: Skin,
        *,
        slope: float = 0.0,
        mover: int = -1,
    ) -> None:
        """
        Add a box, or a ramp.

        :param centre: its centre in world, m, [3].
        :param half: its half extents, m, [3].
        :param rotation: R_world_body, [3, 3].
        :param slope: share of its height by which the top falls towards its +x end, 0 to 2.
        :param mover: index of its motion.
        """
        normals, offsets = BOX_NORMALS, np.repeat(half, 2)
        if slope:
            tilt = np.array([slope * half[2] / half[0], 0.0, 1.0])
            length = np.linalg.norm(tilt)
            normals, offsets = normals.copy(), offsets.copy()
            normals[4] = tilt / length
            offsets[4] = (tilt @ [-half[0], 0, half[2]]) / length
        self._add(normals, offsets, np.zeros(3), centre, half, rotation, skin, mover)

    def cylinder(
        self,
        centre: np.ndarray,
        half: np.ndarray,
        rotation: np.ndarray,
        skin: Skin,
        *,
        mover: int = -1,
    ) -> None:
        """Add a cylinder about its z axis; half: its two radii and half its length, m."""
        quadric = np.array([1 / half[0], 1 / half[1], 0.0])
        offsets = np.repeat([FAR_M, FAR_M, half[2]], 2)
        self._add(BOX_NORMALS, offsets, quadric, centre, half, rotation, skin, mover)

    def ellipsoid(
        self,
        centre: np.ndarray,
        half: np.ndarray,
        rotation: np.ndarray,
        skin: Skin,
        *,
        mover: int = -1,
    ) -> None:
        """Add an ellipsoid; half: its three radii, m."""
        offsets = np.full(6, FAR_M)
        self._add(BOX_NORMALS, offsets, 1 / half, centre, half, rotation, skin, mover)

    def shell(self, centre: np.ndarray, half: np.ndarray, skin: Skin) -> None:
        """Close the scene with the space around it; this must come last."""
        offsets = np.repeat(half, 2)
        self._add(BOX_NORMALS, offsets, np.zeros(3), centre, half, np.eye(3), skin, -1)

    def ground(self, skin: Skin) -> None:
        """Close the scene with the plane z = 0 under an open sky; this must come last."""
        offsets = np.array([FAR_M] * 5 + [0.0])
        bounds = np.ones(3)
        self._add(BOX_NORMALS, offsets, np.zeros(3), np.zeros(3), bounds, np.eye(3), skin, -1)

    def _add(
        self,
        normals: np.ndarray,
        offsets: np.ndarray,
        quadric: np.ndarray,
        centre: np.ndarray,
        half: np.ndarray,
        rotation: np.ndarray,
        skin: Skin,
        mover: int,
    ) -> None:
        self.normals.append(normals)
        self.offsets.append(offsets)
        self.quadrics.append(quadric)
        self.halves.append(half)
        self.rotations.append(rotation)
        self.centres.append(centre)
        self.skins.append(skin)
        self.movers.append(mover)

    def arrays(self) -> dict[str, np.ndarray]:
        """
        Return all bodies stacked, the shell last.

        Besides the lists of the scene and the fields of its skins these are ``s_axes`` and
        ``t_axes`` [O, 7, 4], by which texture coordinates in texels follow from (p_body, 1).
        """
        names = ('normals', 'offsets', 'quadrics', 'halves', 'rotations', 'centres', 'movers')
        arrays = {name: np.array(getattr(self, name)) for name in names}
        for name in ('textures', 'gain', 'gloss', 'glow'):
            arrays[name] = np.array([getattr(skin, name) for skin in self.skins])
        period = np.array([skin.period_m for skin in self.skins])
        shift = np.array([skin.shift for skin in self.skins])
        for name, directions, column in (('s_axes', FACE_S, 0), ('t_axes', FACE_T, 1)):
            arrays[name] = _texture_axes(arrays['halves'], period, shift[..., column], directions)
        _wrap_round_sides(arrays, period)
        return arrays


def _texture_axes(
    halves: np.ndarray, period: np.ndarray, shift: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """Return one texture coordinate of all faces as functions of (p_body, 1), [O, 7, 4]."""
    axes = np.zeros((len(halves), FACES, 4))
    extent = 2 * halves @ np.abs(directions).T
    fitted = period[:, :ROUND] <= 0
    density = SIDE / np.where(fitted, extent, period[:, :ROUND])
    axes[:, :ROUND, :3] = directions * density[..., None]
    axes[:, :ROUND, 3] = np.where(fitted, 0.5, shift[:, :ROUND]) * SIDE
    axes[:, ROUND, 3] = shift[:, ROUND] * SIDE
    return axes


def _wrap_round_sides(arrays: dict[str, np.ndarray], period: np.ndarray) -> None:
    """
    Fill the rows of round sides.

    These hold texels a radian (around) or a metre (along the axis), texels a metre, 0, and the
    start.
    """
    halves, period = arrays['halves'], period[:, ROUND]
    girth = np.pi * (halves[:, 0] + halves[:, 1])
    fitted = period <= 0
    repeats = np.where(fitted, 1.0, np.round(girth / np.where(fitted, 1.0, period)))
    repeats = np.maximum(repeats, 1.0)  # a whole number, so that there is no seam
    arrays['s_axes'][:, ROUND, 0] = repeats * SIDE / (2 * np.pi)
    arrays['s_axes'][:, ROUND, 1] = repeats * SIDE / girth
    density = SIDE / np.where(fitted, 2 * halves[:, 2], period)
    arrays['t_axes'][:, ROUND, 0] = -density
    arrays['t_axes'][:, ROUND, 1] = density


def turn_z(angle: float) -> np.ndarray:
    """Return the rotation by an angle (rad) about the vertical, [3, 3]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def turn_x(angle: float) -> np.ndarray:
    """Return the rotation by an angle (rad) about the x axis, [3, 3]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Return a uniformly distributed rotation, [3, 3]."""
    q = rng.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
