# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The shipped recording: a room rendered along a hand-held loop, as a rosbag2.

It holds the topics of a camera driver, ``/camera/image_raw/compressed`` and
``/camera/camera_info``, and the ground truth as TF from ``map`` to ``ground_truth_camera``.
"""

from __future__ import annotations

from pathlib import Path
import shutil

import cv2
import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.geometry import pose_from_matrix
from mem3r_ros.worlds import furniture
from mem3r_ros.worlds.catalogue import World
from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.furniture import Clearance
from mem3r_ros.worlds.painter import Painter
from mem3r_ros.worlds.paths import rotation_from_angles
from mem3r_ros.worlds.renderer import render_world
from mem3r_ros.worlds.scene import Light, Scene

SAMPLE = 'rendered_room'
NUM_FRAMES = 150
SIZE = (480, 360)
FOCAL_PX = 390.0
OVERSAMPLING = 2  # each pixel averages N x N rendered ones
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 66_666_667  # 15 Hz
MAX_BYTES = 4 * 1024 * 1024
KEY = (20, 1)
FRAME_ID = 'camera_color_optical_frame'


def loop_path(num_frames: int) -> np.ndarray:
    """
    Return a closed hand-held loop; the frame after the last equals the first.

    :return: T_world_camera, [num_frames + 1, 4, 4].
    """
    turn = 2 * np.pi * np.arange(num_frames + 1) / num_frames
    x = -0.75 - 0.55 * np.cos(turn) + 0.1 * np.cos(2 * turn + 0.5)
    y = 0.95 * np.sin(turn) + 0.08 * np.sin(2 * turn)
    z = 1.38 + 0.12 * np.sin(turn + 0.8) + 0.006 * np.cos(16 * turn)
    yaw = 0.5 * np.sin(turn + 2.6) + 0.16 * np.sin(2 * turn) + 0.004 * np.sin(19 * turn)
    pitch = -0.33 + 0.09 * np.sin(2 * turn + 1.0) + 0.004 * np.sin(17 * turn)
    roll = 0.03 * np.sin(turn + 1.0) + 0.01 * np.sin(3 * turn)
    poses = np.tile(np.eye(4), (num_frames + 1, 1, 1))
    poses[:, :3, :3] = rotation_from_angles(yaw, pitch, roll)
    poses[:, :3, 3] = np.stack([x, y, z], axis=-1)
    return poses


def sample_world() -> World:
    """Furnish the room around the loop."""
    rng = np.random.default_rng(KEY)
    paint = Painter(rng, 24)
    poses = loop_path(NUM_FRAMES)
    clearance = Clearance(poses[:, :3, 3], 0.3)
    half, middle = np.array([2.6, 2.3, 1.3]), np.array([0.1, 0.0, 1.3])
    scene = Scene(Light(
        ambient=0.62, upward=0.15, sun=0.25, towards_sun=np.array([-0.48, 0.36, 0.8]),
        lamp=1.1, lamp_at=np.array([-0.3, 0.6, 2.3]),
    ))  # fmt: skip
    white = np.array([1.0, 0.99, 0.96])
    table = furniture.table(rng, paint, np.array([0.45, 0.85]), 0.74, 14)
    table.place(scene, clearance, np.array([0.9, 0.0, 0.0]), 0.05)
    for x, y, yaw in ((0.25, 0.9, -1.2), (1.65, -0.35, 3.0), (1.6, 0.6, 3.4)):
        furniture.chair(rng, paint).place(scene, clearance, np.array([x, y, 0.0]), yaw)
    east, north, south = middle[0] + half[0], half[1], -half[1]
    furniture.shelf(rng, paint).place(scene, clearance, np.array([east, 1.35, 0.0]), np.pi)
    furniture.cupboard(rng, paint).place(scene, clearance, np.array([east, -1.1, 0.0]), np.pi)
    furniture.shelf(rng, paint).place(scene, clearance, np.array([0.9, north, 0.0]), -np.pi / 2)
    furniture.cupboard(rng, paint).place(scene, clearance, np.array([0.5, south, 0]), np.pi / 2)
    furniture.plant(rng, paint, 1.3).place(scene, clearance, np.array([2.2, -1.9, 0.0]), 0.0)
    furniture.plant(rng, paint, 0.9).place(scene, clearance, np.array([2.2, 1.95, 0.0]), 0.0)
    for y, z, size in ((-1.6, 1.75, 0.45), (-0.6, 1.6, 0.5), (0.35, 1.7, 0.55), (0.9, 1.2, 0.2)):
        furniture.picture(rng, paint, size).place(scene, clearance, np.array([east, y, z]), np.pi)
    for x, side in ((-0.9, 1), (-0.1, 1), (1.9, 1), (-0.6, -1), (0.6, -1), (1.6, -1)):
        at = np.array([x, side * north, rng.uniform(1.3, 1.8)])
        furniture.picture(rng, paint, 0.45).place(scene, clearance, at, -side * np.pi / 2)
    for x, y in ((0.2, -1.5), (1.9, -1.3), (0.1, 1.7), (2.3, 0.4)):
        pile = furniture.crates(rng, paint, 0.2)
        pile.place(scene, clearance, np.array([x, y, 0.0]), rng.uniform(0, 3))
    walls = paint.skin('wall', 2.5, tint=white)
    scene.shell(middle, half, paint.faced(paint.skin('wood', 1.4, tint=white), walls, (5,)))
    return World('room', 'loop', KEY, scene, poses, (0.8, 0.8), 1e9)


def render_sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Render the sample.

    :return: images uint8 RGB [F, H, W, 3], T_world_camera [F, 4, 4] and fx, fy, cx, cy in px [4].
    """
    world = sample_world()
    width, height = (side * OVERSAMPLING for side in SIZE)
    focal = FOCAL_PX * OVERSAMPLING
    fine = np.array([focal, focal, (width - 1) / 2, (height - 1) / 2])
    config = WorldConfig(
        drift=0.3,
        noise=0.6,
        motion_blur_share=0,
        rolling_share=0,
        grey_share=0,
        auto_exposure=False,
    )
    clip = render_world(world, NUM_FRAMES, (width, height), config, intrinsics=fine)
    images = np.stack([
        cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA) for image in clip.image.numpy()
    ])  # fmt: skip
    centre = (np.array(SIZE) - 1) / 2
    return images, world.poses[:NUM_FRAMES], np.array([FOCAL_PX, FOCAL_PX, *centre])


