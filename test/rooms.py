# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A box-shaped room without symmetry: what a camera in it sees, and whether points lie on its walls.

Depth and poses of any layout are right only if depth taken along the rays of the camera and moved
by the pose lands on the walls: a wrong axis, a wrong inverse or a wrong unit does not.
"""

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from mem3r_ros.camera import Intrinsics

LOW = np.array([-2.0, -1.5, -1.0])
HIGH = np.array([3.0, 4.0, 2.5])
CAMERA = Intrinsics(30.0, 31.0, 17.0, 11.0, 32, 24)
# Somewhere in the room, turned about all axes.
POSES = [
    np.block([[Rotation.from_euler('xyz', turn).as_matrix(), np.array([place]).T], [0, 0, 0, 1]])
    for turn, place in (
        ([0.3, -0.7, 1.1], [0.2, 0.3, 0.4]),
        ([-1.4, 0.2, 0.5], [0.7, 1.1, -0.2]),
    )
]


def depth_of_room(T_world_camera, camera=CAMERA):
    """Return what multiplies the rays of ``camera`` to reach a wall, [H, W]; any affine pose."""
    rays = camera.rays().astype(np.float64) @ T_world_camera[:3, :3].T
    with np.errstate(divide='ignore'):
        far = np.where(rays > 0, HIGH, LOW) - T_world_camera[:3, 3]
        return (far / rays).min(axis=-1)


def off_the_walls(frame):
    """Return how far each point of a frame is from the nearest wall [H, W] m, NaN unknown."""
    points = frame.camera.rays() * frame.depth_m[..., None]
    points = points @ frame.T_world_camera[:3, :3].T + frame.T_world_camera[:3, 3]
    return np.minimum(np.abs(points - LOW), np.abs(points - HIGH)).min(axis=-1)


def write_image(path, value, camera=CAMERA):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((camera.height, camera.width, 3), value, np.uint8))


def write_depth(path, depth_m, factor):
    """Write 16 bits; the pixel in the upper left corner is unknown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.round(np.asarray(depth_m) * factor).astype(np.uint16)
    stored[0, 0] = 0
    cv2.imwrite(str(path), stored)
