# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Launch files as descriptions: arguments, and the topics of RViz."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip('launch_ros', reason='needs launch and launch_ros of a ROS distribution')

from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchContext

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / 'launch').glob('*.launch.py'))


def described(file):
    source = PythonLaunchDescriptionSource(str(file))
    return source.get_launch_description(LaunchContext())


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.name)
def test_every_argument_has_a_description(file):
    entities = described(file).entities

    arguments = [entity for entity in entities if type(entity).__name__ == 'DeclareLaunchArgument']

    assert arguments
    assert all(len(argument.description) > 5 for argument in arguments)


def test_the_main_launch_file_has_the_arguments_that_users_rely_on():
    names = {argument.name for argument in described(ROOT / 'launch/mem3r.launch.py')
             .get_launch_arguments()}  # fmt: skip

    assert names >= {
        'camera', 'image', 'camera_info', 'namespace', 'params_file', 'model', 'use_sim_time',
        'rviz',
        'image_transport', 'input_policy', 'mount', 'publish_tf', 'autostart',
    }  # fmt: skip


def test_rviz_shows_the_node_s_topics_with_their_quality_of_service():
    text = (ROOT / 'rviz' / 'mem3r.rviz').read_text(encoding='utf-8')
    displays = yaml.safe_load(text)['Visualization Manager']['Displays']

    topics = {d['Topic']['Value']: d['Topic'] for d in displays if 'Topic' in d}

    assert topics.keys() == {'odom', 'path', 'points', 'map/points', 'image', 'depth/image'}
    assert topics['map/points']['Durability Policy'] == 'Transient Local'
    assert topics['image']['Reliability Policy'] == 'Best Effort'
