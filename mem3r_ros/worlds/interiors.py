# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rooms, desks, halls, corridors, and floating bodies."""

from __future__ import annotations

import numpy as np

from mem3r_ros.worlds import furniture
from mem3r_ros.worlds.furniture import Clearance, Group
from mem3r_ros.worlds.painter import Painter, indoor_light
from mem3r_ros.worlds.paths import Arena, log_uniform
from mem3r_ros.worlds.scene import FACES, Scene, Skin, random_rotation
from mem3r_ros.worlds.site import Rng, Site, along_wall, set_in_motion


def room_arena(rng: Rng, path_kind: str, is_wide: bool = False) -> Arena:
    """Return the arena of the camera in a room; a wide one may be a closet or a large flat."""
    if is_wide:
        half = np.array([log_uniform(rng, 0.1, 4.0), log_uniform(rng, 0.1, 3.0), 0.0])
        half[2] = rng.uniform(0.03, 0.4)
        low = path_kind == 'drive'
        height = log_uniform(rng, 0.1, 0.8) if low else log_uniform(rng, 0.45, 2.3)
        return Arena(half, height, pitch=rng.uniform(-0.5, 0.1))
    wide = 1.6 if path_kind in ('walk', 'drive') else 1.0
    half = np.array([*rng.uniform(0.25, 1.5, 2) * wide, rng.uniform(0.05, 0.4)])
    height = rng.uniform(0.25, 1.0) if path_kind == 'drive' else rng.uniform(1.0, 1.8)
    return Arena(half, height, pitch=rng.uniform(-0.5, 0.0))


def desk_arena(rng: Rng, path_kind: str, is_wide: bool = False) -> Arena:
    """Return the arena of the camera in front of a desk; a wide one may be very close to it."""
    if is_wide:
        close = log_uniform(rng, 0.12, 1.0)
        half = close * np.array([*rng.uniform(0.2, 0.9, 2), rng.uniform(0.1, 0.5)])
        high = rng.uniform(0.4, 1.0)
        target = np.array([half[0] + close * rng.uniform(0.5, 1.2), rng.normal(0, 0.1), high])
        height = high + half[2] + close * rng.uniform(0.15, 0.9)
        return Arena(half, height, 0.7 * close, pitch=-0.45, target=target)
    half = np.array([*rng.uniform(0.15, 0.9, 2), rng.uniform(0.08, 0.35)])
    high = rng.uniform(0.6, 0.85)
    away = half[0] + rng.uniform(0.4, 1.2)
    target = np.array([away, rng.normal(0, 0.2), high])
    return Arena(half, high + half[2] + rng.uniform(0.25, 0.8), 0.7, pitch=-0.45, target=target)


def hall_arena(rng: Rng, path_kind: str, is_wide: bool = False) -> Arena:
    """Return the arena of the camera in a hall; a wide one may be a hangar."""
    if is_wide:
        half = np.array([log_uniform(rng, 1.0, 15.0), log_uniform(rng, 1.0, 12.0), 0.3])
        flies = path_kind == 'drone'
        height = log_uniform(rng, 1.0, 8.0) if flies else log_uniform(rng, 0.2, 3.0)
        half[2] = min(rng.uniform(0.1, 2.0), 0.4 * height)
        return Arena(half, height, 2.0, pitch=-0.1)
    half = np.array([*rng.uniform(0.8, 5.0, 2), rng.uniform(0.1, 0.6)])
    height = rng.uniform(2.0, 4.0) if path_kind == 'drone' else rng.uniform(1.0, 1.9)
    return Arena(half, height, 1.5, pitch=-0.1)


def abstract_arena(rng: Rng, path_kind: str, is_wide: bool = False) -> Arena:
    """Return the arena of the camera among floating bodies."""
    scale = log_uniform(rng, 0.3, 3.0)
    return Arena(scale * rng.uniform(0.4, 1.0, 3), 100.0, scale, pitch=0.0)


