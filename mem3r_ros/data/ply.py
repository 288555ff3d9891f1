# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Coloured point clouds as binary PLY files."""

from __future__ import annotations

from pathlib import Path
import re

import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.files import replacing

_VERTEX = np.dtype(
    [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('red', 'u1'), ('green', 'u1'), ('blue', 'u1')]
)
_TYPES = {'f4': 'float', 'u1': 'uchar'}


def write_ply(path: str | Path, points: np.ndarray, colours: np.ndarray) -> None:
    """
    Write a coloured cloud.

    :param path: file to write; an existing one is replaced.
    :param points: [P, 3] m; rows that are not finite are left out.
    :param colours: [P, 3] uint8 RGB.
    :raises UserError: the file cannot be written; the old one is unchanged.
    """
    points = np.asarray(points, dtype=np.float32).reshape(-1, 3)
    colours = np.asarray(colours, dtype=np.uint8).reshape(-1, 3)
    if len(points) != len(colours):
        raise ValueError(f'{len(points)} points have {len(colours)} colours; give one each')
    finite = np.isfinite(points).all(axis=1)
    vertices = np.empty(int(finite.sum()), dtype=_VERTEX)
    for axis, name in enumerate(('x', 'y', 'z')):
        vertices[name] = points[finite, axis]
    for channel, name in enumerate(('red', 'green', 'blue')):
        vertices[name] = colours[finite, channel]
    properties = ''.join(
        f'property {_TYPES[_VERTEX[name].str[1:]]} {name}\n' for name in _VERTEX.names
    )
    header = (
        'ply\nformat binary_little_endian 1.0\ncomment metres, odom frame\n'
        f'element vertex {len(vertices)}\n{properties}end_header\n'
    )
    with replacing(path) as file:
        file.write(header.encode('ascii'))
        file.write(vertices.tobytes())


def read_ply(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """
    Read a cloud that ``write_ply`` wrote.

    :param path: the file.
    :return: points [P, 3] float32 and colours [P, 3] uint8.
    :raises UserError: it is not such a file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    header, end, body = data.partition(b'end_header\n')
    match = re.search(rb'element vertex (\d+)', header)
    count = int(match.group(1)) if match else -1
    if not end or not data.startswith(b'ply\n') or len(body) != count * _VERTEX.itemsize:
        raise UserError(f'{path} is not a PLY file of points with colours as written here')
    vertices = np.frombuffer(body, dtype=_VERTEX)
    points = np.stack([vertices['x'], vertices['y'], vertices['z']], axis=1)
    return points, np.stack([vertices['red'], vertices['green'], vertices['blue']], axis=1)
