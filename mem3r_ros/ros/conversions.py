# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Messages to the core's types and back; nothing here talks to a node.

Large arrays go in as ``array.array``: it is the only type that rclpy takes by one copy whether
or not it checks fields (a list costs 20 times, a numpy array 60 times as much).
"""

from __future__ import annotations

from array import array
import sys

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, Transform, TransformStamped
from nav_msgs.msg import Odometry
import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import BadFrame
from mem3r_ros.geometry import matrix_from_pose, pose_from_matrix

_IS_BIGENDIAN = sys.byteorder == 'big'
_MASK_ENCODINGS = ('mono8', '8UC1')


def stamp_ns(stamp: Time) -> int:
    """Return a message's stamp as integer nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def stamp_message(nanoseconds: int) -> Time:
    """Return integer nanoseconds as a message's stamp."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)


def header_at(nanoseconds: int, frame_id: str) -> Header:
    """Return a header."""
    return Header(stamp=stamp_message(nanoseconds), frame_id=frame_id)


def mask_from_message(message: Image) -> np.ndarray:
    """
    Read a mask.

    :param message: one channel of 8 bits.
    :return: mask [H, W] uint8, nonzero = ignore.
    :raises BadFrame: another encoding, or size and data disagree.
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
    """Write the calibration of a rectified image."""
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    message.distortion_model = 'plumb_bob'
    message.d = [0.0] * 5
    message.k = camera.K.ravel()
    message.r = np.eye(3).ravel()
    message.p = np.column_stack([camera.K, np.zeros(3)]).ravel()
    return message


def float_image_message(header: Header, values: np.ndarray, invalid: str = 'rep117') -> Image:
    """
    Write depth or confidence as 32FC1.

    :param header: stamp and optical frame of the image it belongs to.
    :param values: [H, W] float32; NaN unsure, +inf beyond the range (REP 117).
    :param invalid: 'rep117' writes it so, 'zero' writes 0 for both.
    """
    if invalid == 'zero':
        values = np.where(np.isfinite(values), values, 0.0)
    values = np.ascontiguousarray(values, np.float32)
    height, width = values.shape
    return Image(
        header=header,
        height=height,
        width=width,
        encoding='32FC1',
        is_bigendian=_IS_BIGENDIAN,
        step=4 * width,
        data=_bytes(values),
    )


def cloud_message(header: Header, points: np.ndarray, colours: np.ndarray) -> PointCloud2:
    """
    Write points as x y z rgb, four float32 each, the layout of ``sensor_msgs_py`` and RViz.

    :param header: stamp and frame of the points.
    :param points: [P, 3] float32, m.
    :param colours: [P, 3] uint8 RGB.
    """
    packed = np.empty((len(points), 4), np.float32)
    packed[:, :3] = points
    red, green, blue = (colours[:, i].astype(np.uint32) for i in range(3))
    packed[:, 3] = (red << 16 | green << 8 | blue).view(np.float32)
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(('x', 'y', 'z', 'rgb'))
        ],
        is_bigendian=_IS_BIGENDIAN,
        point_step=16,
        row_step=16 * len(points),
        is_dense=True,
        data=_bytes(packed),
    )


def pose_message(T: np.ndarray) -> Pose:
    """Write a transform as a pose."""
    translation, quaternion = pose_from_matrix(T)
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = map(float, translation)
    orientation = pose.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = map(float, quaternion)
    return pose


def matrix_from_pose_message(pose: Pose) -> np.ndarray:
    """Read a pose as a 4x4 transform; an all-zero quaternion counts as no rotation."""
    p, q = pose.position, pose.orientation
    quaternion = (q.x, q.y, q.z, q.w)
    return matrix_from_pose((p.x, p.y, p.z), quaternion if any(quaternion) else (0, 0, 0, 1))


def transform_message(header: Header, child_frame_id: str, T: np.ndarray) -> TransformStamped:
    """Write ``T_parent_child`` for TF; the header names the parent."""
    pose = pose_message(T)
    transform = Transform(rotation=pose.orientation)
    transform.translation.x = pose.position.x
    transform.translation.y = pose.position.y
    transform.translation.z = pose.position.z
    return TransformStamped(header=header, child_frame_id=child_frame_id, transform=transform)


def matrix_from_transform(transform: Transform) -> np.ndarray:
    """Read a TF transform as the 4x4 matrix that takes child points to the parent."""
    t, q = transform.translation, transform.rotation
    return matrix_from_pose((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


def odometry_message(
    header: Header,
    child_frame_id: str,
    T_odom_base: np.ndarray,
    covariance: np.ndarray,
    twist: np.ndarray,
    twist_covariance: np.ndarray,
) -> Odometry:
    """
    Write odometry.

    :param header: the image's stamp, odom frame.
    :param child_frame_id: base frame, in which the twist is given.
    :param T_odom_base: pose of the base.
    :param covariance: of the pose, x y z roll pitch yaw about odom's axes, [6, 6].
    :param twist: linear and angular velocity in the base frame, [6].
    :param twist_covariance: [6, 6].
    """
    message = Odometry(header=header, child_frame_id=child_frame_id)
    message.pose.pose = pose_message(T_odom_base)
    message.pose.covariance = np.ascontiguousarray(covariance, np.float64).ravel()
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(float, twist)
    message.twist.covariance = np.ascontiguousarray(twist_covariance, np.float64).ravel()
    return message


def _bytes(values: np.ndarray) -> array:
    data = array('B')
    # A cast of an empty view is an error in memoryview.
    if values.size:
        data.frombytes(memoryview(values).cast('B'))
    return data
