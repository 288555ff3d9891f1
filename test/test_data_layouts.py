# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Posed RGB-D data sets as downloaded: depth transformed by the pose matches the scene."""

import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rooms import CAMERA, POSES, depth_of_room, off_the_walls, write_depth, write_image
from scipy.spatial.transform import Rotation

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data import kind_of, open_sequence
from mem3r_ros.errors import UserError


def values_of(frames):
    return [int(frame.image[0, 0, 0]) for frame in frames]


# ScanNet

WIDE = Intrinsics(58.0, 59.0, 33.0, 20.0, 64, 48)
DEPTH = Intrinsics(34.0, 33.0, 14.0, 13.0, 32, 24)


def four_by_four(camera):
    K = np.eye(4)
    K[:3, :3] = camera.K
    return K


@pytest.fixture
def scannet(tmp_path):
    """Frames 0, 1 and 10; the camera was lost in frame 1."""
    for number, pose in ((0, POSES[0]), (1, np.full((4, 4), -np.inf)), (10, POSES[1])):
        write_image(tmp_path / 'color' / f'{number}.jpg', 10 * number, WIDE)
        seen = pose if np.isfinite(pose).all() else POSES[0]
        write_depth(tmp_path / 'depth' / f'{number}.png', depth_of_room(seen, DEPTH), 1000.0)
        (tmp_path / 'pose').mkdir(exist_ok=True)
        np.savetxt(tmp_path / 'pose' / f'{number}.txt', pose)
    (tmp_path / 'intrinsic').mkdir()
    np.savetxt(tmp_path / 'intrinsic' / 'intrinsic_color.txt', four_by_four(WIDE))
    np.savetxt(tmp_path / 'intrinsic' / 'intrinsic_depth.txt', four_by_four(DEPTH))
    np.savetxt(tmp_path / 'intrinsic' / 'extrinsic_depth.txt', np.eye(4))
    return tmp_path


def test_a_scan_of_scannet_has_its_depth_at_the_pixels_of_its_colour(scannet):
    sequence = open_sequence(scannet)
    frames = list(sequence)

    assert kind_of(scannet) == 'scannet'
    assert values_of(frames) == [0, 10, 100]
    assert [frame.stamp_ns for frame in frames] == [0, 33333333, 333333333]
    assert frames[0].camera == WIDE
    assert frames[1].T_world_camera is None and len(sequence.truth) == 2
    for frame in (frames[0], frames[2]):
        assert frame.depth_m.shape == (48, 64)
        error = off_the_walls(frame)
        # Depth is half as fine as the image and is not mixed, hence not the last millimetre.
        assert np.nanmedian(error) < 0.02 and np.nanmax(error) < 0.2
        assert 0.6 < np.isfinite(error).mean() < 1.0  # the depth camera does not see all of it


def test_without_a_camera_matrix_of_its_own_depth_of_scannet_is_left_out(scannet, caplog):
    (scannet / 'intrinsic' / 'intrinsic_depth.txt').unlink()

    frames = list(open_sequence(scannet))

    assert all(frame.depth_m is None for frame in frames)
    assert frames[0].camera == WIDE
    assert 'without both camera matrices in intrinsic/ depth is left out' in caplog.text


def test_a_pose_that_is_not_a_matrix_is_a_user_error(scannet):
    (scannet / 'pose' / '0.txt').write_text('1 0 0\n0 1 0\n')

    with pytest.raises(UserError, match=r'0\.txt holds a matrix of shape \(2, 3\); expected 4x4'):
        list(open_sequence(scannet))


# Bonn

# As the dataset publishes them, from the camera's points to the laser scan:
# T_ros @ T_groundtruth @ T_ros @ T_m.
BONN_T_ROS = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
BONN_T_M = np.array(
    [
        [1.0157, 0.1828, -0.2389, 0.0113],
        [0.0009, -0.8431, -0.6413, -0.0098],
        [-0.3009, 0.6147, -0.8085, 0.0111],
        [0, 0, 0, 1],
    ]
)


