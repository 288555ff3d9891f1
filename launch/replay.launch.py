# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Play a rosbag2 to the node and show it in RViz (mem3r replay runs without RViz)."""

import sys

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Start the node with the time of the bag, and the bag when the node is active."""
    share = FindPackageShare('mem3r_ros')
    arguments = [
        ('image', '/camera/image_raw', 'image topic in the bag'),
        ('camera_info', '/camera/camera_info', 'calibration topic in the bag'),
        ('image_transport', 'raw', 'raw or compressed (then image/compressed is read)'),
        ('model', '', 'preset or file; empty: as in params_file'),
        (
            'params_file',
            PathJoinSubstitution([share, 'config', 'default.yaml']),
            'YAML file with the parameters of the node',
        ),
        ('mount', 'standalone', 'tf if the TF of the bag connects base_link to the optical frame'),
        ('rate', '1.0', 'speed of the bag; 1 is real time'),
        ('rviz', 'true', 'open RViz'),
    ]
    passed = ('image', 'camera_info', 'image_transport', 'model', 'params_file', 'mount', 'rviz')
    node = IncludeLaunchDescription(
        PathJoinSubstitution([share, 'launch', 'mem3r.launch.py']),
        launch_arguments=[
            *((name, LaunchConfiguration(name)) for name in passed),
            ('use_sim_time', 'true'),
            ('input_policy', 'all'),
        ],
    )
    active = ExecuteProcess(
        cmd=[sys.executable, '-m', 'mem3r_ros.ros.replay.wait_active', '/mem3r'], output='screen'
    )
    bag = ExecuteProcess(
        cmd=[
            'ros2', 'bag', 'play', LaunchConfiguration('bag'),
            '--clock', '--rate', LaunchConfiguration('rate'),
            # Messages that are published before the node knows the new publishers would be lost.
            '--delay', '1.0',
        ],
        output='screen',
    )  # fmt: skip
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='rosbag2 folder or file'),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in arguments
            ),
            # An active node has subscribed: it misses no image.
            RegisterEventHandler(OnProcessExit(target_action=active, on_exit=[bag])),
            node,
            active,
        ]
    )
