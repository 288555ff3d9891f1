# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""EuRoC, Sintel and Neural RGB-D as they are downloaded: images, cameras, poses and depth."""

import json

import numpy as np
import pytest
from rooms import CAMERA, POSES, depth_of_room, off_the_walls, write_depth, write_image
from scipy.spatial.transform import Rotation
import yaml

from mem3r_ros.data import kind_of, open_sequence
from mem3r_ros.data.nrgbd import OPTICAL_AXES
from mem3r_ros.errors import UserError

T_BODY_CAMERA = np.eye(4)
T_BODY_CAMERA[:3, :3] = Rotation.from_euler('xyz', (90, 0, 90), degrees=True).as_matrix()
T_BODY_CAMERA[:3, 3] = (0.1, -0.2, 0.05)
START_NS = 1_403_636_579_763_555_584


def write_sensor(path, **changes):
    values = {
        'T_BS': {'cols': 4, 'rows': 4, 'data': T_BODY_CAMERA.ravel().tolist()},
        'resolution': [CAMERA.width, CAMERA.height],
        'intrinsics': [CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy],
        'distortion_model': 'radial-tangential',
        'distortion_coefficients': [-0.28, 0.07, 0.0, 0.0],
    }
    path.write_text(yaml.safe_dump(values | changes))


@pytest.fixture
def euroc(tmp_path):
    """Two images; the truth is that of the body."""
    folder = tmp_path / 'MH_01' / 'mav0'
    rows, truth = ['#timestamp [ns],filename'], ['#timestamp,p_RS_R_x [m],...']
    for index, pose in enumerate(POSES[:2]):
        stamp_ns = START_NS + index * 50_000_000
        write_image(folder / 'cam0' / 'data' / f'{stamp_ns}.png', 100 * index, CAMERA)
        rows.append(f'{stamp_ns},{stamp_ns}.png')
        T_world_body = pose @ np.linalg.inv(T_BODY_CAMERA)
        x, y, z, w = Rotation.from_matrix(T_world_body[:3, :3]).as_quat()
        values = (*T_world_body[:3, 3], w, x, y, z, *np.zeros(9))
        truth.append(','.join([str(stamp_ns), *map(repr, map(float, values))]))
    (folder / 'cam0' / 'data.csv').write_text('\r\n'.join(rows) + '\r\n')
    (folder / 'state_groundtruth_estimate0').mkdir()
    (folder / 'state_groundtruth_estimate0' / 'data.csv').write_text('\n'.join(truth))
    write_sensor(folder / 'cam0' / 'sensor.yaml')
    return folder.parent


@pytest.mark.parametrize('inside', ['', 'mav0'])
def test_euroc_gives_stamps_calibration_and_the_pose_of_the_camera(euroc, inside):
    sequence = open_sequence(euroc / inside)
    frames = list(sequence)

    assert kind_of(euroc / inside) == 'euroc'
    assert [frame.stamp_ns for frame in frames] == [START_NS, START_NS + 50_000_000]
    assert frames[0].camera.distortion_model == 'plumb_bob'
    assert frames[0].camera.distortion == (-0.28, 0.07, 0.0, 0.0)
    for frame, pose in zip(frames, POSES[:2], strict=True):
        np.testing.assert_allclose(frame.T_world_camera, pose, atol=1e-9)
    assert len(sequence.truth) == 2


def test_a_sensor_file_without_intrinsics_is_refused_by_its_name(euroc):
    write_sensor(euroc / 'mav0' / 'cam0' / 'sensor.yaml', intrinsics=[1.0])

    with pytest.raises(UserError, match=r'sensor\.yaml'):
        open_sequence(euroc)


@pytest.fixture
def sintel(tmp_path):
    """Two images of one sequence in the final pass; the second has sky in its corner."""
    for index, pose in enumerate(POSES[:2]):
        name = f'frame_{index + 1:04d}'
        write_image(
            tmp_path / 'training' / 'final' / 'alley_2' / f'{name}.png', 100 * index, CAMERA
        )
        depth_m = depth_of_room(pose, CAMERA).astype('<f4')
        if index:
            depth_m[0, 0] = 1e9  # the sky
        files = {
            'depth/alley_2/{}.dpt': np.float32(202021.25).tobytes()
            + np.array(depth_m.shape[::-1], '<i4').tobytes()
            + depth_m.tobytes(),
            'camdata_left/alley_2/{}.cam': np.float32(202021.25).tobytes()
            + CAMERA.K.astype('<f8').tobytes()
            + np.linalg.inv(pose)[:3].astype('<f8').tobytes(),
        }
        for pattern, data in files.items():
            path = tmp_path / 'training' / pattern.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return tmp_path / 'training' / 'final' / 'alley_2'


def test_sintel_gives_cameras_poses_and_depth_that_lie_on_the_walls(sintel):
    sequence = open_sequence(sintel)
    frames = list(sequence)

    assert kind_of(sintel) == 'sintel'
    assert frames[1].stamp_ns == round(1e9 / 24)
    assert frames[0].camera == CAMERA
    assert np.isposinf(frames[1].depth_m[0, 0])
    for frame in frames:
        frame.depth_m[~np.isfinite(frame.depth_m)] = np.nan
        assert np.nanmax(off_the_walls(frame)) < 1e-4
    assert len(sequence.truth) == 2


def test_a_depth_file_of_sintel_that_is_cut_off_is_refused(sintel):
    path = sintel.parents[1] / 'depth' / 'alley_2' / 'frame_0001.dpt'
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(UserError, match='cut off'):
        list(open_sequence(sintel))


@pytest.fixture
def nrgbd(tmp_path):
    """Three images, numbered without leading zeros; the pose of the second is unknown."""
    rows = []
    for index, pose in enumerate((POSES[0], np.full((4, 4), np.nan), POSES[1])):
        write_image(tmp_path / 'images' / f'img{index}.png', 100 * index, CAMERA)
        seen = pose if np.isfinite(pose).all() else POSES[0]
        write_depth(tmp_path / 'depth' / f'depth{index}.png', depth_of_room(seen, CAMERA), 1000.0)
        rows.append(pose @ OPTICAL_AXES)
    np.savetxt(tmp_path / 'poses.txt', np.concatenate(rows))
    names = ('fx', 'fy', 'cx', 'cy', 'width', 'height')
    camera = {name: getattr(CAMERA, name) for name in names}
    (tmp_path / 'camera.json').write_text(json.dumps(camera))
    return tmp_path


def test_neural_rgbd_gives_poses_with_optical_axes_and_depth_in_metres(nrgbd):
    sequence = open_sequence(nrgbd)
    frames = list(sequence)

    assert kind_of(nrgbd) == 'nrgbd'
    assert frames[1].T_world_camera is None and len(sequence.truth) == 2
    np.testing.assert_allclose(frames[2].T_world_camera, POSES[1], atol=1e-9)
    assert np.isnan(frames[2].depth_m[0, 0])
    assert np.nanmax(off_the_walls(frames[2])) < 1e-3


def test_neural_rgbd_with_fewer_poses_than_images_is_refused(nrgbd):
    np.savetxt(nrgbd / 'poses.txt', np.eye(4))

    with pytest.raises(UserError, match='1 poses for 3 images'):
        open_sequence(nrgbd)
