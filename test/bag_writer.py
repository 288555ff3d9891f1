# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Small bags for tests: messages by rosbags' own types, written by its writer."""

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
INFO = 'sensor_msgs/msg/CameraInfo'
START_NS = 1_700_000_000_000_000_000


def header(index, frame='camera'):
    stamp = TYPES['builtin_interfaces/msg/Time'](
        sec=1_700_000_000 + index // 10, nanosec=index % 10 * 100_000_000
    )
    return TYPES['std_msgs/msg/Header'](stamp=stamp, frame_id=frame)


def image(index, encoding='rgb8', size=(6, 8)):
    data = np.zeros((*size, 3), np.uint8)
    data[..., 0] = index
    return TYPES[IMAGE](
        header=header(index),
        height=size[0],
        width=size[1],
        encoding=encoding,
        is_bigendian=0,
        step=size[1] * 3,
        data=data.reshape(-1),
    )


def compressed(index, keep=None):
    picture = np.full((6, 8, 3), (index, 0, 0), np.uint8)
    data = cv2.imencode('.png', picture[..., ::-1])[1].reshape(-1)[:keep]
    return TYPES[COMPRESSED](header=header(index), format='rgb8; png compressed bgr8', data=data)


def info(index, focal_px=10.0, model='plumb_bob', distortion=(0.0,) * 5):
    region = TYPES['sensor_msgs/msg/RegionOfInterest'](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    K = np.array([focal_px, 0, 4, 0, focal_px, 3, 0, 0, 1.0])
    P = np.array([20.0, 0, 4, 0, 0, 20.0, 3, 0, 0, 0, 1, 0])
    return TYPES[INFO](
        header=header(index),
        height=6,
        width=8,
        distortion_model=model,
        d=np.array(distortion),
        k=K,
        r=np.eye(3).reshape(-1),
        p=P,
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def tf(index, child='ground_truth_camera'):
    transform = TYPES['geometry_msgs/msg/Transform'](
        translation=TYPES['geometry_msgs/msg/Vector3'](x=float(index), y=0.0, z=0.0),
        rotation=TYPES['geometry_msgs/msg/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0),
    )
    stamped = TYPES['geometry_msgs/msg/TransformStamped'](
        header=header(index, 'map'), child_frame_id=child, transform=transform
    )
    return TYPES['tf2_msgs/msg/TFMessage'](transforms=[stamped])


def write_bag(path, messages, storage=StoragePlugin.MCAP):
    """Write ``(topic, message)`` pairs, one every 10 ms."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections = {}
        for index, (topic, message) in enumerate(messages):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], START_NS + index * 10_000_000, data)
    return path
