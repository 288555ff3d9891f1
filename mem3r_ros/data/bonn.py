# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The Bonn RGB-D Dynamic dataset as it is downloaded (Palazzolo et al., IROS 2019).

The files are those of the TUM benchmark, but ``groundtruth.txt`` holds the pose of the marker
body in the axes of the motion capture. The dataset's published script takes points of the camera
to its laser-scanned world by ``T_ros T_body T_ros T_m``. T_m is not rigid: it contains the scale
1.0593, by which the sensor measures too short. Here its rigid part is applied to the poses and its
scale to the depth, so both are in metres of the laser scan.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.folder import read_camera
from mem3r_ros.data.sequence import Selection
from mem3r_ros.data.tum import DEPTH_FACTOR, TumSequence
from mem3r_ros.geometry import orthonormalise
from mem3r_ros.trajectory import Trajectory

NAME = 'rgbd_bonn'  # how the names of the dataset's folders begin
CAMERA = Intrinsics(
    542.822841,
    542.576870,
    315.593520,
    237.756098,
    640,
    480,
    'plumb_bob',
    (0.039903, -0.099343, -0.000730, -0.000144, 0.0),
)
# Both as published; T_ros swaps the axes of the motion capture and is its own inverse.
T_ROS = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
T_MARKER = np.array(
    [
        [1.0157, 0.1828, -0.2389, 0.0113],
        [0.0009, -0.8431, -0.6413, -0.0098],
        [-0.3009, 0.6147, -0.8085, 0.0111],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
DEPTH_SCALE = float(np.cbrt(np.linalg.det(T_MARKER[:3, :3])))


class BonnSequence(TumSequence):
    """One sequence; its ground truth is transformed from the markers to the colour camera."""

    depth_factor = DEPTH_FACTOR / DEPTH_SCALE

    def __init__(self, path: Path, selection: Selection) -> None:
        super().__init__(path, selection)
        self._camera = read_camera(path) or CAMERA
        if self._truth is not None:
            poses = T_ROS @ self._truth.poses @ T_ROS @ T_body_camera()
            self._truth = Trajectory(self._truth.stamps_ns, poses)


def T_body_camera() -> np.ndarray:
    """Return the rigid part of the published transform, [4, 4]; axes of the marker body."""
    T = T_MARKER.copy()
    T[:3, :3] /= DEPTH_SCALE
    return orthonormalise(T)
