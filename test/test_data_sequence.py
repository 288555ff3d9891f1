# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Folders and videos: every layout is detected and read in order; errors."""

import json
import logging

import cv2
import numpy as np
import pytest

from mem3r_ros.data import open_sequence
from mem3r_ros.errors import UserError


def write_image(path, value, size=(24, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def write_depth(path, millimetres, size=(24, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(size, millimetres, np.uint16))


@pytest.fixture
def sequence_folder(tmp_path):
    """Three frames 0.1 s apart in the uniform layout; the second has no truth."""
    folder = tmp_path / 'kitchen'
    for index in range(3):
        write_image(folder / 'rgb' / f'{index:06d}.png', 50 * index)
        write_depth(folder / 'depth' / f'{index:06d}.png', 500 * (index + 1))
    (folder / 'timestamps.txt').write_text('1311868169.163498\n1311868169.263498\n1311868169.4\n')
    (folder / 'groundtruth.txt').write_text(
        '# t x y z qx qy qz qw\n1311868169.163498 0 0 0 0 0 0 1\n1311868169.400000 1 2 3 0 0 1 0\n'
    )
    camera = {'fx': 30, 'fy': 31, 'cx': 16, 'cy': 12, 'width': 32, 'height': 24}
    (folder / 'camera.json').write_text(json.dumps(camera))
    (folder / 'meta.json').write_text(json.dumps({'depth_factor': 500.0}))
    return folder


def test_a_sequence_folder_gives_images_stamps_poses_depth_and_camera(sequence_folder):
    frames = list(open_sequence(sequence_folder))

    assert [frame.stamp_ns for frame in frames] == [
        1311868169163498000,
        1311868169263498000,
        1311868169400000000,
    ]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 50, 100]
    assert frames[0].camera.fy == 31.0 and frames[0].camera.width == 32
    np.testing.assert_allclose(frames[0].T_world_camera, np.eye(4))
    assert frames[1].T_world_camera is None
    np.testing.assert_allclose(frames[2].T_world_camera[:3, 3], [1, 2, 3])
    np.testing.assert_allclose(frames[2].depth_m, 3.0)


def test_stride_and_max_frames_choose_frames(sequence_folder):
    strided = open_sequence(sequence_folder, stride=2)
    short = open_sequence(sequence_folder, max_frames=2)

    assert len(strided) == 2 and len(short) == 2
    assert [int(frame.image[0, 0, 0]) for frame in strided] == [0, 100]
    assert [int(frame.image[0, 0, 0]) for frame in short] == [0, 50]


def test_a_sequence_can_be_read_twice(sequence_folder):
    sequence = open_sequence(sequence_folder)

    assert len(list(sequence)) == len(list(sequence)) == 3


def test_frames_are_found_again_in_any_order(sequence_folder):
    sequence = open_sequence(sequence_folder, stride=2)

    for handle, frame in reversed(list(sequence.indexed())):
        again = sequence.load(handle)
        assert again.stamp_ns == frame.stamp_ns
        np.testing.assert_array_equal(again.image, frame.image)


def test_depth_is_not_read_without_with_depth(sequence_folder):
    assert all(frame.depth_m is None for frame in open_sequence(sequence_folder, with_depth=False))


def test_a_corrupt_image_is_logged_counted_and_skipped(sequence_folder, caplog):
    image = sequence_folder / 'rgb' / '000001.png'
    image.write_bytes(image.read_bytes()[:40])
    sequence = open_sequence(sequence_folder)

    with caplog.at_level(logging.WARNING):
        frames = list(sequence)

    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 100]
    assert sequence.skipped == 1
    assert [record.getMessage() for record in caplog.records] == [
        'kitchen: frame 1 skipped: PNG image of 40 bytes is cut off'
    ]


def test_many_corrupt_images_do_not_flood_the_log(tmp_path, caplog):
    write_image(tmp_path / '000.png', 1)
    for index in range(1, 30):
        (tmp_path / f'{index:03d}.png').write_bytes(b'junk')
    sequence = open_sequence(tmp_path)

    list(sequence)

    assert sequence.skipped == 29
    assert len(caplog.records) == 6
    assert caplog.records[-1].getMessage().endswith('29 of 30 frames skipped')


def test_a_folder_with_only_corrupt_images_is_an_error(tmp_path):
    for index in range(3):
        (tmp_path / f'{index}.jpg').write_bytes(b'junk')

    with pytest.raises(UserError, match='none of its 3 images can be read'):
        list(open_sequence(tmp_path))


def test_plain_images_are_ordered_by_number_and_stamped_by_rate(tmp_path):
    for index in (10, 9, 1):
        write_image(tmp_path / f'img{index}.png', index)

    frames = list(open_sequence(tmp_path, fps=10.0))

    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 9, 10]
    assert [frame.stamp_ns for frame in frames] == [0, 100_000_000, 200_000_000]
    assert frames[0].camera is None


