# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Streets and yards under the sky."""

from __future__ import annotations

import numpy as np

from mem3r_ros.worlds import furniture
from mem3r_ros.worlds.furniture import Clearance, Group
from mem3r_ros.worlds.painter import Painter, outdoor_light
from mem3r_ros.worlds.paths import Arena, log_uniform
from mem3r_ros.worlds.scene import Scene, turn_x
from mem3r_ros.worlds.site import Rng, Site, motion_about, set_in_motion

BLOCK_M = 20.0  # streets are built in blocks of this length
VIEW_M = 120.0  # bodies farther away are not drawn


def street_arena(rng: Rng, path_kind: str, is_wide: bool = False) -> Arena:
    """Return the arena of the camera in a street; wide: on a small robot, a lorry or a drone."""
    if is_wide:
        flies = path_kind == 'drone'
        height = log_uniform(rng, 2.0, 30.0) if flies else log_uniform(rng, 0.2, 3.2)
        half = np.array([2.0, rng.uniform(0.3, 1.2), 0.5 * height if flies else 0.1])
        return Arena(half, height, 2.0, endless=True, fast=rng.random() < 0.7, pitch=0.0)
    half = np.array([2.0, rng.uniform(0.3, 1.0), 0.2])
    height = rng.uniform(2.5, 9.0) if path_kind == 'drone' else rng.uniform(1.2, 2.0)
    if path_kind == 'drone':
        half[2] = 0.5 * height
    return Arena(half, height, 2.0, endless=True, fast=True, pitch=0.0)


def yard_arena(rng: Rng, path_kind: str, is_wide: bool = False) -> Arena:
    """Return the arena of the camera in a yard; wide: from a small robot to a high drone."""
    if is_wide:
        flies = path_kind == 'drone'
        height = log_uniform(rng, 1.5, 40.0) if flies else log_uniform(rng, 0.15, 3.0)
        half = np.array([log_uniform(rng, 0.5, 20.0), log_uniform(rng, 0.5, 20.0), 0.0])
        half[2] = height * (rng.uniform(0.1, 0.5) if flies else 0.1)
        return Arena(half, height, 2.0 * np.sqrt(height) if flies else 2.0, pitch=-0.05)
    half = np.array([*rng.uniform(1.0, 7.0, 2), rng.uniform(0.1, 0.5)])
    height = rng.uniform(1.2, 1.9)
    if path_kind == 'drone':
        height = rng.uniform(2.5, 12.0)
        half[2] = rng.uniform(0.1, 0.5) * height
    return Arena(half, height, 2.0, pitch=-0.05)


def car(rng: Rng, paint: Painter) -> Group:
    """Build a car or van, its front towards +x."""
    group = Group()
    length, wide = rng.uniform(1.8, 2.5), rng.uniform(0.75, 0.95)
    van = rng.random() < 0.2
    body = paint.skin('plastic', 2.0, gloss=1.0)
    glass = paint.skin('plastic', 2.0, tint=np.full(3, rng.uniform(0.1, 0.4)))
    group.add('box', (0, 0, 0.62), (length, wide, 0.32), body)
    top = 1.25 if van else 1.15
    back = rng.uniform(-0.5, -0.1)
    group.add(
        'box',
        (back, 0, top),
        (length * (0.75 if van else 0.42), 0.85 * wide, 0.55 if van else 0.25),
        glass,
    )
    group.add('ramp', (back + length * 0.57, 0, 1.1), (length * 0.16, 0.83 * wide, 0.22), glass)
    group.add('box', (back, 0, 1.42 if not van else 1.82), (length * 0.4, 0.83 * wide, 0.03), body)
    rubber = paint.skin('plastic', 1.0, tint=np.full(3, 0.25))
    for x in (-0.62, 0.62):
        for y in (-wide, wide):
            group.add(
                'cylinder', (x * length, y, 0.32), (0.32, 0.32, 0.1), rubber, turn_x(np.pi / 2)
            )
    for x in (-1, 1):
        for y in (-0.75, 0.75):
            lamp = paint.skin('plastic', 1.0, tint=np.array([1.2, 0.3 + 0.4 * x, 0.3 + 0.4 * x]))
            group.add('box', (x * length, y * wide, 0.7), (0.02, 0.12, 0.07), lamp)
    group.add('box', (length, 0, 0.5), (0.02, 0.3, 0.07), paint.skin('poster', fit=True))
    return group


