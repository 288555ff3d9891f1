# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Bags: both storages, raw and compressed images, choice of topics, errors."""

import logging
import struct
import sys

from bag_writer import (
    COMPRESSED,
    IMAGE,
    INFO,
    START_NS,
    TYPES,
    compressed,
    header,
    image,
    info,
    tf,
    write_bag,
)
import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from mem3r_ros.data import open_sequence
from mem3r_ros.data.bag_depth import DepthPairing, Stamped
from mem3r_ros.data.bag_topics import camera_info_topic, choose_image_topic, depth_topic
from mem3r_ros.errors import UserError


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_images_come_with_calibration_and_truth(tmp_path, storage):
    messages = []
    for index in range(3):
        messages += [('/cam/image_raw', image(index)), ('/cam/camera_info', info(index))]
        messages += [('/tf', tf(index)), ('/tf', tf(index, 'wheel'))]
    bag = write_bag(tmp_path / 'bag', messages, storage)

    sequence = open_sequence(bag)
    frames = list(sequence)

    assert len(sequence) == 3
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2]
    assert [frame.stamp_ns - START_NS for frame in frames] == [0, 100_000_000, 200_000_000]
    assert all(frame.camera.fx == 10.0 for frame in frames)
    assert [frame.T_world_camera[0, 3] for frame in frames] == [0.0, 1.0, 2.0]
    assert len(sequence.truth) == 3


@pytest.mark.parametrize(
    ('storage', 'suffix'), [(StoragePlugin.MCAP, 'mcap'), (StoragePlugin.SQLITE3, 'db3')]
)
def test_a_storage_file_and_a_folder_without_metadata_are_bags_too(tmp_path, storage, suffix):
    bag = write_bag(tmp_path / 'bag', [('/image', image(i)) for i in range(2)], storage)
    (bag / 'metadata.yaml').unlink()

    assert len(list(open_sequence(bag))) == 2
    assert len(list(open_sequence(next(bag.glob(f'*.{suffix}'))))) == 2


def test_compressed_images_are_read_and_corrupt_ones_skipped(tmp_path, caplog):
    messages = [('/image/compressed', compressed(i, 30 if i == 1 else None)) for i in range(3)]
    sequence = open_sequence(write_bag(tmp_path / 'bag', messages))

    with caplog.at_level(logging.WARNING):
        frames = list(sequence)

    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 2]
    assert sequence.skipped == 1
    assert 'frame 1 skipped' in caplog.text


def test_the_raw_topic_is_taken_rather_than_its_compressed_copy(tmp_path, caplog):
    messages = [('/image', image(5)), ('/image/compressed', compressed(6))]

    frame = next(iter(open_sequence(write_bag(tmp_path / 'bag', messages))))

    assert frame.image[0, 0, 0] == 5
    assert 'several' not in caplog.text


def test_of_several_cameras_the_most_likely_is_chosen_and_logged(tmp_path, caplog):
    messages = [('/right/image', image(1)), ('/left/image', image(2)), ('/depth/image', image(3))]
    bag = write_bag(tmp_path / 'bag', messages)

    frame = next(iter(open_sequence(bag)))
    chosen = next(iter(open_sequence(bag, '/right/image')))

    assert frame.image[0, 0, 0] == 2 and chosen.image[0, 0, 0] == 1
    assert (
        'several image topics: /left/image (1 images), /right/image (1 images); '
        'taking /left/image, choose another with --image-topic'
    ) in caplog.text


def test_a_ros_1_bag_is_read_too(tmp_path):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    modern = compressed(7)
    header = store.types['std_msgs/msg/Header'](
        seq=0, stamp=modern.header.stamp, frame_id='camera'
    )
    message = store.types[COMPRESSED](header=header, format='png', data=modern.data)
    with Writer(tmp_path / 'old.bag') as writer:
        connection = writer.add_connection('/image/compressed', COMPRESSED, typestore=store)
        writer.write(connection, START_NS, store.serialize_ros1(message, COMPRESSED))

    frame = next(iter(open_sequence(tmp_path / 'old.bag')))

    assert frame.image[0, 0, 0] == 7
    assert frame.stamp_ns == START_NS + 700_000_000


def test_a_bag_without_images_names_its_topics(tmp_path):
    bag = write_bag(tmp_path / 'bag', [('/tf', tf(0)), ('/cam/camera_info', info(0))])

    with pytest.raises(UserError, match=r'has no images; its topics are: /cam/camera_info, /tf'):
        open_sequence(bag)


