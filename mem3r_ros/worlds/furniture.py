# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Objects of several bodies: tables with small objects, shelves, chairs, plants, people.

Each is built in its own frame, z up from the floor, its front towards +x, and is then placed clear
of the camera's path.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mem3r_ros.worlds.painter import Painter
from mem3r_ros.worlds.paths import log_uniform
from mem3r_ros.worlds.scene import Scene, Skin, turn_x, turn_z

Rng = np.random.Generator
LEVEL = np.eye(3)


class Clearance:
    """Keeps objects at a minimum distance from a path."""

    def __init__(self, positions: np.ndarray, distance_m: float, cell_m: float = 0.1) -> None:
        """
        Subsample the path.

        :param positions: positions of the camera, m, [N, 3].
        :param distance_m: minimum distance of surfaces.
        :param cell_m: cell size of the subsampled path.
        """
        cells = np.unique(np.floor(positions / cell_m).astype(np.int64), axis=0)
        self._points = (cells + 0.5) * cell_m
        self._distance = distance_m + cell_m * 0.87  # a point is that far from its cell's centre
        self._low = self._points.min(axis=0) - self._distance
        self._high = self._points.max(axis=0) + self._distance

    def is_free(self, centres: np.ndarray, halves: np.ndarray, rotations: np.ndarray) -> bool:
        """Return whether boxes (centres [M, 3], half extents [M, 3], R_world_box) are clear."""
        reach = np.linalg.norm(halves, axis=1, keepdims=True)
        near = ((centres + reach > self._low) & (centres - reach < self._high)).all(axis=1)
        if not near.any():
            return True
        between = self._points[None] - centres[near, None]
        local = np.abs(between @ rotations[near]) - halves[near, None]
        return not (np.square(np.maximum(local, 0)).sum(axis=2) < self._distance**2).any()


@dataclass
class Group:
    """Bodies that belong together, in their own frame."""

    shapes: list[str] = field(default_factory=list)
    centres: list[np.ndarray] = field(default_factory=list)
    halves: list[np.ndarray] = field(default_factory=list)
    rotations: list[np.ndarray] = field(default_factory=list)
    skins: list[Skin] = field(default_factory=list)

    def add(
        self, shape: str, centre: tuple, half: tuple, skin: Skin, rotation: np.ndarray = LEVEL
    ) -> None:
        """Add a body: 'box', 'ramp', 'cylinder' or 'ellipsoid'."""
        self.shapes.append(shape)
        self.centres.append(np.array(centre, dtype=np.float64))
        self.halves.append(np.maximum(np.array(half, dtype=np.float64), 0.002))
        self.rotations.append(rotation)
        self.skins.append(skin)

    def place(
        self,
        scene: Scene,
        clearance: Clearance | None,
        at: np.ndarray,
        yaw: float,
        *,
        mover: int = -1,
        swing_m: float = 0.0,
    ) -> bool:
        """
        Place the group in a scene if it is clear of the path.

        :param at: position of its origin, m, [3].
        :param yaw: rotation about the vertical, rad.
        :param mover: index of its motion.
        :param swing_m: largest distance of that motion from the place.
        :return: whether it was placed.
        """
        turn = turn_z(yaw)
        centres = np.array(self.centres) @ turn.T + at
        rotations = turn @ np.array(self.rotations)
        halves = np.array(self.halves)
        if clearance and not clearance.is_free(centres, halves + swing_m, rotations):
            return False
        for shape, centre, half, rotation, skin in zip(
            self.shapes, centres, halves, rotations, self.skins, strict=True
        ):
            if shape == 'ramp':
                scene.box(centre, half, rotation, skin, slope=1.0, mover=mover)
            else:
                getattr(scene, shape)(centre, half, rotation, skin, mover=mover)
        return True


