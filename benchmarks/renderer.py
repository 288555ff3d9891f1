# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Images a second of the renderer of training worlds beside Embree, on the same scenes.

    pip install embreex
    python benchmarks/renderer.py --output benchmarks/results

Embree traces triangles, so round bodies become meshes of 32 sides. It finds the visible surface
alone: textures, light, the camera and masks of moving objects come on top. Both depths are
compared pixel by pixel. Times are those of the processor, one thread. Writes renderer.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
import sys
import time

import numpy as np
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.worlds import raycast
from mem3r_ros.worlds.catalogue import World, draw_world
from mem3r_ros.worlds.config import WORLD_KINDS, WorldConfig
from mem3r_ros.worlds.renderer import Clip, render_world
from mem3r_ros.worlds.scene import FAR_M

SIDES = 32  # of a round body as a mesh
GROUND_M = 3000.0  # half extent of the ground as a mesh
FRAMES = 8
SAME_DEPTH = 0.02  # relative difference of two depths of one surface
COLUMNS = (
    'world', 'bodies', 'triangles', 'whole image, images/s', 'its visible surface, images/s',
    'Embree, images/s', 'Embree, images/s with its build', 'same depth',
)  # fmt: skip
Mesh = tuple[np.ndarray, np.ndarray]  # vertices [N, 3], triangles [M, 3]


@dataclass
class Timings:
    """Processor time of one kind of world, s, for all of its images."""

    images: int = 0
    bodies: int = 0
    triangles: int = 0
    whole_s: float = 0.0
    surface_s: float = 0.0
    embree_s: float = 0.0
    build_s: float = 0.0
    same: float = 0.0  # share of the pixels, summed over the images


def box_mesh(half: np.ndarray, normal: np.ndarray, offset: float) -> Mesh:
    """Return a box whose top is the plane ``normal . p = offset``."""
    x, y = (half[axis] * np.array(signs) for axis, signs in
            ((0, (-1, 1, 1, -1)), (1, (-1, -1, 1, 1))))  # fmt: skip
    top = (offset - normal[0] * x - normal[1] * y) / normal[2]
    low = np.stack([x, y, np.full(4, -half[2])], axis=1)
    high = np.stack([x, y, top], axis=1)
    sides = [(i, (i + 1) % 4, 4 + (i + 1) % 4, 4 + i) for i in range(4)]
    quads = np.array([(3, 2, 1, 0), (4, 5, 6, 7), *sides])
    return np.concatenate([low, high]), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def round_mesh(half: np.ndarray, is_cylinder: bool) -> Mesh:
    """Return an ellipsoid, or a cylinder about z."""
    angle = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    if is_cylinder:
        rings = [(0.0, -1.0), (1.0, -1.0), (1.0, 1.0), (0.0, 1.0)]
    else:
        tilt = np.linspace(-np.pi / 2, np.pi / 2, SIDES // 2 + 1)
        rings = list(zip(np.cos(tilt), np.sin(tilt), strict=True))
    points = np.concatenate([
        np.stack([r * np.cos(angle), r * np.sin(angle), np.full(SIDES, z)], axis=1)
        for r, z in rings
    ])  # fmt: skip
    start = SIDES * np.arange(len(rings) - 1)[:, None] + np.arange(SIDES)
    after = SIDES * np.arange(len(rings) - 1)[:, None] + (np.arange(SIDES) + 1) % SIDES
    quads = np.stack([start, after, after + SIDES, start + SIDES], axis=-1).reshape(-1, 4)
    return points * half, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def scene_mesh(world: World) -> Mesh:
    """Return all bodies of a world as triangles."""
    arrays = world.scene.arrays()
    vertices, triangles, count = [], [], 0
    for body, half in enumerate(arrays['halves']):
        quadric, offsets = arrays['quadrics'][body], arrays['offsets'][body]
        if offsets[0] >= FAR_M and not quadric.any():  # the ground
            points = GROUND_M * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
            faces = np.array([[0, 1, 2], [0, 2, 3]])
        elif quadric.any():
            points, faces = round_mesh(half, is_cylinder=quadric[2] == 0)
        else:
            points, faces = box_mesh(half, arrays['normals'][body][4], offsets[4])
        vertices.append(points @ arrays['rotations'][body].T + arrays['centres'][body])
        triangles.append(faces + count)
        count += len(points)
    return np.concatenate(vertices), np.concatenate(triangles)


def embree_scene(mesh: Mesh) -> object:
    """
    Build Embree's scene of a mesh.

    :raises UserError: embreex is not installed.
    """
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        raise UserError(f'embreex cannot be imported ({error}); pip install embreex') from error
    scene = EmbreeScene()
    TriangleMesh(scene, mesh[0].astype(np.float32), mesh[1].astype(np.int32))
    return scene


def embree_depth(scene: object, pose: np.ndarray, camera: np.ndarray, size: tuple) -> np.ndarray:
    """Return the depth along the optical axis of one image; inf without a surface."""
    fx, fy, cx, cy = camera
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)], -1).reshape(-1, 3)
    rays = (rays @ pose[:3, :3].T).astype(np.float32)  # of unit depth: distance is depth
    origins = np.broadcast_to(pose[:3, 3].astype(np.float32), rays.shape).copy()
    depth = scene.run(origins, rays, query='DISTANCE').reshape(size[::-1])
    return np.where((depth > 0) & (depth < 1e6), depth, np.inf)


