# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Protocol runs and scores of other systems on small folders in the layouts of the data sets."""

import json

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mem3r_ros.camera import Intrinsics
from mem3r_ros.cli import protocol as protocol_command
from mem3r_ros.cli.main import main
from mem3r_ros.data.ply import write_ply
from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.protocol_run import aligned
from mem3r_ros.evaluation.protocol_table import metric_tables, sources
from mem3r_ros.evaluation.protocols import PROTOCOLS, protocol
from mem3r_ros.trajectory import Trajectory, tum_line, write_tum

CAMERA = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
NUM_FRAMES = 5


def pose(index):
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec((0.0, 0.02 * index, 0.0)).as_matrix()
    T[:3, 3] = (0.05 * index, 0.01 * index**2, 0.0)
    return T


def image(index):
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(0, 255, (24, 32, 3), np.uint8), (128, 96))
    return wall[10 : 10 + 48, 3 * index : 3 * index + 64]


def depth_m(index):
    return np.tile(np.linspace(1.0 + 0.1 * index, 3.0, 64, dtype=np.float32), (48, 1))


def write_picture(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def write_camera(folder):
    names = ('fx', 'fy', 'cx', 'cy', 'width', 'height')
    values = {name: getattr(CAMERA, name) for name in names}
    (folder / 'camera.json').write_text(json.dumps(values))


def tum(root, name='rgbd_dataset_freiburg3_walking_xyz', factor=5000.0, first=0):
    folder = root / name
    listed, truth = [], []
    for index in range(first + NUM_FRAMES):
        stamp = f'{100.0 + index / 30:.6f}'
        write_picture(folder / 'rgb' / f'{stamp}.png', image(index % 12))
        stored = np.round(depth_m(index % 12) * factor).astype(np.uint16)
        write_picture(folder / 'depth' / f'{stamp}.png', stored)
        listed.append((stamp, f'rgb/{stamp}.png', f'depth/{stamp}.png'))
        truth.append(tum_line(round(float(stamp) * 1e9), pose(index)))
    (folder / 'rgb.txt').write_text(''.join(f'{s} {rgb}\n' for s, rgb, _ in listed))
    (folder / 'depth.txt').write_text(''.join(f'{s} {depth}\n' for s, _, depth in listed))
    (folder / 'groundtruth.txt').write_text(''.join(truth))
    write_camera(folder)


def bonn(root):
    tum(root, 'rgbd_bonn_crowd2', first=30)


def scannet(root):
    folder = root / 'scene0707_00'
    for index in range(3 * NUM_FRAMES):
        write_picture(folder / 'color' / f'{index}.jpg', image(index % 12))
        (folder / 'pose').mkdir(exist_ok=True)
        np.savetxt(folder / 'pose' / f'{index}.txt', pose(index))
    (folder / 'intrinsic').mkdir()
    matrix = np.eye(4)
    matrix[:3, :3] = CAMERA.K
    np.savetxt(folder / 'intrinsic' / 'intrinsic_color.txt', matrix)


def sintel(root):
    for index in range(NUM_FRAMES):
        name = f'frame_{index + 1:04d}'
        write_picture(root / 'training' / 'final' / 'alley_2' / f'{name}.png', image(index))
        tag = np.float32(202021.25).tobytes()
        size = np.array((64, 48), '<i4').tobytes()
        matrices = CAMERA.K.tobytes() + np.linalg.inv(pose(index))[:3].tobytes()
        for kind, suffix, data in (
            ('depth', 'dpt', tag + size + depth_m(index).tobytes()),
            ('camdata_left', 'cam', tag + matrices),
        ):
            path = root / 'training' / kind / 'alley_2' / f'{name}.{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def kitti_odometry(root):
    for index in range(NUM_FRAMES):
        write_picture(root / 'sequences' / '05' / 'image_2' / f'{index:06d}.png', image(index))
    (root / 'poses').mkdir()
    rows = [pose(index)[:3].ravel() for index in range(NUM_FRAMES)]
    np.savetxt(root / 'poses' / '05.txt', rows)


def seven_scenes(root):
    folder = root / 'chess' / 'seq-03'
    for index in range(2 * NUM_FRAMES):
        name = f'frame-{index:06d}'
        write_picture(folder / f'{name}.color.png', image(index % 12))
        stored = np.round(depth_m(index) * 1000).astype(np.uint16)
        write_picture(folder / f'{name}.depth.png', cv2.resize(stored, (640, 480)))
        np.savetxt(folder / f'{name}.pose.txt', pose(index))
    write_camera(folder)
    (root / 'chess' / 'TestSplit.txt').write_text('sequence3\n')
    (root / 'chess' / 'seq-01').mkdir()  # of the training split
    write_picture(root / 'chess' / 'seq-01' / 'frame-000000.color.png', image(0))


def nrgbd(root):
    folder = root / 'kitchen'
    for index in range(NUM_FRAMES):
        write_picture(folder / 'images' / f'img{index}.png', image(index))
        stored = np.round(depth_m(index) * 1000).astype(np.uint16)
        write_picture(folder / 'depth' / f'depth{index}.png', stored)
    axes = np.diag((1.0, -1.0, -1.0, 1.0))
    np.savetxt(folder / 'poses.txt', np.concatenate([pose(i) @ axes for i in range(NUM_FRAMES)]))
    write_camera(folder)


def euroc(root):
    folder = root / 'MH_01_easy' / 'mav0'
    rows, truth = [], []
    for index in range(NUM_FRAMES):
        stamp_ns = 1_403_636_579_000_000_000 + 50_000_000 * index
        write_picture(folder / 'cam0' / 'data' / f'{stamp_ns}.png', image(index))
        rows.append(f'{stamp_ns},{stamp_ns}.png')
        x, y, z, w = Rotation.from_matrix(pose(index)[:3, :3]).as_quat()
        truth.append(','.join(map(str, (stamp_ns, *pose(index)[:3, 3], w, x, y, z))))
    (folder / 'cam0' / 'data.csv').write_text('\n'.join(rows))
    (folder / 'cam0' / 'sensor.yaml').write_text(
        json.dumps(
            {
                'T_BS': {'data': np.eye(4).ravel().tolist()},
                'resolution': [64, 48],
                'intrinsics': [60.0, 60.0, 31.5, 23.5],
                'distortion_model': 'radial-tangential',
                'distortion_coefficients': [0.0, 0.0, 0.0, 0.0],
            }
        )
    )
    (folder / 'state_groundtruth_estimate0').mkdir()
    (folder / 'state_groundtruth_estimate0' / 'data.csv').write_text('\n'.join(truth))


def kitti_depth(root):
    drive = '2011_09_26_drive_0002_sync'
    date = root / '2011_09_26' / drive
    for index in range(NUM_FRAMES + 2):
        name = f'{index:010d}.png'
        write_picture(date / 'image_02' / 'data' / name, image(index))
        if index >= 2:  # the first and last images of a drive have no annotated depth
            stored = np.round(depth_m(index) * 256).astype(np.uint16)
            folder = root / 'val' / drive / 'proj_depth' / 'groundtruth' / 'image_02'
            write_picture(folder / name, stored)


LAYOUTS = {
    'tum-dynamics': (tum, 'ate_m'),
    'scannet': (scannet, 'ate_m'),
    'sintel': (sintel, 'abs_rel_scale'),
    'bonn': (bonn, 'abs_rel_scale'),
    'kitti-depth': (kitti_depth, 'abs_rel_metric'),
    'kitti-odometry': (kitti_odometry, 'ate_m'),
    '7scenes': (seven_scenes, 'chamfer_m'),
    'nrgbd': (nrgbd, 'chamfer_m'),
    'euroc': (euroc, 'ate_m'),
}


@pytest.mark.parametrize('name', PROTOCOLS)
def test_each_protocol_scores_its_data_set_beside_the_published_figures(name, tmp_path, capsys):
    write, metric = LAYOUTS[name]
    write(tmp_path / 'data')
    words = [str(tmp_path / 'data'), '--protocol', name, '--views', '3,4']

    code = main(['evaluate', *words, '--output', str(tmp_path / 'out')])

    printed = capsys.readouterr().out
    content = json.loads((tmp_path / 'out' / f'{name}.json').read_text())
    (rows,) = content['parts'].values()
    assert code == 0
    assert [(row['views'], row['num_views']) for row in rows] == [(3, 3), (4, 4)]
    assert all(np.isfinite(row[metric]) and row[metric] > 0 for row in rows)
    assert 'mem3r-tiny, ttt3r' in printed and protocol(name).source in printed
    assert len(content['settings']['weights_sha256']) == 64


def test_published_figures_stand_in_the_columns_of_their_number_of_views():
    row = {'rule': 'ttt3r', 'views': 1000, 'ate_m': 0.5}

    (table,) = metric_tables('tum-dynamics', 'mine', [row])

    lines = {cells[0]: cells[1:] for cells in table.rows}
    assert table.columns == ['method', '1000 views']
    assert lines['mine, ttt3r'] == ['0.500']
    assert lines['Mem3R'] == ['0.150'] and lines['Mem3R + TTT3R'] == ['0.073']
    assert any('arXiv 2604.07279' in source for source in sources('tum-dynamics'))


def test_a_range_of_views_means_those_of_the_papers(tmp_path, capsys):
    lengths = (50, 100, 200, 1000)

    assert protocol_command._numbers('50..200', lengths) == [50, 100, 200]
    assert protocol_command._numbers('7,100..1000', lengths) == [7, 100, 200, 1000]
    for words in ('51..60', '50...60', '50-60', '1,50'):
        with pytest.raises(UserError, match='--views is'):
            protocol_command._numbers(words, lengths)


def test_the_page_draws_each_rule_over_the_number_of_views(tmp_path):
    kitti_odometry(tmp_path / 'data')
    words = [str(tmp_path / 'data'), '--protocol', 'kitti-odometry', '--views', '3,4,5']

    code = main(['evaluate', *words, '--rules', 'cut3r,ttt3r', '--output', str(tmp_path / 'out')])

    page = (tmp_path / 'out' / 'kitti-odometry.html').read_text()
    assert code == 0
    assert page.count('<svg') == 4  # ATE in two alignments, RPE of translation and rotation
    assert 'mem3r-tiny, cut3r' in page and 'mem3r-tiny, ttt3r' in page
    assert 'number of views' in page


def test_a_second_run_computes_only_what_is_missing(tmp_path, monkeypatch):
    kitti_odometry(tmp_path / 'data')
    words = [str(tmp_path / 'data'), '--protocol', 'kitti-odometry', '--views', '5']
    words = ['evaluate', *words, '--output', str(tmp_path / 'out')]
    assert main([*words, '--rules', 'cut3r']) == 0
    calls = []
    real = protocol_command.evaluate_sequence

    def counted(network, rule, *rest):
        calls.append(rule.name)
        return real(network, rule, *rest)

    monkeypatch.setattr(protocol_command, 'evaluate_sequence', counted)

    assert main([*words, '--rules', 'cut3r,ttt3r']) == 0
    assert calls == ['ttt3r']


def test_results_of_other_settings_are_not_mixed(tmp_path, capsys):
    kitti_odometry(tmp_path / 'data')
    words = ['evaluate', str(tmp_path / 'data'), '--protocol', 'kitti-odometry']
    words += ['--output', str(tmp_path / 'out')]
    assert main([*words, '--views', '5']) == 0

    assert main([*words, '--views', '6']) == 2
    assert 'another views' in capsys.readouterr().err


def test_a_broken_sequence_costs_one_line_and_not_the_others(tmp_path, capsys):
    kitti_odometry(tmp_path / 'data')
    (tmp_path / 'data' / 'sequences' / '06' / 'image_2').mkdir(parents=True)
    (tmp_path / 'data' / 'sequences' / '06' / 'image_2' / '0.png').write_bytes(b'no picture')
    words = ['evaluate', str(tmp_path / 'data'), '--protocol', 'kitti-odometry', '--views', '5']

    code = main([*words, '--output', str(tmp_path / 'out')])

    captured = capsys.readouterr()
    assert code == 2
    assert '06 ttt3r:' in captured.err and 'ATE' in captured.out


@pytest.mark.parametrize('name', PROTOCOLS)
def test_a_folder_without_the_data_set_is_refused_with_where_to_get_it(name, tmp_path):
    (tmp_path / 'something').mkdir()

    with pytest.raises(UserError, match='get them from') as caught:
        protocol(name).find(tmp_path)
    assert protocol(name).layout in str(caught.value)


def test_points_are_brought_to_the_size_and_the_depth_of_the_truth():
    true = np.random.default_rng(0).uniform((-1, -1, 1), (1, 1, 4), (500, 3))
    points = 0.3 * true
    points[:, 2] += 0.7

    np.testing.assert_allclose(aligned(points, true), true, atol=1e-9)


# Results of other systems


@pytest.fixture
def recording(tmp_path):
    """A folder in the uniform layout with poses and depth."""
    folder = tmp_path / 'recording'
    stamps_ns = []
    for index in range(NUM_FRAMES):
        write_picture(folder / 'rgb' / f'{index:06d}.png', image(index))
        write_picture(
            folder / 'depth' / f'{index:06d}.png',
            np.round(depth_m(index) * 1000).astype(np.uint16),
        )
        stamps_ns.append(10**9 + index * 100_000_000)
    (folder / 'timestamps.txt').write_text(''.join(f'{s / 1e9}\n' for s in stamps_ns))
    truth = Trajectory(np.array(stamps_ns), np.array([pose(i) for i in range(NUM_FRAMES)]))
    write_tum(folder / 'groundtruth.txt', truth)
    write_camera(folder)
    return folder, truth


def scored(tmp_path, *words):
    assert main(['score', *map(str, words), '--output', str(tmp_path / 'score.json')]) == 0
    content = json.loads((tmp_path / 'score.json').read_text())
    assert content['settings']['truth'] == str(words[words.index('--truth') + 1])
    ((found,),) = content['parts'].values()
    return next(iter(found.values()))


@pytest.mark.parametrize('kind', ['tum', 'kitti', 'euroc'])
def test_a_trajectory_of_any_kind_is_scored_after_its_scale(kind, recording, tmp_path):
    folder, truth = recording
    poses = truth.poses.copy()
    poses[:, :3, 3] *= 2.0
    path = tmp_path / f'estimate_{kind}.txt'
    if kind == 'tum':
        write_tum(path, Trajectory(truth.stamps_ns, poses))
    elif kind == 'kitti':
        np.savetxt(path, poses[:, :3].reshape(-1, 12))
    else:
        quaternions = np.roll(Rotation.from_matrix(poses[:, :3, :3]).as_quat(), 1, axis=1)
        path.write_text(
            '\n'.join(
                ','.join(map(str, (10**18 + s, *p[:3, 3], *q)))
                for s, p, q in zip(truth.stamps_ns, poses, quaternions, strict=True)
            )
        )
        moved = Trajectory(truth.stamps_ns + 10**18, truth.poses)
        folder = tmp_path / 'truth.txt'
        write_tum(folder, moved)

    error = scored(tmp_path, path, '--truth', folder)

    assert error['num_poses'] == NUM_FRAMES
    assert error['ate_sim3_rmse_m'] < 1e-5 < error['ate_se3_rmse_m']
    assert error['scale_error_percent'] == pytest.approx(100.0, abs=0.01)


@pytest.mark.parametrize('suffix', ['.npy', '.png', '.exr'])
def test_depth_images_of_any_kind_are_scored(suffix, recording, tmp_path):
    folder, _ = recording
    (tmp_path / 'depth').mkdir()
    for index in range(NUM_FRAMES):
        path = tmp_path / 'depth' / f'{index}{suffix}'
        estimate = 0.5 * depth_m(index)
        if suffix == '.npy':
            np.save(path, estimate)
        elif suffix == '.png':
            write_picture(path, np.round(estimate * 1000).astype(np.uint16))
        else:
            open_exr = pytest.importorskip('OpenEXR')
            header = {'compression': open_exr.ZIP_COMPRESSION, 'type': open_exr.scanlineimage}
            with open_exr.File(header, {'Z': estimate}) as file:
                file.write(str(path))

    scores = scored(tmp_path, tmp_path / 'depth', '--truth', folder)

    assert scores['metric']['abs_rel'] == pytest.approx(0.5, abs=2e-3)
    assert scores['scale']['abs_rel'] == pytest.approx(0.0, abs=2e-3)
    assert scores['scale']['scale'] == pytest.approx(2.0, abs=2e-2)


def test_a_cloud_is_scored_against_a_cloud(tmp_path):
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(0, 1, (2000, 2)), np.zeros(2000)]
    write_ply(tmp_path / 'true.ply', points, np.zeros((2000, 3), np.uint8))
    write_ply(tmp_path / 'mine.ply', points[:1000] + 0.01, np.zeros((1000, 3), np.uint8))

    error = scored(tmp_path, tmp_path / 'mine.ply', '--truth', tmp_path / 'true.ply')

    assert error['accuracy_m'] < 0.01 and error['completeness_m'] < 0.03
    assert error['normal_consistency'] > 0.99


@pytest.mark.parametrize(
    ('content', 'reason'),
    [('1 2 3\n', '3 numbers'), ('', 'no pose'), ('a b c d e f g h\n', 'line 1')],
)
def test_a_file_that_is_no_trajectory_is_refused(content, reason, recording, tmp_path, capsys):
    path = tmp_path / 'bad.txt'
    path.write_text(content)

    assert main(['score', str(path), '--truth', str(recording[0])]) == 2
    assert reason in capsys.readouterr().err
