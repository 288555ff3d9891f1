# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Read and write PointCloud2 messages with numpy."""

from __future__ import annotations

import array
from collections import namedtuple
from collections.abc import Iterable, Sequence
import sys
from typing import Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

DUMMY_FIELD_PREFIX = 'unnamed_field'

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


def read_points(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | np.ndarray | None = None,
    reshape_organized_cloud: bool = False,
) -> np.ndarray:
    """
    Return the points of a cloud as a structured array.

    :param cloud: the message.
    :param field_names: fields to read; None reads all.
    :param skip_nans: whether to drop points with a NaN in one of these fields; a cloud that calls
        itself dense has none.
    :param uvs: indices of the points to read; None reads all.
    :param reshape_organized_cloud: whether a cloud with rows becomes a 2-D array [width, height].
    :return: structured array; it shares the message's memory where nothing had to be dropped.
    """
    assert isinstance(cloud, PointCloud2), f'{type(cloud).__name__} is not a PointCloud2'
    points = np.ndarray(
        shape=(cloud.width * cloud.height,),
        dtype=dtype_from_fields(cloud.fields, point_step=cloud.point_step),
        buffer=cloud.data,
    )
    if cloud.is_bigendian != (sys.byteorder == 'big'):
        points = points.byteswap()
    if field_names is not None:
        missing = [name for name in field_names if name not in (points.dtype.names or ())]
        assert not missing, f'fields {missing} are not in the cloud'
        points = points[list(field_names)]
    if skip_nans and not cloud.is_dense:
        is_number = np.ones(len(points), dtype=bool)
        for name in points.dtype.names or ():
            is_number &= ~np.isnan(points[name])
        points = points[is_number]
    if uvs is not None:
        points = points[uvs if isinstance(uvs, np.ndarray) else np.fromiter(uvs, int)]
    if reshape_organized_cloud and cloud.height > 1:
        points = points.reshape(cloud.width, cloud.height)
    return points


def read_points_numpy(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | np.ndarray | None = None,
    reshape_organized_cloud: bool = False,
) -> np.ndarray:
    """
    Return the points of a cloud as a plain array; the fields must be of one type.

    :param cloud: the message.
    :param field_names: fields to read; None reads all.
    :param skip_nans: whether to drop points with a NaN in one of these fields.
    :param uvs: indices of the points to read; None reads all.
    :param reshape_organized_cloud: whether a cloud with rows becomes an array with one more axis.
    :return: array with one row per point and one column per field.
    """
    datatypes = {
        field.datatype
        for field in cloud.fields
        if field_names is None or field.name in field_names
    }
    assert len(datatypes) <= 1, 'the fields are of several types; use read_points()'
    return structured_to_unstructured(
        read_points(cloud, field_names, skip_nans, uvs, reshape_organized_cloud)
    )


def read_points_list(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | np.ndarray | None = None,
) -> list[Any]:
    """
    Return the points of a cloud as named tuples; slow, for few points.

    :param cloud: the message.
    :param field_names: fields to read; None reads all.
    :param skip_nans: whether to drop points with a NaN in one of these fields.
    :param uvs: indices of the points to read; None reads all.
    :return: one named tuple per point.
    """
    points = read_points(cloud, field_names, skip_nans, uvs)
    Point = namedtuple('Point', points.dtype.names or ())
    return [Point._make(point) for point in points]


def dtype_from_fields(fields: Iterable[PointField], point_step: int | None = None) -> np.dtype:
    """
    Return the numpy type of one point.

    :param fields: field messages; one with count > 1 becomes name_0, name_1, ...
    :param point_step: bytes from point to point; None packs the fields as they are.
    :return: structured type.
    """
    layout: dict[str, tuple[str, int]] = {}
    for index, field in enumerate(fields):
        assert field.count > 0, f'field "{field.name}" has count 0'
        dtype = _DTYPES[field.datatype]
        stem = field.name or f'{DUMMY_FIELD_PREFIX}_{index}'
        for part in range(field.count):
            name = f'{stem}_{part}' if field.count > 1 else stem
            assert name not in layout, f'field "{name}" is there twice'
            layout[name] = (dtype.str, field.offset + part * dtype.itemsize)
    description: dict[str, Any] = {
        'names': list(layout),
        'formats': [dtype for dtype, _ in layout.values()],
        'offsets': [offset for _, offset in layout.values()],
    }
    if point_step is not None:
        description['itemsize'] = point_step
    return np.dtype(description)


def create_cloud(
    header: Header,
    fields: Sequence[PointField],
    points: np.ndarray | Iterable[Any],
    point_step: int | None = None,
) -> PointCloud2:
    """
    Return a cloud message.

    :param header: stamp and frame.
    :param fields: what each point holds.
    :param points: structured array of that layout, plain array with one column per field (all of
        one type), or an iterable of points; a 2-D array of points [width, height] keeps its rows.
    :param point_step: bytes from point to point; None packs the fields as they are.
    :return: the message.
    """
    dtype = dtype_from_fields(fields, point_step)
    if not isinstance(points, np.ndarray):
        points = np.array([tuple(point) for point in points], dtype=dtype)
    elif points.dtype.names is None:
        assert len({field.datatype for field in fields}) == 1, (
            'the fields are of several types; pass a structured array'
        )
        points = unstructured_to_structured(points, dtype=dtype)
    else:
        assert points.dtype == dtype, (
            f'the points are {points.dtype}, the fields say {dtype}; check order, names and types'
        )
    assert points.ndim <= 2, f'points have {points.ndim} axes; a cloud has at most 2'
    cloud = PointCloud2(
        header=header,
        height=points.shape[1] if points.ndim == 2 else 1,
        width=points.shape[0],
        is_dense=False,
        is_bigendian=sys.byteorder == 'big',
        fields=fields,
        point_step=points.dtype.itemsize,
        row_step=points.dtype.itemsize * points.shape[0],
    )
    # As array.array, and after construction: numpy or bytes in the constructor are checked byte
    # by byte, which takes 50 ms for a megabyte.
    data = array.array('B')
    if points.size:
        data.frombytes(memoryview(np.ascontiguousarray(points)).cast('B'))
    cloud.data = data
    return cloud


def create_cloud_xyz32(header: Header, points: np.ndarray | Iterable[Any]) -> PointCloud2:
    """
    Return a cloud message of x, y, z in float32.

    :param header: stamp and frame.
    :param points: array [N, 3] or an iterable of triples, in m.
    :return: the message.
    """
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate('xyz')
    ]
    return create_cloud(header, fields, points)
