# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Start the driver of a USB camera and the node; no robot and no calibration are needed."""

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
from mem3r_ros.ros.camera_presets import read_preset
from mem3r_ros.ros.package_files import missing_package

PASSED = ('model', 'params_file', 'mount', 'rviz')


def nodes(context: LaunchContext) -> list[Action]:
    """Return the driver and the node, or the reason why the driver cannot start."""
    name = LaunchConfiguration('driver').perform(context)
    driver = read_preset(name).driver
    if driver is None:
        reason = f'the preset {name} has no driver to start; use mem3r.launch.py camera:={name}'
        return [LogInfo(msg=reason), Shutdown(reason=reason)]
    if reason := missing_package(driver.package, 'usb_camera.launch.py'):
        return [LogInfo(msg=reason), Shutdown(reason=reason)]
    return [
        Node(
            package=driver.package,
            executable=driver.executable,
            namespace=driver.namespace,
            name='camera_driver',
            parameters=[
                driver.parameters,
                {'video_device': LaunchConfiguration('video_device')},
            ],
            output='screen',
        ),
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare('mem3r_ros'), 'launch', 'mem3r.launch.py']),
            launch_arguments=[
                ('camera', name),
                *((argument, LaunchConfiguration(argument)) for argument in PASSED),
            ],
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start both."""
    default = PathJoinSubstitution([FindPackageShare('mem3r_ros'), 'config', 'default.yaml'])
    arguments = [
        ('driver', 'v4l2_camera', 'v4l2_camera, usb_cam, or a YAML file of the same form'),
        ('video_device', '/dev/video0', 'device file of the camera'),
        ('model', '', 'preset or file; empty: as in params_file'),
        ('params_file', default, 'YAML file with the parameters of the node'),
        ('mount', '', 'tf or standalone; empty: standalone, a camera without a robot'),
        ('rviz', 'true', 'open RViz'),
    ]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=value, description=description)
                for name, value, description in arguments
            ),
            OpaqueFunction(function=nodes),
        ]
    )
