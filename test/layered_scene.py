# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A textured plate in front of a textured wall, seen from anywhere, with exact depth."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import se3_exp

WALL_M, PLATE_M = 4.0, 2.0
_HALF_PLATE_M = (0.5, 0.4)
_PIXELS_PER_M = 150.0


@dataclass(frozen=True)
class LayeredScene:
    """The plate may move by itself, and the wall may be blank."""

    camera: Intrinsics = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)
    wall_contrast: float = 60.0

    @cached_property
    def _textures(self):
        random = np.random.default_rng(4)
        noise = random.normal(size=(2, 1200, 1800)).astype(np.float32)
        smooth = np.stack([cv2.GaussianBlur(layer, (0, 0), 2.0) for layer in noise])
        smooth /= smooth.std()
        wall = 90 + self.wall_contrast * smooth[0]
        return wall, 160 + 50 * smooth[1]

    def view(self, T_world_camera, plate_m=0.0):
        """
        Render the scene.

        :param T_world_camera: [4, 4]; the wall stands at z = 4 m of the world.
        :param plate_m: how far the plate has moved along x.
        :return: grey image [H, W] uint8 and depth [H, W] float32, m.
        """
        rays = self.camera.rays().astype(np.float64) @ T_world_camera[:3, :3].T
        origin = T_world_camera[:3, 3]
        depths, images, is_plate = [], [], None
        for z, texture in zip((WALL_M, PLATE_M), self._textures):
            depth = (z - origin[2]) / rays[..., 2]
            at = origin[:2] + depth[..., None] * rays[..., :2]
            if z == PLATE_M:
                at = at - (plate_m, 0.0)
                is_plate = (np.abs(at) < _HALF_PLATE_M).all(axis=-1)
            pixels = (at * _PIXELS_PER_M + (900, 600)).astype(np.float32)
            images.append(cv2.remap(texture, pixels, None, cv2.INTER_LINEAR))
            depths.append(depth)
        image = np.where(is_plate, images[1], images[0])
        depth = np.where(is_plate, depths[1], depths[0])
        return image.round().clip(0, 255).astype(np.uint8), depth.astype(np.float32)


def sideways(num_frames, step_m=0.03):
    """Return poses of a camera that moves to the side and slowly turns."""
    step = se3_exp(np.array([step_m, 0.2 * step_m, 0.0, 0.0, -0.002, 0.0]))
    poses = [np.eye(4)]
    for _ in range(num_frames - 1):
        poses.append(poses[-1] @ step)
    return np.array(poses)
