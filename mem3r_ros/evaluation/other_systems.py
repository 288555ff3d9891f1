# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results of other systems as files: trajectories of three kinds, depth images, clouds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mem3r_ros.data.folder import in_natural_order
from mem3r_ros.errors import UserError
from mem3r_ros.text_files import text_rows
from mem3r_ros.trajectory import Trajectory, read_tum

DEPTH_SUFFIXES = ('.png', '.npy', '.exr')
_KITTI, _EUROC, _TUM = 12, 17, 8  # numbers in a line
_NANOSECONDS_DIGITS = 16  # a stamp of so many digits is not in seconds


def read_trajectory(path: Path, stamps_ns: np.ndarray | None = None) -> Trajectory:
    """
    Read a trajectory of TUM, KITTI or EuRoC; the numbers in its first line decide.

    :param path: text file. TUM: stamp (s), position, quaternion x y z w. KITTI: the twelve numbers
        of a 3x4 pose. EuRoC: stamp (ns), position, quaternion w x y z, and more.
    :param stamps_ns: stamps of the images [N], for KITTI's poses, which have none.
    :return: T_world_camera over time.
    :raises UserError: the file is of none of these kinds, or needs stamps.
    """
    first = next(text_rows(path), None)
    if first is None:
        raise UserError(f'{path} holds no pose')
    words = first[1]
    if len(words) == _KITTI:
        return _read_kitti(path, stamps_ns)
    if len(words) >= _TUM and words[0].isdigit() and len(words[0]) >= _NANOSECONDS_DIGITS:
        return _read_euroc(path)
    if len(words) == _TUM:
        return read_tum(path)
    raise UserError(
        f'{path} has {len(words)} numbers in a line; expected {_TUM} (TUM), {_KITTI} (KITTI) or '
        f'a stamp in nanoseconds with position and quaternion (EuRoC)'
    )


def _numbers(path: Path, count: int) -> np.ndarray:
    rows = []
    for number, words in text_rows(path):
        try:
            rows.append([float(word) for word in words[:count]])
        except ValueError as error:
            raise UserError(f'{path} line {number} holds something else than numbers') from error
        if len(rows[-1]) != count or not np.isfinite(rows[-1]).all():
            raise UserError(f'{path} line {number} needs {count} finite numbers')
    return np.array(rows)


def _read_kitti(path: Path, stamps_ns: np.ndarray | None) -> Trajectory:
    values = _numbers(path, _KITTI)
    if stamps_ns is None or len(stamps_ns) != len(values):
        known = 'none' if stamps_ns is None else f'{len(stamps_ns)}'
        raise UserError(
            f'{path} has {len(values)} poses without stamps, and the truth has {known} images; '
            'give the recording as --truth, with a pose for each of its images'
        )
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    poses[:, :3] = values.reshape(-1, 3, 4)
    return Trajectory(stamps_ns, poses)


def _read_euroc(path: Path) -> Trajectory:
    values = _numbers(path, _TUM)
    stamps_ns = np.array([int(words[0]) for _, words in text_rows(path)], np.int64)
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    poses[:, :3, :3] = Rotation.from_quat(np.roll(values[:, 4:8], -1, axis=1)).as_matrix()
    poses[:, :3, 3] = values[:, 1:4]
    return Trajectory(stamps_ns, poses)


def read_depths(folder: Path, factor: float = 1000.0) -> Iterator[np.ndarray]:
    """
    Yield depth images in the order of their names, frame 2 before frame 10.

    :param folder: 16-bit PNG (stored units over ``factor``), NPY or EXR (metres).
    :param factor: stored units of PNG in a metre.
    :return: depth [H, W] m, NaN where a PNG has 0.
    :raises UserError: there are none, or one cannot be read.
    """
    for path in depth_files(folder):
        yield read_depth(path, factor)


def depth_files(folder: Path) -> list[Path]:
    """
    Return the depth images of a folder, in the order of their names.

    :raises UserError: there are none.
    """
    if not folder.is_dir():
        raise UserError(f'{folder} is no folder')
    for suffix in DEPTH_SUFFIXES:
        found = [path for path in folder.iterdir() if path.suffix.lower() == suffix]
        if found:
            return sorted(found, key=in_natural_order)
    raise UserError(f'{folder} holds no depth images ({", ".join(DEPTH_SUFFIXES)})')


def read_depth(path: Path, factor: float) -> np.ndarray:
    """
    Read one depth image.

    :raises UserError: it cannot be read, or is no image of one channel.
    """
    suffix = path.suffix.lower()
    read = {'.npy': _read_npy, '.exr': _read_exr}.get(suffix, _read_png)
    depth_m = read(path)
    if depth_m.ndim != 2:
        raise UserError(f'{path} has shape {depth_m.shape}; depth has rows and columns')
    if depth_m.dtype == np.uint16:
        return np.where(depth_m > 0, depth_m / factor, np.nan).astype(np.float32)
    return depth_m.astype(np.float32)


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f'cannot read {path}: {error}') from error


def _read_png(path: Path) -> np.ndarray:
    import cv2

    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise UserError(f'{path} cannot be decoded')
    return stored


def _read_exr(path: Path) -> np.ndarray:
    """Return the channel Z or Y of an EXR file, or the first one where there is neither."""
    try:
        import OpenEXR
    except ImportError as error:
        raise UserError(f'{path} needs another package: pip install OpenEXR') from error
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = file.channels()
            name = next((name for name in ('Z', 'Y') if name in channels), next(iter(channels)))
            return np.array(channels[name].pixels)
    except (RuntimeError, OSError, ValueError) as error:
        raise UserError(f'cannot read {path}: {error}') from error


def read_points(path: Path) -> np.ndarray:
    """
    Read the vertices of a PLY file, ASCII or binary.

    :return: points [N, 3], m.
    :raises UserError: the file cannot be read or has no vertices with x, y and z.
    """
    from plyfile import PlyData, PlyParseError

    try:
        vertices = PlyData.read(str(path))['vertex']
        return np.stack([vertices[axis] for axis in 'xyz'], axis=1).astype(np.float64)
    except (OSError, PlyParseError, KeyError, ValueError) as error:
        raise UserError(f'{path} is no PLY file with points: {error}') from error
