# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Parameters of the node: names, help, limits and defaults, each written once.

The ROS parameters, ``config/default.yaml`` and the table in the documentation are generated.
"""

from __future__ import annotations

from mem3r_ros.config import section, setting, settings
from mem3r_ros.errors import UserError
from mem3r_ros.model.backend import BackendConfig
from mem3r_ros.picture_config import PictureConfig
from mem3r_ros.plausible import MAX_POSITION_M, number
from mem3r_ros.ros.qos import QOS_NAMES
from mem3r_ros.tracker import TrackerConfig


@settings
class InputSettings(PictureConfig):
    """Input of images and of the topics beside them."""

    queue_size: int = setting(
        4,
        'maximum number of images that wait under input_policy all',
        low=1,
        high=1000,
        unit='frames',
    )
    max_rate: float = setting(
        0.0, 'images above this rate are dropped; 0: no limit', low=0.0, unit='Hz', dynamic=True
    )
    camera_frame: str = setting('', 'optical frame of the camera; empty: frame_id of the image')
    camera_info_wait: float = setting(
        0.5,
        'how long the first image waits for camera_info, if that topic has a publisher',
        low=0.0,
        high=60.0,
        unit='s',
    )
    mask_max_age: float = setting(
        0.5,
        'largest difference between the stamps of mask and image; an older mask is not used',
        low=0.0,
        unit='s',
        dynamic=True,
    )
    mask_file: str = setting(
        '',
        'image file of the camera size; its nonzero pixels are ignored in every image, for '
        'example the body of the robot',
    )
    mask_border: tuple = setting(
        (0, 0, 0, 0),
        'pixels that are ignored at the left, top, right and bottom of every image',
        low=0,
        unit='px',
    )
    time_jump: float = setting(
        1.0,
        'stamps or a clock that go back by more start a new session; smaller steps back make the '
        'image late; a stamp further ahead is accepted when the next image confirms it',
        low=0.0,
        high=86_400.0,
        unit='s',
    )


@settings
class DepthSettings:
    """Values of depth/image."""

    invalid_value: str = setting(
        'rep117',
        'value of pixels without depth: rep117 (NaN, and +inf beyond the range) or zero',
        choices=('rep117', 'zero'),
        dynamic=True,
    )


@settings
class ScanSettings:
    """Topic scan: the depth image as a planar laser scan."""

    rows: int = setting(
        10,
        'height of the band of depth rows around the optical axis that becomes the scan',
        low=1,
        high=10000,
        unit='px',
        dynamic=True,
    )
    range_min: float = setting(
        0.1, 'nearer depth is ignored', low=0.0, high=1000.0, unit='m', dynamic=True
    )
    range_max: float = setting(
        10.0,
        'a direction with only farther depth is +inf',
        low=0.1,
        high=1e6,
        unit='m',
        dynamic=True,
    )
    frame: str = setting(
        '',
        'existing frame at the camera with x forward and z up; empty: the node broadcasts the '
        'frame of the image with _scan appended',
    )


@settings
class PathSettings:
    """Topic path, and the trajectory that ~/save_trajectory writes."""

    rate: float = setting(
        2.0, 'rate of path; 0: with every image', low=0.0, unit='Hz', dynamic=True
    )
    max_poses: int = setting(
        1000, 'maximum poses in path; when full, every other pose is dropped', low=2, high=100000
    )
    trajectory_max_poses: int = setting(
        100000,
        'maximum poses for ~/save_trajectory; when full, every other pose is dropped',
        low=2,
    )


@settings
class MapSettings:
    """The accumulated point cloud."""

    accumulate: str = setting(
        'subscribed',
        'when the map grows: subscribed (map/points has a subscriber), always, never',
        choices=('subscribed', 'always', 'never'),
        dynamic=True,
    )
    voxel_size: float = setting(0.05, 'edge length of a voxel', low=0.001, high=10.0, unit='m')
    max_points: int = setting(500000, 'maximum number of voxels', low=1)
    rate: float = setting(
        0.5,
        'rate of map/points; 0: with every image',
        low=0.0,
        unit='Hz',
        dynamic=True,
    )
    transform_tolerance: float = setting(
        1.0,
        'the stamp of the transform from map to odom is this far ahead of the image, as it holds '
        'until the next one',
        low=0.0,
        high=10.0,
        unit='s',
        dynamic=True,
    )


@settings
class DiagnosticSettings:
    """Topic /diagnostics."""

    rate: float = setting(1.0, 'rate of /diagnostics', low=0.01, high=100.0, unit='Hz')
    silence: float = setting(
        3.0,
        'time without an image after which the node reports the reason',
        low=0.1,
        unit='s',
        dynamic=True,
    )


@settings
class NodeConfig(BackendConfig):
    """All parameters of the node; the dotted names are those of ROS."""

    warm_up_size: tuple = setting(
        (640, 480),
        'width and height of the image that configure runs once; (0, 0): none',
        low=0,
        unit='px',
    )
    autostart: bool = setting(
        True, 'configure and activate at the start; false if a lifecycle manager does it'
    )
    image_transport: str = setting(
        'raw',
        'raw: subscribe to image; compressed: subscribe to image/compressed',
        choices=('raw', 'compressed'),
    )
    input_policy: str = setting(
        'latest',
        'latest: track the newest image and drop the others (robot); all: track every image, and '
        'make the sender wait (recording)',
        choices=('latest', 'all'),
    )
    mount: str = setting(
        'tf',
        'tf: the camera mount comes from TF; standalone: a camera without a robot, the node '
        'broadcasts the transform from base to optical frame',
        choices=('tf', 'standalone'),
    )
    odom_frame: str = setting('odom', 'parent frame of the odometry')
    base_frame: str = setting('base_link', 'child frame of the odometry')
    map_frame: str = setting(
        'map', 'parent frame of odom_frame, in which recognised places correct the drift'
    )
    outside_frame: str = setting(
        '',
        'fixed frame of another odometry on TF, such as that of the wheels: its poses of the '
        'camera replace the motion that images give; empty: none',
    )
    publish_tf: bool = setting(
        True,
        'broadcast odom to base, and map to odom with tracking.places.enabled; false if a filter '
        'such as robot_localization does it',
        dynamic=True,
    )
    initial_base_pose: tuple = setting(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        'pose of the base in odom at the first image, and of ~/set_pose: x y z in m, roll pitch '
        'yaw in rad',
        dynamic=True,
    )
    two_d_mode: bool = setting(
        False, 'keep x, y and yaw of the base; z, roll and pitch are zero', dynamic=True
    )
    transform_time_offset: float = setting(
        0.0,
        'added to the stamp of the broadcast TF, never to topics',
        low=-10.0,
        high=10.0,
        unit='s',
        dynamic=True,
    )
    wait_for_transform: float = setting(
        0.1,
        'how long an image waits for TF at its stamp; for an unknown transform only once',
        low=0.0,
        high=10.0,
        unit='s',
        dynamic=True,
    )
    when_lost: str = setting(
        'publish',
        'odometry while tracking is lost: publish it with growing covariance, or stop',
        choices=('publish', 'stop'),
        dynamic=True,
    )
    publish_odom: bool = setting(
        True, 'publish odom, pose, path, map/pose and map/path', dynamic=True
    )
    publish_depth: bool = setting(
        True,
        'publish depth/image, depth/colored, depth/camera_info, confidence/image, scan, '
        'rgb/image, '
        'rgb/camera_info',
        dynamic=True,
    )
    publish_points: bool = setting(
        True,
        'publish points and map/points; with map.accumulate always the map is still filled',
        dynamic=True,
    )
    image_qos: str = setting(
        'AUTO',
        'of image; AUTO: SENSOR_DATA under input_policy latest, KEEP_ALL under all',
        choices=QOS_NAMES,
    )
    camera_info_qos: str = setting('AUTO', 'of camera_info; AUTO: as image_qos', choices=QOS_NAMES)
    odom_qos: str = setting('AUTO', 'of odom, pose, path; AUTO: DEFAULT', choices=QOS_NAMES)
    depth_qos: str = setting(
        'AUTO', 'of depth, confidence, scan and rgb; AUTO: DEFAULT', choices=QOS_NAMES
    )
    points_qos: str = setting('AUTO', 'of points; AUTO: DEFAULT', choices=QOS_NAMES)
    map_qos: str = setting('AUTO', 'of map/points; AUTO: LATCHED', choices=QOS_NAMES)
    output_directory: str = setting(
        '',
        'directory of the files that ~/save_... write; empty: mem3r under ROS_HOME (~/.ros)',
    )
    input: InputSettings = section(InputSettings)
    depth: DepthSettings = section(DepthSettings)
    scan: ScanSettings = section(ScanSettings)
    path: PathSettings = section(PathSettings)
    map: MapSettings = section(MapSettings)
    diagnostics: DiagnosticSettings = section(DiagnosticSettings)
    tracking: TrackerConfig = section(TrackerConfig)

    def check(self) -> None:
        """Check the limits and the relations between values."""
        if len(self.initial_base_pose) != 6:
            raise UserError(
                f'initial_base_pose has {len(self.initial_base_pose)} numbers; it takes six: '
                'x y z roll pitch yaw'
            )
        for index, value in enumerate(self.initial_base_pose):
            number(value, f'initial_base_pose[{index}]', -MAX_POSITION_M, MAX_POSITION_M)
        if self.outside_frame and self.mount == 'standalone':
            raise UserError(
                f'outside_frame is {self.outside_frame!r}, and mount is standalone, which reads '
                'no TF: set mount to tf'
            )
        if self.outside_frame == self.odom_frame and self.publish_tf:
            raise UserError(
                f'outside_frame is {self.outside_frame!r}, which the node broadcasts itself: set '
                'publish_tf to false, or odom_frame to another frame'
            )
        if len(self.input.mask_border) != 4:
            raise UserError(
                f'input.mask_border has {len(self.input.mask_border)} numbers; it takes four: '
                'left top right bottom'
            )
        if self.scan.range_min >= self.scan.range_max:
            raise UserError(
                f'scan.range_min is {self.scan.range_min} m; it must be smaller than '
                f'scan.range_max, {self.scan.range_max} m'
            )
        if len(self.warm_up_size) != 2:
            raise UserError(
                f'warm_up_size has {len(self.warm_up_size)} numbers; it takes width and height'
            )
        for name in ('odom_frame', 'base_frame', 'map_frame'):
            if not getattr(self, name):
                raise UserError(f'{name} is empty; give the name of a frame')
        if self.map_frame in (self.odom_frame, self.base_frame):
            raise UserError(
                f'map_frame is {self.map_frame!r}, as another frame; odom_frame, base_frame and '
                'map_frame must differ'
            )
        if self.odom_frame == self.base_frame:
            raise UserError(
                f'odom_frame and base_frame are both {self.odom_frame!r}; they must differ'
            )