def tree(rng: Rng, paint: Painter) -> Group:
    """Build a tree or bush."""
    group = Group()
    tall = log_uniform(rng, 1.5, 9.0)
    trunk = 0.02 * tall + 0.03
    stem = tall * rng.uniform(0.15, 0.4)
    group.add('cylinder', (0, 0, stem), (trunk, trunk, stem), paint.skin('wood', 1.0))
    green = paint.skin('foliage', rng.uniform(1.0, 4.0))
    for _ in range(int(rng.integers(2, 8))):
        half = tall * rng.uniform(0.08, 0.26, 3)
        at = rng.normal(0, 0.12, 3) * tall + [0, 0, 2 * stem + 0.15 * tall]
        group.add('ellipsoid', tuple(at), half, green, furniture.turn_z(rng.uniform(0, 6)))
    return group


def house(rng: Rng, paint: Painter, half: np.ndarray) -> Group:
    """Build a house of half extents [3] (m), its front towards +x."""
    group = Group()
    skin = paint.skin('facade', rng.uniform(4.0, 9.0))
    if rng.random() < 0.25:
        skin = paint.skin(str(rng.choice(['tiles', 'wall'])), 3.0)
    group.add('box', (0, 0, half[2]), half, skin)
    if rng.random() < 0.6:  # a gable roof
        slope, rise = paint.skin('tiles', 2.0), rng.uniform(0.3, 0.8) * half[0]
        for turn in (0.0, np.pi):
            side = np.cos(turn)
            group.add(
                'ramp',
                (side * half[0] * 0.55, 0, 2 * half[2] + rise),
                (half[0] * 0.55, half[1] * 1.04, rise),
                slope,
                furniture.turn_z(turn),
            )
    for _ in range(int(rng.integers(0, 7))):  # balconies, signs, doors
        z = rng.uniform(0.1, 0.9) * 2 * half[2]
        part = rng.uniform(0.1, 0.6, 3) + [0, rng.uniform(0, 1.2), 0]
        group.add('box', (half[0], rng.uniform(-0.8, 0.8) * half[1], z), part, paint.anything(2.0))
    group.add(
        'box',
        (half[0], rng.uniform(-0.7, 0.7) * half[1], 1.1),
        (0.06, 0.6, 1.1),
        paint.skin('wood', fit=True),
    )
    return group


def pole(rng: Rng, paint: Painter) -> Group:
    """Build a lamp post, a traffic sign or a hoarding; its front towards -x."""
    group = Group()
    tall, radius = rng.uniform(1.2, 4.0), rng.uniform(0.03, 0.12)
    grey = paint.skin('plastic', 1.0)
    group.add('cylinder', (0, 0, tall), (radius, radius, tall), grey)
    kind = rng.random()
    if kind < 0.4:
        arm = rng.uniform(0.4, 1.2)
        group.add('box', (0, arm, 2 * tall), (0.05, arm, 0.05), grey)
        group.add('box', (0, 2 * arm, 2 * tall - 0.05), (0.1, 0.3, 0.06), paint.skin('wall', 1.0))
    elif kind < 0.9:
        size = rng.uniform(0.2, 0.9)
        sign = paint.skin(str(rng.choice(['poster', 'pattern'])), fit=True)
        group.add(
            'box', (-radius, 0, 2 * tall - size), (0.02, size, size * rng.uniform(0.5, 1)), sign
        )
    return group


def fence(rng: Rng, paint: Painter) -> Group:
    """Build a few metres of fence, wall or hedge along x."""
    group = Group()
    length, tall = BLOCK_M / 4, rng.uniform(0.3, 1.0)
    kind = rng.random()
    if kind < 0.4:
        group.add(
            'box', (0, 0, tall), (length, rng.uniform(0.2, 0.6), tall), paint.skin('foliage', 2.0)
        )
    elif kind < 0.65:
        group.add('box', (0, 0, tall), (length, 0.12, tall), paint.skin('tiles', 1.5))
    else:
        skin = paint.skin('wood', 1.0)
        for x in np.linspace(-length, length, 9):
            group.add('box', (x, 0, tall), (0.04, 0.04, tall), skin)
        for z in (0.8, 1.7):
            group.add('box', (0, 0, tall * z), (length, 0.02, 0.06), skin)
    return group


