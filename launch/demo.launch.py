# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Play the shipped recording to the node and show it in RViz (make demo runs without RViz)."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription
from mem3r_ros.cli.demo import sample_bag
from mem3r_ros.ros.replay.bag_player import find_topics


def generate_launch_description() -> LaunchDescription:
    """Include replay.launch.py with the sample and its topics."""
    bag = sample_bag()
    topics = find_topics(bag, None, 'base_link')
    settings = {
        'bag': str(bag),
        'image': topics.image.removesuffix('/compressed'),
        'camera_info': topics.info or '/camera/camera_info',
        'image_transport': 'compressed' if topics.is_compressed else 'raw',
        'mount': 'tf' if topics.has_mount else 'standalone',
        'model': LaunchConfiguration('model'),
        'rviz': LaunchConfiguration('rviz'),
    }
    replay = PathJoinSubstitution([FindPackageShare('mem3r_ros'), 'launch', 'replay.launch.py'])
    return LaunchDescription(
        [
            DeclareLaunchArgument('model', default_value='', description='preset or file'),
            DeclareLaunchArgument('rviz', default_value='true', description='open RViz'),
            IncludeLaunchDescription(replay, launch_arguments=settings.items()),
        ]
    )
