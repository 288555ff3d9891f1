# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A drive of KITTI raw as it is downloaded, with the depth of KITTI's depth prediction benchmark.

Geiger et al., IJRR 2013; Uhrig et al., 3DV 2017. ``<date>_drive_<n>_sync`` holds the rectified
``image_02/data/*.png`` with stamps and ``oxts/data/*.txt``; the folder above holds calibration.
The depth download repeats the drive's folder with ``proj_depth/groundtruth/image_02/*.png`` (256
units a metre, 0 invalid). Both may be merged or lie near each other; either can be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
import logging
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mem3r_ros.data.calibration import camera_from_numbers
from mem3r_ros.data.encodings import read_depth, read_image
from mem3r_ros.data.folder import list_images
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.geometry import invert, matrix
from mem3r_ros.trajectory import NANOSECONDS, Trajectory

CAMERAS = ('image_02', 'image_03', 'image_00', 'image_01')
DEPTH_FACTOR = 256.0
# Accumulated scans are denser and cleaner than single ones.
DEPTH_KINDS = ('groundtruth', 'velodyne_raw')
NOMINAL_FPS = 10.0
EARTH_RADIUS_M = 6378137.0

LOGGER = logging.getLogger(__name__)


class KittiRawSequence(ListedSequence):
    """One drive, seen by one of its cameras."""

    def __init__(self, path: Path, selection: Selection) -> None:
        super().__init__(path, selection)
        folder = _images_of(path.resolve())
        if folder is None:
            raise UserError(
                f'{path} has depth but no images; put {path.resolve().name}/image_02 of KITTI raw '
                f'into it or beside it'
            )
        self._images = list_images(folder / 'data')
        self._stamps_ns = _stamps(folder / 'timestamps.txt', self._images)
        self._depth_folder = _depth_of(path.resolve(), folder.name)
        drive, number = folder.parent, folder.name[-2:]
        calibration = drive.parent / 'calib_cam_to_cam.txt'
        self._calibration = read_calibration(calibration) if calibration.exists() else None
        self._projection = None
        if self._calibration is not None:
            self._projection = _entry(calibration, self._calibration, f'P_rect_{number}', (3, 4))
        self._truth = self._read_truth(drive)

    @property
    def truth(self) -> Trajectory | None:
        """Return the path of the camera from the drive's GPS and inertial unit."""
        return self._truth

    def _read_truth(self, drive: Path) -> Trajectory | None:
        files = [drive / 'oxts' / 'data' / f'{image.stem}.txt' for image in self._images]
        known = [i for i, file in enumerate(files) if file.exists()]
        if not known:
            return None
        T_camera_imu = self._T_camera_imu(drive.parent)
        if T_camera_imu is None:
            return None
        poses = read_imu_poses([files[i] for i in known]) @ invert(T_camera_imu)
        return Trajectory(np.array([self._stamps_ns[i] for i in known]), poses)

    def _T_camera_imu(self, folder: Path) -> np.ndarray | None:
        """Chain the transforms: imu, laser, first camera, its rectified frame, this camera."""
        names = ('calib_imu_to_velo.txt', 'calib_velo_to_cam.txt', 'calib_cam_to_cam.txt')
        missing = [name for name in names if not (folder / name).exists()]
        if missing or self._calibration is None or self._projection is None:
            LOGGER.warning('%s has no %s, so there is no truth', folder, ', '.join(missing))
            return None
        T_velo_imu = _rigid(folder / names[0])
        T_cam0_velo = _rigid(folder / names[1])
        R_rect = _entry(folder / names[2], self._calibration, 'R_rect_00', (3, 3))
        P = self._projection
        # P = K [I | t] with p_camera = p_rectified + t.
        T_camera_rect = matrix(np.eye(3), np.linalg.solve(P[:, :3], P[:, 3]))
        return T_camera_rect @ matrix(R_rect, np.zeros(3)) @ T_cam0_velo @ T_velo_imu

    def _load(self, item: int) -> SequenceFrame:
        image = read_image(self._images[item], self.decoding)
        camera, stamp_ns = None, self._stamps_ns[item]
        if self._projection is not None:
            K, (height, width) = self._projection, image.shape[:2]
            camera = camera_from_numbers(K[0, 0], K[1, 1], K[0, 2], K[1, 2], width, height)
        return SequenceFrame(stamp_ns, image, camera, self._pose(stamp_ns), self._depth(item))

    def _pose(self, stamp_ns: int) -> np.ndarray | None:
        if self._truth is None:
            return None
        index = int(np.searchsorted(self._truth.stamps_ns, stamp_ns))
        is_there = index < len(self._truth) and self._truth.stamps_ns[index] == stamp_ns
        return self._truth.poses[index] if is_there else None

    def _depth(self, item: int) -> np.ndarray | None:
        if not self.selection.with_depth or self._depth_folder is None:
            return None
        file = self._depth_folder / f'{self._images[item].stem}.png'
        if not file.exists():
            return None  # the first and last five images of a drive have none
        try:
            return read_depth(file, DEPTH_FACTOR)
        except BadFrame:
            return None


def is_kitti_raw(path: Path) -> bool:
    """Return whether a folder is a drive of the raw data, the depth benchmark, or both."""
    return (path / 'proj_depth').is_dir() or any((path / c / 'data').is_dir() for c in CAMERAS)


def _images_of(drive: Path) -> Path | None:
    """Find the folder of the camera that is read, in the drive or in its namesake nearby."""
    for folder in _namesakes(drive):
        for name in CAMERAS:
            if (folder / name / 'data').is_dir():
                return folder / name
    return None


def _depth_of(drive: Path, camera: str) -> Path | None:
    for folder in _namesakes(drive):
        for kind in DEPTH_KINDS:
            if (folder / 'proj_depth' / kind / camera).is_dir():
                return folder / 'proj_depth' / kind / camera
    return None


def _namesakes(drive: Path) -> Iterator[Path]:
    """Yield the folders that may hold the other half of a download."""
    yield drive
    date = drive.name.split('_drive_')[0]
    for above in list(drive.parents)[:3]:
        for between in ('', date, 'train', 'val', 'raw', f'raw/{date}', 'raw_data',
                        f'raw_data/{date}', 'data_depth_annotated/train',
                        'data_depth_annotated/val'):  # fmt: skip
            folder = above / between / drive.name
            if folder != drive and folder.is_dir():
                yield folder


def _stamps(path: Path, images: list[Path]) -> list[int]:
    """Return the stamp of each image, whose name is its line in the list of stamps."""
    numbers = [int(p.stem) if p.stem.isdigit() else i for i, p in enumerate(images)]
    if not path.exists():
        return [round(number * NANOSECONDS / NOMINAL_FPS) for number in numbers]
    lines = path.read_text(encoding='ascii', errors='replace').split('\n')
    stamps_ns = [_date_ns(path, i, line) for i, line in enumerate(lines, start=1) if line.strip()]
    if max(numbers) >= len(stamps_ns):
        raise UserError(f'{path} has {len(stamps_ns)} stamps; image {max(numbers)} has none')
    return [stamps_ns[number] for number in numbers]


def _date_ns(path: Path, number: int, text: str) -> int:
    """Turn "2011-09-26 13:02:25.964389445" into nanoseconds without the rounding of a float."""
    whole, _, fraction = text.strip().partition('.')
    try:
        day = datetime.strptime(whole, '%Y-%m-%d %H:%M:%S').replace(tzinfo=timezone.utc)
        return int(day.timestamp()) * NANOSECONDS + int(f'{fraction:0<9}'[:9])
    except ValueError as error:
        raise UserError(f'{path} line {number} is not a date and time: {text.strip()}') from error


def read_calibration(path: Path) -> dict[str, np.ndarray]:
    """Read the lines "name: numbers" of a calibration file; lines without numbers are left."""
    values = {}
    try:
        lines = path.read_text(encoding='ascii', errors='replace').splitlines()
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    for line in lines:
        name, _, numbers = line.partition(':')
        try:
            values[name.strip()] = np.array(numbers.split(), np.float64)
        except ValueError:
            continue  # the date of the calibration
    return values


def _entry(
    path: Path, values: dict[str, np.ndarray], name: str, shape: tuple[int, ...]
) -> np.ndarray:
    found = values.get(name, np.zeros(0))
    if found.size != np.prod(shape) or not np.isfinite(found).all():
        raise UserError(f'{path} has no line "{name}:" with {np.prod(shape)} numbers')
    entry = found.reshape(shape)
    if abs(np.linalg.det(entry[:, :3])) < 1e-9:
        raise UserError(f'{path} line "{name}:" is no camera or rotation')
    return entry


def _rigid(path: Path) -> np.ndarray:
    values = read_calibration(path)
    found = values.get('T', np.zeros(0))
    if found.size != 3:
        raise UserError(f'{path} has no line "T:" with 3 numbers')
    return matrix(_entry(path, values, 'R', (3, 3)), found)


def read_imu_poses(files: list[Path]) -> np.ndarray:
    """
    Read poses from the packets of the GPS and inertial unit, as KITTI's own tools define them.

    A packet is a file that begins with latitude, longitude (deg), altitude (m), roll, pitch, yaw
    (rad).

    Positions are on the Mercator map, scaled by the cosine of the first latitude so that metres
    near the start are metres.

    :param files: at least one.
    :return: T_world_imu, [N, 4, 4]; imu: x forward, y left, z up; world: x east, y north, z up,
        its origin where the first packet was measured.
    :raises UserError: a file does not begin with six numbers.
    """
    packets = np.array([_packet(file) for file in files])
    latitude_rad, longitude_rad = np.radians(packets[:, 0]), np.radians(packets[:, 1])
    scale_m = np.cos(latitude_rad[0]) * EARTH_RADIUS_M
    places = np.stack(
        [
            scale_m * longitude_rad,
            scale_m * np.log(np.tan(np.pi / 4 + latitude_rad / 2)),
            packets[:, 2],
        ],
        axis=1,
    )
    poses = np.tile(np.eye(4), (len(packets), 1, 1))
    poses[:, :3, :3] = Rotation.from_euler('xyz', packets[:, 3:6]).as_matrix()
    poses[:, :3, 3] = places - places[0]
    return poses


def _packet(file: Path) -> np.ndarray:
    try:
        packet = np.array(file.read_text(encoding='ascii').split()[:6], np.float64)
    except (OSError, ValueError) as error:
        raise UserError(f'{file} is no packet of the inertial unit: {error}') from error
    if packet.shape != (6,) or not np.isfinite(packet).all() or abs(packet[0]) >= 90:
        raise UserError(
            f'{file} does not begin with latitude, longitude, altitude and three angles'
        )
    return packet
