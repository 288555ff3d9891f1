# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A scene of the Neural RGB-D synthetic data set as it is downloaded (Azinovic et al., CVPR 2022).

``images/img0.png``, ``depth/depth0.png`` (mm) and ``poses.txt``: four rows for each image,
T_world_camera with OpenGL's axes (y up, z backward), ``nan`` where unknown. No stamps: 30 frames
a second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.encodings import read_depth, read_image
from mem3r_ros.data.folder import list_images, read_camera
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.trajectory import NANOSECONDS, Trajectory

CAMERA = Intrinsics(554.2562584220408, 554.2562584220408, 320.0, 240.0, 640, 480)
DEPTH_FACTOR = 1000.0
OPTICAL_AXES = np.diag((1.0, -1.0, -1.0, 1.0))  # OpenGL's camera to x right, y down, z forward


class NrgbdSequence(ListedSequence):
    """One scene."""

    def __init__(self, path: Path, selection: Selection, fps: float) -> None:
        super().__init__(path, selection)
        self._images = list_images(path / 'images')
        self._fps = fps
        self._camera = read_camera(path) or CAMERA
        self._poses = _read_poses(path / 'poses.txt')
        if len(self._poses) < len(self._images):
            raise UserError(
                f'{path / "poses.txt"} has {len(self._poses)} poses for {len(self._images)} images'
            )

    @property
    def truth(self) -> Trajectory | None:
        """Return the poses of all images that have one."""
        known = [item for item in range(len(self._images)) if self._pose(item) is not None]
        if not known:
            return None
        return Trajectory(np.array([self._stamp_ns(i) for i in known]), self._poses[known])

    def _pose(self, item: int) -> np.ndarray | None:
        pose = self._poses[item]
        return pose if np.isfinite(pose).all() else None

    def _stamp_ns(self, item: int) -> int:
        return round(item * NANOSECONDS / self._fps)

    def _load(self, item: int) -> SequenceFrame:
        path = self._images[item]
        return SequenceFrame(
            self._stamp_ns(item),
            read_image(path, self.decoding),
            self._camera,
            self._pose(item),
            self._depth(path.stem.removeprefix('img')),
        )

    def _depth(self, number: str) -> np.ndarray | None:
        path = self.path / 'depth' / f'depth{number}.png'
        if not self.selection.with_depth or not path.exists():
            return None
        try:
            return read_depth(path, DEPTH_FACTOR)
        except BadFrame:
            return None


def is_nrgbd(path: Path) -> bool:
    """Return whether a folder has the layout of the data set."""
    return (path / 'images').is_dir() and (path / 'poses.txt').exists()


def _read_poses(path: Path) -> np.ndarray:
    """Return T_world_camera with optical axes, [N, 4, 4]; NaN where unknown."""
    try:
        values = np.loadtxt(path, np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise UserError(f'cannot read 4x4 matrices from {path}: {error}') from error
    if values.shape[1:] != (4,) or len(values) % 4:
        raise UserError(f'{path} has {values.shape} numbers; expected four rows of four an image')
    return values.reshape(-1, 4, 4) @ OPTICAL_AXES
