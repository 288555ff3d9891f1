# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A plain box on a plain floor: hardly a corner, but clear edges."""

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import matrix

CAMERA = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)
HALF_SIZE_M = np.array([0.5, 0.3, 0.3])  # of the box; its centre is the origin, y points down
_GREYS = np.array([[30.0, 60.0, 95.0], [45.0, 20.0, 110.0]])  # of its faces, lower and upper side
_FLOOR_GREY = 190.0
_FINE = 2  # rays per pixel and axis


def orbit(num_frames):
    """Return the poses of a camera that looks at the box from a circle, [F, 4, 4]."""
    poses = []
    for angle in 0.12 * np.arange(num_frames) + 0.4:
        height = -0.9 - 0.15 * np.sin(2.0 * angle)
        position = np.array([2.0 * np.cos(angle), height, 2.0 * np.sin(angle)])
        forward = -position / np.linalg.norm(position)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        poses.append(matrix(np.stack([right, np.cross(forward, right), forward], 1), position))
    return np.array(poses)


def render(T_world_camera):
    """Return the image [H, W] uint8 and the depth [H, W] float32 m."""
    height, width = CAMERA.height * _FINE, CAMERA.width * _FINE
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    x, y = ((value + 0.5) / _FINE - 0.5 for value in (x, y))
    rays = np.stack(
        [(x - CAMERA.cx) / CAMERA.fx, (y - CAMERA.cy) / CAMERA.fy, np.ones_like(x)], -1
    )
    rays, origin = rays @ T_world_camera[:3, :3].T, T_world_camera[:3, 3]
    low, high = (-HALF_SIZE_M - origin) / rays, (HALF_SIZE_M - origin) / rays
    enter, leave = np.minimum(low, high), np.maximum(low, high)
    axis, first = enter.argmax(axis=-1), enter.max(axis=-1)
    is_box = (first < leave.min(axis=-1)) & (first > 0.0)
    side = (np.take_along_axis(rays, axis[..., None], -1)[..., 0] < 0.0).astype(int)
    floor = (HALF_SIZE_M[1] - origin[1]) / rays[..., 1]
    is_floor = ~is_box & (floor > 0.0)
    depth = np.where(is_box, first, np.where(is_floor, floor, np.nan)).astype(np.float32)
    grey = np.where(is_box, _GREYS[side, axis], _FLOOR_GREY).astype(np.float32)
    small = cv2.resize(grey, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_AREA)
    return np.rint(small).astype(np.uint8), depth[::_FINE, ::_FINE]
