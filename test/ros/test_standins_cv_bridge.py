# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Behaviour of cv_bridge that users rely on; holds for the real package and for the stand-in."""

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
def test_three_channels_go_there_and_back_unchanged(bridge, encoding):
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


def test_the_header_is_taken_over(bridge):
    message = bridge.cv2_to_imgmsg(RGB, 'rgb8', header=Header(frame_id='camera'))

    assert message.header.frame_id == 'camera'


def test_colours_change_places(bridge):
    message = bridge.cv2_to_imgmsg(RGB, 'rgb8')

    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, 'bgr8'), RGB[:, :, ::-1])
    rgba = bridge.imgmsg_to_cv2(message, 'rgba8')
    np.testing.assert_array_equal(rgba[:, :, :3], RGB)
    assert (rgba[:, :, 3] == 255).all()


def test_grey_is_opencvs_grey(bridge):
    message = bridge.cv2_to_imgmsg(RGB, 'rgb8')

    grey = bridge.imgmsg_to_cv2(message, 'mono8')

    np.testing.assert_array_equal(grey, cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY))


def test_white_stays_white_between_eight_and_sixteen_bits(bridge):
    grey = np.array([[0, 128, 255]], np.uint8)

    deep = bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(grey, 'mono8'), 'rgb16')
    back = bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(deep, 'rgb16'), 'mono8')

    assert deep.dtype == np.uint16
    assert deep[0, :, 0].tolist() == [0, 128 * 257, 65535]
    np.testing.assert_array_equal(back, grey)


def test_padded_rows_are_cut(bridge):
    message = message_of([1, 2, 99, 99, 3, 4, 99, 99], 'mono8', height=2, width=2, step=4)

    assert bridge.imgmsg_to_cv2(message).tolist() == [[1, 2], [3, 4]]


def test_padding_need_not_be_whole_pixels(bridge):
    message = message_of([1, 2, 3, 99, 4, 5, 6, 99], 'rgb8', height=2, width=1, step=4)
    if 'standins' not in cv_bridge.__file__:
        pytest.skip('the real package reads whole pixels only')

    assert bridge.imgmsg_to_cv2(message).tolist() == [[[1, 2, 3]], [[4, 5, 6]]]


def test_big_endian_samples_are_swapped(bridge):
    message = message_of([0x12, 0x34, 0x00, 0x01], 'mono16', 1, 2, 4, is_bigendian=1)

    image = bridge.imgmsg_to_cv2(message)

    assert image.tolist() == [[0x1234, 1]]
    assert image.dtype == np.uint16


def test_float_depth_keeps_nan_and_infinity(bridge):
    depth = np.array([[1.5, np.nan, np.inf]], np.float32)

    back = bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(depth, '32FC1'))

    np.testing.assert_array_equal(back, depth)


@pytest.mark.parametrize(
    ('encoding', 'data'), [('yuv422', [128, 50, 128, 200]), ('yuv422_yuy2', [50, 128, 200, 128])]
)
def test_yuv_without_chroma_is_grey(bridge, encoding, data):
    message = message_of(data, encoding, height=1, width=2, step=4)

    grey = bridge.imgmsg_to_cv2(message, 'mono8')
    rgb = bridge.imgmsg_to_cv2(message, 'rgb8')

    assert grey.tolist() == [[50, 200]]
    assert (rgb == rgb[:, :, :1]).all()


@pytest.mark.parametrize(
    ('pattern', 'first_row', 'second_row'),
    [('rggb', 'rg', 'gb'), ('bggr', 'bg', 'gr'), ('gbrg', 'gb', 'rg'), ('grbg', 'gr', 'bg')],
)
def test_bayer_patterns_give_back_an_even_colour(bridge, pattern, first_row, second_row):
    colour = {'r': 200, 'g': 100, 'b': 50}
    tile = [[colour[letter] for letter in row] for row in (first_row, second_row)]
    mosaic = np.tile(np.array(tile, np.uint8), (4, 4))

    rgb = bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(mosaic, f'bayer_{pattern}8'), 'rgb8')

    assert (rgb[2:-2, 2:-2] == (200, 100, 50)).all()


def test_numbers_are_not_turned_into_colours(bridge):
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


def test_only_arrays_become_messages(bridge):
    with pytest.raises(TypeError):
        bridge.cv2_to_imgmsg([[1, 2], [3, 4]])


def test_png_goes_there_and_back_unchanged(bridge):
    message = bridge.cv2_to_compressed_imgmsg(RGB, 'png')

    assert message.format == 'png'
    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(message), RGB)
    swapped = bridge.compressed_imgmsg_to_cv2(message, 'rgb8')
    np.testing.assert_array_equal(swapped, RGB[:, :, ::-1])


def test_jpeg_is_the_default_and_stays_near(bridge):
    image = np.full((16, 16, 3), 90, np.uint8)

    message = bridge.cv2_to_compressed_imgmsg(image)

    assert bytes(message.data[:2]) == b'\xff\xd8'
    assert abs(bridge.compressed_imgmsg_to_cv2(message).astype(int) - 90).max() <= 2


def test_bytes_that_are_no_picture_give_no_picture(bridge):
    message = CompressedImage(format='jpeg', data=array('B', b'no picture at all'))

    with pytest.raises((cv_bridge.CvBridgeError, TypeError)):
        bridge.compressed_imgmsg_to_cv2(message, 'bgr8').astype(int)


def test_encodings_have_a_type_and_a_number_of_channels(bridge):
    assert bridge.encoding_to_dtype_with_channels('rgb8') == ('uint8', 3)
    assert bridge.encoding_to_dtype_with_channels('mono16') == ('uint16', 1)
    assert bridge.encoding_to_dtype_with_channels('32FC1') == ('float32', 1)
    assert bridge.encoding_to_cvtype2('bgr8') == cv2.CV_8UC3
    assert bridge.cvtype_to_name[cv2.CV_16UC1] == '16UC1'


@pytest.mark.parametrize('encoding', ['nv12', 'nv21', 'nv24'])
def test_planar_pictures_are_read_too(bridge, encoding):
    if 'standins' not in cv_bridge.__file__:
        pytest.skip('the real package does not read planar pictures')
    rows = {'nv12': 3, 'nv21': 3, 'nv24': 6}[encoding]
    message = message_of([128] * (2 * rows), encoding, height=2, width=2, step=2)

    rgb = bridge.imgmsg_to_cv2(message, 'rgb8')

    assert rgb.shape == (2, 2, 3)
    assert np.ptp(rgb) == 0
    assert bridge.imgmsg_to_cv2(message).shape == (rows, 2)
