# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of runs without ROS: our part of a robot's parameter file."""

import argparse

import pytest

from mem3r_ros.cli.arguments import add_tracking_arguments
from mem3r_ros.cli.settings import RunConfig, config_from
from mem3r_ros.errors import UserError


def settings_of(tmp_path, text):
    (tmp_path / 'robot.yaml').write_text(text)
    words = ['--config', str(tmp_path / 'robot.yaml')]
    parser = argparse.ArgumentParser()
    add_tracking_arguments(parser)
    return config_from(parser.parse_args(words)).tracking


CAMERA_NODE = 'camera:\n  ros__parameters: {device: /dev/video0, fps: 30}\n'
OUR_NODE = '  ros__parameters: {tracking.scale.factor: 2.5, tracking.scale.source: fixed}\n'


@pytest.mark.parametrize(
    'ours', ['mem3r:\n', '/front/mem3r:\n', '/front:\n mem3r:\n', 'my_tracker:\n']
)
def test_the_settings_of_our_node_are_found_in_a_robots_parameter_file(tmp_path, ours):
    for_all = '/**:\n  ros__parameters: {tracking: {scale: {factor: 9.0}, update_rule: memix}}\n'

    tracking = settings_of(tmp_path, CAMERA_NODE + ours + OUR_NODE + for_all)

    assert (tracking.scale.source, tracking.scale.factor) == ('fixed', 2.5)
    assert tracking.update_rule == 'memix'


def test_settings_are_read_under_the_earlier_name_too():
    from mem3r_ros.cli import settings, tracking

    assert tracking.config_from is settings.config_from


def test_our_node_without_settings_has_the_defaults(tmp_path):
    assert settings_of(tmp_path, 'mem3r:\n  ros__parameters:\n') == RunConfig().tracking


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('other:\n  ros__parameters: {rate: 3}\n', 'no settings of a node mem3r; its nodes are'),
        ('a:\n' + OUR_NODE + 'b:\n' + OUR_NODE, 'settings of several nodes, /a, /b'),
    ],
)
def test_a_parameter_file_with_several_candidate_nodes_is_refused(tmp_path, text, sentence):
    with pytest.raises(UserError, match=sentence):
        settings_of(tmp_path, text)


@pytest.mark.parametrize(
    ('node', 'name', 'meant'),
    [
        ('mem3r', 'modle', 'model'),
        ('/**', 'tracking.update_rul', 'update_rule'),
        ('mem3r', 'exposure_ms', ''),
    ],
)
def test_a_misspelt_name_in_a_parameter_file_is_refused(tmp_path, node, name, meant):
    path = tmp_path / 'robot.yaml'
    path.write_text(f'{node}:\n  ros__parameters:\n    {name}: 1\n')
    args = argparse.Namespace(config=str(path), model=None, device=None, set=[])
    with pytest.raises(UserError, match=f'unknown parameter {name!r}.*{meant}'):
        config_from(args)
