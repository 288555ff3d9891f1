# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Behaviour of cv_bridge that the node relies on; valid for the real package and the stand-in."""

from array import array

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

import mem3r_ros.ros  # noqa: F401  the stand-ins come with it

cv_bridge = pytest.importorskip('cv_bridge')
cv2 = pytest.importorskip('cv2')

RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


@pytest.fixture
def bridge():
    return cv_bridge.CvBridge()


def message_of(data, encoding, height, width, step, is_bigendian=0):
    message = Image(height=height, width=width, encoding=encoding, step=step)
    message.is_bigendian = is_bigendian
    message.data = array('B', data)
    return message


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', '8UC3'])
def test_three_channels_are_written_and_read_unchanged(bridge, encoding):
    message = bridge.cv2_to_imgmsg(RGB, encoding)

    assert (message.height, message.width, message.step) == (2, 2, 6)
    assert message.encoding == encoding
    assert bytes(message.data) == RGB.tobytes()
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), RGB)


@pytest.mark.parametrize(
    'dtype', ['uint8', 'int8', 'uint16', 'int16', 'int32', 'float32', 'float64']
)
@pytest.mark.parametrize('num_channels', [1, 2, 3, 4])
def test_passthrough_names_the_type_and_keeps_every_value(bridge, dtype, num_channels):
    shape = (3, 5) if num_channels == 1 else (3, 5, num_channels)
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    name = {'u': 'U', 'i': 'S', 'f': 'F'}[values.dtype.kind]

    message = bridge.cv2_to_imgmsg(values)

    assert message.encoding == f'{8 * values.itemsize}{name}C{num_channels}'
    back = bridge.imgmsg_to_cv2(message)
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


def test_the_header_is_copied(bridge):
    message = bridge.cv2_to_imgmsg(RGB, 'rgb8', header=Header(frame_id='camera'))

    assert message.header.frame_id == 'camera'


def test_colours_are_converted_to_the_requested_encoding(bridge):
    message = bridge.cv2_to_imgmsg(RGB, 'rgb8')

    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, 'bgr8'), RGB[:, :, ::-1])
    rgba = bridge.imgmsg_to_cv2(message, 'rgba8')
    np.testing.assert_array_equal(rgba[:, :, :3], RGB)
    assert (rgba[:, :, 3] == 255).all()


def test_grey_is_that_of_opencv(bridge):
    message = bridge.cv2_to_imgmsg(RGB, 'rgb8')

    grey = bridge.imgmsg_to_cv2(message, 'mono8')

    np.testing.assert_array_equal(grey, cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY))


def test_padding_at_the_end_of_rows_is_removed(bridge):
    message = message_of([1, 2, 99, 99, 3, 4, 99, 99], 'mono8', height=2, width=2, step=4)

    assert bridge.imgmsg_to_cv2(message).tolist() == [[1, 2], [3, 4]]


def test_big_endian_samples_are_swapped(bridge):
    message = message_of([0x12, 0x34, 0x00, 0x01], 'mono16', 1, 2, 4, is_bigendian=1)

    image = bridge.imgmsg_to_cv2(message)

    assert image.tolist() == [[0x1234, 1]]
    assert image.dtype == np.uint16


def test_float_depth_keeps_nan_and_infinity(bridge):
    depth = np.array([[1.5, np.nan, np.inf]], np.float32)

    back = bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(depth, '32FC1'))

    np.testing.assert_array_equal(back, depth)


def test_plain_numbers_are_not_converted_to_colours(bridge):
    message = bridge.cv2_to_imgmsg(RGB)

    with pytest.raises(cv_bridge.CvBridgeError, match='not a color format'):
        bridge.imgmsg_to_cv2(message, 'bgr8')


def test_an_encoding_must_fit_the_array(bridge):
    with pytest.raises(cv_bridge.CvBridgeError, match='mono8'):
        bridge.cv2_to_imgmsg(RGB, 'mono8')


def test_an_unknown_encoding_is_an_error_that_names_it(bridge):
    message = message_of([0], 'purple8', 1, 1, 1)

    with pytest.raises(cv_bridge.CvBridgeError, match='purple8'):
        bridge.imgmsg_to_cv2(message)


def test_too_few_bytes_are_a_type_error(bridge):
    message = message_of([0] * 11, 'rgb8', 2, 2, 6)

    with pytest.raises(TypeError):
        bridge.imgmsg_to_cv2(message)


def test_an_input_that_is_not_an_array_is_refused(bridge):
    with pytest.raises(TypeError):
        bridge.cv2_to_imgmsg([[1, 2], [3, 4]])


def test_a_png_is_decoded_to_bgr_or_the_requested_encoding(bridge):
    message = CompressedImage(format='png')
    message.data = array('B', cv2.imencode('.png', RGB[:, :, ::-1])[1].tobytes())

    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(message), RGB[:, :, ::-1])
    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(message, 'rgb8'), RGB)


def test_a_compressed_image_that_cannot_be_decoded_gives_none(bridge):
    message = CompressedImage(format='jpeg', data=array('B', b'no picture at all'))

    assert bridge.compressed_imgmsg_to_cv2(message) is None
