# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Viewing rays of all pixels of a camera, moved to another camera and projected there."""

# H, W pixels

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mem3r_ros.camera import Intrinsics

_MIN_DEPTH = np.float32(1e-3)  # of the depth in the own camera; nearer is behind the other one


class Projection(NamedTuple):
    """Where pixels of one camera are seen by another."""

    x: np.ndarray  # [H, W] float32, px
    y: np.ndarray  # [H, W] float32, px
    depth_ratio: np.ndarray  # [H, W] float32, depth there over depth here


@dataclass(frozen=True, slots=True)
class MovedRays:
    """
    The rays of a camera in the axes of another one.

    A pixel with inverse depth r lies at ``(x + r t) / (z + r t_z)``: linear in r but for the
    division (homogeneous coordinates; Hartley and Zisserman 2004, section 9.2).
    """

    x: np.ndarray  # [H, W] float32
    y: np.ndarray
    z: np.ndarray
    t: np.ndarray  # [3] float32, m

    @classmethod
    def of(cls, camera: Intrinsics, T_other_camera: np.ndarray) -> MovedRays:
        """
        Rotate the rays of all pixels.

        :param camera: without distortion.
        :param T_other_camera: pose of the camera in the other one, [4, 4].
        """
        R, t = T_other_camera[:3, :3].astype(np.float32), T_other_camera[:3, 3]
        x, y = camera.slopes()
        moved = [R[i, 0] * x + (R[i, 1] * y)[:, None] for i in range(3)]
        for i in range(3):
            moved[i] += R[i, 2]
        return cls(moved[0], moved[1], moved[2], t.astype(np.float32))

    def project(self, inverse_depth: np.ndarray, camera: Intrinsics) -> Projection:
        """
        Return where the other camera sees the pixels.

        :param inverse_depth: of each pixel, [H, W] float32, 1/m.
        :param camera: the other camera.
        """
        x, y, ratio = (factor * inverse_depth for factor in self.t)
        ratio += self.z
        np.maximum(ratio, _MIN_DEPTH, out=ratio)
        scale = 1.0 / ratio
        for place, ray, focal, centre in (
            (x, self.x, camera.fx, camera.cx),
            (y, self.y, camera.fy, camera.cy),
        ):
            place += ray
            place *= scale * np.float32(focal)
            place += np.float32(centre)
        return Projection(x, y, ratio)
