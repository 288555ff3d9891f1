# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Start one mem3r node; the algorithm settings are in the parameter file."""

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterFile
from launch_ros.substitutions import FindPackageShare

from launch import Action, LaunchContext, LaunchDescription
from mem3r_ros.ros.camera_presets import CameraPreset, read_preset

SHARE = FindPackageShare('mem3r_ros')
# Both names: Fast DDS of Jazzy reads the first, that of Kilted the second.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# Launch arguments that are parameters of the same name; an empty one leaves the file's value.
OVERRIDES = ('model', 'image_transport', 'input_policy', 'mount', 'publish_tf', 'autostart')


def nodes(context: LaunchContext) -> list[Action]:
    """Return the node, and RViz if wanted; an argument that is given overrides the preset."""
    preset = read_preset(LaunchConfiguration('camera').perform(context))

    def value(name: str) -> str:
        given = LaunchConfiguration(name).perform(context)
        return given or str(getattr(preset, name, ''))

    use_sim_time = value('use_sim_time').lower() == 'true'
    overrides = {'use_sim_time': use_sim_time}
    for name in OVERRIDES:
        if text := value(name):
            overrides[name] = {'true': True, 'false': False}.get(text, text)
    image = value('image')
    node = LifecycleNode(
        package='mem3r_ros',
        executable='mem3r_node',
        name=LaunchConfiguration('name'),
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            ParameterFile(LaunchConfiguration('params_file'), allow_substs=True),
            overrides,
        ],
        remappings=[
            ('image', image),
            ('image/compressed', f'{image}/compressed'),
            ('camera_info', value('camera_info')),
        ],
        output='screen',
    )
    actions: list[Action] = [*expectation(preset), node]
    if LaunchConfiguration('rviz').perform(context).lower() == 'true':
        actions.append(rviz(image, use_sim_time))
    return actions


def expectation(preset: CameraPreset) -> list[LogInfo]:
    """Return the line that names the frame that TF must connect to base_link."""
    if not preset.optical_frame or preset.mount == 'standalone':
        return []
    return [LogInfo(msg=f'TF must connect base_link to {preset.optical_frame}')]


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
    """Declare the arguments, configure the middleware for images, start the node and RViz."""
    profile = PathJoinSubstitution([SHARE, 'config', 'fastdds.xml'])
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
            # A profile that the user has set is kept.
            *(
                SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile))
                for name in PROFILE_VARIABLES
            ),
            OpaqueFunction(function=nodes),
        ]
    )