def clutter(
    rng: Rng, paint: Painter, group: Group, box: tuple, height: float, count: int, size: float
) -> None:
    """
    Place small objects on a level surface.

    :param box: the surface in the group's frame: low x, high x, low y, high y, m.
    :param height: its height, m.
    :param size: typical size of an object, m.
    """
    for _ in range(count):
        x, y = rng.uniform(box[0], box[1]), rng.uniform(box[2], box[3])
        scale = size * log_uniform(rng, 0.4, 1.6)
        turn = turn_z(rng.choice([0.0, rng.uniform(0, 6.3)]))
        kind = rng.random()
        if kind < 0.3:  # paper, magazine, keyboard
            half = (scale * rng.uniform(0.5, 1.2), scale * rng.uniform(0.4, 0.9), 0.02 * scale)
            face = paint.skin(str(rng.choice(['poster', 'poster', 'screen', 'plastic'])), fit=True)
            group.add('box', (x, y, height + half[2]), half, face, turn)
        elif kind < 0.5:  # mug, can, bottle, roll
            radius, tall = 0.3 * scale, scale * rng.uniform(0.2, 0.9)
            skin = paint.anything(scale)
            group.add('cylinder', (x, y, height + tall), (radius, radius, tall), skin, turn)
            if rng.random() < 0.3:
                neck = (0.4 * radius, 0.4 * radius, 0.4 * tall)
                group.add('cylinder', (x, y, height + 2.4 * tall), neck, skin, turn)
        elif kind < 0.6:  # ball, fruit, toy
            half = 0.4 * scale * rng.uniform(0.5, 1.0, 3)
            group.add('ellipsoid', (x, y, height + half[2]), half, paint.anything(scale), turn)
        elif kind < 0.7:  # display
            half = (0.04 * scale, 0.9 * scale, 0.6 * scale)
            foot = 0.3 * scale
            face = paint.faced(
                paint.skin('screen', fit=True, glow=rng.uniform(0, 1), gloss=0.5),
                paint.skin('plastic', 1.0),
                (0,),
            )
            group.add(
                'box', (x, y, height + foot + half[2]), half, face, turn_z(rng.normal(0, 0.6))
            )
            group.add(
                'box',
                (x, y, height + foot / 2),
                (0.1 * scale, 0.15 * scale, foot / 2),
                paint.skin('plastic', 1.0),
            )
        else:  # box, book, tin, in a heap now and then
            z, half = height, np.full(3, scale)
            for _ in range(int(rng.choice([1, 1, 2, 3]))):
                half = half * rng.uniform(0.3, 0.9, 3)
                group.add('box', (x, y, z + half[2]), half, paint.anything(scale), turn)
                z += 2 * half[2]
                turn = turn @ turn_z(rng.normal(0, 0.3))


def table(rng: Rng, paint: Painter, half: np.ndarray, height: float, things: int) -> Group:
    """Build a table of half extents [2] (m) with objects on it."""
    group = Group()
    top = paint.skin(
        str(rng.choice(['wood', 'wood', 'plastic', 'wall', 'fabric'])), 1.2, gloss=0.5
    )
    thick = rng.uniform(0.008, 0.04)
    group.add('box', (0, 0, height - thick), (half[0], half[1], thick), top)
    leg, metal = rng.uniform(0.015, 0.05), paint.skin('plastic', 1.0)
    if rng.random() < 0.25:  # closed below
        group.add(
            'box',
            (0, 0, 0.5 * height - thick),
            (0.95 * half[0], 0.95 * half[1], 0.5 * height - thick),
            paint.skin('wood', 1.0, fit=rng.random() < 0.5),
        )
    else:
        shape = 'box' if rng.random() < 0.6 else 'cylinder'
        for x in (-1, 1):
            for y in (-1, 1):
                foot = ((half[0] - 2 * leg) * x, (half[1] - 2 * leg) * y, 0.5 * height - thick)
                group.add(shape, foot, (leg, leg, 0.5 * height - thick), metal)
    size = min(0.16, 0.4 * float(min(half)))
    box = (-half[0] + size, half[0] - size, -half[1] + size, half[1] - size)
    clutter(rng, paint, group, box, height, things, size)
    return group


def shelf(rng: Rng, paint: Painter) -> Group:
    """Build a shelf with books and objects on its boards; its back is at x = 0."""
    group = Group()
    depth, width, tall = rng.uniform(0.1, 0.25), rng.uniform(0.3, 1.2), rng.uniform(0.5, 2.3)
    board = paint.skin(str(rng.choice(['wood', 'plastic', 'wall'])), 1.0)
    lowest = 0.0 if rng.random() < 0.7 else rng.uniform(0.8, 1.4)  # some hang on the wall
    group.add('box', (0.01, 0, lowest + tall / 2), (0.01, width, tall / 2), board)
    for side in (-1, 1):
        group.add('box', (depth, side * width, lowest + tall / 2), (depth, 0.012, tall / 2), board)
    levels = int(rng.integers(2, 6))
    for level in range(levels + 1):
        z = lowest + tall * level / levels
        group.add('box', (depth, 0, z), (depth, width, 0.012), board)
        if level == levels:
            break
        room = tall / levels
        if rng.random() < 0.5:
            fill = rng.uniform(0.3, 0.95)
            high, deep = room * rng.uniform(0.3, 0.45), depth * rng.uniform(0.6, 0.95)
            group.add(
                'box',
                (deep, rng.uniform(-1, 1) * (1 - fill) * width, z + 0.012 + high),
                (deep, fill * width, high),
                paint.skin('books', fit=True),
            )
        else:
            span = (0.3 * depth, 1.6 * depth, -0.8 * width, 0.8 * width)
            size = min(0.3 * room, 0.12)
            clutter(rng, paint, group, span, z + 0.012, int(rng.integers(1, 6)), size)
    return group


