# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Parameter files as rcl reads them, and names that no node has."""

import pytest

from mem3r_ros.errors import UserError
from mem3r_ros.ros.conversions import frame_name
from mem3r_ros.ros.parameter_names import check_names, parameters_of_file


def parameters(tmp_path, text):
    path = tmp_path / 'robot.yaml'
    path.write_text(text)
    return parameters_of_file(path, 'mem3r')


@pytest.mark.fault(
    'replay with a parameter file that names the base frame', 'used as the node uses it'
)
@pytest.mark.parametrize('head', ['/**', 'mem3r', '/mem3r', '/*', '/**/mem3r', "'/**'"])
def test_sections_that_mean_the_node_are_read(tmp_path, head):
    inner = '{base_frame: base_footprint, tracking.update_rule: cut3r}'
    text = f'{head}:\n  ros__parameters: {inner}\n'
    found = parameters(tmp_path, text)
    assert found == {'base_frame': 'base_footprint', 'tracking.update_rule': 'cut3r'}


def test_later_sections_win_and_others_are_left(tmp_path):
    text = (
        '/**: {ros__parameters: {base_frame: a, tracking: {reset_interval: 5}}}\n'
        'camera: {ros__parameters: {frame_rate: 30}}\n'
        '/robot/mem3r: {ros__parameters: {base_frame: b}}\n'
        '/: {mem3r: {ros__parameters: {base_frame: c}}}\n'
    )
    found = parameters(tmp_path, text)
    assert found == {'base_frame': 'c', 'tracking.reset_interval': 5}


@pytest.mark.fault(
    'a parameter whose name is misspelt', 'refused, with the name that was probably meant'
)
@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('base_fram', 'base_frame'),
        ('tracking.update_rul', 'tracking.update_rule'),
        ('update_rule', 'tracking.update_rule'),
    ],
)
def test_an_unknown_parameter_names_the_nearest(tmp_path, name, meant):
    with pytest.raises(UserError, match=f'unknown parameter {name!r}; did you mean {meant!r}'):
        check_names([name], '--param')
    with pytest.raises(UserError, match=r'robot\.yaml: unknown parameter'):
        parameters(tmp_path, f'mem3r: {{ros__parameters: {{{name}: 1}}}}\n')


def test_shared_sections_may_hold_what_other_nodes_read(tmp_path):
    assert check_names(['use_sim_time', 'qos_overrides./tf.publisher.depth'], '') == []
    assert check_names(['exposure_ms'], '', is_shared=True) == ['exposure_ms']
    with pytest.raises(UserError, match='base_frame'):
        check_names(['base_fram'], '', is_shared=True)


@pytest.mark.fault('a frame name with a slash before it (drivers of ROS 1)', 'read without it')
def test_a_slash_before_a_frame_name_is_dropped():
    assert frame_name('/camera_optical') == frame_name('camera_optical') == 'camera_optical'
    assert frame_name('robot/camera') == 'robot/camera'
