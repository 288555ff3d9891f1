# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rendered walks that return to places, as the place memory gets them, with drifting odometry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import T_FLU_OPTICAL, invert, se3_exp, weighted_procrustes
from mem3r_ros.places import PlaceMap, PlacesConfig, Sighting
from mem3r_ros.places.selection import Choice, Selection
from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.renderer import render_world
from mem3r_ros.worlds.revisits import revisit_world

SIZE = (320, 240)
FRAME_NS = 100_000_000
CALM = WorldConfig(seed=77, moving_share=0.0, motion_blur_share=0.0, rolling_share=0.0)
CONFIG = PlacesConfig(enabled=True)


@dataclass(frozen=True)
class Walk:
    """Images, true depth and true poses of one walk."""

    grey: np.ndarray  # [F, H, W] uint8
    rgb: np.ndarray  # [F, H, W, 3] uint8
    depth: np.ndarray  # [F, H, W] float32, NaN where there is none
    T_world_camera: np.ndarray  # [F, 4, 4]
    camera: Intrinsics

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.grey)

    @property
    def stamps_ns(self) -> np.ndarray:
        """Return the stamps, [F]."""
        return (1 + np.arange(len(self))) * FRAME_NS


@lru_cache(maxsize=6)
def rendered_walk(
    route: str, index: int, num_frames: int, stride: int = 1, size: tuple[int, int] = SIZE
) -> Walk:
    """Return every ``stride``-th frame of a walk; each is rendered once in a test run."""
    world = revisit_world(index, num_frames, route, CALM)
    clip = render_world(world, num_frames // stride, size, CALM, stride=stride)
    rgb, depth = clip.image.numpy(), clip.depth_m.numpy().copy()
    depth[~np.isfinite(depth)] = np.nan
    camera = Intrinsics(*(float(value) for value in clip.intrinsics), *size)
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in rgb])
    return Walk(grey, rgb, depth, world.poses[:num_frames:stride][: len(rgb)], camera)


def drifting(walk: Walk, share: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the poses of an odometry that drifts [F, 4, 4], and its metres per true metre [F].

    :param share: error of position and scale, relative to the distance.
    """
    random = np.random.default_rng(5)
    bias = random.normal(0, 1, 6)
    T = walk.T_world_camera
    poses, scale = [np.array(T_FLU_OPTICAL)], [1.0]
    for frame in range(1, len(walk)):
        step = invert(T[frame - 1]) @ T[frame]
        distance = float(np.linalg.norm(step[:3, 3]))
        scale.append(scale[-1] * float(np.exp(share * distance * 0.5)))
        step[:3, 3] *= scale[-1]
        error = share * distance * (bias + random.normal(0, 1, 6))
        error[3:] *= 0.4
        poses.append(poses[-1] @ step @ se3_exp(error))
    return np.stack(poses), np.array(scale)


def remembered(
    walk: Walk,
    T_odom_camera: np.ndarray,
    scale: np.ndarray,
    config: PlacesConfig = CONFIG,
    breaks: tuple[int, ...] = (),
) -> PlaceMap:
    """
    Return the place memory after a walk.

    :param breaks: frames with which a new stretch of odometry begins.
    """
    places, selection, path_m = PlaceMap(), Selection(), 0.0
    for frame in range(len(walk)):
        if frame in breaks:
            selection = Selection()
        elif frame:
            step = T_odom_camera[frame, :3, 3] - T_odom_camera[frame - 1, :3, 3]
            path_m += float(np.linalg.norm(step))
        stamp_ns = int(walk.stamps_ns[frame])
        choice = selection.choose(stamp_ns, T_odom_camera[frame], True)
        if choice is Choice.NONE:
            continue
        depth = (walk.depth[frame] * scale[frame]).astype(np.float32)
        usual = float(np.nanmedian(depth))
        selection.take(choice, stamp_ns, T_odom_camera[frame], usual)
        places.process(
            Sighting(
                stamp_ns=stamp_ns,
                T_odom_camera=T_odom_camera[frame],
                path_m=path_m,
                stretch=sum(frame >= first for first in breaks),
                grey=walk.grey[frame],
                camera=walk.camera,
                depth=depth,
                depth_camera=walk.camera,
                landmark_rays=np.zeros((0, 2)),
                landmark_depth=np.zeros(0),
            ),
            config,
        )
    return places


def path_error(poses: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean square position error after alignment with scale, m."""
    positions, true = poses[:, :3, 3], truth[:, :3, 3]
    T, scale = weighted_procrustes(positions, true, np.ones(len(true)), with_scale=True)
    left = scale * positions @ T[:3, :3].T + T[:3, 3] - true
    return float(np.sqrt((left**2).sum(axis=1).mean()))


def wrong_recognitions(places: PlaceMap, walk: Walk, scale: np.ndarray) -> list[tuple[int, int]]:
    """Return the frames of recognitions whose pose is off by a fifth of the depth or more."""
    wrong = []
    for one in places.history:
        query, place = (places.graph.places.get(n) for n in (one.query, one.place))
        if query is None or place is None:
            continue
        here, there = (round(p.stamp_ns / FRAME_NS) - 1 for p in (query, place))
        true = invert(walk.T_world_camera[there]) @ walk.T_world_camera[here]
        found = one.match.T_place_query[:3, 3] / scale[there]
        if np.linalg.norm(found - true[:3, 3]) > 0.2 * np.nanmedian(walk.depth[here]):
            wrong.append((here, there))
    return wrong
