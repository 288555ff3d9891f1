# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Draw a world: its kind, the path of the camera, and the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mem3r_ros.worlds import interiors, outdoors
from mem3r_ros.worlds.config import PATH_KINDS, WORLD_KINDS, WorldConfig
from mem3r_ros.worlds.painter import Painter
from mem3r_ros.worlds.paths import Arena, PathMaker
from mem3r_ros.worlds.scene import Scene
from mem3r_ros.worlds.site import Course, Rng, Site

WIDE_FOCAL_RANGE = (0.29, 1.37)  # of the longer side of the image: 120 to 40 degrees


@dataclass(frozen=True)
class Kind:
    """Definition of one kind of world."""

    arena: Callable[[Rng, str, bool], Arena]
    build: Callable[[Site], Scene]
    paths: tuple[float, ...]  # relative frequency of each of PATH_KINDS
    focal_range: tuple[float, float] = (0.55, 1.3)  # of the longer side of the image; not wide
    view_m: float = 1e9  # bodies farther away are not drawn
    bend: float = 0.0  # heading range of the course of an endless path, rad


#                                                    handheld orbit rotate walk drive drone
KINDS = {
    'room': Kind(interiors.room_arena, interiors.build_room, (0.5, 0.2, 0.1, 0.1, 0.07, 0.03)),
    'desk': Kind(interiors.desk_arena, interiors.build_desk, (0.25, 0.6, 0.08, 0, 0, 0.07)),
    'corridor': Kind(interiors.corridor_arena, interiors.build_corridor,
                     (0.2, 0.0, 0.08, 0.4, 0.32, 0), view_m=45.0),
    'hall': Kind(interiors.hall_arena, interiors.build_hall, (0.3, 0.15, 0.07, 0.2, 0.15, 0.13)),
    'street': Kind(outdoors.street_arena, outdoors.build_street, (0.06, 0, 0.04, 0.12, 0.7, 0.08),
                   (0.5, 1.1), outdoors.VIEW_M, 0.5),
    'yard': Kind(outdoors.yard_arena, outdoors.build_yard, (0.25, 0.1, 0.05, 0.25, 0.1, 0.25)),
    'abstract': Kind(interiors.abstract_arena, interiors.build_abstract,
                     (0.45, 0.2, 0.1, 0, 0, 0.25)),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """A scene and a path through it."""

    kind: str
    path: str
    key: tuple[int, ...]  # seed of all its random numbers
    scene: Scene
    poses: np.ndarray  # T_world_camera float64 [N, 4, 4], N > paths.HORIZON without a route
    focal_range: tuple[float, float]  # of the longer side of the image
    view_m: float


def _draw(rng: Rng, names: tuple[str, ...], weights: tuple[float, ...], forced: str) -> str:
    """Return one of the names; a forced name advances the generator in the same way."""
    shares = np.array(weights) / sum(weights)
    drawn = str(rng.choice(names, p=shares))
    return drawn if forced == 'mixture' else forced


def draw_world(
    index: int,
    num_frames: int,
    config: WorldConfig,
    route: Callable[[Rng, Arena, int], np.ndarray] | None = None,
    block_period: int = 0,
) -> World:
    """
    Draw one world.

    :param index: number of the world.
    :param num_frames: number of frames to render.
    :param config: mixture of the worlds.
    :param route: returns the poses of num_frames + 1 frames in an arena; default: a path of the
        drawn kind.
    :param block_period: a corridor repeats itself after this many blocks; 0: never.
    """
    key = (config.seed, index)
    rng = np.random.default_rng(key)
    weights = tuple(getattr(config.weights, kind) for kind in WORLD_KINDS)
    name = _draw(rng, WORLD_KINDS, weights, config.world)
    kind = KINDS[name]
    path = _draw(rng, PATH_KINDS, kind.paths, config.path)
    # Drawn from a generator of their own: the other worlds stay as they are at any share.
    is_wide, is_plain = np.random.default_rng((*key, 8)).random(2) < (
        config.wide_share,
        config.plain_share,
    )
    arena = kind.arena(rng, path, bool(is_wide))
    if route is None:
        poses = PathMaker(rng, arena, num_frames, config.speed_factor).make(path)
    else:
        poses = route(np.random.default_rng((*key, 5)), arena, num_frames)
    along = poses[:, 0, 3].copy()
    course = Course(rng, float(along.max()), kind.bend * rng.random()) if kind.bend else None
    if course:
        poses = course.bend(poses)
    site = Site(
        rng=np.random.default_rng((*key, 1)),
        paint=Painter(
            np.random.default_rng((*key, 4)), config.textures_per_kind, is_plain=bool(is_plain)
        ),
        arena=arena,
        poses=poses,
        along=along,
        course=course,
        num_frames=num_frames,
        is_wide=bool(is_wide),
        has_movers=bool(rng.random() < config.moving_share),
        key=key,
        block_period=block_period,
    )
    scene = kind.build(site)
    focal_range = WIDE_FOCAL_RANGE if is_wide else kind.focal_range
    return World(name, path, key, scene, poses, focal_range, kind.view_m)
