# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Parameters that a node gets from a file, by the rules of rcl, and names that it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import difflib
from itertools import pairwise
from pathlib import Path
import re
from typing import Any

from mem3r_ros.config import flatten
from mem3r_ros.errors import UserError
from mem3r_ros.names import nearest_name
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.text_files import read_yaml

_OF_ROS = re.compile(r'use_sim_time|qos_overrides\..*|start_type_description_service')
_MISSPELT = 0.8  # likeness of an unknown name to a known one from which on it is a slip


def parameters_of_file(path: Path, node_name: str) -> dict[str, Any]:
    """
    Return what a ROS parameter file sets for a node of the root namespace.

    :param path: YAML file.
    :param node_name: name of the node, without its namespace.
    :return: dotted names and values.
    :raises UserError: the file cannot be read, or names a parameter that the node does not have.
    """
    chosen: dict[str, Any] = {}
    for pattern, parameters in _nodes(read_yaml(path)):
        if not _matches(pattern, f'/{node_name}'):
            continue
        given = dict(dotted(parameters))
        check_names(given, str(path), is_shared='*' in pattern)
        chosen |= given
    return chosen


def check_arguments(arguments: Sequence[str], full_name: str) -> list[str]:
    """
    Check the names of parameters on a command line, and in its parameter files.

    :param arguments: of the process, with --ros-args.
    :param full_name: of the node, with its namespace.
    :return: names that nobody here knows, but that other nodes may read.
    :raises UserError: the node does not have a parameter.
    """
    unknown: list[str] = []
    for option, value in _ros_arguments(arguments):
        if option in ('-p', '--param'):
            node, _, name = value.partition(':=')[0].rpartition(':')
            if not node or node == full_name.rpartition('/')[2]:
                check_names([name], option)
        elif option == '--params-file':
            for pattern, parameters in _nodes(read_yaml(Path(value))):
                if _matches(pattern, full_name):
                    names = [name for name, _ in dotted(parameters)]
                    unknown += check_names(names, value, is_shared='*' in pattern)
    return unknown


def _ros_arguments(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each option between --ros-args and --, with the argument after it."""
    is_inside = False
    for option, value in pairwise([*arguments, '']):
        if option in ('--ros-args', '--'):
            is_inside = option == '--ros-args'
        elif is_inside:
            yield option, value


def check_names(names: Iterable[str], source: str, *, is_shared: bool = False) -> list[str]:
    """
    Refuse parameters that the node does not have; a misspelt one would change nothing, silently.

    :param names: dotted names.
    :param source: where they are from, for the message.
    :param is_shared: whether other nodes read them too; only slips are refused then.
    :return: names that nobody here knows.
    :raises UserError: there is one that is refused.
    """
    known = [name for name, _, _ in flatten(NodeConfig())]
    unknown = [n for n in names if n not in known and not _OF_ROS.fullmatch(n)]
    for name in unknown:
        if not is_shared or difflib.get_close_matches(name, known, 1, _MISSPELT):
            raise UserError(f'{source}: unknown parameter {name!r}{nearest_name(name, known)}')
    return unknown


def _nodes(values: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the full name or pattern of each node of a file, with its parameters."""
    for name, inner in values.items():
        full_name = f'{prefix}/{name}'
        if not isinstance(inner, Mapping):
            continue
        parameters = inner.get('ros__parameters')
        if isinstance(parameters, Mapping):
            yield re.sub('/+', '/', full_name), parameters
        else:
            yield from _nodes(inner, full_name)


def _matches(pattern: str, full_name: str) -> bool:
    """Return whether a name of a file means a node: * is one part of a name, ** any number."""
    escaped = re.escape(pattern).replace(r'/\*\*', '(/[^/]+)*').replace(r'\*', '[^/]+')
    return re.fullmatch(escaped, full_name) is not None


def dotted(values: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values of groups of settings with their dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value
