# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Start one mem3r node; the algorithm settings are in the parameter file."""

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterFile
from launch_ros.substitutions import FindPackageShare

from launch import Action, LaunchContext, LaunchDescription
from mem3r_ros.ros.launch_settings import OVERRIDES, middleware_variables, node_settings

SHARE = FindPackageShare('mem3r_ros')
SETTINGS = ('camera', 'image', 'camera_info', 'use_sim_time', *OVERRIDES)


def nodes(context: LaunchContext) -> list[Action]:
    """Return the node, and RViz if wanted; an argument that is given overrides the preset."""
    settings = node_settings(
        {name: LaunchConfiguration(name).perform(context) for name in SETTINGS}
    )
    node = LifecycleNode(
        package='mem3r_ros',
        executable='mem3r_node',
        name=LaunchConfiguration('name'),
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            ParameterFile(LaunchConfiguration('params_file'), allow_substs=True),
            settings.parameters,
        ],
        remappings=settings.remappings,
        output='screen',
    )
    actions: list[Action] = [
        SetEnvironmentVariable(*item) for item in middleware_variables().items()
    ]
    if settings.expected_frame:
        actions.append(LogInfo(msg=f'TF must connect base_link to {settings.expected_frame}'))
    actions.append(node)
    if LaunchConfiguration('rviz').perform(context).lower() == 'true':
        actions.append(rviz(settings.image, settings.parameters['use_sim_time']))
    return actions


def rviz(image: str, use_sim_time: bool) -> Node:
    """Return RViz with the topics of the node."""
    return Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=['-d', PathJoinSubstitution([SHARE, 'rviz', 'mem3r.rviz'])],
        parameters=[{'use_sim_time': use_sim_time}],
        remappings=[('image', image)],
    )


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, start the node and RViz."""
    arguments = [
        ('camera', '', 'preset of config/cameras (realsense, zed, oak, ...), or a YAML file'),
        ('image', '', 'RGB image topic, header in an optical frame; empty: that of camera'),
        ('camera_info', '', 'calibration of that image; may be missing; empty: that of camera'),
        ('namespace', '', 'namespace of the node and its topics'),
        ('name', 'mem3r', 'name of the node'),
        (
            'params_file',
            PathJoinSubstitution([SHARE, 'config', 'default.yaml']),
            'YAML file with the parameters of the node',
        ),
        ('use_sim_time', '', 'take the time from /clock; empty: as camera needs it'),
        ('rviz', 'false', 'also open RViz'),
        *((name, '', f'parameter {name}; empty: as in params_file') for name in OVERRIDES),
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
