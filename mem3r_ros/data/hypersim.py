# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A scene of Hypersim as it is downloaded (Roberts et al., ICCV 2021), seen by one of its cameras.

``images/scene_cam_XX_final_preview`` holds the pictures, ``images/scene_cam_XX_geometry_hdf5``
the distance of each pixel from the optical centre in metres, ``_detail/cam_XX`` the poses in the
artist's units with camera axes x right, y up, z backward. HDF5 files need the package h5py.
"""

from __future__ import annotations

import csv
import importlib
import logging
from pathlib import Path
import re
from typing import Any

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.encodings import read_image
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.trajectory import NANOSECONDS, Trajectory

PREVIEW = re.compile(r'scene_(cam_\w+)_final_preview')
FOCAL_PX = 886.81  # of pictures 1024 wide: a view of 60 degrees
WIDTH, HEIGHT = 1024, 768
CAMERA_TABLE = 'metadata_camera_parameters.csv'

LOGGER = logging.getLogger(__name__)


class HypersimSequence(ListedSequence):
    """One camera trajectory of a scene."""

    def __init__(self, path: Path, selection: Selection, fps: float) -> None:
        """Take a scene ``ai_VVV_NNN`` or, of a scene with several cameras, one preview folder."""
        super().__init__(path, selection)
        folder = _preview_folder(path)
        match = PREVIEW.fullmatch(folder.name)
        assert match is not None, f'{folder.name} was found by this pattern'
        self._scene, self._camera_name = folder.parents[1], match.group(1)
        self._h5py = _h5py(path)
        kinds = ('tonemap', 'color')
        found = (sorted(folder.glob(f'frame.*.{kind}.jpg')) for kind in kinds)
        self._images = next((images for images in found if images), [])
        if not self._images:
            raise UserError(f'{folder} has no pictures; expected frame.IIII.tonemap.jpg files')
        self._fps = fps
        self._camera = _camera(self._scene)
        self._poses = self._read_poses()

    @property
    def truth(self) -> Trajectory | None:
        """Return the poses of the pictures that have one, in metres and optical axes."""
        known = [i for i in range(len(self._images)) if self._number(i) in self._poses]
        if not known:
            return None
        stamps_ns = [self._stamp_ns(i) for i in known]
        return Trajectory(np.array(stamps_ns), np.array([self._pose(i) for i in known]))

    def _number(self, index: int) -> int:
        return int(self._images[index].name.split('.')[1])

    def _stamp_ns(self, index: int) -> int:
        return round(self._number(index) * NANOSECONDS / self._fps)

    def _pose(self, index: int) -> np.ndarray | None:
        return self._poses.get(self._number(index))

    def _load(self, item: int) -> SequenceFrame:
        image = read_image(self._images[item], self.decoding)
        height, width = image.shape[:2]
        camera = None if self._camera is None else self._camera.resized(width, height)
        return SequenceFrame(
            self._stamp_ns(item), image, camera, self._pose(item), self._depth(item, camera)
        )

    def _depth(self, item: int, camera: Intrinsics | None) -> np.ndarray | None:
        name = self._images[item].name.rsplit('.', 2)[0]
        folder = self._scene / 'images' / f'scene_{self._camera_name}_geometry_hdf5'
        file = folder / f'{name}.depth_meters.hdf5'
        if not self.selection.with_depth or camera is None or not file.exists():
            return None
        try:
            distance_m = self._dataset(file).astype(np.float32)
        except BadFrame:
            return None
        if distance_m.shape != (camera.height, camera.width):
            return None
        depth_m = distance_m / np.linalg.norm(camera.rays(), axis=-1)
        depth_m[~(depth_m > 0)] = np.nan
        return depth_m

    def _dataset(self, file: Path) -> np.ndarray:
        try:
            with self._h5py.File(str(file), 'r') as opened:
                return np.asarray(opened['dataset'][:])
        except (OSError, KeyError) as error:
            raise BadFrame(f'{file} cannot be read as HDF5 with a "dataset": {error}') from error

    def _read_poses(self) -> dict[int, np.ndarray]:
        """Return T_world_camera [4, 4] of each picture's number; optical axes, metres."""
        folder = self._scene / '_detail' / self._camera_name
        if not (folder / 'camera_keyframe_positions.hdf5').exists():
            return {}
        places = self._dataset(folder / 'camera_keyframe_positions.hdf5')
        turns = self._dataset(folder / 'camera_keyframe_orientations.hdf5')
        if places.shape != (len(turns), 3) or turns.shape != (len(places), 3, 3):
            raise UserError(
                f'{folder} has positions {places.shape} and orientations {turns.shape}; '
                f'expected (N, 3) and (N, 3, 3)'
            )
        numbers = np.arange(len(places))
        if (folder / 'camera_keyframe_frame_indices.hdf5').exists():
            numbers = self._dataset(folder / 'camera_keyframe_frame_indices.hdf5').astype(int)
        poses = np.tile(np.eye(4), (len(places), 1, 1))
        # y up and z backward become y down and z forward.
        poses[:, :3, :3] = turns * np.array([1.0, -1.0, -1.0])
        poses[:, :3, 3] = places * _metres_per_unit(self._scene)
        return {int(n): pose for n, pose in zip(numbers, poses, strict=False)}