def test_poses_of_bonn_are_transformed_from_markers_to_camera(tmp_path):
    folder = tmp_path / 'rgbd_bonn_balloon'
    lines = {'rgb': '', 'depth': '', 'groundtruth': ''}
    small = Intrinsics(542.822841, 542.576870, 315.59352, 237.756098, 640, 480)
    for index, pose in enumerate(POSES):
        stamp = f'{1548266469 + index}.500000'
        quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
        numbers = ' '.join(f'{v:.9f}' for v in (*pose[:3, 3], *quaternion))
        raw_m = depth_of_room(BONN_T_ROS @ pose @ BONN_T_ROS @ BONN_T_M, small)
        write_image(folder / 'rgb' / f'{stamp}.png', 50 * index, small)
        write_depth(folder / 'depth' / f'{stamp}.png', raw_m, 5000.0)
        lines['rgb'] += f'{stamp} rgb/{stamp}.png\n'
        lines['depth'] += f'{stamp} depth/{stamp}.png\n'
        lines['groundtruth'] += f'{stamp} {numbers}\n'
    for name, text in lines.items():
        (folder / f'{name}.txt').write_text(text)

    frames = list(open_sequence(folder))

    assert kind_of(folder) == 'bonn'
    assert frames[1].stamp_ns == 1548266470_500000000
    assert frames[0].camera.fx == 542.822841
    assert frames[0].camera.distortion == (0.039903, -0.099343, -0.00073, -0.000144, 0.0)
    for frame in frames:
        R = frame.T_world_camera[:3, :3]
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        assert np.isnan(frame.depth_m[0, 0])
        assert np.nanmax(off_the_walls(frame)) < 2e-3


# KITTI raw

DRIVE = '2011_09_26_drive_0001_sync'
RADIUS = 6378137.0
CHAIN = [
    np.block([[Rotation.from_euler('xyz', turn).as_matrix(), np.array([place]).T], [0, 0, 0, 1]])
    for turn, place in (
        ([0.01, -0.02, 0.03], [-0.8, 0.3, -0.8]),  # T_velo_imu
        ([-1.55, 0.01, -1.58], [0.0, -0.1, -0.3]),  # T_cam0_velo
        ([0.01, 0.005, -0.01], [0.0, 0.0, 0.0]),  # rectification
        ([0.0, 0.0, 0.0], [0.06, -0.01, 0.002]),  # T_cam2_cam0
    )
]
T_CAMERA_IMU = CHAIN[3] @ CHAIN[2] @ CHAIN[1] @ CHAIN[0]


def text_of(values):
    return ' '.join(f'{value:.12e}' for value in np.ravel(values))


def write_kitti(raw, depth):
    """Two images; the first has no depth. The first pose of the inertial unit is the origin."""
    K, date = CAMERA.K, raw / '2011_09_26'
    drive = date / DRIVE
    (drive / 'oxts' / 'data').mkdir(parents=True)
    (date / 'calib_cam_to_cam.txt').write_text(
        'calib_time: 09-Jan-2012 13:57:47\n'
        f'R_rect_00: {text_of(CHAIN[2][:3, :3])}\nP_rect_02: {text_of(K @ CHAIN[3][:3])}\n'
    )
    for name, T in (('imu_to_velo', CHAIN[0]), ('velo_to_cam', CHAIN[1])):
        (date / f'calib_{name}.txt').write_text(
            f'R: {text_of(T[:3, :3])}\nT: {text_of(T[:3, 3])}\n'
        )
    for index, T_world_imu in enumerate(IMU_POSES):
        write_image(drive / 'image_02' / 'data' / f'{index:010d}.png', 20 * index)
        x, y, z = T_world_imu[:3, 3]
        scale = RADIUS * np.cos(np.radians(49.0))
        northing = scale * np.log(np.tan(np.pi / 4 + np.radians(49.0) / 2)) + y
        latitude = 2 * np.degrees(np.arctan(np.exp(northing / scale))) - 90
        longitude = 8.4 + np.degrees(x / scale)
        yaw, pitch, roll = Rotation.from_matrix(T_world_imu[:3, :3]).as_euler('ZYX')
        packet = [latitude, longitude, 116.0 + z, roll, pitch, yaw, 1.0, 2.0]
        packet_file = drive / 'oxts' / 'data' / f'{index:010d}.txt'
        packet_file.write_text(' '.join(f'{v:.15f}' for v in packet))
    (drive / 'image_02' / 'timestamps.txt').write_text(
        '2011-09-26 13:02:25.964389445\n2011-09-26 13:02:26.068\n'
    )
    z_m = depth_of_room(IMU_POSES[1] @ np.linalg.inv(T_CAMERA_IMU))
    for kind, factor in (('groundtruth', 256.0), ('velodyne_raw', 100.0)):
        write_depth(depth / 'proj_depth' / kind / 'image_02' / '0000000001.png', z_m, factor)
    return drive


IMU_POSES = [np.eye(4), POSES[1]]


