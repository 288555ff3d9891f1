# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A scan of ScanNet as its SensReader exports it (Dai et al., CVPR 2017).

``color/N.jpg``, ``depth/N.png`` (mm, 0 invalid), ``pose/N.txt`` (T_world_camera, -inf where the
camera was lost) and ``intrinsic/``; no stamps: 30 frames a second. Depth is smaller than colour
and has its own camera matrix; it is resampled to the pixels of the colour image.
"""

from __future__ import annotations

from functools import cached_property
import logging
from pathlib import Path

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.calibration import camera_from_numbers
from mem3r_ros.data.depth_registration import seen_by
from mem3r_ros.data.encodings import read_depth, read_image
from mem3r_ros.data.folder import list_images, read_matrix, read_pose_matrix
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.trajectory import NANOSECONDS, Trajectory

DEPTH_FACTOR = 1000.0

LOGGER = logging.getLogger(__name__)


class ScanNetSequence(ListedSequence):
    """One exported scan."""

    def __init__(self, path: Path, selection: Selection, fps: float) -> None:
        super().__init__(path, selection)
        self._fps = fps
        self._images = list_images(path / 'color')
        folder = path / 'intrinsic'
        self._K = _read_K(folder / 'intrinsic_color.txt')
        self._K_depth = _read_K(folder / 'intrinsic_depth.txt')
        self._has_depth = selection.with_depth and (path / 'depth').is_dir()
        if self._has_depth and (self._K is None or self._K_depth is None):
            LOGGER.warning(
                '%s: without both camera matrices in intrinsic/ depth is left out', path
            )
            self._has_depth = False
        for name in ('extrinsic_color.txt', 'extrinsic_depth.txt'):
            file = folder / name
            if self._has_depth and file.exists() and not np.allclose(read_matrix(file), np.eye(4)):
                LOGGER.warning('%s is not the identity, so depth is left out', file)
                self._has_depth = False

    @cached_property
    def truth(self) -> Trajectory | None:  # type: ignore[override]
        """Return the poses of all frames that have one."""
        found = [(i, self._pose(i)) for i in range(len(self._images))]
        stamps_ns = [self._stamp_ns(i) for i, pose in found if pose is not None]
        poses = [pose for _, pose in found if pose is not None]
        return Trajectory(np.array(stamps_ns), np.array(poses)) if poses else None

    def _stamp_ns(self, index: int) -> int:
        # Frames are numbered from 0; an export of every n-th frame keeps the numbers.
        name = self._images[index].stem
        return round((int(name) if name.isdigit() else index) * NANOSECONDS / self._fps)

    def _pose(self, index: int) -> np.ndarray | None:
        return read_pose_matrix(self.path / 'pose' / f'{self._images[index].stem}.txt')

    def _load(self, item: int) -> SequenceFrame:
        image = read_image(self._images[item], self.decoding)
        camera = _camera(self._K, image.shape[1], image.shape[0])
        depth_m = self._depth(self._images[item].stem, camera)
        return SequenceFrame(self._stamp_ns(item), image, camera, self._pose(item), depth_m)

    def _depth(self, name: str, camera: Intrinsics | None) -> np.ndarray | None:
        file = self.path / 'depth' / f'{name}.png'
        if not self._has_depth or camera is None or not file.exists():
            return None
        try:
            depth_m = read_depth(file, DEPTH_FACTOR)
        except BadFrame:
            return None
        height, width = depth_m.shape
        depth_camera = _camera(self._K_depth, width, height)
        assert depth_camera is not None, 'depth is read only with its camera matrix'
        return seen_by(depth_m, depth_camera, camera)


def _read_K(path: Path) -> np.ndarray | None:
    """Return the camera matrix in the corner of a 4x4 matrix, None where there is no file."""
    if not path.exists():
        return None
    K = read_matrix(path)[:3, :3]
    if not (np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0):
        raise UserError(f'{path} is no camera matrix: its focal lengths are {K[0, 0]}, {K[1, 1]}')
    return K


def _camera(K: np.ndarray | None, width: int, height: int) -> Intrinsics | None:
    if K is None:
        return None
    return camera_from_numbers(K[0, 0], K[1, 1], K[0, 2], K[1, 2], width, height)
