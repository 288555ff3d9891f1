# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy of the node: least rights for its topics and services."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

# Every node has these: logs, time and the services of parameters.
_PUBLISHED = ('/rosout', '/parameter_events', '/diagnostics', '/tf', '/tf_static')
_SUBSCRIBED = ('/clock', '/parameter_events', '/tf', '/tf_static')
TOPICS_IN = (
    'image',
    'image/compressed',
    'camera_info',
    'mask',
    'wheel_odom',
    'pose_hint',
    'set_pose',
)
TOPICS_OUT = (
    'odom',
    'pose',
    'path',
    'depth/image',
    'depth/camera_info',
    'depth/colored',
    'confidence/image',
    'rgb/image',
    'rgb/camera_info',
    'scan',
    'points',
    'map/points',
    'map/pose',
    'map/path',
    'status',
    '~/transition_event',
)
SERVICES = (
    'reset',
    'pause',
    'resume',
    'set_pose',
    'set_distance',
    'save_state',
    'load_state',
    'save_trajectory',
    'save_map',
)
_LIFECYCLE = (
    'change_state',
    'get_state',
    'get_available_states',
    'get_available_transitions',
    'get_transition_graph',
)
_PARAMETERS = (
    'describe_parameters',
    'get_parameter_types',
    'get_parameters',
    'get_type_description',
    'list_parameters',
    'set_parameters',
    'set_parameters_atomically',
)


def policy_xml(node: str = 'mem3r') -> str:
    """
    Return the policy (version 0.2.0 of SROS 2's schema) with one enclave.

    :param node: name of the node, in the root namespace.
    """
    root = ElementTree.Element('policy', version='0.2.0')
    enclaves = ElementTree.SubElement(root, 'enclaves')
    enclave = ElementTree.SubElement(enclaves, 'enclave', path=f'/{node}')
    profiles = ElementTree.SubElement(enclave, 'profiles')
    profile = ElementTree.SubElement(profiles, 'profile', ns='/', node=node)
    _allow(profile, 'topics', 'publish', 'topic', (*_PUBLISHED, *TOPICS_OUT))
    _allow(profile, 'topics', 'subscribe', 'topic', (*_SUBSCRIBED, *TOPICS_IN))
    replied = (*SERVICES, *_LIFECYCLE, *_PARAMETERS)
    _allow(profile, 'services', 'reply', 'service', tuple(f'~/{name}' for name in replied))
    ElementTree.indent(root, '  ')
    return ElementTree.tostring(root, encoding='unicode') + '\n'


def _allow(
    profile: ElementTree.Element, group: str, action: str, kind: str, names: tuple[str, ...]
) -> None:
    element = ElementTree.SubElement(profile, group, {action: 'ALLOW'})
    for name in names:
        ElementTree.SubElement(element, kind).text = name


def write_policy(repository: Path) -> None:
    """Write ``config/sros2_policy.xml``."""
    path = repository / 'config' / 'sros2_policy.xml'
    path.write_text('<?xml version="1.0" encoding="UTF-8"?>\n' + policy_xml(), encoding='utf-8')


if __name__ == '__main__':
    write_policy(Path(__file__).resolve().parents[2])
