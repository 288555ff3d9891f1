# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Several cameras, each with a node in its own namespace; one of them may broadcast TF.

The nodes run in one process. Those with the same model share one network, which computes images
that come at the same time together. ``shared_network:=false`` gives each node a process.
"""

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile
from launch_ros.substitutions import FindPackageShare

from launch import Action, LaunchContext, LaunchDescription
from mem3r_ros.ros.camera_presets import one_for_each
from mem3r_ros.ros.launch_settings import middleware_variables, node_settings
from mem3r_ros.ros.node import NEXT_NODE

# Launch arguments with one value for all cameras, or one for each, separated by blanks.
EACH = {
    'camera': 'preset of config/cameras, or a YAML file',
    'image': 'image topic; empty: /NAME/image_raw, or that of the preset',
    'camera_info': 'calibration topic; empty: /NAME/camera_info, or that of the preset',
    'model': 'preset or file of the network; empty: as in params_file',
    'params_file': 'YAML file with the parameters of the node; empty: the defaults',
    'image_transport': 'raw or compressed; empty: as in params_file',
    'mount': 'tf or standalone; empty: as in params_file',
    'input_policy': 'latest or all; empty: as in params_file',
}
SHARE = FindPackageShare('mem3r_ros')


def each_camera(context: LaunchContext) -> dict[str, dict[str, str]]:
    """Return the launch arguments of each camera by its name; only the first broadcasts TF."""
    names = LaunchConfiguration('cameras').perform(context).split()
    default = PathJoinSubstitution([SHARE, 'config', 'default.yaml']).perform(context)
    each = {
        argument: one_for_each(argument, LaunchConfiguration(argument).perform(context), names)
        for argument in EACH
    }
    cameras = {}
    for index, name in enumerate(names):
        values = {argument: chosen[index] for argument, chosen in each.items()}
        if not values['camera']:
            values['image'] = values['image'] or f'/{name}/image_raw'
            values['camera_info'] = values['camera_info'] or f'/{name}/camera_info'
        values['params_file'] = values['params_file'] or default
        values['publish_tf'] = 'true' if index == 0 else 'false'
        values['use_sim_time'] = LaunchConfiguration('use_sim_time').perform(context)
        cameras[name] = values
    return cameras


def nodes(context: LaunchContext) -> list[Action]:
    """Return one process with all nodes, or a process for each."""
    cameras = each_camera(context)
    if LaunchConfiguration('shared_network').perform(context).lower() == 'true':
        return one_process(context, cameras)
    launch_file = PathJoinSubstitution([SHARE, 'launch', 'mem3r.launch.py'])
    return [
        IncludeLaunchDescription(
            launch_file, launch_arguments=(values | {'namespace': name}).items()
        )
        for name, values in cameras.items()
    ]


def one_process(context: LaunchContext, cameras: dict[str, dict[str, str]]) -> list[Action]:
    """Return the process with a node for each camera."""
    actions: list[Action] = [
        SetEnvironmentVariable(*item) for item in middleware_variables().items()
    ]
    arguments: list[str] = []
    files: list[ParameterFile] = []
    for name, values in cameras.items():
        settings = node_settings(values)
        if settings.expected_frame:
            text = f'TF must connect base_link to {settings.expected_frame} ({name})'
            actions.append(LogInfo(msg=text))
        files.append(ParameterFile(values['params_file'], allow_substs=True))
        arguments += [NEXT_NODE] if arguments else []
        arguments += settings.ros_arguments('mem3r', name, str(files[-1].evaluate(context)))
    context.extend_globals({'mem3r_parameter_files': files})  # without its object a file is gone
    node = Node(package='mem3r_ros', executable='mem3r_node', arguments=arguments, output='screen')
    return [*actions, node]


def generate_launch_description() -> LaunchDescription:
    """Start a node for each name in ``cameras``."""
    arguments = [
        ('cameras', 'front rear', 'namespaces of the cameras, separated by blanks'),
        (
            'shared_network',
            'true',
            'one process and one network; false: a process for each camera',
        ),
        ('use_sim_time', '', 'take the time from /clock; empty: as the preset needs it'),
        *((name, '', f'{text}; one for all, or one for each') for name, text in EACH.items()),
    ]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in arguments
            ),
            OpaqueFunction(function=nodes),
        ]
    )