def corridor_arena(rng: Rng, path_kind: str, is_wide: bool = False) -> Arena:
    """Return the arena of the camera in a corridor; a wide one may be an underpass."""
    if is_wide:
        half = np.array([rng.uniform(0.5, 2.0), log_uniform(rng, 0.1, 3.0), 0.05])
        return Arena(half, log_uniform(rng, 0.15, 2.5), endless=True, pitch=-0.05)
    half = np.array([rng.uniform(0.5, 2.0), rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.3)])
    height = rng.uniform(0.3, 1.0) if path_kind == 'drive' else rng.uniform(1.2, 1.8)
    return Arena(half, height, endless=True, pitch=-0.05)


def _shell_skin(rng: Rng, paint: Painter) -> Skin:
    """Return the walls, floor and ceiling of a room."""
    kind = str(rng.choice(['wall', 'tiles', 'fabric', 'photograph'], p=[0.72, 0.14, 0.09, 0.05]))
    walls = paint.skin(kind, log_uniform(rng, 1.0, 4.0))
    under = paint.skin(str(rng.choice(['floor', 'wood', 'tiles'])), log_uniform(rng, 0.8, 3.0))
    above = paint.skin(str(rng.choice(['wall', 'tiles'], p=[0.7, 0.3])), 1.5)
    skin = paint.faced(under, walls, (5,))
    skin = Skin(skin.textures, walls.gain, skin.period_m, skin.shift, 0.4 * rng.random())
    return paint.faced(Skin(above.textures, walls.gain, above.period_m, above.shift), skin, (4,))


def _start(site: Site, half: np.ndarray, middle: np.ndarray) -> Scene:
    """Return an empty scene with a lamp near the ceiling."""
    rng = site.rng
    lamp_at = middle + rng.uniform(-0.7, 0.7, 3) * half
    lamp_at[2] = middle[2] + half[2] * rng.uniform(0.5, 0.95)
    return Scene(indoor_light(rng, lamp_at, max(1.0, half[2])))


def _room_of(site: Site, margin: tuple[float, float], ceiling: tuple[float, float]) -> tuple:
    """Return half extents [3] and middle [3] of a room around the path."""
    rng, arena = site.rng, site.arena
    high = max(rng.uniform(*ceiling), arena.height + arena.half[2] + 0.35)
    half = np.array([*(arena.half[:2] + rng.uniform(*margin, 2)), high / 2])
    shift = rng.uniform(-0.8, 0.8, 2) * (half[:2] - arena.half[:2] - margin[0] * 0.9)
    return half, np.array([*shift, high / 2])


def _furnish(
    site: Site,
    scene: Scene,
    clearance: Clearance,
    half: np.ndarray,
    middle: np.ndarray,
    counts: dict[str, int],
) -> None:
    """Put furniture along the walls and about the room."""
    rng, paint = site.rng, site.paint
    ground = np.array([middle[0], middle[1], 0.0])
    for _ in range(counts['wall']):
        build = furniture.shelf if rng.random() < 0.5 else furniture.cupboard
        at, yaw = along_wall(rng, half)
        build(rng, paint).place(scene, clearance, ground + at, yaw)
    for _ in range(counts['picture']):
        at, yaw = along_wall(rng, half)
        at[2] = rng.uniform(0.35, 0.8) * 2 * half[2]
        size = min(log_uniform(rng, 0.12, 1.2), 0.6 * half[2])
        furniture.picture(rng, paint, size).place(scene, clearance, ground + at, yaw)
    for _ in range(counts['table']):
        size = rng.uniform(0.25, 1.1, 2)
        group = furniture.table(rng, paint, size, rng.uniform(0.4, 0.95), int(rng.integers(1, 9)))
        at, yaw = ground + _anywhere(rng, half - [*size, 0]), rng.choice([0, np.pi / 2, 1.0])
        group.place(scene, clearance, at, yaw)
        for _ in range(int(rng.integers(0, 3))):
            beside = at + [*rng.uniform(-1.2, 1.2, 2), 0]
            furniture.chair(rng, paint).place(scene, clearance, beside, rng.uniform(0, 6.3))
    for _ in range(counts['thing']):
        group = furniture.crates(rng, paint, log_uniform(rng, 0.08, 0.6))
        if rng.random() < 0.15:
            group = furniture.plant(rng, paint, rng.uniform(0.4, 1.6))
        group.place(scene, clearance, ground + _anywhere(rng, half), rng.uniform(0, 6.3))
    for _ in range(int(rng.integers(0, 7)) if site.is_wide else 0):
        at = ground + _anywhere(rng, half)
        furniture.stand(rng, paint).place(scene, clearance, at, rng.uniform(0, 6.3))
    for _ in range(int(rng.integers(0, 4))):  # lamps and pipes below the ceiling
        at = ground + _anywhere(rng, half) + [0, 0, 2 * half[2]]
        _hanging(rng, paint, half).place(scene, clearance, at, rng.choice([0, np.pi / 2]))
    if site.has_movers:
        for _ in range(int(rng.integers(1, 5))):
            group = furniture.person(rng, paint)
            if rng.random() < 0.4:
                group = furniture.crates(rng, paint, log_uniform(rng, 0.1, 0.4))
            set_in_motion(site, scene, clearance, group, log_uniform(rng, 0.1, 0.8))