@pytest.mark.parametrize('is_merged', [True, False])
def test_a_drive_of_kitti_raw_has_depth_and_the_path_of_its_camera(tmp_path, is_merged):
    drive = tmp_path / 'raw' / '2011_09_26' / DRIVE
    depth = drive if is_merged else tmp_path / 'data_depth_annotated' / 'train' / DRIVE
    write_kitti(tmp_path / 'raw', depth)

    for path in {drive, depth}:
        sequence = open_sequence(path)
        frames = list(sequence)

        assert kind_of(path) == 'kitti_raw'
        assert values_of(frames) == [0, 20]
        assert frames[0].stamp_ns == 1317042145_964389445
        assert frames[1].stamp_ns - frames[0].stamp_ns == 103610555
        assert (frames[0].camera.fx, frames[0].camera.cy) == (30.0, 11.0)
        assert frames[0].depth_m is None and np.isnan(frames[1].depth_m[0, 0])
        np.testing.assert_allclose(
            frames[0].T_world_camera, np.linalg.inv(T_CAMERA_IMU), atol=1e-6
        )
        # 256 steps a metre, and degrees of 15 digits.
        assert np.nanmax(off_the_walls(frames[1])) < 5e-3
        assert len(sequence.truth) == 2


def test_kitti_raw_without_the_calibration_of_its_inertial_unit_has_no_truth(tmp_path, caplog):
    drive = write_kitti(tmp_path, tmp_path / '2011_09_26' / DRIVE)
    (drive.parent / 'calib_imu_to_velo.txt').unlink()

    sequence = open_sequence(drive)

    assert sequence.truth is None and next(iter(sequence)).T_world_camera is None
    assert 'has no calib_imu_to_velo.txt, so there is no truth' in caplog.text


def test_depth_of_kitti_without_its_images_is_a_user_error(tmp_path):
    folder = tmp_path / DRIVE / 'proj_depth' / 'groundtruth' / 'image_02'
    write_depth(folder / '0000000005.png', np.ones((4, 4)), 256.0)

    with pytest.raises(UserError, match=f'has depth but no images; put {DRIVE}/image_02 of'):
        open_sequence(tmp_path / DRIVE)


# TartanAir


@pytest.fixture
def tartanair(tmp_path):
    lines = []
    for index, pose in enumerate(POSES):
        # Seen from the camera's own axes: forward, right, down.
        R = np.stack([pose[:3, 2], pose[:3, 0], pose[:3, 1]], axis=1)
        lines.append(text_of([*pose[:3, 3], *Rotation.from_matrix(R).as_quat()]))
        depth_m = depth_of_room(pose, FULL).astype(np.float32)
        depth_m[0, 0], depth_m[0, 1] = 0.0, 20000.0
        write_image(tmp_path / 'image_left' / f'{index:06d}_left.png', 10 * index, FULL)
        (tmp_path / 'depth_left').mkdir(exist_ok=True)
        np.save(tmp_path / 'depth_left' / f'{index:06d}_left_depth.npy', depth_m)
    (tmp_path / 'pose_left.txt').write_text('\n'.join(lines))
    return tmp_path


FULL = Intrinsics(320.0, 320.0, 320.0, 240.0, 640, 480)


def test_a_trajectory_of_tartanair_is_turned_into_optical_axes(tartanair):
    sequence = open_sequence(tartanair)
    frames = list(sequence)

    assert kind_of(tartanair) == 'tartanair'
    assert values_of(frames) == [0, 10] and len(sequence.truth) == 2
    assert frames[0].camera == FULL
    for frame, pose in zip(frames, POSES, strict=True):
        np.testing.assert_allclose(frame.T_world_camera, pose, atol=1e-9)
        assert np.isnan(frame.depth_m[0, 0]) and np.isposinf(frame.depth_m[0, 1])
        frame.depth_m[0, 1] = np.nan
        assert np.nanmax(off_the_walls(frame)) < 1e-4


def test_too_few_poses_of_tartanair_are_a_user_error(tartanair):
    (tartanair / 'pose_left.txt').write_text('0 0 0 0 0 0 1\n')

    with pytest.raises(UserError, match='has 1 poses for 2 images; give one a line'):
        open_sequence(tartanair)


# Hypersim


class StoredArray:
    """Stands for h5py.File where a test wrote the array with numpy."""

    def __init__(self, path, mode):
        with open(path, 'rb') as file:
            self._array = np.load(file)

    def __enter__(self):
        return {'dataset': self._array}

    def __exit__(self, *_):
        pass


def store(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'wb') as file:
        np.save(file, array)