def test_a_downloaded_tum_sequence_is_read(tmp_path):
    folder = tmp_path / 'rgbd_dataset_freiburg3_desk'
    for index, stamp in enumerate(('1.000000', '1.033333')):
        write_image(folder / 'rgb' / f'{stamp}.png', 100 + index)
        write_depth(folder / 'depth' / f'{stamp}.png', 5000)
    (folder / 'rgb.txt').write_text(
        '# list\n1.033333 rgb/1.033333.png\n1.000000 rgb/1.000000.png\n'
    )
    (folder / 'depth.txt').write_text('1.010000 depth/1.000000.png\n')
    (folder / 'groundtruth.txt').write_text('0.995 0 0 0 0 0 0 1\n1.005 1 0 0 0 0 0 1\n')

    frames = list(open_sequence(folder))

    assert [int(frame.image[0, 0, 0]) for frame in frames] == [100, 101]
    assert frames[0].camera.fx == 535.4
    np.testing.assert_allclose(frames[0].T_world_camera[:3, 3], [0.5, 0, 0])
    np.testing.assert_allclose(frames[0].depth_m, 1.0)
    assert frames[1].depth_m is None and frames[1].T_world_camera is None


def test_a_downloaded_7scenes_sequence_is_read(tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    for index in range(2):
        write_image(tmp_path / f'frame-{index:06d}.color.png', 80, (480, 640))
        write_depth(tmp_path / f'frame-{index:06d}.depth.png', 65535 - index, (480, 640))
        np.savetxt(tmp_path / f'frame-{index:06d}.pose.txt', pose)

    sequence = open_sequence(tmp_path)
    frames = list(sequence)

    np.testing.assert_allclose(frames[1].T_world_camera, pose)
    assert frames[1].stamp_ns == 33333333
    assert np.isnan(frames[0].depth_m).all()
    assert np.nanmax(frames[1].depth_m) == pytest.approx(65.534)
    assert len(sequence.truth) == 2


def test_a_downloaded_kitti_sequence_is_read(tmp_path):
    folder = tmp_path / 'sequences' / '07'
    for camera, value in (('image_0', 10), ('image_2', 20)):
        write_image(folder / camera / '000000.png', value)
        write_image(folder / camera / '000001.png', value)
    (folder / 'times.txt').write_text('0.0e+00\n1.037e-01\n')
    (folder / 'calib.txt').write_text(
        'P0: 700 0 16 0 0 700 12 0 0 0 1 0\nP2: 700 0 16 42 0 700 12 0 0 0 1 0\n'
    )
    (tmp_path / 'poses').mkdir()
    (tmp_path / 'poses' / '07.txt').write_text(
        '1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1 0 0 0 0 1 5\n'
    )

    frames = list(open_sequence(folder))

    assert int(frames[0].image[0, 0, 0]) == 20
    assert frames[1].stamp_ns == 103_700_000
    assert frames[0].camera.cx == 16.0
    np.testing.assert_allclose(frames[1].T_world_camera[:3, 3], [-0.06, 0, 5])


def test_a_video_is_read_with_stamps_from_its_rate(tmp_path):
    path = tmp_path / 'walk.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 20.0, (32, 24))
    if not writer.isOpened():
        pytest.skip('this OpenCV cannot write MJPG videos')
    for value in (0, 80, 160, 240):
        writer.write(np.full((24, 32, 3), (0, 0, value), np.uint8))
    writer.release()

    sequence = open_sequence(path, stride=2)
    frames = list(sequence)

    assert sequence.name == 'walk' and len(sequence) == 2
    assert [frame.stamp_ns for frame in frames] == [0, 100_000_000]
    assert frames[1].image[12, 16, 0] == pytest.approx(160, abs=6)
    assert frames[1].image[12, 16, 2] == pytest.approx(0, abs=6)
    with pytest.raises(
        UserError, match='is a video, whose frames can only be read in their order'
    ):
        sequence.load(0)


def junk(path):
    path.write_bytes(b'\0' * 100)
    return path


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (lambda folder: folder / 'nowhere', 'no such file or folder: '),
        (lambda folder: folder, 'is an empty folder; expected a bag, a video or images'),
        (lambda folder: junk(folder / 'a.xyz'), "is of unknown kind '.xyz'; expected a bag"),
        (lambda folder: junk(folder / 'a.mp4'), 'is not a video that OpenCV can read'),
        (lambda folder: junk(folder / 'a.jpg'), 'is one image; give the folder of the sequence'),
        (lambda folder: junk(folder / 'notes.txt').parent, r'holds no images and no bag \(it has'),
        (lambda folder: junk(folder / 'a.mcap'), r'cannot be opened as a bag \(File magic'),
        (lambda folder: junk(folder / 'a.db3'), 'cannot be opened as a bag'),
    ],
)
def test_a_path_that_cannot_be_read_is_a_user_error(tmp_path, make, sentence):
    with pytest.raises(UserError, match=sentence) as raised:
        open_sequence(make(tmp_path))

    assert '\n' not in str(raised.value)