def _anywhere(rng: Rng, half: np.ndarray) -> np.ndarray:
    """Return a point on the floor of a room, [3]."""
    return np.array([*rng.uniform(-0.95, 0.95, 2) * np.maximum(half[:2], 0.1), 0.0])


def _hanging(rng: Rng, paint: Painter, half: np.ndarray) -> Group:
    """Build a lamp, a beam or a pipe that hangs from z = 0."""
    group = Group()
    kind = rng.random()
    if kind < 0.4:
        cord = rng.uniform(0.1, 0.3) * half[2]
        radius = rng.uniform(0.06, 0.25)
        group.add('cylinder', (0, 0, -cord), (0.01, 0.01, cord), paint.skin('plastic', 1.0))
        group.add(
            'ellipsoid',
            (0, 0, -2 * cord),
            (radius, radius, 0.6 * radius),
            paint.skin('wall', 1.0, glow=rng.uniform(0.6, 1.4)),
        )
    elif kind < 0.7:
        glow = paint.skin('wall', 1.0, glow=rng.uniform(0.8, 1.5))
        group.add(
            'box', (0, 0, -0.03), (rng.uniform(0.2, 0.7), rng.uniform(0.05, 0.3), 0.03), glow
        )
    else:
        thick = rng.uniform(0.03, 0.12)
        group.add('box', (0, 0, -thick), (max(half), thick, thick), paint.skin('wood', 1.0))
    return group


def build_room(site: Site) -> Scene:
    """Build a furnished room."""
    rng = site.rng
    margin = (0.3, log_uniform(rng, 0.6, 5.0)) if site.is_wide else (0.5, 2.6)
    half, middle = _room_of(site, margin, (2.0, 4.5) if site.is_wide else (2.2, 3.5))
    free = log_uniform(rng, 0.06, 0.4) if site.is_wide else rng.uniform(0.12, 0.4)
    scene, clearance = _start(site, half, middle), site.clearance(free)
    counts = {
        'wall': int(rng.integers(3, 10)),
        'picture': int(rng.integers(4, 20)),
        'table': int(rng.integers(1, 5)),
        'thing': int(rng.integers(4, 18)),
    }
    _furnish(site, scene, clearance, half, middle, counts)
    scene.shell(middle, half, _shell_skin(rng, site.paint))
    return scene


