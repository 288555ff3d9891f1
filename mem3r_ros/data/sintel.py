# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A sequence of MPI Sintel as it is downloaded (Butler et al., ECCV 2012; depth data 2015).

``training/final/NAME/frame_0001.png`` (or ``clean``) holds the images. ``training/depth/NAME``
holds depth (``.dpt``: tag, width, height, float32 m) and ``training/camdata_left/NAME`` the
cameras (``.cam``: tag, 3x3 intrinsics, 3x4 T_camera_world, float64). 24 frames a second.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.encodings import read_image
from mem3r_ros.data.folder import list_images
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame
from mem3r_ros.errors import UserError
from mem3r_ros.trajectory import NANOSECONDS, Trajectory

PASSES = ('final', 'clean')
FPS = 24.0
SKY_M = 1e8  # depth from here on is the sky
_TAG = 202021.25
_CAM_BYTES = 4 + 8 * (9 + 12)


class SintelSequence(ListedSequence):
    """One sequence of the training set."""

    def __init__(self, path: Path, selection: Selection) -> None:
        super().__init__(path, selection)
        self._images = list_images(path)

    @cached_property
    def truth(self) -> Trajectory | None:  # type: ignore[override]
        """Return the poses of all frames that have one."""
        poses = [self._camera(item)[1] for item in range(len(self._images))]
        known = [item for item, pose in enumerate(poses) if pose is not None]
        if not known:
            return None
        stamps_ns = np.array([_stamp_ns(item) for item in known])
        return Trajectory(stamps_ns, np.array([poses[item] for item in known]))

    def _load(self, item: int) -> SequenceFrame:
        image = read_image(self._images[item], self.decoding)
        K, pose = self._camera(item)
        camera = None
        if K is not None:
            height, width = image.shape[:2]
            camera = Intrinsics(K[0, 0], K[1, 1], K[0, 2], K[1, 2], width, height)
        return SequenceFrame(_stamp_ns(item), image, camera, pose, self._depth(item))

    def _beside(self, item: int, folder: str, suffix: str) -> Path:
        name = self._images[item].with_suffix(suffix).name
        return self.path.resolve().parents[1] / folder / self.path.resolve().name / name

    def _camera(self, item: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the intrinsics [3, 3] and T_world_camera [4, 4], None where unknown."""
        path = self._beside(item, 'camdata_left', '.cam')
        if not path.exists():
            return None, None
        data = path.read_bytes()
        if len(data) != _CAM_BYTES or np.frombuffer(data, '<f4', 1)[0] != np.float32(_TAG):
            raise UserError(f'{path} is no camera file of Sintel')
        values = np.frombuffer(data, '<f8', offset=4)
        T_camera_world = np.vstack((values[9:].reshape(3, 4), (0.0, 0.0, 0.0, 1.0)))
        return values[:9].reshape(3, 3), np.linalg.inv(T_camera_world)

    def _depth(self, item: int) -> np.ndarray | None:
        path = self._beside(item, 'depth', '.dpt')
        if not self.selection.with_depth or not path.exists():
            return None
        data = path.read_bytes()
        if len(data) < 12 or np.frombuffer(data, '<f4', 1)[0] != np.float32(_TAG):
            raise UserError(f'{path} is no depth file of Sintel')
        width, height = np.frombuffer(data, '<i4', 2, offset=4)
        if width <= 0 or height <= 0 or len(data) != 12 + 4 * int(width) * int(height):
            raise UserError(f'{path} is cut off: {len(data)} bytes for {width}x{height} pixels')
        depth_m = np.frombuffer(data, '<f4', offset=12).reshape(height, width)
        return np.where(depth_m < SKY_M, depth_m, np.inf).astype(np.float32)


def is_sintel(path: Path) -> bool:
    """Return whether a folder is one sequence of the data set's layout."""
    folder = path.resolve()
    return folder.parent.name in PASSES and (folder.parents[1] / 'camdata_left').is_dir()


def _stamp_ns(item: int) -> int:
    return round(item * NANOSECONDS / FPS)
