# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A keyframe as the tracker hands it to the place memory, and its features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.camera import Intrinsics

# F features, N landmarks, E channels of a token


@dataclass(frozen=True, slots=True)
class Sighting:
    """One keyframe of the tracker; lengths in metres of the odometry."""

    stamp_ns: int
    T_odom_camera: np.ndarray  # [4, 4]
    path_m: float  # length of the odometry since the start of the stream
    stretch: int  # counts stretches of odometry without a break
    grey: np.ndarray  # [H, W] uint8, rectified
    camera: Intrinsics  # of ``grey``
    depth: np.ndarray  # [h, w], NaN where there is none
    depth_camera: Intrinsics
    landmark_rays: np.ndarray  # [N, 2] x / z and y / z; N may be 0
    landmark_depth: np.ndarray  # [N] by triangulation, better than ``depth``
    token: np.ndarray | None = None  # [E] mean image token of the network
    has_moved: bool = True  # far enough since the last place to be a new one
    blind_s: float = 0.0  # since the last keyframe, time without a measured motion; inf: unknown
    is_cut: bool = False  # images showed another scene before its stretch: perhaps set down there


@dataclass(frozen=True, slots=True)
class Features:
    """ORB features of one image with depth, in coordinates of a camera of focal length 1."""

    rays: np.ndarray  # [F, 2] float32, x / z and y / z
    depth: np.ndarray  # [F] float32, m
    descriptors: np.ndarray  # [F, 32] uint8
    bounds: np.ndarray  # [4] left, top, right, bottom of the image in the same coordinates
    pixel: float  # size of a pixel of the working image in the same coordinates

    def __len__(self) -> int:
        """Return the number of features."""
        return len(self.depth)

    @property
    def points(self) -> np.ndarray:
        """Return the points in the camera, [F, 3] float64, m."""
        rays = np.column_stack([self.rays, np.ones(len(self))]).astype(np.float64)
        return rays * self.depth[:, None]

    @property
    def usual_depth(self) -> float:
        """Return the median depth, m; 1 without features."""
        return float(np.median(self.depth)) if len(self) else 1.0