def test_an_error_about_a_wrong_image_topic_lists_the_image_topics(tmp_path):
    bag = write_bag(tmp_path / 'bag', [('/image', image(0))])

    with pytest.raises(UserError, match=r"no images on '/imgae'; its image topics are: /image"):
        open_sequence(bag, '/imgae')


@pytest.mark.fault('an image encoding that nobody knows', 'refused with its name')
def test_an_unknown_encoding_is_an_error_not_a_skipped_frame(tmp_path):
    bag = write_bag(tmp_path / 'bag', [('/image', image(0, encoding='h264'))])

    with pytest.raises(UserError, match="image encoding 'h264' is not supported"):
        list(open_sequence(bag))


def test_a_truncated_recording_is_a_user_error(tmp_path, caplog):
    bag = write_bag(tmp_path / 'bag', [('/image', image(i)) for i in range(5)])
    storage = next(bag.glob('*.mcap'))
    storage.write_bytes(storage.read_bytes()[:-200])

    with caplog.at_level(logging.WARNING):
        frames = list(open_sequence(bag))

    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(5))
    assert 'the recording was cut off; 5 messages before the cut are read' in caplog.text


@pytest.mark.fault('images without a stamp in a bag', 'the time of recording is used')
def test_images_without_a_stamp_get_the_time_of_recording(tmp_path):
    message = image(0)
    message.header.stamp.sec = 0

    frame = next(iter(open_sequence(write_bag(tmp_path / 'bag', [('/image', message)]))))

    assert frame.stamp_ns == START_NS


def test_a_calibration_of_zeros_means_uncalibrated(tmp_path):
    messages = [('/cam/camera_info', info(0, focal_px=0.0)), ('/cam/image', image(0))]

    assert next(iter(open_sequence(write_bag(tmp_path / 'bag', messages)))).camera is None


def test_rectified_images_use_the_rectified_camera(tmp_path):
    distorted = info(0, distortion=(0.1, 0, 0, 0, 0))
    messages = [('/cam/camera_info', distorted), ('/cam/image_rect', image(0))]

    camera = next(iter(open_sequence(write_bag(tmp_path / 'bag', messages)))).camera

    assert camera.fx == 20.0 and not camera.is_distorted


@pytest.mark.parametrize('topic', ['/direct_cam/image', '/image_unrectified'])
def test_a_word_that_only_holds_rect_does_not_mean_rectified(tmp_path, topic):
    distorted = info(0, distortion=(0.1, 0, 0, 0, 0))
    messages = [(f'{topic.rpartition("/")[0]}/camera_info', distorted), (topic, image(0))]

    camera = next(iter(open_sequence(write_bag(tmp_path / 'bag', messages)))).camera

    assert camera.fx == 10.0 and camera.is_distorted


def test_region_and_binning_of_the_sensor_are_applied(tmp_path):
    calibration = info(0)  # of 8 x 6 pixels, of which 8 x 4 are sent, two by two as one
    calibration.roi.y_offset, calibration.roi.width, calibration.roi.height = 1, 8, 4
    calibration.binning_x = calibration.binning_y = 2
    messages = [('/camera_info', calibration), ('/image', image(0, size=(2, 4)))]

    camera = next(iter(open_sequence(write_bag(tmp_path / 'bag', messages)))).camera

    assert (camera.width, camera.height) == (4, 2)
    assert (camera.fx, camera.fy) == (5.0, 5.0)
    assert (camera.cx, camera.cy) == (1.75, 0.75)


def test_split_files_without_metadata_are_read_as_they_were_recorded(tmp_path):
    folder = tmp_path / 'split'
    folder.mkdir()
    for part in range(12):
        bag = write_bag(tmp_path / f'part{part}', [('/image', image(part))])
        next(bag.glob('*.mcap')).rename(folder / f'rec_{part}.mcap')

    frames = list(open_sequence(folder))

    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(12))


@pytest.mark.fault('a true pose in a bag that is none', 'left out and logged')
def test_a_broken_true_pose_costs_that_pose_alone(tmp_path, caplog):
    broken = [tf(1), tf(2)]
    broken[0].transforms[0].transform.rotation.w = 0.0
    broken[1].transforms[0].transform.translation.x = float('nan')
    messages = [('/image', image(i)) for i in range(4)]
    messages += [('/tf', tf(0)), *(('/tf', message) for message in broken), ('/tf', tf(3))]

    sequence = open_sequence(write_bag(tmp_path / 'bag', messages))
    frames = list(sequence)

    assert len(frames) == 4 and len(sequence.truth) == 2
    assert frames[3].T_world_camera[0, 3] == 3.0
    assert 'that pose is left out' in caplog.text


