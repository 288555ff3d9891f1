# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Conversions between ROS messages and the types of the core."""

from __future__ import annotations

from array import array

from builtin_interfaces.msg import Time
import cv2
from cv_bridge import CvBridge
from geometry_msgs.msg import Pose, PoseWithCovariance, Transform, TransformStamped
from nav_msgs.msg import Odometry
import numpy as np
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, PointField
from sensor_msgs_py.point_cloud2 import read_points, read_points_numpy
from std_msgs.msg import Header
from tf_transformations import euler_matrix, quaternion_from_matrix

from mem3r_ros import plausible
from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import BadFrame
from mem3r_ros.laser_scan import Scan

_BRIDGE = CvBridge()
_XYZ_RGB = [
    PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
    for i, name in enumerate(('x', 'y', 'z', 'rgb'))
]
_CONFIDENCE = PointField(name='confidence', offset=16, datatype=PointField.FLOAT32, count=1)
_MASK_ENCODINGS = ('mono8', '8UC1')


def stamp_ns(stamp: Time) -> int:
    """Return the stamp of a message as integer nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def stamp_message(nanoseconds: int) -> Time:
    """Return integer nanoseconds as the stamp of a message."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)


def frame_name(name: str) -> str:
    """Return the name of a frame as tf2 knows it: drivers of ROS 1 put a slash before it."""
    return name.lstrip('/')


def header_at(nanoseconds: int, frame_id: str) -> Header:
    """Return a header with a stamp and a frame."""
    return Header(stamp=stamp_message(nanoseconds), frame_id=frame_id)


def mask_from_message(message: Image) -> np.ndarray:
    """
    Read a mask image.

    :param message: one channel of 8 bits.
    :return: mask [H, W] uint8, nonzero = ignore.
    :raises BadFrame: the encoding is another, or the size contradicts the data.
    """
    if message.encoding not in _MASK_ENCODINGS:
        raise BadFrame(
            f'mask has encoding {message.encoding!r}; use one of {", ".join(_MASK_ENCODINGS)}'
        )
    rows, step = message.height, message.step or message.width
    pixels = np.frombuffer(message.data, np.uint8)
    if step < message.width or pixels.size < rows * step:
        raise BadFrame(
            f'mask data has {pixels.size} bytes; {message.width}x{rows} with step {step} needs '
            f'{rows * max(step, message.width)}'
        )
    return pixels[: rows * step].reshape(rows, step)[:, : message.width]


def camera_info_message(header: Header, camera: Intrinsics) -> CameraInfo:
    """Return the calibration of a rectified image."""
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    message.distortion_model = 'plumb_bob'
    message.d = [0.0] * 5
    message.k = camera.K.ravel()
    message.r = np.eye(3).ravel()
    message.p = np.column_stack([camera.K, np.zeros(3)]).ravel()
    return message


def float_image_message(header: Header, values: np.ndarray, invalid: str = 'rep117') -> Image:
    """
    Return depth or confidence as an image message 32FC1.

    :param header: stamp and optical frame of the image.
    :param values: [H, W] float32; NaN where unknown, +inf beyond the range (REP 117).
    :param invalid: 'rep117' writes the values as they are, 'zero' replaces both by 0.
    """
    if invalid == 'zero':
        values = np.where(np.isfinite(values), values, 0.0)
    return _BRIDGE.cv2_to_imgmsg(values.astype(np.float32, copy=False), '32FC1', header)


def rgb_image_message(header: Header, image: np.ndarray) -> Image:
    """
    Return colours as an image message rgb8.

    :param image: [H, W, 3] uint8 RGB.
    """
    return _BRIDGE.cv2_to_imgmsg(np.ascontiguousarray(image), 'rgb8', header)


def scan_message(
    header: Header, scan: Scan, range_min_m: float, range_max_m: float, period_s: float
) -> LaserScan:
    """
    Return a planar scan; all its ranges are of one instant.

    :param header: stamp of the image, and a frame with x forward and z up.
    :param period_s: time since the last scan.
    """
    last = len(scan.ranges_m) - 1
    return LaserScan(
        header=header,
        angle_min=scan.angle_min_rad,
        angle_max=scan.angle_min_rad + last * scan.angle_increment_rad,
        angle_increment=scan.angle_increment_rad,
        time_increment=0.0,
        scan_time=period_s,
        range_min=range_min_m,
        range_max=range_max_m,
        ranges=array('f', scan.ranges_m.tobytes()),
    )


