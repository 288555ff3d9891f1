# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Poses from the GPS and inertial unit of KITTI's car, as KITTI's own tools define them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mem3r_ros.errors import UserError

EARTH_RADIUS_M = 6378137.0


def read_imu_poses(files: list[Path]) -> np.ndarray:
    """
    Read one packet a file: latitude, longitude (deg), altitude (m), roll, pitch, yaw (rad), more.

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