def is_hypersim(path: Path) -> bool:
    """Return whether a folder is a scene or the preview images of one of its cameras."""
    if PREVIEW.fullmatch(path.resolve().name):
        return True
    return next(path.glob('images/scene_cam_*_final_preview'), None) is not None


def _preview_folder(path: Path) -> Path:
    if PREVIEW.fullmatch(path.resolve().name):
        return path.resolve()
    folders = sorted(path.resolve().glob('images/scene_cam_*_final_preview'))
    if len(folders) > 1:
        names = ', '.join(folder.name for folder in folders)
        LOGGER.warning('%s has several cameras: %s; taking the first, or give one', path, names)
    return folders[0]


def _h5py(path: Path) -> Any:
    try:
        return importlib.import_module('h5py')
    except ImportError as error:
        raise UserError(
            f'{path} is a scene of Hypersim, whose files need h5py; install it: pip install h5py'
        ) from error


def _metres_per_unit(scene: Path) -> float:
    file = scene / '_detail' / 'metadata_scene.csv'
    for row in _rows(file):
        if row.get('parameter_name') == 'meters_per_asset_unit':
            try:
                return float(row['parameter_value'])
            except (KeyError, TypeError, ValueError):
                break
    raise UserError(f'{file} has no number meters_per_asset_unit; positions cannot be metres')


def _camera(scene: Path) -> Intrinsics | None:
    """
    Return the camera of the full-size pictures.

    Some scenes have a special lens, for example a shifted or tilted one. It is read from the data
    set's table of camera parameters, beside the scene or up to two folders above.
    """
    folders = (scene, *scene.parents[:2])
    table = next((f / CAMERA_TABLE for f in folders if (f / CAMERA_TABLE).exists()), None)
    row = None
    if table is not None:
        row = next((row for row in _rows(table) if row.get('scene_name') == scene.name), None)
    if table is None or row is None:
        return Intrinsics(FOCAL_PX, FOCAL_PX, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, WIDTH, HEIGHT)
    try:
        names = [[f'M_cam_from_uv_{i}{j}' for j in range(3)] for i in range(3)]
        M = np.array([[float(row[name]) for name in line] for line in names])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'{table} has no nine numbers M_cam_from_uv for {scene.name}') from error
    return _pinhole(M, scene)


def _pinhole(M_cam_from_uv: np.ndarray, scene: Path) -> Intrinsics | None:
    """Return the camera whose rays are M (u, v, 1), u to the right and v up in [-1, 1]."""
    M = M_cam_from_uv / -M_cam_from_uv[2, 2]
    if np.abs(M[[0, 1, 2, 2], [1, 0, 0, 1]]).max() > 1e-4:
        LOGGER.warning('%s has a tilted lens: its camera and depth are left out', scene.name)
        return None
    fx, fy = WIDTH / (2 * M[0, 0]), HEIGHT / (2 * M[1, 1])
    u, v = -M[0, 2] / M[0, 0], -M[1, 2] / M[1, 1]
    cx, cy = (u + 1) * WIDTH / 2 - 0.5, (1 - v) * HEIGHT / 2 - 0.5
    return Intrinsics(fx, fy, cx, cy, WIDTH, HEIGHT)


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with open(file, encoding='utf-8', newline='') as opened:
            return list(csv.DictReader(opened, skipinitialspace=True))
    except OSError as error:
        raise UserError(f'cannot read {file}: {error.strerror}') from error
