# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What ``fuzz.py`` feeds: readers, messages, parameters, saved states, checkpoints, the command line.

A target is made in a folder of its own. It has seeds, which are good inputs as bytes, and a
function that reads one input; targets of messages and settings take a source of values instead.
"""

from __future__ import annotations

from collections.abc import Callable
import json
import math
from pathlib import Path
import sys
from types import SimpleNamespace
from typing import Any

from fuzz_choices import Choices, Target, each, refused
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]


def _picture(suffix: str) -> bytes:
    import cv2

    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def pictures(folder: Path) -> Target:
    """Compressed images."""
    from mem3r_ros.data.encodings import decode_compressed

    suffixes = ('.jpg', '.png', '.webp', '.tiff', '.bmp', '.ppm')
    return Target([_picture(s) for s in suffixes], lambda data: decode_compressed(data, 'jpeg'))


def compressed_depth(folder: Path) -> Target:
    """Depth as compressedDepth."""
    import cv2

    from mem3r_ros.data.encodings import decode_compressed_depth

    png = cv2.imencode('.png', np.full((24, 32), 1000, np.uint16))[1].tobytes()
    kind = '16UC1; compressedDepth png'
    return Target([bytes(12) + png], lambda data: decode_compressed_depth(data, kind))


def image_messages(folder: Path) -> Target:
    """Raw and compressed images, depth and masks as messages."""
    from mem3r_ros.data.message_decoding import depth_from_message, image_from_message

    def read(choose: Choices) -> None:
        message = SimpleNamespace(
            height=choose.whole(),
            width=choose.whole(),
            step=choose.whole(),
            encoding=choose.word(),
            is_bigendian=choose.whole(1),
            data=choose.data(),
        )
        if choose.whole(1):
            message = SimpleNamespace(format=choose.word(), data=choose.data())
        choose.one_of((image_from_message, depth_from_message))(message)

    return Target([b'0'], read, is_chosen=True)


def masks(folder: Path) -> Target:
    """Masks as messages of rclpy."""
    from sensor_msgs.msg import Image

    from mem3r_ros.ros.conversions import mask_from_message

    def read(choose: Choices) -> None:
        message = Image(height=choose.whole(), width=choose.whole(), step=choose.whole())
        message.encoding = choose.one_of(('mono8', '8UC1', choose.word()))
        message.data = choose.data()
        mask_from_message(message)

    return Target([b'0'], read, is_chosen=True)


def calibrations(folder: Path) -> Target:
    """Calibrations as messages."""
    from mem3r_ros.data.camera_info import camera_from_info

    def read(choose: Choices) -> None:
        region = SimpleNamespace(
            x_offset=choose.whole(), y_offset=choose.whole(), width=choose.whole(),
            height=choose.whole(),
        )  # fmt: skip
        K = [choose.number() for _ in range(9)]
        if choose.whole(1):
            K = [300.0, 0.0, 32.0, 0.0, 300.0, 24.0, 0.0, 0.0, 1.0]
        message = SimpleNamespace(
            k=K,
            p=[choose.number() for _ in range(12)],
            d=[choose.number() for _ in range(choose.one_of((0, 4, 5, 8, 12, 14, 100)))],
            width=choose.one_of((64, choose.whole())),
            height=choose.one_of((48, choose.whole())),
            distortion_model=choose.word(),
            binning_x=choose.whole(),
            binning_y=choose.whole(),
            roi=choose.one_of((None, region)),
        )
        camera_from_info(message, choose.one_of(('/image', '/image_rect')))

    return Target([b'0'], read, is_chosen=True)


def transforms_and_wheels(folder: Path) -> Target:
    """Links of TF, pose hints, wheel odometry and stamps: what is accepted must be finite."""
    from geometry_msgs.msg import Pose, Transform
    from nav_msgs.msg import Odometry

    from mem3r_ros.ros.conversions import matrix_from_pose_message, matrix_from_transform
    from mem3r_ros.ros.wheel_path import WheelPath

    def read(choose: Choices) -> None:
        transform, pose = Transform(), Pose()
        for part in (transform.translation, transform.rotation, pose.position, pose.orientation):
            for axis in part.get_fields_and_field_types():
                setattr(part, axis, choose.number())
        path = WheelPath(1.0)
        for _ in range(10):
            message = Odometry()
            message.pose.pose.position.x = choose.number()
            message.header.stamp.sec = choose.whole(31)
            message.header.stamp.nanosec = choose.whole(29)
            refused(lambda m=message: path.add(m, 40.0, choose.whole(62)))
        length = path.at(choose.whole(62))
        assert length is None or math.isfinite(length)
        for convert, given in (
            (matrix_from_transform, transform),
            (matrix_from_pose_message, pose),
        ):
            T = refused(lambda c=convert, g=given: c(g))
            assert T is None or np.isfinite(T).all()

    return Target([b'0'], read, is_chosen=True)


def _file_target(path: Path, seeds: list[bytes], read: Callable[[Path], object]) -> Target:
    def write_and_read(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    return Target(seeds, write_and_read)


def trajectories(folder: Path) -> Target:
    """TUM files and lists of stamps."""
    from mem3r_ros.data.folder import read_stamps
    from mem3r_ros.trajectory import read_tum

    rows = [f'{1700000000 + i / 10:.6f} {i} 0 0 0 0 0 1' for i in range(5)]
    seeds = ['\n'.join(rows).encode(), '\n'.join(row.split()[0] for row in rows).encode()]

    def read(path: Path) -> None:
        each(lambda: read_tum(path), lambda: read_stamps(path))

    return _file_target(folder / 'truth.txt', seeds, read)


def texts(folder: Path) -> Target:
    """YAML and JSON files."""
    from mem3r_ros.text_files import read_json, read_yaml

    seeds = [
        b'a: {b: [1, 2.5, .inf], c: &x text, d: *x}\n',
        json.dumps({'a': [1, 2.5, None, {'b': 'text'}]}).encode(),
        b'\xef\xbb\xbfa: 1\n',
    ]

    def read(path: Path) -> None:
        each(lambda: read_yaml(path), lambda: read_json(path))

    return _file_target(folder / 'settings.yaml', seeds, read)


def settings_files(folder: Path) -> Target:
    """Parameter files of the node and settings of runs."""
    from mem3r_ros.config import load_yaml
    from mem3r_ros.ros.parameter_names import parameters_of_file
    from mem3r_ros.tracker import TrackerConfig

    seeds = [
        b'reset_interval: 5\nscale: {source: fixed, factor: 2.0}\n',
        b'/**:\n  ros__parameters: {base_frame: base, tracking: {reset_interval: 5}}\n',
    ]

    def read(path: Path) -> None:
        each(lambda: load_yaml(TrackerConfig, path), lambda: parameters_of_file(path, 'mem3r'))

    return _file_target(folder / 'mem3r.yaml', seeds, read)


def parameters(folder: Path) -> Target:
    """Parameters of the node, and settings of the command line."""
    from rclpy.parameter import Parameter

    from mem3r_ros.cli.settings import RunConfig, with_assignments
    from mem3r_ros.config import flatten, replace_path
    from mem3r_ros.ros.node_config import NodeConfig
    from mem3r_ros.ros.parameters import apply

    names = [name for name, _, _ in flatten(NodeConfig())]

    def read(choose: Choices) -> None:
        name, value = choose.one_of((*names, choose.word())), choose.value()
        refused(lambda: replace_path(NodeConfig(), name, value))
        refused(lambda: with_assignments(RunConfig(), [f'{name}={value}', choose.word()]))
        try:
            parameter = Parameter(name, value=value)
        except (TypeError, ValueError, AttributeError):
            return  # rclpy refuses the value
        config, answer = apply(NodeConfig(), [parameter])
        assert answer.successful or answer.reason
        assert config is not None

    return Target([b'0'], read, is_chosen=True)


def command_line(folder: Path) -> Target:
    """Words on the command line; commands that would work for long get no input."""
    import contextlib
    import io

    from mem3r_ros.cli.main import main

    commands = ('run', 'evaluate', 'replay', 'compare', 'score', 'weights', 'config', 'nonsense')
    options = ('--set', '--config', '--output', '--stride', '--model', '--max-frames', '--help')

    def read(choose: Choices) -> None:
        words = [choose.one_of(commands), str(folder / 'missing')]
        for _ in range(choose.one_of((0, 1, 2, 3))):
            words += [choose.one_of(options), choose.word().replace('\x00', '')[:50]]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                code = main(words)
            except SystemExit as end:
                code = end.code
        assert code in (0, 1, 2), code

    return Target([b'0'], read, is_chosen=True)


def bags(folder: Path) -> Target:
    """ROS 2 recordings in one file."""
    from bag_writer import compressed, image, info, write_bag
    from rosbags.rosbag2 import StoragePlugin

    from mem3r_ros.data.bag import Bag
    from mem3r_ros.data.message_decoding import image_from_message

    content = [('/camera_info', info(i)) for i in range(2)]
    content += [('/image', image(i)) for i in range(3)]
    content += [('/image/compressed', compressed(i)) for i in range(3)]
    made = write_bag(folder / 'made', content, storage=StoragePlugin.MCAP)
    seeds = [next(Path(made).glob('*.mcap')).read_bytes()]

    def read(path: Path) -> None:
        with Bag(path) as bag:
            for message in bag.messages(*bag.types):
                decoded = refused(lambda m=message: bag.decode(m))
                if decoded is not None and hasattr(decoded, 'data'):
                    refused(lambda d=decoded: image_from_message(d))

    return _file_target(folder / 'bag.mcap', seeds, read)


def videos(folder: Path) -> Target:
    """Videos."""
    import cv2

    from mem3r_ros.data import open_sequence

    path = folder / 'made.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 48))
    for index in range(5):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()

    def read(video: Path) -> None:
        for _ in open_sequence(video, max_frames=10):
            pass

    return _file_target(folder / 'video.mp4', [path.read_bytes()], read)


def folders(folder: Path) -> Target:
    """Folders of images, with a calibration."""
    from mem3r_ros.data import open_sequence

    images = folder / 'images'
    images.mkdir()
    for index in range(2):
        (images / f'{index}.png').write_bytes(_picture('.png'))

    names = ('calibration.yaml', 'camera.json', 'timestamps.txt', 'rgb.txt')

    def read(data: bytes) -> None:
        (images / '2.png').write_bytes(data)
        for name in names:
            (images / name).unlink(missing_ok=True)
        name = names[sum(data[:1000]) % len(names)]
        (images / name).write_bytes(data[:2000])
        for _ in open_sequence(images, max_frames=5):
            pass

    seeds = [_picture('.png'), b'fx: 30\nfy: 30\ncx: 16\ncy: 12\n', b'0.1\n0.2\n0.3\n']
    return Target(seeds, read, has_good_seeds=False)


def clouds(folder: Path) -> Target:
    """PLY files."""
    from mem3r_ros.data.ply import read_ply, write_ply

    path = folder / 'made.ply'
    write_ply(path, np.zeros((5, 3), np.float32), np.zeros((5, 3), np.uint8))
    return _file_target(folder / 'cloud.ply', [path.read_bytes()], read_ply)


def _tiny() -> Any:
    from tiny_networks import MEM3R

    from mem3r_ros.model import build_model

    return build_model(MEM3R).eval()


def checkpoints(folder: Path) -> Target:
    """Weights in safetensors; the header is changed far more often than the numbers."""
    from mem3r_ros.model import load_model, save_checkpoint

    path = folder / 'made.safetensors'
    save_checkpoint(_tiny(), path, {})
    return _file_target(folder / 'model.safetensors', [path.read_bytes()], load_model)


def pickles(folder: Path) -> Target:
    """Weights in torch's format."""
    import torch

    from mem3r_ros.model.checkpoints.file_formats import open_checkpoint

    path = folder / 'made.pth'
    model = dict(list(_tiny().state_dict().items())[:3])
    torch.save({'model': model, 'args': SimpleNamespace(model='x')}, path)

    def read(file: Path) -> None:
        with open_checkpoint(file) as stored:
            for name in stored.names:
                stored.tensor(name)

    return _file_target(folder / 'model.pth', [path.read_bytes()], read)


def snapshots(folder: Path) -> Target:
    """States of a stream in a file."""
    from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig

    tracker = Tracker(_tiny(), TrackerConfig())
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for index in range(3):
        tracker.track(CameraFrame(10**9 + index * 10**8, np.roll(pixels, index, 1)), outputs=())
    path = folder / 'made.safetensors'
    tracker.snapshot(path)
    return _file_target(folder / 'state.safetensors', [path.read_bytes()], tracker.restore)


TARGETS: dict[str, Callable[[Path], Target]] = {
    make.__name__.replace('_', ' '): make
    for make in (
        pictures, compressed_depth, image_messages, masks, calibrations, transforms_and_wheels,
        trajectories, texts, settings_files, parameters, command_line, bags, videos, folders,
        clouds, checkpoints, pickles, snapshots,
    )
}  # fmt: skip
