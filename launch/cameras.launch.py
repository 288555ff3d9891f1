# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several cameras, each with a node in its own namespace; one of them may broadcast TF."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription
from mem3r_ros.ros.camera_presets import one_for_each

# Launch arguments with one value for all cameras, or one for each, separated by blanks.
EACH = {
    'camera': 'preset of config/cameras, or a YAML file',
    'image': 'image topic; empty: /NAME/image_raw, or that of the preset',
    'camera_info': 'calibration topic; empty: /NAME/camera_info, or that of the preset',
    'model': 'preset or file of the network; empty: as in params_file',
    'params_file': 'YAML file with the parameters of the node; empty: the defaults',
    'image_transport': 'raw or compressed; empty: as in params_file',
    'mount': 'tf or standalone; empty: as in params_file',
}


def nodes(context: LaunchContext) -> list[IncludeLaunchDescription]:
    """Return one node for each camera; only the first one broadcasts TF."""
    names = LaunchConfiguration('cameras').perform(context).split()
    launch_file = PathJoinSubstitution(
        [FindPackageShare('mem3r_ros'), 'launch', 'mem3r.launch.py']
    )
    each = {
        argument: one_for_each(argument, LaunchConfiguration(argument).perform(context), names)
        for argument in EACH
    }
    included = []
    for index, name in enumerate(names):
        values = {argument: chosen[index] for argument, chosen in each.items()}
        if not values['camera']:
            values['image'] = values['image'] or f'/{name}/image_raw'
            values['camera_info'] = values['camera_info'] or f'/{name}/camera_info'
        if not values['params_file']:
            values['params_file'] = PathJoinSubstitution(
                [FindPackageShare('mem3r_ros'), 'config', 'default.yaml']
            )
        values |= {
            'namespace': name,
            'publish_tf': 'true' if index == 0 else 'false',
            'use_sim_time': LaunchConfiguration('use_sim_time'),
        }
        included.append(IncludeLaunchDescription(launch_file, launch_arguments=values.items()))
    return included


def generate_launch_description() -> LaunchDescription:
    """Start a node for each name in ``cameras``."""
    arguments = [
        ('cameras', 'front rear', 'namespaces of the cameras, separated by blanks'),
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
