# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several cameras, each with a node in its own namespace; one of them may broadcast TF."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription


def nodes(context: LaunchContext) -> list[IncludeLaunchDescription]:
    """Return one node for each camera; only the first one broadcasts TF."""
    cameras = LaunchConfiguration('cameras').perform(context).split()
    launch_file = PathJoinSubstitution(
        [FindPackageShare('mem3r_ros'), 'launch', 'mem3r.launch.py']
    )
    return [
        IncludeLaunchDescription(
            launch_file,
            launch_arguments={
                'namespace': camera,
                'image': f'/{camera}/image_raw',
                'camera_info': f'/{camera}/camera_info',
                'publish_tf': 'true' if index == 0 else 'false',
                'use_sim_time': LaunchConfiguration('use_sim_time'),
            }.items(),
        )
        for index, camera in enumerate(cameras)
    ]


def generate_launch_description() -> LaunchDescription:
    """Start a node for each name in ``cameras``."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'cameras',
                default_value='front rear',
                description='namespaces of the cameras, separated by blanks',
            ),
            DeclareLaunchArgument(
                'use_sim_time', default_value='false', description='take the time from /clock'
            ),
            OpaqueFunction(function=nodes),
        ]
    )
