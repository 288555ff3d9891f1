# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Create and read PointCloud2 messages with numpy."""

from __future__ import annotations

import array
from collections.abc import Iterable, Sequence
import sys
from typing import Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

_DTYPES = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}


def read_points(cloud: PointCloud2, field_names: Sequence[str] | None = None) -> np.ndarray:
    """
    Return the points of a cloud as a structured array that shares the memory of the message.

    :param cloud: the message.
    :param field_names: fields to read; default: all.
    """
    dtype = dtype_from_fields(cloud.fields, point_step=cloud.point_step)
    points = np.ndarray((cloud.width * cloud.height,), dtype, buffer=cloud.data)
    if cloud.is_bigendian != (sys.byteorder == 'big'):
        points = points.byteswap()
    if field_names is not None:
        assert set(field_names) <= set(dtype.names), f'the cloud has only the fields {dtype.names}'
        points = points[list(field_names)]
    return points


def read_points_numpy(cloud: PointCloud2, field_names: Sequence[str] | None = None) -> np.ndarray:
    """
    Return the points of a cloud as [P, fields]; the fields must have one type.

    :param cloud: the message.
    :param field_names: fields to read; default: all.
    """
    points = read_points(cloud, field_names)
    types = {points.dtype[name] for name in points.dtype.names}
    assert len(types) == 1, 'the fields have several types; use read_points'
    return structured_to_unstructured(points)


def create_cloud(header: Header, fields: Sequence[PointField], points: Any) -> PointCloud2:
    """
    Return a cloud message.

    :param header: stamp and frame.
    :param fields: layout of a point.
    :param points: structured array of that layout, array [P, fields] of one type, or an iterable
        of points.
    """
    dtype = dtype_from_fields(fields)
    if not isinstance(points, np.ndarray):
        points = np.array([tuple(point) for point in points], dtype)
    elif points.dtype.names is None:
        assert len({field.datatype for field in fields}) == 1, 'the fields have several types'
        points = unstructured_to_structured(points, dtype)
    assert points.dtype == dtype, f'the points are {points.dtype}, the fields {dtype}'
    data = array.array('B')
    data.frombytes(memoryview(np.ascontiguousarray(points)).cast('B'))
    cloud = PointCloud2(
        header=header,
        height=1,
        width=len(points),
        is_dense=False,
        is_bigendian=sys.byteorder == 'big',
        fields=fields,
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * len(points),
    )
    cloud.data = data  # the constructor would check it byte by byte
    return cloud


def dtype_from_fields(fields: Iterable[PointField], point_step: int | None = None) -> np.dtype:
    """
    Return the numpy type of one point.

    :param fields: layout of a point, each with count 1.
    :param point_step: bytes from point to point; default: the fields without padding.
    """
    layout: dict[str, Any] = {'names': [], 'formats': [], 'offsets': []}
    for field in fields:
        assert field.count == 1, f'field {field.name} has count {field.count}'
        layout['names'].append(field.name)
        layout['formats'].append(_DTYPES[field.datatype])
        layout['offsets'].append(field.offset)
    if point_step is not None:
        layout['itemsize'] = point_step
    return np.dtype(layout)
