# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Example: odometry of the camera as one input of robot_localization, ready for nav2.

The filter is the only one that broadcasts odom to base_link, so the node's own TF is off; nav2
takes TF and /odometry/filtered as from any other robot. Include this file or copy it.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Start the node without TF, and an EKF that fuses its velocities and yaw rate."""
    share = FindPackageShare('mem3r_ros')
    arguments = [
        ('image', '/camera/image_raw', 'RGB image topic, header in an optical frame'),
        ('camera_info', '/camera/camera_info', 'calibration of that image'),
        ('use_sim_time', 'false', 'take the time from /clock'),
        (
            'ekf_file',
            PathJoinSubstitution([share, 'config', 'robot_localization.yaml']),
            'parameters of the filter; add wheel odometry and IMU there',
        ),
    ]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in arguments
            ),
            IncludeLaunchDescription(
                PathJoinSubstitution([share, 'launch', 'mem3r.launch.py']),
                launch_arguments={
                    'image': LaunchConfiguration('image'),
                    'camera_info': LaunchConfiguration('camera_info'),
                    'use_sim_time': LaunchConfiguration('use_sim_time'),
                    'namespace': 'mem3r',
                    'publish_tf': 'false',
                }.items(),
            ),
            Node(
                package='robot_localization',
                executable='ekf_node',
                name='ekf_filter_node',
                parameters=[
                    LaunchConfiguration('ekf_file'),
                    {'use_sim_time': LaunchConfiguration('use_sim_time')},
                ],
                output='screen',
            ),
        ]
    )
