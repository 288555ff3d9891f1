# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Behaviour of sensor_msgs_py that the node relies on; valid for the real one and the stand-in."""

from array import array

import numpy as np
import pytest
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

import mem3r_ros.ros  # noqa: F401  the stand-ins come with it

point_cloud2 = pytest.importorskip('sensor_msgs_py.point_cloud2')

XYZ = np.array([[1, 2, 3], [4, np.nan, 6], [7, 8, 9]], np.float32)


def fields(names='xyz', datatype=PointField.FLOAT32):
    return [
        PointField(name=name, offset=4 * index, datatype=datatype, count=1)
        for index, name in enumerate(names)
    ]


XYZ_RGB = [*fields(), PointField(name='rgb', offset=12, datatype=PointField.UINT32, count=1)]


def test_xyz_is_written_and_read_unchanged():
    cloud = point_cloud2.create_cloud(Header(frame_id='camera'), fields(), XYZ)

    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (3, 1, 12, 36)
    assert cloud.header.frame_id == 'camera'
    assert isinstance(cloud.data, array)
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud), XYZ)


def test_points_may_be_an_iterable():
    cloud = point_cloud2.create_cloud(Header(), fields(), [(1, 2, 3), (4, 5, 6)])

    assert point_cloud2.read_points_numpy(cloud).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_fields_of_several_types_are_read_by_name():
    points = [(1.0, 2.0, 3.0, 0xFF0000), (4.0, 5.0, 6.0, 0x0000FF)]

    cloud = point_cloud2.create_cloud(Header(), XYZ_RGB, points)

    read = point_cloud2.read_points(cloud)
    assert read.dtype.names == ('x', 'y', 'z', 'rgb')
    assert read['rgb'].tolist() == [0xFF0000, 0x0000FF]
    assert point_cloud2.read_points(cloud, field_names=['z', 'x'])[1].tolist() == (6.0, 4.0)
    xyz = point_cloud2.read_points_numpy(cloud, field_names=['x', 'y', 'z'])
    assert xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(AssertionError):
        point_cloud2.read_points_numpy(cloud)


def test_padding_between_points_is_skipped():
    cloud = point_cloud2.create_cloud(Header(), fields('xyzp'), np.ones((2, 4), np.float32))
    cloud.fields = fields()  # 12 bytes of fields, 16 from point to point

    assert point_cloud2.read_points_numpy(cloud).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_structured_array_must_have_the_type_of_the_fields():
    points = np.zeros(5, point_cloud2.dtype_from_fields(XYZ_RGB))

    assert point_cloud2.create_cloud(Header(), XYZ_RGB, points).width == 5
    with pytest.raises(AssertionError):
        point_cloud2.create_cloud(Header(), XYZ_RGB[:3], points)


def test_big_endian_clouds_are_swapped():
    cloud = point_cloud2.create_cloud(Header(), fields(), XYZ)
    cloud.data = array('B', XYZ.astype('>f4').tobytes())
    cloud.is_bigendian = True

    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud), XYZ)


def test_a_missing_field_is_an_assertion_error():
    cloud = point_cloud2.create_cloud(Header(), fields(), XYZ)

    with pytest.raises(AssertionError):
        point_cloud2.read_points(cloud, field_names=['intensity'])
