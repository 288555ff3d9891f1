# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Config dataclasses as ROS parameters, both ways; the YAML files and the table from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field
import math
from pathlib import Path
import textwrap
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter
import yaml

from mem3r_ros.config import flatten, replace_path
from mem3r_ros.errors import UserError
from mem3r_ros.ros.node_config import NodeConfig

TABLE_BEGIN = '<!-- parameters: generated -->'
TABLE_END = '<!-- parameters: end -->'


def declare(node: Node, config: NodeConfig) -> NodeConfig:
    """
    Declare every setting as a parameter, with its help and its limits.

    :param node: the node that owns them.
    :param config: defaults.
    :return: the values in force, overrides of launch files and command lines applied.
    :raises UserError: an override is refused; the message names the parameter.
    """
    for name, value, item in flatten(config):
        try:
            parameter = node.declare_parameter(name, _ros_value(value), descriptor(item))
        except InvalidParameterTypeException as error:
            raise UserError(
                f'parameter {name} has the wrong type; it takes {_type_name(value)}, as in '
                f'{name}: {yaml_value(value)}'
            ) from error
        except (InvalidParameterValueException, ParameterException) as error:
            raise UserError(f'parameter {name} is refused: {error}') from error
        config = _replaced(config, name, parameter.value)
    return config


def apply(
    config: NodeConfig, parameters: Iterable[Parameter]
) -> tuple[NodeConfig, SetParametersResult]:
    """
    Apply a request to change parameters, wholly or not at all.

    :param config: values in force.
    :param parameters: the request; names that are not settings (use_sim_time) are left to ROS.
    :return: the new values and the answer, which gives the reason of a refusal.
    """
    known = {name: item for name, _, item in flatten(config)}
    changed = config
    for parameter in parameters:
        item = known.get(parameter.name)
        if item is None:
            continue
        if not item.metadata['dynamic']:
            reason = f'{parameter.name} is read only; set it before the node starts'
            return config, SetParametersResult(successful=False, reason=reason)
        try:
            changed = _replaced(changed, parameter.name, parameter.value)
        except UserError as error:
            return config, SetParametersResult(successful=False, reason=str(error))
    return changed, SetParametersResult(successful=True)


def descriptor(item: Field) -> ParameterDescriptor:
    """Return the ROS description of one setting: help, unit, range, whether it may change."""
    limits = item.metadata
    text = limits['help'] + (f' [{limits["unit"]}]' if limits['unit'] else '')
    result = ParameterDescriptor(description=text, read_only=not limits['dynamic'])
    if limits['choices']:
        result.additional_constraints = 'one of ' + ', '.join(map(str, limits['choices']))
    low, high = limits['low'], limits['high']
    if low is None and high is None:
        return result
    if isinstance(item.default, float):
        low = -math.inf if low is None else float(low)
        high = math.inf if high is None else float(high)
        result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif isinstance(item.default, int) and not isinstance(item.default, bool):
        low = -(2**63) if low is None else int(low)
        high = 2**63 - 1 if high is None else int(high)
        result.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return result


def default_yaml(config: NodeConfig | None = None) -> str:
    """
    Write the parameters as a ROS parameter file that fits a node of any name and namespace.

    :param config: values; None: the defaults.
    :return: YAML keyed ``/**``, each line with its help as comment.
    """
    lines = [
        '# All parameters at their defaults; read only ones are set before the node starts.',
        '# Written by `python -m mem3r_ros.ros.parameters`; a test compares it with the code.',
        '/**:',
        '  ros__parameters:',
    ]
    opened: list[str] = []
    for name, value, item in flatten(config or NodeConfig()):
        *groups, leaf = name.split('.')
        same = 0
        while same < min(len(groups), len(opened)) and groups[same] == opened[same]:
            same += 1
        for depth in range(same, len(groups)):
            lines.append('  ' * (depth + 2) + groups[depth] + ':')
        opened = groups
        limits = item.metadata
        notes = [limits['help']]
        if limits['choices']:
            notes.append('one of ' + ', '.join(map(str, limits['choices'])))
        if limits['unit']:
            notes.append(limits['unit'])
        indent = '  ' * (len(groups) + 2)
        comment = f'{indent}# '
        lines += textwrap.wrap(
            '; '.join(notes), 99, initial_indent=comment, subsequent_indent=comment
        )
        lines.append(f'{indent}{leaf}: {yaml_value(value)}')
    return '\n'.join(lines) + '\n'


def parameter_table(config: NodeConfig | None = None) -> str:
    """Return the Markdown table of all parameters."""
    lines = [
        '| parameter | default | unit | changes while running | what it does |',
        '| --- | --- | --- | --- | --- |',
    ]
    for name, value, item in flatten(config or NodeConfig()):
        limits = item.metadata
        text = limits['help']
        if limits['choices']:
            text += ' (' + ', '.join(f'`{choice}`' for choice in limits['choices']) + ')'
        dynamic = 'yes' if limits['dynamic'] else 'no'
        lines.append(
            f'| `{name}` | `{yaml_value(value)}` | {limits["unit"]} | {dynamic} | {text} |'
        )
    return '\n'.join(lines) + '\n'


def _replaced(config: NodeConfig, name: str, value: Any) -> NodeConfig:
    if hasattr(value, 'tolist'):
        value = value.tolist()
    return replace_path(config, name, value)


def _ros_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _type_name(value: Any) -> str:
    names = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}
    return names.get(type(value), 'a list')


def yaml_value(value: Any) -> str:
    """Return a value on one line, as ROS reads it on a command line or in a file."""
    text = yaml.safe_dump(_ros_value(value), default_flow_style=True, width=10**6)
    return text.removesuffix('\n').removesuffix('\n...')


def write_generated_files(repository: Path) -> None:
    """
    Write what is generated from the dataclasses: default.yaml and the table in the docs.

    :param repository: root of the checkout.
    """
    (repository / 'config' / 'default.yaml').write_text(default_yaml(), encoding='utf-8')
    docs = repository / 'docs' / 'ros.md'
    before, _, rest = docs.read_text(encoding='utf-8').partition(TABLE_BEGIN)
    after = rest.partition(TABLE_END)[2]
    text = f'{before}{TABLE_BEGIN}\n{parameter_table()}{TABLE_END}{after}'
    docs.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    write_generated_files(Path(__file__).resolve().parents[2])
