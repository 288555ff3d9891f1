# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every encoding gives the same RGB picture; damaged data give a BadFrame and a sentence."""

import array

import cv2
import numpy as np
import pytest

from mem3r_ros.data.encodings import (
    IMAGE_ENCODINGS,
    DecodingState,
    UnknownEncoding,
    decode_compressed,
    decode_image,
    read_depth,
)
from mem3r_ros.errors import BadFrame

# Colours that survive the rounding and subsampling of every encoding: flat 4x4 blocks.
COLOURS = [
    (200, 40, 40),
    (40, 200, 40),
    (40, 40, 200),
    (220, 220, 220),
    (90, 90, 90),
    (20, 20, 20),
]
RGB = np.repeat(np.repeat(np.array(COLOURS, np.uint8).reshape(2, 3, 3), 8, 0), 8, 1)
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
BAYER_COLUMNS = {'rggb': 'RG/GB', 'bggr': 'BG/GR', 'gbrg': 'GB/RG', 'grbg': 'GR/BG'}


def yuv():
    """Return full-size Y, U, V by the studio-swing BT.601 that video cameras use."""
    red, green, blue = np.moveaxis(RGB.astype(float), -1, 0)
    y = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    return [np.rint(plane).astype(np.uint8) for plane in (y, u, v)]