def test_an_image_topic_is_refused_if_the_path_is_not_a_bag(sequence_folder):
    with pytest.raises(UserError, match="is no bag, so it has no image topic '/camera'"):
        open_sequence(sequence_folder, '/camera')


@pytest.mark.parametrize('options', [{'stride': 0}, {'max_frames': 0}, {'fps': 0.0}])
def test_impossible_options_are_refused(sequence_folder, options):
    with pytest.raises(UserError, match=f'{next(iter(options))} is 0'):
        open_sequence(sequence_folder, **options)


@pytest.mark.parametrize(
    ('name', 'size', 'num_frames'),
    [
        ('indoor_redkitchen', (480, 640, 3), 150),
        ('indoor_tum_fr2desk_mini', (480, 640, 3), 20),
        ('outdoor_kitti_a', (370, 1226, 3), 51),
        ('bag_redkitchen_mcap', (240, 320, 3), 60),
        ('bag_redkitchen_sqlite3', (240, 320, 3), 24),
        ('bag_tum_fr2desk_mini_rgb8_mcap', (240, 320, 3), 20),
        ('bag_kitti_a_mono8_mcap', (185, 613, 3), 51),
    ],
)
def test_recorded_sequences_are_read_with_poses_and_calibration(
    shared_dir, name, size, num_frames
):
    sequence = open_sequence(shared_dir / 'data' / name, max_frames=3)

    frames = list(sequence)

    assert len(frames) == 3
    assert len(open_sequence(shared_dir / 'data' / name)) == num_frames
    assert all(frame.image.shape == size for frame in frames)
    assert all(frame.T_world_camera is not None for frame in frames)
    assert (frames[0].camera.height, frames[0].camera.width) == size[:2]


def test_a_bag_holds_the_same_pictures_as_its_folder(shared_dir):
    bag = next(iter(open_sequence(shared_dir / 'data' / 'bag_redkitchen_mcap')))
    folder = next(iter(open_sequence(shared_dir / 'data' / 'indoor_redkitchen')))

    half = cv2.resize(folder.image, (320, 240), interpolation=cv2.INTER_AREA)
    assert np.abs(bag.image.astype(int) - half).mean() < 3.0