def cloud_message(
    header: Header,
    points: np.ndarray,
    colours: np.ndarray,
    confidence: np.ndarray | None = None,
) -> PointCloud2:
    """
    Return a cloud message with the fields x, y, z and rgb, as RViz expects them.

    :param header: stamp and frame of the points.
    :param points: [P, 3] float32, m.
    :param colours: [P, 3] uint8 RGB.
    :param confidence: [P] float32, a fifth field; None: without it.
    """
    fields = _XYZ_RGB if confidence is None else [*_XYZ_RGB, _CONFIDENCE]
    step = 4 * len(fields)
    if not len(points):
        return PointCloud2(header=header, height=1, fields=fields, point_step=step, is_dense=True)
    # OpenCV interleaves columns several times faster than numpy.
    rgb = cv2.cvtColor(np.ascontiguousarray(colours)[None], cv2.COLOR_RGB2BGRA).view(np.uint32)
    rgb &= 0xFFFFFF  # no alpha
    columns = [points.astype(np.float32, copy=False)[None], rgb.view(np.float32)]
    if confidence is not None:
        columns.append(confidence.astype(np.float32, copy=False)[None])
    packed = np.empty((1, len(points), len(fields)), np.float32)
    places = [place for index in range(len(fields)) for place in (index, index)]
    cv2.mixChannels(columns, [packed], places)
    cloud = PointCloud2(header=header, height=1, width=len(points), fields=fields, is_dense=True)
    cloud.point_step, cloud.row_step = step, step * len(points)
    cloud.data = array('B')
    cloud.data.frombytes(packed.data.cast('B'))
    return cloud


def points_from_message(cloud: PointCloud2) -> tuple[np.ndarray, np.ndarray]:
    """
    Read a cloud with the fields x, y, z and rgb.

    :return: points [P, 3] float32, m, and colours [P, 3] uint8 RGB.
    """
    packed = read_points(cloud, field_names=['rgb'])['rgb'].view(np.uint32)
    colours = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1)
    return read_points_numpy(cloud, field_names=['x', 'y', 'z']), colours.astype(np.uint8)


def pose_message(T: np.ndarray) -> Pose:
    """Return a transform [4, 4] as a pose."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = map(float, T[:3, 3])
    orientation = pose.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = quaternion_from_matrix(T)
    return pose


def matrix_from_pose_message(message: Pose, what: str = 'pose') -> np.ndarray:
    """
    Return a pose as a transform [4, 4]; a zero quaternion, as in an unset message, is no rotation.

    :param message: the pose.
    :param what: its name, for the error.
    :raises UserError: it is not finite, no rotation, or farther away than anything is.
    """
    p, q = message.position, message.orientation
    quaternion = (q.x, q.y, q.z, q.w)
    if not any(quaternion):
        quaternion = (0.0, 0.0, 0.0, 1.0)
    return plausible.pose((p.x, p.y, p.z), quaternion, what)


def transform_message(header: Header, child_frame_id: str, T: np.ndarray) -> TransformStamped:
    """Return ``T_parent_child`` as a message of TF; the header names the parent."""
    pose = pose_message(T)
    transform = Transform(rotation=pose.orientation)
    transform.translation.x = pose.position.x
    transform.translation.y = pose.position.y
    transform.translation.z = pose.position.z
    return TransformStamped(header=header, child_frame_id=child_frame_id, transform=transform)


def matrix_from_transform(
    transform: Transform, what: str = 'transform', max_position_m: float = plausible.MAX_POSITION_M
) -> np.ndarray:
    """
    Return a transform of TF as the matrix [4, 4] from child points to parent points.

    :param transform: from a message of TF.
    :param what: its name, for the error.
    :param max_position_m: largest coordinate.
    :raises UserError: it is not finite, no rotation, or moves farther than is possible.
    """
    t, q = transform.translation, transform.rotation
    return plausible.pose((t.x, t.y, t.z), (q.x, q.y, q.z, q.w), what, max_position_m)


def matrix_from_xyz_rpy(numbers: tuple[float, ...]) -> np.ndarray:
    """
    Return a transform [4, 4] from x y z (m) and roll pitch yaw (rad).

    Roll, pitch and yaw are rotations about the fixed axes x, y, z in that order, as in URDF.
    """
    T = euler_matrix(*numbers[3:])
    T[:3, 3] = numbers[:3]
    return T


def pose_with_covariance(T: np.ndarray, covariance: np.ndarray) -> PoseWithCovariance:
    """Return a pose [4, 4] with its covariance x y z roll pitch yaw about fixed axes, [6, 6]."""
    flat = np.ascontiguousarray(covariance, np.float64).ravel()
    return PoseWithCovariance(pose=pose_message(T), covariance=flat)


def odometry_message(
    header: Header,
    child_frame_id: str,
    T_odom_base: np.ndarray,
    covariance: np.ndarray,
    twist: np.ndarray,
    twist_covariance: np.ndarray,
) -> Odometry:
    """
    Return odometry.

    :param header: the image's stamp, odom frame.
    :param child_frame_id: base frame, which is also the frame of the twist.
    :param T_odom_base: pose of the base.
    :param covariance: of the pose, x y z roll pitch yaw about odom's axes, [6, 6].
    :param twist: linear and angular velocity in the base frame, [6].
    :param twist_covariance: [6, 6].
    """
    message = Odometry(header=header, child_frame_id=child_frame_id)
    message.pose = pose_with_covariance(T_odom_base, covariance)
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(float, twist)
    message.twist.covariance = np.ascontiguousarray(twist_covariance, np.float64).ravel()
    return message