def encode(encoding):
    """Return rows [rows, bytes] of ``RGB`` in an encoding, little endian."""
    if encoding.startswith('bayer'):
        pattern = BAYER_COLUMNS[encoding[6:10]].replace('/', '')
        mosaic = np.empty(RGB.shape[:2], np.uint8)
        for index, letter in enumerate(pattern):
            site = np.s_[index // 2 :: 2, index % 2 :: 2]
            mosaic[site] = RGB[..., 'RGB'.index(letter)][site]
        return wide(mosaic, encoding.endswith('16'))
    y, u, v = yuv()
    if encoding in ('nv12', 'nv21'):
        pair = (u, v) if encoding == 'nv12' else (v, u)
        chroma = np.stack([plane[::2, ::2] for plane in pair], -1).reshape(len(y) // 2, -1)
        return np.concatenate([y, chroma])
    if encoding == 'nv24':
        return np.concatenate([y, np.stack([u, v], -1).reshape(-1, y.shape[1])])
    if encoding in ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv'):
        chroma = np.where(np.arange(y.shape[1]) % 2 == 0, u, v)
        order = (chroma, y) if encoding in ('yuv422', 'uyvy') else (y, chroma)
        return np.stack(order, -1).reshape(len(y), -1)
    name = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8', '16UC1': 'mono16', '16UC3': 'bgr16'}
    name = name.get(encoding, encoding)
    alpha = np.full_like(GREY, 255)
    channels = dict(zip('rgb', np.moveaxis(RGB, -1, 0))) | {'a': alpha}
    planes = [GREY] if name.startswith('mono') else [channels[c] for c in name if c in 'rgba']
    return wide(np.stack(planes, -1).reshape(len(GREY), -1), name.endswith('16'))


def wide(rows, is_16_bit):
    return (rows.astype('<u2') * 257).view(np.uint8) if is_16_bit else rows


@pytest.mark.parametrize('encoding', IMAGE_ENCODINGS)
def test_every_encoding_gives_the_picture_it_was_made_from(encoding):
    rows = encode(encoding)

    image = decode_image(rows.tobytes(), *RGB.shape[:2], encoding, rows.shape[1])

    grey = encoding.startswith('mono') or encoding in ('8UC1', '16UC1')
    wanted = np.repeat(GREY[..., None], 3, -1) if grey else RGB
    difference = np.abs(image.astype(int) - wanted)[3::8, 3::8]
    assert image.dtype == np.uint8 and image.shape == RGB.shape
    assert difference.max() <= 4


@pytest.mark.parametrize('encoding', ['rgb8', 'mono8', 'mono16', 'yuv422', 'nv21', 'bayer_rggb8'])
def test_row_padding_is_cut_off(encoding):
    rows = encode(encoding)
    padded = np.pad(rows, ((0, 0), (0, 12)), constant_values=255)

    image = decode_image(padded.tobytes(), *RGB.shape[:2], encoding, padded.shape[1])

    plain = decode_image(rows.tobytes(), *RGB.shape[:2], encoding, 0)
    np.testing.assert_array_equal(image, plain)


@pytest.mark.parametrize('encoding', ['mono16', 'rgb16', 'bayer_grbg16'])
def test_byte_order_of_16_bit_samples_is_respected(encoding):
    rows = encode(encoding)
    swapped = rows.view('<u2').astype('>u2').view(np.uint8)

    image = decode_image(swapped.tobytes(), *RGB.shape[:2], encoding, 0, is_bigendian=True)

    np.testing.assert_array_equal(image, decode_image(rows.tobytes(), *RGB.shape[:2], encoding, 0))


def test_twelve_bit_samples_in_sixteen_bits_are_not_black():
    samples = np.linspace(0, 4095, 64).astype('<u2').reshape(8, 8)

    image = decode_image(samples.tobytes(), 8, 8, 'mono16', 16)

    assert image.max() == 255


@pytest.mark.parametrize('kind', [bytes, bytearray, memoryview, lambda b: array.array('B', b)])
def test_any_buffer_is_taken_and_the_result_can_be_written(kind):
    image = decode_image(kind(RGB.tobytes()), *RGB.shape[:2], 'rgb8', RGB.shape[1] * 3)

    image[:] = 0
    assert image.flags.owndata


def test_unknown_encoding_is_named_with_the_known_ones():
    with pytest.raises(UnknownEncoding, match=r"'h264' is not supported; use one of rgb8, bgr8"):
        decode_image(b'', 1, 1, 'h264', 1)


@pytest.mark.fault('an image with fewer bytes than its size needs', 'refused as damaged')
def test_too_few_bytes_are_a_bad_frame():
    with pytest.raises(BadFrame, match='has 10 bytes; its size and step need 768'):
        decode_image(b'0123456789', 16, 16, 'rgb8', 48)


@pytest.mark.fault('an image whose step is shorter than a row', 'refused as damaged')
def test_a_step_shorter_than_a_row_is_a_bad_frame():
    with pytest.raises(BadFrame, match='step is 10 bytes; a row of this size needs 48'):
        decode_image(bytes(1000), 16, 16, 'rgb8', 10)


@pytest.mark.fault('an image of no width or height', 'refused as damaged')
@pytest.mark.parametrize('size', [(0, 4), (4, 0)])
def test_an_image_without_pixels_is_a_bad_frame(size):
    with pytest.raises(BadFrame, match='both must be positive'):
        decode_image(b'', *size, 'rgb8', 0)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_compressed_images_come_out_as_rgb(suffix):
    data = cv2.imencode(suffix, RGB[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()

    image = decode_compressed(data, 'bgr8; jpeg compressed bgr8')

    assert np.abs(image.astype(int) - RGB)[3::8, 3::8].max() <= 4


def test_a_16_bit_grey_png_comes_out_as_8_bit_rgb():
    data = cv2.imencode('.png', GREY.astype(np.uint16) * 257)[1].tobytes()

    image = decode_compressed(data, 'mono16; png compressed')

    np.testing.assert_array_equal(image, np.repeat(GREY[..., None], 3, -1))


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('kept', [0.0, 0.1, 0.6, 0.9])
def test_a_cut_off_picture_is_a_bad_frame(suffix, kept):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()

    with pytest.raises(BadFrame):
        decode_compressed(data[: int(len(data) * kept)], 'jpeg')


def test_bytes_of_no_image_format_are_a_bad_frame():
    with pytest.raises(BadFrame, match='cannot be decoded'):
        decode_compressed(b'not a picture at all', 'jpeg')


def test_compressed_depth_is_not_taken_for_a_picture():
    with pytest.raises(UnknownEncoding, match='holds depth'):
        decode_compressed(b'', '16UC1; compressedDepth png')


def test_depth_images_are_in_metres_with_nan_for_no_measurement(tmp_path):
    stored = np.array([[0, 1000], [65535, 2500]], np.uint16)
    cv2.imwrite(str(tmp_path / 'depth.png'), stored)

    depth_m = read_depth(tmp_path / 'depth.png', 1000.0)

    np.testing.assert_array_equal(depth_m, np.float32([[np.nan, 1.0], [np.nan, 2.5]]))


def picture(suffix='.jpg', *options):
    """Return a compressed picture with detail up to its last pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.imencode(suffix, np.kron(noise, np.ones((16, 16, 1), np.uint8)), options)[
        1
    ].tobytes()


PROGRESSIVE = cv2.IMWRITE_JPEG_PROGRESSIVE, 1
RESTARTS = cv2.IMWRITE_JPEG_RST_INTERVAL, 2


@pytest.mark.fault('a JPEG or PNG with zeros or rubbish behind its end', 'read as without them')
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('options', [(), PROGRESSIVE, RESTARTS])
@pytest.mark.parametrize(
    'tail', [b'\x00' * 100_000, b'\xff' * 5000, bytes(range(256)) * 40, b'\xff\xd8\xff', b'IEND']
)
def test_what_follows_a_picture_does_not_matter(suffix, options, tail):
    data = picture(suffix, *(options if suffix == '.jpg' else ()))
    np.testing.assert_array_equal(decode_compressed(data + tail), decode_compressed(data))


@pytest.mark.fault('a JPEG without its end marker', 'read if its last block is there')
@pytest.mark.parametrize('options', [(), RESTARTS])
@pytest.mark.parametrize('tail', [b'', b'\x00' * 1000])
def test_a_whole_jpeg_may_lack_its_end_marker(options, tail):
    data = picture('.jpg', *options)
    assert data.endswith(b'\xff\xd9')
    np.testing.assert_array_equal(decode_compressed(data[:-2] + tail), decode_compressed(data))


@pytest.mark.fault(
    'a picture that was cut off, with or without zeros behind', 'refused as cut off'
)
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('share', [0.02, 0.3, 0.7, 0.95])
@pytest.mark.parametrize('tail', [b'', b'\x00' * 20_000])
def test_a_picture_that_was_cut_off_is_refused(suffix, share, tail):
    data = picture(suffix)
    with pytest.raises(BadFrame, match=r'cut off|claims a size'):
        decode_compressed(data[: int(share * len(data))] + tail)


def with_thumbnail(data):
    """Return a JPEG with another one in an application segment before its picture."""
    inside = picture()[:2000] + b'\xff\xd9'
    return data[:2] + b'\xff\xe1' + (len(inside) + 2).to_bytes(2, 'big') + inside + data[2:]


def test_the_end_of_a_thumbnail_is_not_that_of_the_picture():
    data = with_thumbnail(picture())
    np.testing.assert_array_equal(decode_compressed(data), decode_compressed(picture()))
    with pytest.raises(BadFrame, match='cut off'):
        decode_compressed(data[: int(0.6 * len(data))])


def claimed(kind, width, height):
    """Return a small file whose header claims a size."""
    import struct
    import zlib

    if kind == 'jpg':
        data = bytearray(picture())
        at = data.index(b'\xff\xc0') + 5
        data[at : at + 4] = struct.pack('>HH', height, width)
        return bytes(data)
    if kind == 'bmp':
        return b'BM' + bytes(12) + struct.pack('<Iii', 40, width, -height) + bytes(100)
    if kind == 'pgm':
        return f'P5 # x\n{width} {height} 255\n'.encode() + bytes(100)
    if kind == 'webp':
        size = (width - 1).to_bytes(3, 'little') + (height - 1).to_bytes(3, 'little')
        return b'RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0' + size + bytes(100)
    if kind == 'tif':
        entry = struct.pack('<HHII', 256, 4, 1, width) + struct.pack('<HHII', 257, 4, 1, height)
        return b'II*\x00' + struct.pack('<IH', 8, 2) + entry + bytes(100)
    part = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    head = b'IHDR' + part
    return picture('.png')[:8] + struct.pack('>I', 13) + head + struct.pack('>I', zlib.crc32(head))


@pytest.mark.fault(
    'a small picture file that claims an enormous size', 'refused by its header, before decoding'
)
@pytest.mark.parametrize('kind', ['jpg', 'png', 'bmp', 'pgm', 'webp', 'tif'])
def test_a_picture_bomb_is_refused_by_its_header(kind, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(BadFrame, match='claims 12000x13000 pixels; at most 50 million'):
        decode_compressed(claimed(kind, 12000, 13000))


def test_the_largest_size_is_the_callers_choice():
    data = picture()
    with pytest.raises(BadFrame, match='claims 128x96'):
        decode_compressed(data, decoding=DecodingState(12_000))
    assert decode_compressed(data, decoding=DecodingState(12_288)).shape == (96, 128, 3)


def mosaic_of(pattern):
    return encode(f'bayer_{pattern}8')


@pytest.mark.fault('a Bayer mosaic inside JPEG or PNG', 'turned into colours')
@pytest.mark.parametrize('pattern', BAYER_COLUMNS)
@pytest.mark.parametrize('packing', ['png compressed ', 'jpeg compressed '])
def test_a_compressed_mosaic_becomes_colours(pattern, packing):
    data = cv2.imencode(f'.{packing[:3].replace("jpe", "jpg")}', mosaic_of(pattern))[1].tobytes()
    image = decode_compressed(data, f'bayer_{pattern}8; {packing}')
    expected = decode_image(mosaic_of(pattern).tobytes(), *RGB.shape[:2], f'bayer_{pattern}8', 0)
    assert np.abs(image.astype(int) - expected)[4:-4].mean() < (1 if 'png' in packing else 40)
    assert np.abs(np.diff(image.astype(int), axis=2)).max() > 100


def test_a_mosaic_that_became_colours_before_is_left_alone():
    data = cv2.imencode('.png', RGB[..., ::-1])[1].tobytes()
    image = decode_compressed(data, 'bayer_rggb8; png compressed bgr8')
    np.testing.assert_array_equal(image, RGB)


@pytest.mark.fault('a CompressedImage that holds video (H.264, ...)', 'refused with that name')
@pytest.mark.parametrize('name', ['h264', 'H.265', 'hevc', 'bgr8; h264', 'av1', 'x264', 'theora'])
def test_video_is_refused_by_its_name(name):
    with pytest.raises(UnknownEncoding, match='is video'):
        decode_compressed(picture(), name)


def test_video_without_a_name_is_recognised_by_its_start():
    with pytest.raises(BadFrame, match=r'H\.264'):
        decode_compressed(b'\x00\x00\x00\x01\x67\x42' + bytes(100), '')


@pytest.mark.fault('16-bit images of a narrow range (thermal)', 'stretched, without flicker')
@pytest.mark.parametrize('start', [7000, 29_315])
def test_a_narrow_range_of_16_bits_is_stretched(start):
    scene = start + 40 * np.add.outer(np.arange(24), np.arange(32)).astype(np.uint16) % 1000
    scene = scene.astype(np.uint16)
    depth = DecodingState()
    image = decode_image(scene.tobytes(), 24, 32, 'mono16', 0, decoding=depth)
    assert int(np.ptp(image)) > 150
    again = decode_image(
        (scene[::-1] // 2 + start // 2).tobytes(), 24, 32, 'mono16', 0, decoding=depth
    )
    third = decode_image(scene.tobytes(), 24, 32, 'mono16', 0, decoding=depth)
    np.testing.assert_array_equal(third, image)
    assert int(np.ptp(again)) < int(np.ptp(image))


def test_a_black_16_bit_image_stays_black():
    image = decode_image(np.full((8, 8), 3, np.uint16).tobytes(), 8, 8, 'mono16', 0)
    assert int(image.max()) <= 3
