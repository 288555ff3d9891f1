# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers from outside: what is not finite or not possible is refused with one sentence."""

import math

import numpy as np
import pytest

from mem3r_ros import plausible
from mem3r_ros.config import from_dict, replace_path
from mem3r_ros.errors import UserError
from mem3r_ros.tracker import TrackerConfig


@pytest.mark.parametrize(
    'value', [math.nan, math.inf, 10**400, '1e400', None, True, [1.0], 'x', {}, b'1', 1j]
)
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(UserError, match=r'fx is .*; it must be'):
        plausible.number(value, 'fx')


def test_numbers_may_be_text_and_of_any_type():
    assert plausible.number('2.5', 'fx') == 2.5
    assert plausible.number(np.float32(2.5), 'fx') == 2.5
    assert plausible.whole_number(480.0, 'width', 1, 1000) == 480


@pytest.mark.parametrize('value', [0, 1001, 2.5, -1, 10**400, math.inf])
def test_sizes_are_whole_and_in_range(value):
    with pytest.raises(UserError, match='width is'):
        plausible.whole_number(value, 'width', 1, 1000)


def spoiled(**entries):
    T = np.eye(4)
    for index, value in entries.values():
        T[index] = value
    return T


@pytest.mark.fault('a transform that is infinite, no rotation or absurd', 'refused with its name')
@pytest.mark.parametrize(
    'T',
    [
        spoiled(a=((0, 3), math.inf)),
        spoiled(a=((0, 3), math.nan)),
        spoiled(a=((0, 3), 1e300)),
        spoiled(a=((2, 3), -1e8)),
        spoiled(a=((0, 0), 1e300)),
        spoiled(a=((0, 0), 1.1)),
        spoiled(a=((0, 0), -1.0)),  # a mirror
        spoiled(a=((3, 3), 2.0)),
        np.zeros((4, 4)),
        np.eye(3),
        np.array([['x'] * 4] * 4),
    ],
)
def test_what_is_no_rigid_motion_is_refused(T):
    with pytest.raises(UserError, match='link base_link'):
        plausible.pose_matrix(T, 'link base_link to camera')


@pytest.mark.fault('a link of TF that no robot has', 'refused with its name')
@pytest.mark.parametrize(
    ('position', 'quaternion'),
    [
        ((math.inf, 0, 0), (0, 0, 0, 1)),
        ((1e300, 0, 0), (0, 0, 0, 1)),
        ((1001.0, 0, 0), (0, 0, 0, 1)),
        ((0, 0, 0), (0, 0, 0, 0)),
        ((0, 0, 0), (0, 0, 0, 1e300)),
        ((0, 0, 0), (math.nan, 0, 0, 1)),
    ],
)
def test_a_link_that_no_robot_has_is_refused(position, quaternion):
    with pytest.raises(UserError, match='link'):
        plausible.pose(position, quaternion, 'link', plausible.MAX_LINK_M)


def test_map_coordinates_and_rounded_quaternions_pass():
    T = plausible.pose((4.6e5, 5.4e6, 300.0), (0, 0, 0.7071, 0.7071), 'pose')
    np.testing.assert_allclose(T[:3, 3], (4.6e5, 5.4e6, 300.0))
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)


@pytest.mark.fault(
    'a setting whose name is misspelt', 'refused, with the name that was probably meant'
)
@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('helth.max_speed', 'health.max_speed'),
        ('health.max_sped', 'max_speed'),
        ('max_speed', 'health.max_speed'),
        ('update_rul', 'update_rule'),
    ],
)
def test_an_unknown_setting_names_the_nearest(name, meant):
    with pytest.raises(UserError, match=f'did you mean {meant!r}'):
        replace_path(TrackerConfig(), name, 1)


def test_an_unknown_name_in_a_file_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'update_rule'"):
        from_dict(TrackerConfig, {'update_rules': 'ttt3r', 3: 4})


@pytest.mark.fault('a setting of NaN, infinity or 400 digits', 'refused with its name and value')
@pytest.mark.parametrize('value', [math.nan, math.inf, 10**400, -math.inf])
def test_a_setting_that_is_not_finite_is_refused(value):
    with pytest.raises(UserError, match=r'must be (finite|at most)'):
        replace_path(TrackerConfig(), 'health.max_speed', value)
