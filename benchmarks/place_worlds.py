# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rendered walks and the place memory on them, for ``places.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import T_FLU_OPTICAL, invert, se3_exp
from mem3r_ros.places import Choice, PlaceMap, PlacesConfig, Sighting
from mem3r_ros.places.selection import Selection
from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.renderer import render_world
from mem3r_ros.worlds.revisits import revisit_world

# F frames

CALM = WorldConfig(seed=2026, moving_share=0.0, motion_blur_share=0.0, rolling_share=0.0)
FRAME_NS = 100_000_000
FALSE_DEPTHS = 0.2  # a recognition whose pose is farther off is a false one, usual depths
DRIFT = 0.03  # of the simulated odometry, of the distance


@dataclass(frozen=True)
class Walk:
    """Images of one walk, with the truth."""

    image: np.ndarray  # [F, H, W, 3] uint8
    depth: np.ndarray  # [F, h, w] float16, m; NaN where there is none
    T_world_camera: np.ndarray  # [F, 4, 4]
    camera: Intrinsics

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.image)

    @property
    def stamps_ns(self) -> np.ndarray:
        """Return the stamps, [F]."""
        return (1 + np.arange(len(self))) * FRAME_NS

    def usual_depth(self, frame: int) -> float:
        """Return the median depth of a frame, m."""
        return float(np.nanmedian(self.depth[frame]))


def frame_of(stamp_ns: int) -> int:
    """Return the number of the frame with a stamp."""
    return round(stamp_ns / FRAME_NS) - 1


def rendered(
    route: str,
    index: int,
    num_frames: int,
    size: tuple[int, int],
    stride: int = 1,
    reduction: int = 1,
    folder: Path | None = None,
) -> Walk:
    """
    Return a walk; it is rendered once if there is a folder to keep it.

    :param stride: every n-th frame of the route.
    :param reduction: every n-th row and column of the depth is kept.
    :param folder: where walks are kept.
    """
    name = f'{route}_{index}_{num_frames}_{size[0]}_{stride}_{reduction}.npz'
    if folder is not None and (folder / name).exists():
        kept = np.load(folder / name)
        camera = Intrinsics(*map(float, kept['intrinsics']), *size)
        return Walk(kept['image'], kept['depth'], kept['T_world_camera'], camera)
    world = revisit_world(index, num_frames * stride, route, CALM)
    clip = render_world(world, num_frames, size, CALM, stride=stride)
    depth = clip.depth_m[:, ::reduction, ::reduction].numpy().astype(np.float16)
    depth[~np.isfinite(depth)] = np.nan
    intrinsics = clip.intrinsics.numpy()
    T = world.poses[::stride][:num_frames]
    walk = Walk(clip.image.numpy(), depth, T, Intrinsics(*map(float, intrinsics), *size))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f'part_{name}'
        np.savez(part, image=walk.image, depth=depth, T_world_camera=T, intrinsics=intrinsics)
        part.replace(folder / name)
    return walk


def false_recognitions(places: PlaceMap, walk: Walk, scale: np.ndarray) -> int:
    """Return how many accepted recognitions have a wrong pose; scale: odometry per true metre."""
    wrong, T = 0, walk.T_world_camera
    for one in places.history:
        query, place = (places.graph.places.get(n) for n in (one.query, one.place))
        if query is None or place is None:
            continue
        here, there = frame_of(query.stamp_ns), frame_of(place.stamp_ns)
        true = invert(T[there]) @ T[here]
        found = one.match.T_place_query[:3, 3] / scale[there]
        apart = float(np.linalg.norm(found - true[:3, 3]))
        wrong += apart > FALSE_DEPTHS * walk.usual_depth(here)
    return wrong


def drifting(walk: Walk, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a simulated odometry [F, 4, 4], and its metres per true metre [F]."""
    random, T = np.random.default_rng((7, seed)), walk.T_world_camera
    bias = random.normal(0, 1, 6)
    T_odom, scale = [np.array(T_FLU_OPTICAL)], [1.0]
    for frame in range(1, len(walk)):
        step = invert(T[frame - 1]) @ T[frame]
        distance = float(np.linalg.norm(step[:3, 3]))
        scale.append(scale[-1] * float(np.exp(0.3 * DRIFT * distance * bias[0])))
        step[:3, 3] *= scale[-1]
        error = DRIFT * distance * (bias + random.normal(0, 1, 6)) * [1, 1, 1, 0.3, 0.3, 0.3]
        T_odom.append(T_odom[-1] @ step @ se3_exp(error))
    return np.stack(T_odom), np.array(scale)


def remembered(
    walk: Walk, T_odom: np.ndarray, scale: np.ndarray, break_at: int | None = None
) -> PlaceMap:
    """
    Return the place memory after a walk with a simulated odometry.

    :param T_odom: [F, 4, 4].
    :param scale: metres of the odometry per true metre, [F].
    :param break_at: frame before which the motion was not measured.
    """
    places, selection, config, path_m = PlaceMap(), Selection(), PlacesConfig(enabled=True), 0.0
    none = np.zeros((0, 2)), np.zeros(0)
    for frame in range(len(walk)):
        if frame == break_at:
            selection = Selection()
        if frame:
            path_m += float(np.linalg.norm(T_odom[frame, :3, 3] - T_odom[frame - 1, :3, 3]))
        depth, stamp_ns = walk.depth[frame] * np.float32(scale[frame]), int(walk.stamps_ns[frame])
        choice = selection.choose(stamp_ns, T_odom[frame], True)
        if choice is Choice.NONE:
            continue
        selection.take(choice, stamp_ns, T_odom[frame], float(np.nanmedian(depth)))
        grey, camera = cv2.cvtColor(walk.image[frame], cv2.COLOR_RGB2GRAY), walk.camera
        stretch = int(break_at is not None and frame >= break_at)
        blind_s = 1e-9 * FRAME_NS if frame == break_at else 0.0
        sighting = Sighting(
            stamp_ns, T_odom[frame], path_m, stretch, grey, camera, depth, camera, *none,
            blind_s=blind_s,
        )  # fmt: skip
        places.process(sighting, config)
    return places
