# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A camera and a listener around the real node, for tests over real topics."""

from __future__ import annotations

from array import array
import dataclasses
from pathlib import Path
import threading

import numpy as np

import mem3r_ros.ros  # noqa: F401 - tests import tf2_ros after this, installed or not

WIDTH, HEIGHT = 64, 48
FOCAL_PX = 60.0
FRAME = 'camera_optical_frame'
START_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000


def save_small_model(path: Path) -> Path:
    """Write a network with all parts of the default one, random weights, and a tenth the work."""
    import torch

    from mem3r_ros.model import ModelConfig, build_model, save_checkpoint

    torch.manual_seed(0)
    default = ModelConfig.preset('mem3r-tiny')
    config = dataclasses.replace(
        default,
        img_size=(64, 48),
        enc_embed_dim=48,
        enc_depth=1,
        enc_num_heads=2,
        dec_embed_dim=48,
        dec_depth=2,
        dec_num_heads=2,
        state_dec_num_heads=2,
        state_size=8,
        local_mem_size=16,
        dpt_feature_dim=16,
        dpt_last_dim=8,
        dpt_layer_dims=(8, 16, 16, 16),
        fast_num_heads=1,
        state_gate_dim=16,
        stem_dims=(8,) * len(default.stem_dims),
    )
    save_checkpoint(build_model(config), path, {})
    return path


class RunningNode:
    """The node in this process, on executor threads of its own, in the test's context."""

    def __init__(
        self,
        context,
        parameters: dict,
        remappings: tuple[str, ...] = (),
        params_file: str = '',
        **options,
    ) -> None:
        from rclpy.executors import MultiThreadedExecutor
        from rclpy.parameter import Parameter

        from mem3r_ros.ros.lifecycle_node import Mem3rNode
        from mem3r_ros.ros.worker_thread import spin

        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        arguments = ['--ros-args']
        for remapping in remappings:
            arguments += ['-r', remapping]
        if params_file:
            arguments += ['--params-file', params_file]
        self.node = Mem3rNode(
            context=context, parameter_overrides=overrides, cli_args=arguments, **options
        )
        self._executor = MultiThreadedExecutor(4, context=context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(
            target=spin, args=(self._executor, self.node.report_error), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self.node.close()
        self._executor.shutdown(timeout_sec=5.0)
        self._thread.join(5.0)
        self.node.destroy_node()


class Camera:
    """Publishes pictures of one shifting texture, with or without calibration."""

    def __init__(self, node, *, qos=None, prefix: str = '') -> None:
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        qos = qos or QoSProfile(depth=50)
        self.raw = node.create_publisher(Image, f'{prefix}image', qos)
        self.compressed = node.create_publisher(CompressedImage, f'{prefix}image/compressed', qos)
        self.info = node.create_publisher(CameraInfo, f'{prefix}camera_info', qos)
        self.count = 0
        self._texture = np.random.default_rng(0).integers(0, 255, (HEIGHT, 400, 3), np.uint8)

    def picture(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self._texture[:, 2 * index : 2 * index + WIDTH])

    def header(self, stamp_ns: int | None = None, frame: str = FRAME):
        from mem3r_ros.ros.conversions import header_at

        if stamp_ns is None:
            stamp_ns = START_NS + self.count * STEP_NS
        return header_at(stamp_ns, frame)

    def send(self, stamp_ns: int | None = None, *, frame: str = FRAME, encoding: str = 'rgb8'):
        from sensor_msgs.msg import Image

        pixels = self.picture(self.count)
        if encoding == 'mono8':
            pixels = np.ascontiguousarray(pixels[:, :, 0])
        message = Image(header=self.header(stamp_ns, frame), height=HEIGHT, width=WIDTH)
        message.encoding = encoding
        message.step = pixels.strides[0]
        message.data = array('B', pixels.tobytes())
        self.raw.publish(message)
        self.count += 1
        return message

    def send_compressed(self, stamp_ns: int | None = None, data: bytes | None = None):
        import cv2
        from sensor_msgs.msg import CompressedImage

        if data is None:
            data = cv2.imencode('.png', self.picture(self.count)[:, :, ::-1])[1].tobytes()
        message = CompressedImage(header=self.header(stamp_ns), format='png')
        message.data = array('B', data)
        self.compressed.publish(message)
        self.count += 1
        return message

    def send_info(self, focal_px: float = FOCAL_PX, width: int = WIDTH, height: int = HEIGHT):
        from mem3r_ros.camera import Intrinsics
        from mem3r_ros.ros.conversions import camera_info_message

        camera = Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)
        self.info.publish(camera_info_message(self.header(), camera))


class Listener:
    """Keeps every message of the topics it was reason about."""

    def __init__(self, node) -> None:
        self._node = node
        self.messages: dict[str, list] = {}

    def subscribe(self, kind: type, topic: str, qos=None) -> list:
        from rclpy.qos import HistoryPolicy, QoSProfile

        received = self.messages.setdefault(topic, [])
        qos = qos or QoSProfile(history=HistoryPolicy.KEEP_ALL)
        self._node.create_subscription(kind, topic, received.append, qos)
        return received

    def subscribe_status(self, topic: str = 'status') -> list:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.qos import DurabilityPolicy, QoSProfile

        qos = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        return self.subscribe(DiagnosticArray, topic, qos)


def values_of(status) -> dict[str, str]:
    """Return the key-value pairs of a status message."""
    return {pair.key: pair.value for pair in status.status[0].values}


def call(node, spin_until, kind: type, name: str, request=None):
    """Call a service of the node and return its answer."""
    client = node.create_client(kind, name)
    assert spin_until(client.service_is_ready), f'{name} is not there'
    future = client.call_async(request or kind.Request())
    assert spin_until(future.done, 60.0), f'{name} does not answer'
    node.destroy_client(client)
    return future.result()
