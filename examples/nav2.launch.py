# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The node as odometry and obstacle source of nav2; copy it and set the topics of your camera.

    ros2 launch examples/nav2.launch.py params_file:=my_nav2_params.yaml

The parameters of nav2 need odom_topic /odom and a voxel layer on /points (docs/ros.md, Recipes).
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Start the node with TF from odom to base_link, and the bring-up of nav2."""
    arguments = [
        ('image', '/camera/image_raw', 'RGB image topic, header in an optical frame'),
        ('camera_info', '/camera/camera_info', 'calibration of that image'),
        ('params_file', '', 'parameter file of nav2'),
    ]
    node = IncludeLaunchDescription(
        PathJoinSubstitution([FindPackageShare('mem3r_ros'), 'launch', 'mem3r.launch.py']),
        launch_arguments={
            'image': LaunchConfiguration('image'),
            'camera_info': LaunchConfiguration('camera_info'),
        }.items(),
    )
    navigation = IncludeLaunchDescription(
        PathJoinSubstitution([FindPackageShare('nav2_bringup'), 'launch', 'navigation_launch.py']),
        launch_arguments={'params_file': LaunchConfiguration('params_file')}.items(),
    )
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in arguments
            ),
            node,
            navigation,
        ]
    )