HYPERSIM = Intrinsics(886.81, 886.81, 511.5, 383.5, 1024, 768).resized(32, 24)
SHIFTED = Intrinsics(40.0, 42.0, 14.0, 12.0, 32, 24)


def write_hypersim(folder, camera):
    scene = folder / 'ai_001_002'
    for number, pose in zip((0, 3), POSES, strict=True):
        images = scene / 'images'
        write_image(images / 'scene_cam_00_final_preview' / f'frame.{number:04d}.tonemap.jpg', 99)
        write_image(images / 'scene_cam_00_final_preview' / f'frame.{number:04d}.diff.jpg', 0)
        distance_m = depth_of_room(pose, camera) * np.linalg.norm(camera.rays(), axis=-1)
        distance_m[0, 0] = np.nan
        store(
            images / 'scene_cam_00_geometry_hdf5' / f'frame.{number:04d}.depth_meters.hdf5',
            distance_m.astype(np.float32),
        )
    every = [POSES[0], np.eye(4), np.eye(4), POSES[1]]
    detail = scene / '_detail' / 'cam_00'
    # x right, y up, z backward; inches.
    turns = [np.stack([T[:3, 0], -T[:3, 1], -T[:3, 2]], axis=1) for T in every]
    store(detail / 'camera_keyframe_orientations.hdf5', np.array(turns))
    store(detail / 'camera_keyframe_positions.hdf5', np.array([T[:3, 3] for T in every]) / 0.0254)
    (scene / '_detail' / 'metadata_scene.csv').write_text(
        'parameter_name, parameter_value\nmeters_per_asset_unit, 0.0254\n'
    )
    return scene


def write_camera_table(folder, M):
    names = [f'M_cam_from_uv_{i}{j}' for i in range(3) for j in range(3)]
    numbers = ','.join(str(value) for value in np.ravel(M))
    table = f'scene_name,{",".join(names)}\nai_001_002,{numbers}\n'
    (folder / 'metadata_camera_parameters.csv').write_text(table)


@pytest.fixture
def h5py_stand_in(monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', SimpleNamespace(File=StoredArray))


@pytest.mark.parametrize('camera', [HYPERSIM, SHIFTED])
def test_a_scene_of_hypersim_has_depth_and_not_distance(tmp_path, h5py_stand_in, camera):
    scene = write_hypersim(tmp_path, camera)
    if camera is SHIFTED:
        # Rays at the left, right, lower and upper rim of the picture, from its pixel centres.
        x = (np.array([-0.5, 31.5]) - camera.cx) / camera.fx
        y = (camera.cy - np.array([23.5, -0.5])) / camera.fy
        middle = [[np.ptp(x) / 2, 0, x.mean()], [0, np.ptp(y) / 2, y.mean()], [0, 0, -1]]
        write_camera_table(tmp_path, middle)

    for path in (scene, scene / 'images' / 'scene_cam_00_final_preview'):
        sequence = open_sequence(path, fps=10.0)
        frames = list(sequence)

        assert kind_of(path) == 'hypersim'
        assert values_of(frames) == [99, 99] and len(sequence.truth) == 2
        assert [frame.stamp_ns for frame in frames] == [0, 300_000_000]
        assert frames[0].camera.fx == pytest.approx(camera.fx)
        assert frames[0].camera.cx == pytest.approx(camera.cx)
        assert frames[0].camera.cy == pytest.approx(camera.cy)
        for frame in frames:
            assert np.isnan(frame.depth_m[0, 0])
            assert np.nanmax(off_the_walls(frame)) < 1e-4


def test_a_scene_of_hypersim_with_a_tilted_lens_has_no_camera(tmp_path, h5py_stand_in, caplog):
    scene = write_hypersim(tmp_path, HYPERSIM)
    write_camera_table(tmp_path, [[0.5, 0, 0], [0, 0.4, 0], [0, 0.1, -1]])

    with caplog.at_level(logging.WARNING):
        frame = next(iter(open_sequence(scene)))

    assert frame.camera is None and frame.depth_m is None
    assert 'ai_001_002 has a tilted lens' in caplog.text


def test_hypersim_without_h5py_names_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)

    with pytest.raises(UserError, match='need h5py; install it: pip install h5py') as raised:
        open_sequence(write_hypersim(tmp_path, HYPERSIM))

    assert '\n' not in str(raised.value)


def test_depth_of_a_layout_is_not_read_without_with_depth(scannet):
    frames = open_sequence(scannet, with_depth=False)

    assert all(frame.depth_m is None for frame in frames)