def test_sixteen_bit_images_of_one_stream_share_one_brightness(tmp_path):
    messages = []
    for index, brightest in enumerate((4095, 1023)):
        message = image(index, 'mono16', (4, 6))
        samples = np.full((4, 6), 800, '<u2')
        samples[0, 0] = brightest
        message.step, message.data = 12, samples.view(np.uint8).reshape(-1)
        messages.append(('/image', message))

    bright, dark = open_sequence(write_bag(tmp_path / 'bag', messages))

    assert bright.image[2, 2, 0] == dark.image[2, 2, 0] > 40


def test_a_calibration_that_changes_applies_to_the_later_images(tmp_path):
    messages = []
    for index, focal_px in enumerate((10.0, 11.0)):
        messages += [('/camera_info', info(index, focal_px)), ('/image', image(index))]

    frames = list(open_sequence(write_bag(tmp_path / 'bag', messages)))

    assert [frame.camera.fx for frame in frames] == [10.0, 11.0]


@pytest.mark.parametrize(
    ('image_topic', 'infos', 'wanted'),
    [
        ('/camera/image_raw', ['/camera/camera_info', '/b/camera_info'], '/camera/camera_info'),
        ('/camera/image_raw/compressed', ['/camera/camera_info', '/b'], '/camera/camera_info'),
        ('/image', ['/camera_info', '/b/camera_info'], '/camera_info'),
        ('/image', ['/elsewhere/info'], '/elsewhere/info'),
        ('/cam0/image', ['/cam1/camera_info'], None),  # beside the images of another camera
        ('/image', ['/a/camera_info', '/b/camera_info'], None),
        ('/image', [], None),
    ],
)
def test_the_calibration_beside_the_images_is_chosen(image_topic, infos, wanted):
    types = dict.fromkeys(infos, INFO) | dict.fromkeys((image_topic, '/cam1/image'), IMAGE)

    assert camera_info_topic(image_topic, types) == wanted


def test_a_depth_topic_is_not_chosen_as_image_topic(tmp_path):
    with pytest.raises(UserError, match='no topic that looks like a camera image; choose one'):
        choose_image_topic(tmp_path, {'/depth/image': IMAGE}, {'/depth/image': 3})


DEPTH_M = np.array([[0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 60.0]] * 6, np.float32)


def depth(index, encoding='16UC1', frame='camera', late_ns=0, values_m=DEPTH_M):
    """Depth of 6x8 pixels; 0 is unknown."""
    stored = values_m + np.float32(index)
    stored[:, 0] = 0
    if encoding == '32FC1':
        stored[0, :3] = np.nan, np.inf, -1.0
    samples = stored if encoding == '32FC1' else (stored * 1000).astype(np.uint16)
    stamped = header(index, frame)
    stamped.stamp.nanosec += late_ns
    return TYPES[IMAGE](
        header=stamped,
        height=samples.shape[0],
        width=samples.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=samples.strides[0],
        data=samples.view(np.uint8).reshape(-1),
    )


def packed_depth(index, encoding='16UC1'):
    A, B = 200.0, 3.0
    if encoding == '32FC1':
        inverse = np.zeros(DEPTH_M.shape, np.uint16)
        inverse[:, 1:] = np.round(A / DEPTH_M[:, 1:] + B)
    else:
        inverse = (DEPTH_M * 1000).astype(np.uint16)
    png = cv2.imencode('.png', inverse)[1].tobytes()
    data = np.frombuffer(struct.pack('<iff', 0, A, B) + png, np.uint8)
    format = f'{encoding}; compressedDepth png'
    return TYPES[COMPRESSED](header=header(index), format=format, data=data)


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
@pytest.mark.parametrize('order', ['depth first', 'image first', 'all depth last'])
def test_registered_depth_is_paired_with_the_image_nearest_in_time(tmp_path, encoding, order):
    images = [('/cam/color/image_raw', image(i)) for i in range(4)]
    # The third is missing, the last is 30 ms late: too much.
    late_ns = {0: 0, 1: 15_000_000, 3: 30_000_000}
    depths = {
        i: ('/cam/aligned_depth_to_color/image_raw', depth(i, encoding, late_ns=late))
        for i, late in late_ns.items()
    }
    messages = []
    for index in range(4):
        pair = [images[index], depths.get(index)]
        messages += pair[::-1] if order == 'depth first' else pair
    if order == 'all depth last':
        messages = images + list(depths.values())
    bag = write_bag(tmp_path / 'bag', [pair for pair in messages if pair])

    frames = list(open_sequence(bag))

    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2, 3]
    assert frames[2].depth_m is None and frames[3].depth_m is None
    assert frames[0].depth_m.dtype == np.float32
    np.testing.assert_allclose(frames[0].depth_m[2, 1:], DEPTH_M[2, 1:], atol=1e-3)
    np.testing.assert_allclose(frames[1].depth_m[2, 1:], DEPTH_M[2, 1:] + 1, atol=1e-3)
    assert np.isnan(frames[0].depth_m[:, 0]).all()
    if encoding == '32FC1':
        assert np.isnan(frames[0].depth_m[0, :3]).all()
    assert all(frame.depth_m is None for frame in open_sequence(bag, with_depth=False))


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_compressed_depth_is_read(tmp_path, encoding):
    messages = [
        ('/camera/rgb/image_raw/compressed', compressed(0)),
        ('/camera/depth_registered/image/compressedDepth', packed_depth(0, encoding)),
    ]

    frame = next(iter(open_sequence(write_bag(tmp_path / 'bag', messages))))

    assert np.isnan(frame.depth_m[:, 0]).all()
    np.testing.assert_allclose(frame.depth_m[:, 1:-1], DEPTH_M[:, 1:-1], rtol=0.02)


