# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Start one mem3r node; the algorithm settings are in the parameter file."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

SHARE = FindPackageShare('mem3r_ros')
# Both names: Fast DDS of Jazzy reads the first, that of Kilted the second.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# Launch arguments that are parameters of the same name; an empty one leaves the file's value.
OVERRIDES = ('model', 'image_transport', 'input_policy', 'mount', 'publish_tf', 'autostart')


def node(context: LaunchContext) -> list[Node]:
    """Return the node, with only those parameters overridden that were given."""
    overrides = {'use_sim_time': LaunchConfiguration('use_sim_time')}
    for name in OVERRIDES:
        if value := LaunchConfiguration(name).perform(context):
            overrides[name] = {'true': True, 'false': False}.get(value, value)
    return [
        Node(
            package='mem3r_ros',
            executable='mem3r_node',
            name=LaunchConfiguration('name'),
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                ParameterFile(LaunchConfiguration('params_file'), allow_substs=True),
                overrides,
            ],
            remappings=[
                ('image', LaunchConfiguration('image')),
                ('image/compressed', [LaunchConfiguration('image'), '/compressed']),
                ('camera_info', LaunchConfiguration('camera_info')),
            ],
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, configure the middleware for images, start the node and RViz."""
    profile = PathJoinSubstitution([SHARE, 'config', 'fastdds.xml'])
    arguments = [
        ('image', '/camera/image_raw', 'RGB image topic, header in an optical frame'),
        ('camera_info', '/camera/camera_info', 'calibration of that image; may be missing'),
        ('namespace', '', 'namespace of the node and its topics'),
        ('name', 'mem3r', 'name of the node'),
        (
            'params_file',
            PathJoinSubstitution([SHARE, 'config', 'default.yaml']),
            'YAML file with the parameters of the node',
        ),
        ('use_sim_time', 'false', 'take the time from /clock'),
        ('rviz', 'false', 'also open RViz'),
        *((name, '', f'parameter {name}; empty: as in params_file') for name in OVERRIDES),
    ]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in arguments
            ),
            # A profile that the user has set is kept.
            *(
                SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile))
                for name in PROFILE_VARIABLES
            ),
            OpaqueFunction(function=node),
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=LaunchConfiguration('namespace'),
                arguments=['-d', PathJoinSubstitution([SHARE, 'rviz', 'mem3r.rviz'])],
                parameters=[{'use_sim_time': LaunchConfiguration('use_sim_time')}],
                remappings=[('image', LaunchConfiguration('image'))],
                condition=IfCondition(LaunchConfiguration('rviz')),
            ),
        ]
    )
