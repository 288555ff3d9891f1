# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Behaviour of sensor_msgs_py that users rely on; holds for the real package and the stand-in."""

from array import array

import numpy as np
import pytest
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

import mem3r_ros.ros  # noqa: F401  the stand-ins come with it

point_cloud2 = pytest.importorskip('sensor_msgs_py.point_cloud2')

XYZ = np.array([[1, 2, 3], [4, np.nan, 6], [7, 8, 9]], np.float32)
XYZ_RGB = [
    PointField(name='x', offset=0, datatype=PointField.FLOAT32, count=1),
    PointField(name='y', offset=4, datatype=PointField.FLOAT32, count=1),
    PointField(name='z', offset=8, datatype=PointField.FLOAT32, count=1),
    PointField(name='rgb', offset=16, datatype=PointField.UINT32, count=1),
]


def test_xyz_goes_there_and_back():
    cloud = point_cloud2.create_cloud_xyz32(Header(frame_id='camera'), XYZ)

    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (3, 1, 12, 36)
    assert cloud.header.frame_id == 'camera'
    assert isinstance(cloud.data, array)
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud), XYZ)


def test_an_iterable_of_points_will_do():
    cloud = point_cloud2.create_cloud_xyz32(Header(), [(1, 2, 3), (4, 5, 6)])

    assert point_cloud2.read_points_numpy(cloud).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_points_with_nan_can_be_skipped():
    cloud = point_cloud2.create_cloud_xyz32(Header(), XYZ)

    assert point_cloud2.read_points_numpy(cloud, skip_nans=True).tolist() == [[1, 2, 3], [7, 8, 9]]
    only_x = point_cloud2.read_points_numpy(cloud, field_names=['x'], skip_nans=True)
    assert only_x.tolist() == [[1], [4], [7]]


def test_fields_of_several_types_keep_their_offsets_and_gaps():
    points = [(1.0, 2.0, 3.0, 0xFF0000), (4.0, 5.0, 6.0, 0x0000FF)]

    cloud = point_cloud2.create_cloud(Header(), XYZ_RGB, points, point_step=32)

    assert cloud.point_step == 32
    assert len(cloud.data) == 64
    read = point_cloud2.read_points(cloud)
    assert read.dtype.names == ('x', 'y', 'z', 'rgb')
    assert read['rgb'].tolist() == [0xFF0000, 0x0000FF]
    assert point_cloud2.read_points(cloud, field_names=['z', 'x'])[1].tolist() == (6.0, 4.0)
    with pytest.raises(AssertionError):
        point_cloud2.read_points_numpy(cloud)


def test_structured_arrays_must_have_the_type_of_the_fields():
    points = np.zeros(5, point_cloud2.dtype_from_fields(XYZ_RGB))

    assert point_cloud2.create_cloud(Header(), XYZ_RGB, points).width == 5
    with pytest.raises(AssertionError):
        point_cloud2.create_cloud(Header(), XYZ_RGB[:3], points)


def test_chosen_points_are_read():
    cloud = point_cloud2.create_cloud_xyz32(Header(), XYZ)

    assert point_cloud2.read_points_numpy(cloud, uvs=[2, 0])[:, 0].tolist() == [7, 1]


def test_big_endian_clouds_are_swapped():
    cloud = point_cloud2.create_cloud_xyz32(Header(), XYZ)
    cloud.data = array('B', XYZ.astype('>f4').tobytes())
    cloud.is_bigendian = True

    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud), XYZ)


def test_an_organised_cloud_keeps_its_two_axes():
    points = np.arange(24, dtype=np.float32).reshape(4, 2, 3)

    cloud = point_cloud2.create_cloud_xyz32(Header(), points)

    assert (cloud.width, cloud.height) == (4, 2)
    read = point_cloud2.read_points_numpy(cloud, reshape_organized_cloud=True)
    np.testing.assert_array_equal(read, points)


def test_a_field_of_several_numbers_becomes_several_columns():
    normal = PointField(name='normal', offset=0, datatype=PointField.FLOAT64, count=3)

    dtype = point_cloud2.dtype_from_fields([normal])

    assert dtype.names == ('normal_0', 'normal_1', 'normal_2')
    assert dtype.itemsize == 24


def test_named_tuples_are_there_for_few_points():
    cloud = point_cloud2.create_cloud_xyz32(Header(), XYZ[:1])

    (point,) = point_cloud2.read_points_list(cloud)

    assert (point.x, point.y, point.z) == (1, 2, 3)


def test_missing_fields_are_an_assertion():
    cloud = point_cloud2.create_cloud_xyz32(Header(), XYZ)

    with pytest.raises(AssertionError):
        point_cloud2.read_points(cloud, field_names=['intensity'])