def build_desk(site: Site) -> Scene:
    """Build a desk with many small objects in a room or hall."""
    rng, paint, target = site.rng, site.paint, site.arena.target
    large = rng.random() < 0.4
    half, middle = _room_of(site, (1.8, 7.0) if large else (1.5, 3.0), (2.3, 5.0))
    free = rng.uniform(0.08, 0.25)
    scene, clearance = _start(site, half, middle), site.clearance(free)
    if site.is_wide:  # objects as near as the camera moves
        close = float(np.linalg.norm(site.arena.half))
        clearance = Clearance(site.positions, min(free, 0.25 * close), min(0.1, 0.1 * close))
    for attempt in range(6):
        size = np.array([rng.uniform(0.3, 0.7), rng.uniform(0.5, 1.1)])
        group = furniture.table(rng, paint, size, target[2], int(rng.integers(7, 22)))
        at = np.array([target[0] + 0.15 * attempt, target[1], 0.0])
        if group.place(scene, clearance, at, rng.normal(0, 0.3)):
            break
    counts = {
        'wall': int(rng.integers(2, 7)),
        'picture': int(rng.integers(2, 14)),
        'table': int(rng.integers(0, 3)),
        'thing': int(rng.integers(2, 10)),
    }
    _furnish(site, scene, clearance, half, middle, counts)
    scene.shell(middle, half, _shell_skin(rng, paint))
    return scene


def build_hall(site: Site) -> Scene:
    """Build a large hall with pillars, crates, tables and shelves."""
    rng, paint = site.rng, site.paint
    margin, ceiling = ((2.0, 25.0), (3.0, 16.0)) if site.is_wide else ((1.5, 9.0), (3.5, 9.0))
    half, middle = _room_of(site, margin, ceiling)
    scene, clearance = _start(site, half, middle), site.clearance(rng.uniform(0.2, 0.5))
    ground = np.array([*middle[:2], 0.0])
    shape = 'box' if rng.random() < 0.5 else 'cylinder'
    column, radius = (
        paint.skin(str(rng.choice(['wall', 'tiles', 'plastic'])), 1.5),
        rng.uniform(0.1, 0.4),
    )
    for _ in range(int(rng.integers(0, 12))):
        pillar = Group()
        pillar.add(shape, (0, 0, half[2]), (radius, radius, half[2]), column)
        pillar.place(scene, clearance, ground + _anywhere(rng, half), 0.0)
    for _ in range(int(rng.integers(6, 26))):
        pile = furniture.crates(rng, paint, log_uniform(rng, 0.3, 1.2))
        pile.place(scene, clearance, ground + _anywhere(rng, half), rng.uniform(0, 6.3))
    counts = {
        'wall': int(rng.integers(3, 12)),
        'picture': int(rng.integers(6, 28)),
        'table': int(rng.integers(0, 6)),
        'thing': int(rng.integers(3, 14)),
    }
    _furnish(site, scene, clearance, half, middle, counts)
    scene.shell(middle, half, _shell_skin(rng, paint))
    return scene


def build_abstract(site: Site) -> Scene:
    """Build bodies of all shapes, orientations and textures around the path."""
    rng, paint, arena = site.rng, site.paint, site.arena
    size = float(np.linalg.norm(arena.half))
    half = arena.half + rng.uniform(0.8, 4.0, 3) * size
    middle = np.array([0.0, 0.0, arena.height])
    scene = _start(site, half, middle)
    clearance = Clearance(site.positions, rng.uniform(0.15, 0.4) * size, 0.08 * size)
    for _ in range(int(rng.integers(12, 60))):
        group = Group()
        shape = str(rng.choice(['box', 'box', 'cylinder', 'ellipsoid', 'ramp']))
        extent = size * log_uniform(rng, 0.05, 0.6) * rng.uniform(0.25, 1.0, 3)
        if shape == 'cylinder':
            extent[1] = extent[0]
        skin = paint.anything(2 * float(extent.max()))
        group.add(shape, (0, 0, 0), extent, skin, random_rotation(rng))
        at = middle + rng.uniform(-1, 1, 3) * half
        if site.has_movers and rng.random() < 0.15:
            set_in_motion(site, scene, clearance, group, 0.4 * size, floats=True)
        else:
            group.place(scene, clearance, at, 0.0)
    kinds = rng.choice(['photograph', 'wall', 'tiles', 'fabric', 'pattern', 'floor'], FACES)
    skins = [paint.skin(str(kind), size * log_uniform(rng, 1, 4)) for kind in kinds]
    scene.shell(
        middle,
        half,
        Skin(
            np.array([skin.textures[0] for skin in skins]),
            skins[0].gain,
            np.array([skin.period_m[0] for skin in skins]),
            skins[0].shift,
        ),
    )
    return scene


