# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Bags: both storages, raw and compressed images, the right topics, and what is wrong told."""

import logging

from bag_writer import COMPRESSED, IMAGE, INFO, START_NS, compressed, image, info, tf, write_bag
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from mem3r_ros.data import open_sequence
from mem3r_ros.data.bag_topics import camera_info_topic, choose_image_topic
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


def test_of_several_cameras_the_likeliest_is_taken_and_told(tmp_path, caplog):
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


def test_a_wrong_image_topic_is_told_with_the_right_ones(tmp_path):
    bag = write_bag(tmp_path / 'bag', [('/image', image(0))])

    with pytest.raises(UserError, match=r"no images on '/imgae'; its image topics are: /image"):
        open_sequence(bag, '/imgae')


def test_an_unknown_encoding_is_an_error_not_a_skipped_frame(tmp_path):
    bag = write_bag(tmp_path / 'bag', [('/image', image(0, encoding='h264'))])

    with pytest.raises(UserError, match="image encoding 'h264' is not supported"):
        list(open_sequence(bag))


def test_a_recording_that_was_cut_off_is_told(tmp_path):
    bag = write_bag(tmp_path / 'bag', [('/image', image(i)) for i in range(5)])
    storage = next(bag.glob('*.mcap'))
    storage.write_bytes(storage.read_bytes()[:-200])

    with pytest.raises(UserError, match=r'cannot be opened as a bag .*complete recording'):
        open_sequence(bag)


def test_images_without_a_stamp_get_the_time_of_recording(tmp_path):
    message = image(0)
    message.header.stamp.sec = 0

    frame = next(iter(open_sequence(write_bag(tmp_path / 'bag', [('/image', message)]))))

    assert frame.stamp_ns == START_NS


def test_a_calibration_of_zeros_means_none(tmp_path):
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


def test_a_calibration_that_changes_is_followed(tmp_path):
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
def test_calibration_is_looked_for_beside_the_images(image_topic, infos, wanted):
    types = dict.fromkeys(infos, INFO) | dict.fromkeys((image_topic, '/cam1/image'), IMAGE)

    assert camera_info_topic(image_topic, types) == wanted


def test_a_topic_that_looks_like_depth_is_not_chosen_by_itself(tmp_path):
    with pytest.raises(UserError, match='no topic that looks like a camera image; choose one'):
        choose_image_topic(tmp_path, {'/depth/image': IMAGE}, {'/depth/image': 3})
