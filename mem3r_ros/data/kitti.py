# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A sequence of the KITTI odometry benchmark as it is downloaded (Geiger et al., CVPR 2012).

``sequences/NN`` holds ``image_0`` (left, grey) to ``image_3``, ``times.txt`` and ``calib.txt``;
``poses/NN.txt`` holds T_world_cam0. The left colour camera is read where there is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mem3r_ros import plausible
from mem3r_ros.data.calibration import camera_from_numbers
from mem3r_ros.data.encodings import read_image
from mem3r_ros.data.folder import list_images, read_stamps
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame, listed_truth
from mem3r_ros.errors import UserError
from mem3r_ros.text_files import parsed_rows, text_rows
from mem3r_ros.trajectory import NANOSECONDS, Trajectory

CAMERAS = ('image_2', 'image_0', 'image_3', 'image_1')
NOMINAL_FPS = 10.0


class KittiSequence(ListedSequence):
    """One numbered sequence of the benchmark, seen by one of its cameras."""

    def __init__(self, path: Path, selection: Selection) -> None:
        super().__init__(path, selection)
        folder = next(path / name for name in CAMERAS if (path / name).is_dir())
        self._images = list_images(folder)
        self._stamps_ns = _stamps(path / 'times.txt', len(self._images))
        projection = _projection(path / 'calib.txt', folder.name[-1])
        self._projection = projection
        self._poses: dict[int, np.ndarray | None] = {}
        self._truth = self._read_truth(path, projection)

    @property
    def truth(self) -> Trajectory | None:
        """Return the poses of the camera that is read."""
        return self._truth

    def _read_truth(self, path: Path, projection: np.ndarray | None) -> Trajectory | None:
        number = path.resolve().name
        candidates = [path / 'poses.txt', path.resolve().parents[1] / 'poses' / f'{number}.txt']
        file = next((candidate for candidate in candidates if candidate.exists()), None)
        if file is None:
            return None
        rows = parsed_rows(file, _pose_of, 'twelve numbers of a pose')
        T_cam0_camera = np.eye(4)
        if projection is not None:
            # P = K [I | t] with p_camera = p_cam0 + t, and all cameras are parallel.
            T_cam0_camera[:3, 3] = -np.linalg.solve(projection[:, :3], projection[:, 3])
        poses = [None if row.value is None else row.value @ T_cam0_camera for row in rows]
        self._poses = dict(enumerate(poses))
        return listed_truth(self._stamps_ns, poses)

    def _load(self, item: int) -> SequenceFrame:
        image = read_image(self._images[item], self.decoding)
        camera = None
        if self._projection is not None:
            K = self._projection
            height, width = image.shape[:2]
            camera = camera_from_numbers(K[0, 0], K[1, 1], K[0, 2], K[1, 2], width, height)
        return SequenceFrame(self._stamps_ns[item], image, camera, self._poses.get(item))


def _stamps(path: Path, count: int) -> list[int]:
    if not path.exists():
        return [round(i * NANOSECONDS / NOMINAL_FPS) for i in range(count)]
    stamps_ns = read_stamps(path)
    if len(stamps_ns) < count:
        raise UserError(f'{path} has {len(stamps_ns)} stamps for {count} images')
    return stamps_ns


def _projection(path: Path, number: str) -> np.ndarray | None:
    """Return the 3x4 projection of a camera, None without calibration."""
    if not path.exists():
        return None
    for _, words in text_rows(path):
        if words[0] == f'P{number}:' and len(words) == 13:
            return _matrix(path, words)
    raise UserError(f'{path} has no line "P{number}:" with twelve numbers')


def _matrix(path: Path, words: list[str]) -> np.ndarray:
    try:
        projection = np.array(words[1:], dtype=np.float64).reshape(3, 4)
    except ValueError as error:
        raise UserError(f'{path} line "{words[0]}" holds something other than numbers') from error
    if not (np.isfinite(projection).all() and np.linalg.det(projection[:, :3]) > 0):
        raise UserError(f'{path} line "{words[0]}" is no projection of a camera')
    return projection


def _pose_of(words: list[str]) -> np.ndarray:
    values = np.array(words, np.float64)
    if values.shape != (12,):
        raise UserError(f'{len(words)} numbers; expected twelve')
    return plausible.pose_matrix(np.vstack([values.reshape(3, 4), (0, 0, 0, 1)]), 'pose')