class Street:
    """A street along a course."""

    def __init__(self, site: Site) -> None:
        """Draw its width and the kinds of objects at its sides."""
        rng = site.rng
        self._site, self._course = site, site.course
        self._scene = Scene(outdoor_light(rng, site.paint))
        # the camera drives in the middle of its lane, y is to the left
        self._right = -rng.uniform(1.7, 4.0)
        self._left = rng.uniform(2.0, 9.0)
        self._pavement = rng.uniform(0.0, 3.5)
        self._setback = rng.uniform(0.5, 9.0)
        self._density = {
            name: rng.uniform(0, high)
            for name, high in (
                ('house', 1.3),
                ('car', 0.9),
                ('tree', 1.0),
                ('pole', 1.0),
                ('fence', 0.8),
            )
        }
        self._clearance = Clearance(site.positions, 0.5, 0.3)

    def build(self) -> Scene:
        """Return the visible part of the street."""
        site, rng = self._site, self._site.rng
        along = site.along
        first = int((along[: site.num_frames].min() - 30) // BLOCK_M)
        last = int((along[: site.num_frames].max() + VIEW_M + 20) // BLOCK_M)
        ground = site.paint.skin(str(rng.choice(['grass', 'grass', 'asphalt', 'floor'])), 5.0)
        self._road = site.paint.skin('asphalt', rng.uniform(3, 8), tint=np.ones(3))
        self._stones = site.paint.skin(str(rng.choice(['tiles', 'asphalt', 'floor'])), 1.5)
        self._paint = site.paint.skin('wall', 2.0, tint=np.full(3, 1.25))
        for number in range(first, last + 1):
            block = np.random.default_rng((*site.key, 5, number + 10**6))
            self._block(block, number * BLOCK_M)
        if site.has_movers:
            self._traffic(np.random.default_rng((*site.key, 6)), along)
        self._scene.ground(ground)
        return self._scene

    def _put(self, group: Group, along: float, lateral: float, yaw: float = 0.0) -> None:
        x, y, heading = self._course.at(along, lateral)
        at = np.array([float(x), float(y), 0.0])
        group.place(self._scene, self._clearance, at, float(heading) + yaw)

    def _strip(
        self,
        along: float,
        low: float,
        high: float,
        top: float,
        skin: object,
        length: float = BLOCK_M,
    ) -> None:
        """Add a flat strip between two lateral positions."""
        pieces = max(1, round(length / 10))
        for piece in range(pieces):
            middle = along + length * (piece + 0.5) / pieces
            x, y, heading = self._course.at(middle, 0.5 * (low + high))
            half = np.array([0.5 * length / pieces + 0.1, 0.5 * (high - low), 0.1])
            self._scene.box(
                np.array([float(x), float(y), top - half[2]]),
                half,
                furniture.turn_z(float(heading)),
                skin,
            )

    def _block(self, rng: Rng, start: float) -> None:
        paint = self._site.paint.on(rng)
        left, right, path = self._left, self._right, self._pavement
        self._strip(start, right, left, 0.02, self._road)
        middle = 0.5 * (left + right)
        for mark in (0.0, 10.0):
            self._strip(start + mark, middle - 0.07, middle + 0.07, 0.025, self._paint, 4.0)
        for side, edge in ((1, left), (-1, right)):
            if path > 0.5:
                low, high = sorted((edge, edge + side * path))
                self._strip(start, low, high, 0.14, self._stones)
            beyond = edge + side * (path + self._setback)
            for quarter in range(4):
                at = start + 5 * quarter + rng.uniform(0, 3)
                if rng.random() < 0.35 * self._density['pole']:
                    self._put(pole(rng, paint), at, edge + side * 0.4, np.pi * (side > 0))
                if rng.random() < 0.5 * self._density['tree']:
                    away = edge + side * rng.uniform(0.8, path + self._setback + 2)
                    self._put(tree(rng, paint), at, away)
                if rng.random() < 0.5 * self._density['car']:
                    away = edge - side * rng.uniform(-0.9, 0.9)
                    self._put(car(rng, paint), at, away, np.pi * (rng.random() < 0.5))
                if rng.random() < 0.6 * self._density['fence']:
                    away = edge + side * (path + rng.uniform(0.1, 1.0) * self._setback)
                    self._put(fence(rng, paint), at, away)
                if rng.random() < 0.1:
                    self._put(furniture.person(rng, paint), at, edge + side * rng.uniform(0.5, 2))
                if rng.random() < 0.15:
                    self._put(
                        furniture.crates(rng, paint, rng.uniform(0.2, 0.8)),
                        at,
                        edge + side * rng.uniform(0.5, 4),
                    )
            if rng.random() < self._density['house']:
                half = np.array([rng.uniform(3, 7), rng.uniform(4, 9.5), rng.uniform(1.5, 8)])
                self._put(
                    house(rng, paint, half), start + 10, beyond + side * half[0], -side * np.pi / 2
                )

    def _traffic(self, rng: Rng, along: np.ndarray) -> None:
        """Add oncoming cars, and one car ahead in the same lane."""
        site = self._site
        frames = np.arange(site.num_frames)
        pace = float(np.diff(along[:1024]).mean()) + 0.05
        lanes = [
            (float(rng.uniform(10, 90)), -pace * rng.uniform(0.3, 1.5), self._left - 1.6)
            for _ in range(int(rng.integers(1, 4)))
        ]
        if rng.random() < 0.5 and self._left > 3.0:
            lanes.append((float(rng.uniform(9, 40)), None, 0.0))
        for distance, speed, lateral in lanes:
            if speed is None:  # ahead in the same lane, at a slightly varying distance
                where = along[: site.num_frames] + distance
            elif lateral < 2.4:
                continue
            else:
                where = along[0] + distance + speed * frames
            x, y, heading = self._course.at(where, np.full(len(where), lateral))
            shift = np.stack([x, y, 0 * x], axis=-1)
            turn = heading + (np.pi if speed is not None else 0.0)
            self._scene.motions.append(motion_about(np.zeros(3), shift, turn))
            car(rng, site.paint.on(rng)).place(
                self._scene, None, np.zeros(3), 0.0, mover=len(self._scene.motions) - 1
            )


def build_street(site: Site) -> Scene:
    """Build the visible part of a street."""
    return Street(site).build()


def build_yard(site: Site) -> Scene:
    """Build open ground with houses, trees, cars, fences and small objects."""
    rng, paint, arena = site.rng, site.paint, site.arena
    scene = Scene(outdoor_light(rng, paint))
    clearance = site.clearance(rng.uniform(0.3, 0.8))
    reach = float(arena.half[:2].max()) + arena.height

    def around(low: float, high: float) -> np.ndarray:
        angle, distance = rng.uniform(0, 6.3), reach * rng.uniform(0, 1) + rng.uniform(low, high)
        return np.array([distance * np.cos(angle), distance * np.sin(angle), 0.0])

    for _ in range(int(rng.integers(2, 9))):
        half = np.array([rng.uniform(3, 7), rng.uniform(3, 9), rng.uniform(1.3, 6)])
        at = around(6, 50)
        facing = np.arctan2(-at[1], -at[0]) + rng.normal(0, 0.4)
        house(rng, paint, half).place(scene, clearance, at, facing)
    builders = (
        (tree, 2, 14, 30),
        (car, 0, 5, 15),
        (fence, 0, 8, 15),
        (pole, 0, 6, 15),
        (furniture.person, 0, 4, 8),
    )
    for build, low, high, far in builders:
        for _ in range(int(rng.integers(low, high))):
            build(rng, paint).place(scene, clearance, around(0.5, far), rng.uniform(0, 6.3))
    for _ in range(int(rng.integers(4, 24))):
        pile = furniture.crates(rng, paint, log_uniform(rng, 0.1, 1.0))
        pile.place(scene, clearance, around(0.0, 8), rng.uniform(0, 6.3))
    if site.has_movers:
        for build in (furniture.person, furniture.person, car):
            set_in_motion(site, scene, clearance, build(rng, paint), rng.uniform(0.3, 2.0))
    scene.ground(paint.skin(str(rng.choice(['grass', 'grass', 'asphalt', 'floor'])), 4.0))
    return scene
