# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of a command: defaults, then a YAML or ROS parameter file, then the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mem3r_ros.config import ConfigType, from_dict, replace_path, section, settings, to_dict
from mem3r_ros.errors import UserError
from mem3r_ros.model.backend import BackendConfig, check_backend
from mem3r_ros.picture_config import PictureConfig
from mem3r_ros.text_files import parse_yaml, read_yaml
from mem3r_ros.tracker.config import TrackerConfig

NODE_NAME = 'mem3r'  # in launch and parameter files


@settings
class RunConfig(BackendConfig):
    """Settings of a run without ROS; the names are those of the node's parameters."""

    input: PictureConfig = section(PictureConfig)
    tracking: TrackerConfig = section(TrackerConfig)


def with_assignments(config: ConfigType, assignments: Iterable[str]) -> ConfigType:
    """
    Return the configuration with settings replaced.

    :param assignments: dotted name, equals sign and value in YAML.
    :raises UserError: a name is unknown or a value is refused.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition('=')
        if not equals:
            raise UserError(f'--set {assignment!r} has no value; write NAME=VALUE')
        config = replace_path(config, name, parse_yaml(text, f'--set {name}'))
    return config


def config_from(args: argparse.Namespace) -> RunConfig:
    """
    Return the settings: defaults, overridden by the file, overridden by the command line.

    :param args: parsed arguments of ``add_tracking_arguments``.
    :raises UserError: a name is unknown, a value is refused or not possible without ROS, or there
        is no such model.
    """
    config = from_dict(RunConfig, _read_settings(args.config)) if args.config else RunConfig()
    for name in ('model', 'device'):
        if getattr(args, name) is not None:
            config = replace_path(config, name, getattr(args, name))
    config = with_assignments(config, args.set)
    if config.tracking.scale.source == 'wheel':
        raise UserError(
            "tracking.scale.source is 'wheel', but only the node has wheel odometry; choose "
            'another source here, such as --set tracking.scale.source=model'
        )
    check_backend(config)
    return config


def _read_settings(path: str) -> dict[str, Any]:
    """Read a YAML file of settings, or the settings of the tracker in a ROS parameter file."""
    values = read_yaml(path)
    nodes = dict(_nodes(path, values))
    return _chosen(path, nodes) if nodes else _nested(values)


def _nodes(
    path: str, values: Mapping[str, Any], namespace: str = ''
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the known settings of each node of a ROS parameter file."""
    for name, inner in values.items():
        full_name = f'{namespace}/{name}'.replace('//', '/')
        if not isinstance(inner, Mapping):
            continue
        if 'ros__parameters' not in inner:
            yield from _nodes(path, inner, full_name)
            continue
        given = inner['ros__parameters']
        nested = _nested(given) if isinstance(given, Mapping) else {}
        if name in (NODE_NAME, '*', '**') or name.endswith(('/*', '/**', f'/{NODE_NAME}')):
            _check_parameters(path, full_name, nested)
        yield full_name, _settings_of_run(nested)


def _settings_of_run(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters of a node that are settings of a run, too."""
    known = to_dict(RunConfig())
    chosen = {name: value for name, value in parameters.items() if name in known}
    if isinstance(chosen.get('input'), Mapping):  # a run has a part of this group only
        chosen['input'] = {n: v for n, v in chosen['input'].items() if n in known['input']}
    return chosen


def _check_parameters(path: str, node: str, nested: Mapping[str, Any]) -> None:
    """Refuse names that neither a run nor the node has: misspelt, they would change nothing."""
    from mem3r_ros.ros.parameter_names import check_names, dotted

    check_names([name for name, _ in dotted(nested)], path, is_shared='*' in node)


def _chosen(path: str, nodes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the settings of ``/**`` overridden by those of our node."""
    for_all = [name for name in nodes if name.rpartition('/')[2] in ('*', '**')]
    named = [name for name in nodes if name.rpartition('/')[2] == NODE_NAME]
    others = [name for name in nodes if name not in for_all and nodes[name]]
    # A camera node may have a 'device' too; only our node has 'tracking'.
    ours = named or [name for name in others if 'tracking' in nodes[name]]
    if not ours and not any(nodes[name] for name in for_all):
        ours = others
    if len(ours) > 1:
        raise UserError(
            f'{path} holds settings of several nodes, {", ".join(ours)}; '
            f'keep one of them, or name it {NODE_NAME}'
        )
    if not ours and not any(nodes[name] for name in for_all):
        raise UserError(
            f'{path} holds no settings of a node {NODE_NAME}; its nodes are {", ".join(nodes)}'
        )
    chosen: dict[str, Any] = {}
    for name in (*for_all, *ours):
        chosen = _merged(chosen, nodes[name])
    return chosen


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert ``a.b: 1`` to ``a: {b: 1}``; ROS parameter files may have both forms."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        head, _, rest = str(name).partition('.')
        if rest or isinstance(value, Mapping):
            value = _nested({rest: value} if rest else value)
        nested = _merged(nested, {head: value})
    return nested


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the union of both; a value of the second overrides one of the first."""
    merged = dict(first)
    for name, value in second.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _merged(before, value)
        merged[name] = value
    return merged
