# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Parameters: defaults from the dataclasses, refusals with reasons, changes between frames."""

import math

from node_harness import values_of
import pytest
from rclpy.parameter import Parameter

from mem3r_ros.config import flatten
from mem3r_ros.errors import UserError
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.parameters import default_yaml


def change(node, **values):
    parameters = [Parameter(name.replace('__', '.'), value=v) for name, v in values.items()]
    return node.set_parameters_atomically(parameters)


def test_every_setting_is_a_parameter_with_its_help(start_node):
    node = start_node(autostart=False)

    for name, value, item in flatten(NodeConfig()):
        described = node.describe_parameter(name)
        assert described.description.startswith(item.metadata['help'])
        assert described.read_only is not item.metadata['dynamic']
        assert node.has_parameter(name), value


def test_changes_reach_the_tracker_and_the_outputs(start_node):
    node = start_node()

    answer = change(
        node,
        two_d_mode=True,
        depth__invalid_value='zero',
        tracking__health__max_speed=3.0,
        tracking__scale__factor=2.0,
    )

    assert answer.successful
    node.pipeline.tracking.call(lambda: None)
    assert node.tracker.config.health.max_speed == 3.0
    assert node.tracker.config.scale.factor == 2.0
    assert node.results.config.two_d_mode
    assert node.results.config.depth.invalid_value == 'zero'


def test_the_update_rule_can_be_switched_in_mid_stream(start_node, camera, listener, spin_until):
    node = start_node()
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    for rule in ('cut3r', 'ttt3r', 'ttsa3r', 'memix', 'filt3r'):
        assert change(node, tracking__update_rule=rule).successful
        answered = len(statuses)
        camera.send()
        assert spin_until(lambda before=answered: len(statuses) > before)

    assert {values_of(s)['state'] for s in statuses} <= {'INITIALISING', 'TRACKING', 'DEGRADED'}


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('model', 'other.safetensors', 'read-only'),
        ('odom_frame', 'elsewhere', 'read-only'),
        ('depth.invalid_value', 'seven', 'rep117, zero'),
        ('tracking.health.max_speed', -1.0, 'out of range'),
        ('tracking.update_rule', 'magic', 'cut3r'),
    ],
)
def test_a_refused_change_has_a_reason_and_changes_nothing(start_node, name, value, reason):
    node = start_node()
    before = node.config

    answer = node.set_parameters_atomically([Parameter(name, value=value)])

    assert not answer.successful
    assert reason in answer.reason
    assert node.config is before


def test_if_one_of_two_changes_is_refused_neither_is_made(start_node):
    node = start_node()

    answer = change(node, two_d_mode=True, depth__invalid_value='seven')

    assert not answer.successful
    assert node.config.two_d_mode is False


@pytest.mark.parametrize(
    ('parameters', 'named'),
    [
        ({'input_policy': 'some'}, 'input_policy'),
        ({'initial_base_pose': [1.0, 2.0]}, 'initial_base_pose'),
        ({'initial_base_pose': [math.nan] * 6}, 'initial_base_pose'),
        ({'odom_frame': 'base_link'}, 'odom_frame'),
        ({'num_threads': 'many'}, 'num_threads'),
        ({'map__voxel_size': 0.0}, 'voxel_size'),
    ],
)
def test_a_bad_value_at_the_start_is_named(start_node, parameters, named):
    with pytest.raises(UserError, match=named):
        start_node(autostart=False, **parameters)


def test_a_parameter_file_is_read_by_a_node_of_any_name_and_namespace(start_node, tmp_path):
    file = tmp_path / 'params.yaml'
    text = default_yaml().replace('two_d_mode: false', 'two_d_mode: true')
    file.write_text(text.replace('odom_frame: odom', 'odom_frame: far'), encoding='utf-8')
    arguments = ('__ns:=/robot7', '__node:=eye')

    node = start_node(autostart=False, remappings=arguments, options={'params_file': str(file)})

    assert node.config.two_d_mode
    assert node.config.odom_frame == 'far'
    assert node.get_fully_qualified_name() == '/robot7/eye'