def build_corridor(site: Site) -> Scene:
    """Build a corridor with doors, pictures, cupboards and pipes on both sides."""
    rng, arena = site.rng, site.arena
    wide = arena.half[1] + (log_uniform(rng, 0.3, 4.0) if site.is_wide else rng.uniform(0.45, 1.2))
    high = max(rng.uniform(2.2, 3.2), arena.height + arena.half[2] + 0.3)
    scene = _start(site, np.array([3.0, wide, high / 2]), np.array([0, 0, high / 2]))
    clearance = site.clearance(0.15)
    ends = (
        site.positions[:, 0].min() - rng.uniform(2, 15),
        site.positions[:, 0].max() + rng.uniform(2, 25),
    )
    seen = site.positions[: site.num_frames, 0]
    door = site.paint.skin(str(rng.choice(['wood', 'plastic', 'fabric'])), fit=True)
    first, last = int((seen.min() - 12) // 5), int((seen.max() + 55) // 5)
    for number in range(first, last + 1):
        which = number % site.block_period if site.block_period else number + 10**6
        block = np.random.default_rng((*site.key, 7, which))
        _corridor_block(site, block, scene, clearance, 5.0 * number, np.array([wide, high]), door)
    if site.has_movers:
        for _ in range(int(rng.integers(1, 4))):
            person = furniture.person(rng, site.paint)
            set_in_motion(site, scene, clearance, person, rng.uniform(0.2, 0.6))
    middle = np.array([0.5 * sum(ends), 0.0, high / 2])
    half = np.array([0.5 * (ends[1] - ends[0]), wide, high / 2])
    scene.shell(middle, half, _shell_skin(rng, site.paint))
    return scene


def _corridor_block(
    site: Site,
    rng: Rng,
    scene: Scene,
    clearance: Clearance,
    start: float,
    section: np.ndarray,
    door: Skin,
) -> None:
    """Furnish five metres of corridor; section: half width and height, m, [2]."""
    paint = site.paint.on(rng)
    wide, high = section
    for side in (-1, 1):
        yaw = -side * np.pi / 2
        for _ in range(int(rng.integers(1, 5))):
            at = np.array([start + rng.uniform(0, 5), side * wide, 0.0])
            kind = rng.random()
            group = Group()
            if kind < 0.3:
                group.add('box', (0.02, 0, 1.0), (0.03, rng.uniform(0.4, 0.8), 1.0), door)
                group.add('box', (0.07, 0.3, 1.0), (0.02, 0.06, 0.01), paint.skin('plastic', 1))
            elif kind < 0.65:
                group = furniture.picture(rng, paint, log_uniform(rng, 0.15, 0.8))
                at[2] = rng.uniform(0.4, 0.75) * high
            elif kind < 0.75:
                group = furniture.cupboard(rng, paint)
            elif kind < 0.9:
                group = furniture.crates(rng, paint, log_uniform(rng, 0.08, 0.35))
                at[1] *= 0.85
            else:
                group = furniture.plant(rng, paint, rng.uniform(0.5, 1.4))
                at[1] *= 0.85
            group.place(scene, clearance, at, yaw)
    above = np.array([start + rng.uniform(0, 5), 0.0, high])
    group = Group()
    if rng.random() < 0.6:
        group.add(
            'box',
            (0, 0, -0.03),
            (rng.uniform(0.2, 0.7), 0.15, 0.03),
            paint.skin('wall', 1.0, glow=1.3),
        )
    else:  # a beam on two posts
        post, skin = rng.uniform(0.04, 0.15), paint.skin('wall', 1.0)
        group.add('box', (0, 0, -post), (post, wide, post), skin)
        for side in (-1, 1):
            group.add(
                'box', (0, side * (wide - post / 2), -high / 2), (post, post / 2, high / 2), skin
            )
    group.place(scene, clearance, above, 0.0)