def encode(images: np.ndarray, max_bytes: int) -> list[bytes]:
    """Return the images [F, H, W, 3] as JPEG, with the best quality that fits a size."""
    for quality in range(95, 30, -3):
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        files = [cv2.imencode('.jpg', image[..., ::-1], settings)[1].tobytes() for image in images]
        if sum(map(len, files)) < max_bytes:
            return files
    raise UserError(f'{len(images)} images do not fit in {max_bytes} bytes; make them smaller')


def write_bag(output: Path, files: list[bytes], poses: np.ndarray, intrinsics: np.ndarray) -> None:
    """Write JPEG files and their poses [F, 4, 4] as a rosbag2 (mcap)."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types = {
        name.rsplit('/', 1)[1]: kind
        for name, kind in store.types.items()
        if name.startswith(('sensor_msgs', 'std_msgs', 'geometry_msgs', 'tf2', 'builtin'))
    }
    with Writer(output, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        topics = {
            '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
            '/camera/image_raw/compressed': 'sensor_msgs/msg/CompressedImage',
            '/tf': 'tf2_msgs/msg/TFMessage',
        }
        lines = {
            name: bag.add_connection(name, kind, typestore=store) for name, kind in topics.items()
        }
        for number, (file, pose) in enumerate(zip(files, poses, strict=True)):
            stamp_ns = START_NS + number * PERIOD_NS
            messages = {
                '/tf': _transform(types, stamp_ns, pose),
                '/camera/camera_info': _camera_info(types, stamp_ns, intrinsics),
                '/camera/image_raw/compressed': types['CompressedImage'](
                    header=_header(types, stamp_ns, FRAME_ID), format='jpeg',
                    data=np.frombuffer(file, np.uint8),
                ),
            }  # fmt: skip
            for name, message in messages.items():
                bag.write(lines[name], stamp_ns, store.serialize_cdr(message, topics[name]))


def _header(types: dict, stamp_ns: int, frame_id: str) -> object:
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    stamp = types['Time'](sec=seconds, nanosec=nanoseconds)
    return types['Header'](stamp=stamp, frame_id=frame_id)


def _camera_info(types: dict, stamp_ns: int, intrinsics: np.ndarray) -> object:
    fx, fy, cx, cy = intrinsics
    roi = types['RegionOfInterest'](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return types['CameraInfo'](
        header=_header(types, stamp_ns, FRAME_ID), height=SIZE[1], width=SIZE[0],
        distortion_model='plumb_bob', d=np.zeros(5),
        k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1]), r=np.eye(3).ravel(),
        p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def _transform(types: dict, stamp_ns: int, T_map_camera: np.ndarray) -> object:
    translation, quaternion = pose_from_matrix(T_map_camera)
    transform = types['Transform'](
        translation=types['Vector3'](**dict(zip('xyz', map(float, translation), strict=True))),
        rotation=types['Quaternion'](**dict(zip('xyzw', map(float, quaternion), strict=True))),
    )
    stamped = types['TransformStamped'](
        header=_header(types, stamp_ns, 'map'), child_frame_id='ground_truth_camera',
        transform=transform,
    )  # fmt: skip
    return types['TFMessage'](transforms=[stamped])


def write_sample(output: Path) -> int:
    """
    Render the sample and write it to a folder; a recording in it is replaced.

    :return: number of images.
    :raises UserError: the folder holds files of another kind.
    """
    if output.exists():
        if any(output.iterdir()) and not (output / 'metadata.yaml').exists():
            raise UserError(f'{output} is not a recording; choose another folder for --output')
        shutil.rmtree(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    images, poses, intrinsics = render_sample()
    # the rest of the size is for poses, camera_info and the container
    files = encode(images, MAX_BYTES - NUM_FRAMES * 1400 - 65536)
    write_bag(output, files, poses, intrinsics)
    return len(files)
