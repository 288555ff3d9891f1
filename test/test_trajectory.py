# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Trajectories keep their nanoseconds, find their partners and interpolate."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mem3r_ros.errors import UserError
from mem3r_ros.trajectory import (
    Trajectory,
    ns_to_seconds,
    read_tum,
    seconds_to_ns,
    stamps_from_text,
    write_tum,
)


def trajectory(stamps_ns, yaw_rad=0.0):
    poses = np.tile(np.eye(4), (len(stamps_ns), 1, 1))
    poses[:, 0, 3] = np.arange(len(stamps_ns))
    yaws = yaw_rad * np.arange(len(stamps_ns))
    poses[:, :3, :3] = Rotation.from_euler('z', yaws[:, None]).as_matrix().reshape(-1, 3, 3)
    return Trajectory(np.array(stamps_ns), poses)


def test_a_tum_file_keeps_every_nanosecond_and_the_pose(tmp_path):
    original = trajectory([1_700_000_000_123_456_789, 1_700_000_000_223_456_789], yaw_rad=3.0)

    write_tum(tmp_path / 'path.txt', original)
    again = read_tum(tmp_path / 'path.txt')

    np.testing.assert_array_equal(again.stamps_ns, original.stamps_ns)
    np.testing.assert_allclose(again.poses, original.poses, atol=1e-6)


def test_a_tum_line_has_nine_decimals_and_the_quaternion_ends_with_w(tmp_path):
    write_tum(tmp_path / 'path.txt', trajectory([1_000_000_007]))

    last = (tmp_path / 'path.txt').read_text().splitlines()[-1].split()

    assert last[0] == '1.000000007' and len(last) == 8
    assert float(last[7]) == 1.0


@pytest.mark.parametrize(
    'stamp_ns', [0, 7, 999_999_999, 1_700_000_000_123_456_789, -1_500_000_000]
)
def test_seconds_and_nanoseconds_are_exact_both_ways(stamp_ns):
    assert seconds_to_ns(ns_to_seconds(stamp_ns)) == stamp_ns


@pytest.mark.parametrize(
    'line', ['1 2 3', '1 0 0 0 0 0 0 x', '1 0 0 0 0 0 0 0', 'a 0 0 0 0 0 0 1']
)
def test_a_bad_line_of_a_tum_file_is_named(tmp_path, line):
    (tmp_path / 'path.txt').write_text(f'# head\n0 0 0 0 0 0 0 1\n{line}\n')

    with pytest.raises(
        UserError, match='is not "stamp tx ty tz qx qy qz qw" in 1 of 2 rows; line 3'
    ):
        read_tum(tmp_path / 'path.txt')


def test_a_missing_tum_file_is_reported(tmp_path):
    with pytest.raises(UserError, match=r'cannot read .*No such file'):
        read_tum(tmp_path / 'path.txt')


def test_poses_are_put_into_the_order_of_their_stamps():
    assert trajectory([2, 1]).positions[:, 0].tolist() == [1.0, 0.0]


def test_length_and_duration_are_those_of_the_path():
    path = trajectory([0, 500_000_000, 1_000_000_000])

    assert path.length_m == 2.0 and path.duration_s == 1.0


def test_interpolation_halves_position_and_rotation():
    poses, valid = trajectory([0, 100], yaw_rad=1.0).interpolate(np.array([50]))

    assert valid.all()
    np.testing.assert_allclose(poses[0, :3, 3], [0.5, 0, 0])
    np.testing.assert_allclose(Rotation.from_matrix(poses[0, :3, :3]).as_rotvec(), [0, 0, 0.5])


def test_interpolation_outside_or_far_from_any_pose_is_not_valid():
    path = trajectory([0, 100])

    assert path.interpolate(np.array([-1, 0, 100, 101]))[1].tolist() == [False, True, True, False]
    assert path.interpolate(np.array([-5, 30, 95]), 10)[1].tolist() == [True, False, True]


def test_interpolation_of_a_single_pose_holds_it():
    poses, valid = trajectory([100]).interpolate(np.array([90, 100]), 10)

    assert valid.all()
    np.testing.assert_array_equal(poses[0], np.eye(4))


@pytest.mark.fault('a row of a truth file that is NaN, cut off or no pose', 'left out and logged')
@pytest.mark.parametrize(
    'row', ['2 nan nan nan nan nan nan nan', '2 1', '2 inf 0 0 0 0 0 1', '2 0 0 0 0 0 0 0', 'x']
)
def test_one_bad_row_costs_that_row(tmp_path, caplog, row):
    rows = ['0 0 0 0 0 0 0 1', '1 1 0 0 0 0 0 1', row, '3 3 0 0 0 0 0 1']
    (tmp_path / 'path.txt').write_text('\n'.join(rows))
    with caplog.at_level('WARNING'):
        trajectory = read_tum(tmp_path / 'path.txt')
    assert trajectory.positions[:, 0].tolist() == [0.0, 1.0, 3.0]
    assert '1 of 4 rows left out; line 3' in caplog.text


@pytest.mark.fault(
    'stamps in nano-, micro- or milliseconds', 'recognised by their size and logged'
)
@pytest.mark.parametrize(
    ('stamps', 'first_ns', 'step_ns'),
    [
        (['1403636579763555584', '1403636579813555456'], 1403636579763555584, 49999872),
        (['1403636579763555', '1403636579813555'], 1403636579763555000, 50_000_000),
        (['1403636579763', '1403636579813'], 1403636579763000000, 50_000_000),
        (['0', '33333333', '66666666'], 0, 33333333),
        (['0', '33333', '66666'], 0, 33333000),
        (['1403636579', '1403636580'], 1403636579000000000, 1_000_000_000),
        (['1403636579.763555584', '1403636579.8'], 1403636579763555584, 36444416),
        (['0', '1', '2'], 0, 1_000_000_000),
    ],
)
def test_the_unit_of_stamps_is_recognised(stamps, first_ns, step_ns):
    found = stamps_from_text(stamps, 'times.txt')
    assert (found[0], found[1] - found[0]) == (first_ns, step_ns)


@pytest.mark.fault('a time stamp beyond every clock', 'one sentence, no overflow')
@pytest.mark.parametrize('text', ['nan', 'inf', '1e999999999', '1e400', '9' * 40, 'x', '1e15.5'])
def test_a_stamp_beyond_every_clock_is_refused(text):
    with pytest.raises(UserError, match=r'time stamp|stamp is'):
        stamps_from_text([text], 'times.txt')


def test_columns_of_euroc_are_recognised(tmp_path):
    row = '1403636579763555584,1,2,3,0.7071,0,0,0.7071,' + ','.join(['0'] * 9)
    (tmp_path / 'data.csv').write_text(f'#timestamp, p_RS_R_x [m], ...\n{row}\n')
    trajectory = read_tum(tmp_path / 'data.csv')
    assert trajectory.stamps_ns.tolist() == [1403636579763555584]
    assert trajectory.positions[0].tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(trajectory.poses[0, :2, 0], (0, 1), atol=1e-6)


def test_columns_of_kitti_are_named(tmp_path):
    (tmp_path / 'poses.txt').write_text(' '.join(['0'] * 12) + '\n')
    with pytest.raises(UserError, match='a pose of KITTI, which has no stamp'):
        read_tum(tmp_path / 'poses.txt')