def cupboard(rng: Rng, paint: Painter) -> Group:
    """Build a cupboard or counter with objects on it; its back is at x = 0."""
    group = Group()
    depth, width, tall = rng.uniform(0.2, 0.4), rng.uniform(0.3, 1.5), rng.uniform(0.2, 1.0)
    kind = str(rng.choice(['wood', 'plastic', 'wall', 'fabric']))
    group.add('box', (depth, 0, tall), (depth, width, tall), paint.skin(kind, 1.0, gloss=0.6))
    doors = int(rng.integers(1, 5))
    door, knob = paint.skin(kind, 1.0, gloss=0.6), paint.skin('plastic', 1.0, gloss=1.0)
    for number in range(doors):
        y = width * ((2 * number + 1) / doors - 1)
        group.add('box', (2 * depth, y, tall), (0.012, 0.94 * width / doors, 0.92 * tall), door)
        group.add(
            'box',
            (2 * depth + 0.02, y + 0.7 * width / doors, tall * 1.3),
            (0.012, 0.01, 0.07),
            knob,
        )
    if tall < 0.75:
        span = (0.2 * depth, 1.8 * depth, -0.9 * width, 0.9 * width)
        clutter(rng, paint, group, span, 2 * tall, int(rng.integers(1, 8)), 0.14)
    return group


def chair(rng: Rng, paint: Painter) -> Group:
    """Build a chair."""
    group = Group()
    skin = paint.skin(str(rng.choice(['wood', 'fabric', 'plastic'])), 0.6)
    seat, leg = rng.uniform(0.4, 0.5), rng.uniform(0.012, 0.025)
    group.add('box', (0, 0, seat), (0.21, 0.21, 0.02), skin)
    for x in (-0.18, 0.18):
        for y in (-0.18, 0.18):
            group.add('box', (x, y, seat / 2), (leg, leg, seat / 2), skin)
    tall = rng.uniform(0.2, 0.3)
    if rng.random() < 0.5:
        group.add('box', (-0.2, 0, seat + tall), (0.015, 0.2, tall), skin)
    else:  # slats
        for y in (-0.19, 0.19):
            group.add('box', (-0.2, y, seat + tall), (0.015, 0.02, tall), skin)
        for z in (0.6, 1.2, 1.8):
            group.add('box', (-0.2, 0, seat + tall * z), (0.012, 0.19, 0.03), skin)
    return group


def picture(rng: Rng, paint: Painter, size: float) -> Group:
    """Build a picture, board, display or window for a wall; its back is at x = 0."""
    group = Group()
    half = size * rng.uniform(0.3, 1.0, 2)
    thick = rng.uniform(0.003, 0.03)
    kind = str(
        rng.choice(
            ['poster', 'photograph', 'screen', 'wall', 'clouds', 'plastic'],
            p=[0.35, 0.25, 0.13, 0.12, 0.1, 0.05],
        )
    )
    glow = rng.uniform(0.3, 1.3) if kind in ('screen', 'clouds') else 0.0
    face = paint.faced(
        paint.skin(kind, fit=True, gloss=0.8, glow=glow), paint.skin('wood', 1), (0,)
    )
    group.add('box', (thick, 0, 0), (thick, half[0], half[1]), face)
    if rng.random() < 0.4:
        rim = rng.uniform(0.01, 0.05)
        edge = paint.skin(str(rng.choice(['wood', 'plastic'])), 1.0)
        for y, z, wide, tall in (
            (0, half[1], half[0] + rim, rim),
            (0, -half[1], half[0] + rim, rim),
            (half[0], 0, rim, half[1]),
            (-half[0], 0, rim, half[1]),
        ):
            group.add('box', (thick + 0.01, y, z), (thick + 0.01, wide, tall), edge)
    return group


