# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A trajectory of TartanAir as it is downloaded (Wang et al., IROS 2020).

``image_left/000000_left.png``, ``depth_left/000000_left_depth.npy`` (m along the optical axis)
and ``pose_left.txt``: tx ty tz qx qy qz qw of the camera in a world of north, east, down, the
camera looking along its x axis with y to the right. No stamps: 30 frames a second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.encodings import read_image
from mem3r_ros.data.folder import list_images, read_camera
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame, listed_truth
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import matrix
from mem3r_ros.text_files import parsed_rows
from mem3r_ros.trajectory import NANOSECONDS, Trajectory, pose_of_words

CAMERA = Intrinsics(320.0, 320.0, 320.0, 240.0, 640, 480)
# Optical axes (x right, y down, z forward) seen from x forward, y right, z down.
T_FRD_OPTICAL = matrix(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), np.zeros(3))
SKY_M = 1000.0  # what is rendered farther than this is the sky


class TartanAirSequence(ListedSequence):
    """The left camera of one trajectory ``PNNN``."""

    def __init__(self, path: Path, selection: Selection, fps: float) -> None:
        super().__init__(path, selection)
        self._images = list_images(path / 'image_left')
        self._stamps_ns = [round(i * NANOSECONDS / fps) for i in range(len(self._images))]
        self._camera = read_camera(path) or CAMERA
        self._poses: list[np.ndarray | None] = [None] * len(self._images)
        self._truth = None
        file = path / 'pose_left.txt'
        if file.exists():
            self._poses = _parsed_rows(file)
            if len(self._poses) != len(self._images):
                raise UserError(
                    f'{file} has {len(self._poses)} poses for {len(self._images)} images; '
                    f'give one a line'
                )
            self._truth = listed_truth(self._stamps_ns, self._poses)

    @property
    def truth(self) -> Trajectory | None:
        """Return the poses of pose_left.txt, in optical axes."""
        return self._truth

    def _load(self, item: int) -> SequenceFrame:
        path = self._images[item]
        return SequenceFrame(
            self._stamps_ns[item],
            read_image(path, self.decoding),
            self._camera,
            self._poses[item],
            self._depth(path.stem) if self.selection.with_depth else None,
        )

    def _depth(self, name: str) -> np.ndarray | None:
        try:
            stored = np.load(self.path / 'depth_left' / f'{name}_depth.npy', allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if stored.ndim != 2:
            return None
        depth_m = stored.astype(np.float32)
        depth_m[~(depth_m > 0)] = np.nan
        depth_m[depth_m > SKY_M] = np.inf
        return depth_m


def _parsed_rows(path: Path) -> list[np.ndarray | None]:
    """Return T_world_camera [4, 4] of each line, None of a damaged one; world: NED."""
    rows = parsed_rows(path, pose_of_words, '"tx ty tz qx qy qz qw"')
    return [None if row.value is None else row.value @ T_FRD_OPTICAL for row in rows]
