# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Example: odometry of the camera as one input of robot_localization, ready for nav2.

The filter is the only one that broadcasts odom to base_link, so the node's own TF is off; nav2
takes TF and /odometry/filtered as from any other robot. Include this file or copy it.
"""

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import Action, LaunchContext, LaunchDescription
from mem3r_ros.ros.package_files import missing_package

PASSED = ('camera', 'image', 'camera_info', 'use_sim_time')


def nodes(context: LaunchContext) -> list[Action]:
    """Return the node without TF and the filter; without the filter, the reason and the end."""
    if reason := missing_package('robot_localization', 'robot_localization.launch.py'):
        return [LogInfo(msg=reason), Shutdown(reason=reason)]
    use_sim_time = LaunchConfiguration('use_sim_time').perform(context).lower() == 'true'
    return [
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare('mem3r_ros'), 'launch', 'mem3r.launch.py']),
            launch_arguments=[
                *((name, LaunchConfiguration(name)) for name in PASSED),
                ('namespace', 'mem3r'),
                ('publish_tf', 'false'),
            ],
        ),
        Node(
            package='robot_localization',
            executable='ekf_node',
            name='ekf_filter_node',
            parameters=[LaunchConfiguration('ekf_file'), {'use_sim_time': use_sim_time}],
            output='screen',
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Start the node without TF, and an EKF that fuses its velocities and yaw rate."""
    ekf_file = PathJoinSubstitution(
        [FindPackageShare('mem3r_ros'), 'config', 'robot_localization.yaml']
    )
    arguments = [
        ('camera', '', 'preset of config/cameras, or a YAML file'),
        ('image', '', 'RGB image topic, header in an optical frame; empty: that of camera'),
        ('camera_info', '', 'calibration of that image; empty: that of camera'),
        ('use_sim_time', 'false', 'take the time from /clock'),
        ('ekf_file', ekf_file, 'parameters of the filter; add wheel odometry and IMU there'),
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
