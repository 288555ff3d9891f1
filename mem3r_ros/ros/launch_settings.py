# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the launch files pass to a node: launch arguments before those of the camera's preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
import os
from typing import Any

from mem3r_ros.ros.camera_presets import CameraPreset, read_preset
from mem3r_ros.ros.package_files import share_file

# Launch arguments that are parameters of the same name; an empty one leaves the file's value.
OVERRIDES = ('model', 'image_transport', 'input_policy', 'mount', 'publish_tf', 'autostart')
# Both names: Fast DDS of Jazzy reads the first, that of Kilted the second.
_PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Topics and parameters of one node."""

    image: str
    camera_info: str
    parameters: dict[str, Any]
    expected_frame: str  # TF must connect it to base_link; '': unknown, or not needed

    @property
    def remappings(self) -> list[tuple[str, str]]:
        """Names of the node's input topics, and what they become."""
        return [
            ('image', self.image),
            ('image/compressed', f'{self.image}/compressed'),
            ('camera_info', self.camera_info),
        ]

    def ros_arguments(self, name: str, namespace: str, params_file: str) -> list[str]:
        """
        Return the settings as arguments of one node of ``mem3r_node``.

        :param name: of the node.
        :param namespace: of the node.
        :param params_file: YAML file with its parameters.
        """
        rules = [('__node', name), ('__ns', f'/{namespace.strip("/")}'), *self.remappings]
        arguments = ['--ros-args', '--params-file', params_file]
        for old, new in rules:
            arguments += ['-r', f'{old}:={new}']
        for parameter, value in self.parameters.items():
            arguments += ['-p', f'{parameter}:={json.dumps(value)}']
        return [*arguments, '--']


def node_settings(arguments: Mapping[str, str]) -> NodeSettings:
    """
    Return the settings of one node.

    :param arguments: values of launch arguments; an empty one takes the value of the preset
        ``camera``.
    :raises UserError: there is no such preset.
    """
    preset = read_preset(arguments.get('camera', ''))

    def value(name: str) -> str:
        return arguments.get(name, '') or str(getattr(preset, name, ''))

    parameters: dict[str, Any] = {'use_sim_time': value('use_sim_time').lower() == 'true'}
    for name in OVERRIDES:
        if text := value(name):
            parameters[name] = {'true': True, 'false': False}.get(text, text)
    return NodeSettings(
        value('image'), value('camera_info'), parameters, _expected_frame(preset, value('mount'))
    )


def _expected_frame(preset: CameraPreset, mount: str) -> str:
    return '' if mount == 'standalone' else preset.optical_frame


def middleware_variables() -> dict[str, str]:
    """
    Return the environment variables that let Fast DDS transport images.

    A profile that the user has set is kept.
    """
    profile = str(share_file('config/fastdds.xml'))
    return {name: os.environ.get(name) or profile for name in _PROFILE_VARIABLES}