@contextlib.contextmanager
def surface_time() -> Iterator[list[float]]:
    """Measure the time within the functions that find the visible surface."""
    spent, originals = [0.0], {}

    def timed(function: Callable) -> Callable:
        @wraps(function)
        def run(*args: object) -> object:
            start = time.process_time()
            result = function(*args)
            spent[0] += time.process_time() - start
            return result

        return run

    for name in ('tile_candidates', 'relate', 'cast'):
        originals[name] = getattr(raycast, name)
        setattr(raycast, name, timed(originals[name]))
    try:
        yield spent
    finally:
        for name, function in originals.items():
            setattr(raycast, name, function)


def rendered(world: World, size: tuple[int, int], config: WorldConfig) -> tuple[Clip, float]:
    """Render a clip and return its processor time."""
    start = time.process_time()
    clip = render_world(world, FRAMES, size, config)
    return clip, time.process_time() - start


def measure(kind: str, count: int, size: tuple[int, int]) -> Timings:
    """Render some worlds of a kind with both."""
    config = WorldConfig(world=kind, moving_share=0.0, rolling_share=0.0, motion_blur_share=0.0)
    found = Timings()
    for index in range(count):
        world = draw_world(index, FRAMES, config)
        rendered(world, size, config)  # paints the textures, once per process
        with surface_time() as spent:
            clip, whole_s = rendered(world, size, config)
        mesh = scene_mesh(world)
        start = time.process_time()
        scene = embree_scene(mesh)
        camera = clip.intrinsics.double().numpy()
        # Embree builds its tree at the first ray.
        embree_depth(scene, world.poses[0], camera, (1, 1))
        found.build_s += time.process_time() - start
        start = time.process_time()
        depths = [embree_depth(scene, pose, camera, size) for pose in world.poses[:FRAMES]]
        found.embree_s += time.process_time() - start
        for depth, own in zip(depths, clip.depth_m.numpy(), strict=True):
            with np.errstate(invalid='ignore'):
                is_same = (np.abs(depth - own) < SAME_DEPTH * own) | (
                    np.isinf(own) & (depth > 1e3)
                )
            found.same += float(is_same.mean())
        found.images += FRAMES
        found.bodies += len(world.scene.halves)
        found.triangles += len(mesh[1])
        found.whole_s += whole_s
        found.surface_s += spent[0]
    return found


def row(kind: str, count: int, found: Timings) -> str:
    """Return one row of the table."""
    rate = lambda seconds: f'{found.images / max(seconds, 1e-9):.0f}'  # noqa: E731
    cells = (
        kind, f'{found.bodies / count:.0f}', f'{found.triangles / count:.0f}', rate(found.whole_s),
        rate(found.surface_s), rate(found.embree_s), rate(found.embree_s + found.build_s),
        f'{found.same / found.images:.1%}',
    )  # fmt: skip
    return '| ' + ' | '.join(cells) + ' |'


def main() -> int:
    """Print one row for each kind of world."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--worlds', type=int, default=4, help='worlds of each kind')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 192), metavar=('W', 'H'))
    parser.add_argument('--output', type=Path, help='folder for renderer.md')
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = tuple(args.size)
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|---' * len(COLUMNS) + '|']
    print('\n'.join(lines))
    for kind in WORLD_KINDS:
        lines.append(row(kind, args.worlds, measure(kind, args.worlds, size)))
        print(lines[-1], flush=True)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        head = f'# Renderer of the worlds beside Embree, {size[0]}x{size[1]}, one thread\n\n'
        (args.output / 'renderer.md').write_text(head + '\n'.join(lines) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