def plant(rng: Rng, paint: Painter, tall: float) -> Group:
    """Build a plant in a pot."""
    group = Group()
    pot = 0.12 * tall * rng.uniform(0.7, 1.5)
    group.add('cylinder', (0, 0, pot), (pot, pot, pot), paint.skin('plastic', 0.5))
    green = paint.skin('foliage', 0.5)
    for _ in range(int(rng.integers(4, 14))):
        turn = turn_z(rng.uniform(0, 6.3)) @ turn_x(rng.uniform(-1.0, 1.0))
        length = tall * rng.uniform(0.15, 0.4)
        at = turn @ np.array([0, 0, length]) + [0, 0, 2 * pot + rng.uniform(0, 0.3) * tall]
        leaf = (0.12 * length, 0.02 * length + 0.003, length)
        group.add(str(rng.choice(['box', 'ellipsoid'])), tuple(at), leaf, green, turn)
    return group


def crates(rng: Rng, paint: Painter, size: float) -> Group:
    """Build a pile of boxes, a ball, a barrel, or a ramp."""
    group = Group()
    kind = rng.random()
    if kind < 0.15:
        half = size * rng.uniform(0.4, 0.9)
        group.add('ellipsoid', (0, 0, half), (half, half, half), paint.anything(size))
    elif kind < 0.35:
        radius, tall = size * rng.uniform(0.3, 0.8), size * rng.uniform(0.4, 1.4)
        group.add('cylinder', (0, 0, tall), (radius, radius, tall), paint.anything(size))
    elif kind < 0.45:
        half = size * rng.uniform(0.4, 1.2, 3)
        group.add('ramp', (0, 0, half[2]), half, paint.anything(size))
    else:
        z, half, turn = 0.0, size * rng.uniform(0.5, 1.2, 3), LEVEL
        for _ in range(int(rng.integers(1, 4))):
            skin = paint.skin(
                str(rng.choice(['wood', 'poster', 'plastic', 'photograph', 'pattern'])),
                size * 1.5,
                fit=rng.random() < 0.5,
            )
            group.add('box', (0, 0, z + half[2]), half, skin, turn)
            z += 2 * half[2]
            half, turn = half * rng.uniform(0.5, 0.95, 3), turn_z(rng.normal(0, 0.4))
    return group


def stand(rng: Rng, paint: Painter) -> Group:
    """Build something thin: a stand, a coat rack, a rail or a cable between two posts."""
    group = Group()
    thick, tall = log_uniform(rng, 0.004, 0.025), rng.uniform(0.4, 2.0)
    skin = paint.skin('plastic', 0.5, gloss=1.0)
    group.add('cylinder', (0, 0, tall / 2), (thick, thick, tall / 2), skin)
    if rng.random() < 0.5:  # arms or a foot
        for _ in range(int(rng.integers(1, 5))):
            reach, z = rng.uniform(0.08, 0.35), tall * rng.choice([0.02, rng.uniform(0.5, 1.0)])
            group.add('box', (0, 0, z), (reach, thick, thick), skin, turn_z(rng.uniform(0, 6.3)))
    else:
        span = rng.uniform(0.4, 2.0)
        group.add('cylinder', (span, 0, tall / 2), (thick, thick, tall / 2), skin)
        for z in rng.uniform(0.2, 1.0, int(rng.integers(1, 4))) * tall:
            group.add('box', (span / 2, 0, z), (span / 2, thick / 2, thick / 2), skin)
    return group


def person(rng: Rng, paint: Painter) -> Group:
    """Build a standing person."""
    group = Group()
    tall = rng.uniform(0.85, 1.1)
    cloth, trousers = paint.skin('fabric', 0.5), paint.skin('fabric', 0.5)
    for y in (-0.1, 0.1):
        group.add('cylinder', (0, y, 0.42 * tall), (0.08, 0.08, 0.42 * tall), trousers)
    group.add('ellipsoid', (0, 0, 1.15 * tall), (0.15, 0.23, 0.36 * tall), cloth)
    for y in (-0.27, 0.27):
        group.add('ellipsoid', (0, y, 1.1 * tall), (0.06, 0.06, 0.33 * tall), cloth)
    face = paint.skin('plastic', 0.4, tint=np.array([1.0, 0.8, 0.7]) * rng.uniform(0.4, 1.0))
    group.add('ellipsoid', (0, 0, 1.62 * tall), (0.1, 0.09, 0.13), face)
    return group
