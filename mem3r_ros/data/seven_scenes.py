# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A sequence of Microsoft 7-Scenes as it is downloaded (Shotton et al., CVPR 2013).

``frame-000000.color.png``, ``.depth.png`` (mm, 65535 invalid) and ``.pose.txt`` (T_world_camera)
are in one folder, without stamps: 30 frames per second. The depth camera is about 25 mm beside the
colour camera and has another focal length. Here depth is resampled to the pixels of the colour
camera by the focal lengths alone, accurate to a few pixels.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.depth_registration import seen_by
from mem3r_ros.data.encodings import read_depth, read_image
from mem3r_ros.data.folder import read_camera, read_pose_matrix
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame
from mem3r_ros.errors import BadFrame
from mem3r_ros.trajectory import NANOSECONDS, Trajectory

COLOUR = Intrinsics(525.0, 525.0, 320.0, 240.0, 640, 480)
DEPTH = Intrinsics(585.0, 585.0, 320.0, 240.0, 640, 480)


class SevenScenesSequence(ListedSequence):
    """One ``seq-NN`` folder."""

    def __init__(self, path: Path, selection: Selection, fps: float) -> None:
        super().__init__(path, selection)
        self._fps = fps
        self._images = sorted(path.glob('frame-*.color.*'))
        self._camera = read_camera(path) or COLOUR

    @cached_property
    def truth(self) -> Trajectory | None:  # type: ignore[override]
        """Return the poses of all frames that have one."""
        stamps_ns, poses = [], []
        for index, image in enumerate(self._images):
            pose = read_pose_matrix(_beside(image, 'pose.txt'))
            if pose is not None:
                stamps_ns.append(self._stamp_ns(index))
                poses.append(pose)
        return Trajectory(np.array(stamps_ns), np.array(poses)) if poses else None

    def _stamp_ns(self, index: int) -> int:
        return round(index * NANOSECONDS / self._fps)

    def _load(self, item: int) -> SequenceFrame:
        path = self._images[item]
        return SequenceFrame(
            self._stamp_ns(item),
            read_image(path, self.decoding),
            self._camera,
            read_pose_matrix(_beside(path, 'pose.txt')),
            self._depth(_beside(path, 'depth.png')) if self.selection.with_depth else None,
        )

    def _depth(self, path: Path) -> np.ndarray | None:
        if not path.exists():
            return None
        try:
            depth_m = read_depth(path, 1000.0)
        except BadFrame:
            return None
        return seen_by(depth_m, DEPTH, self._camera)


def _beside(image: Path, suffix: str) -> Path:
    return image.with_name(f'{image.name.split(".")[0]}.{suffix}')