@pytest.mark.fault('depth of another camera in a bag', 'given up once, with the reason')
@pytest.mark.parametrize(
    ('message', 'reason'),
    [
        (depth(0, frame='depth_optical'), "it is in frame 'depth_optical', the image in 'camera'"),
        (depth(0, values_m=DEPTH_M[:4]), 'it is 8x4 px, the image 8x6 px'),
        (image(0), "depth encoding 'rgb8' is not supported"),
    ],
)
def test_depth_of_another_camera_is_left_out_with_one_warning(tmp_path, caplog, message, reason):
    messages = []
    for index in range(3):
        messages += [('/cam/image', image(index)), ('/cam/depth/image', message)]
    sequence = open_sequence(write_bag(tmp_path / 'bag', messages))

    frames = list(sequence)

    assert len(frames) == 3 and all(frame.depth_m is None for frame in frames)
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith('/cam/depth/image is not read as depth of')
    assert reason in caplog.text


@pytest.mark.parametrize(
    ('image_topic', 'others', 'wanted'),
    [
        ('/c/color/image_raw', ['/c/depth/image_rect_raw', '/c/aligned_depth_to_color/image_raw'],
         '/c/aligned_depth_to_color/image_raw'),
        ('/a/rgb/image', ['/b/rgb/image', '/b/depth/image'], None),
        ('/a/rgb/image', ['/b/rgb/image', '/a/depth/image', '/b/depth/image'], '/a/depth/image'),
        ('/image', ['/depth/image'], '/depth/image'),
        ('/c/image/compressed', ['/c/depth/image', '/c/depth/image/compressedDepth'],
         '/c/depth/image'),
        ('/image', ['/other'], None),
    ],
)  # fmt: skip
def test_the_depth_beside_the_images_is_chosen(image_topic, others, wanted):
    types = dict.fromkeys([image_topic, *others], IMAGE)
    for topic in types:
        if 'ompressed' in topic:
            types[topic] = COMPRESSED

    assert depth_topic(image_topic, types, dict.fromkeys(types, 5)) == wanted


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_frames_of_a_bag_are_found_again_in_any_order(tmp_path, storage):
    messages = []
    for index in range(5):
        messages += [('/cam/image', image(index)), ('/cam/depth/image', depth(index))]
        messages += [('/cam/camera_info', info(index, 10.0 + index))]
    sequence = open_sequence(write_bag(tmp_path / 'bag', messages, storage), stride=2)

    indexed = list(sequence.indexed())

    assert [int(frame.image[0, 0, 0]) for _, frame in indexed] == [0, 2, 4]
    for handle, frame in reversed(indexed):
        again = sequence.load(handle)
        assert (again.stamp_ns, again.camera) == (frame.stamp_ns, frame.camera)
        np.testing.assert_array_equal(again.image, frame.image)
        np.testing.assert_array_equal(again.depth_m, frame.depth_m)
        assert sys.getsizeof(handle) < 200  # not the picture


def test_images_without_depth_do_not_accumulate():
    pairing = DepthPairing()
    released = []

    for index in range(100):
        stamped = Stamped(index, index * 1_000, index * 1_000)
        released += pairing.add_image(stamped)

    assert 60 < len(released) < 100
    released += pairing.rest()
    assert [content for content, _ in released] == list(range(100))
