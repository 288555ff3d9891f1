# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Images per second and latency of the node, over DDS.

A camera process publishes 640x480 images at 30 Hz, stamped when they are published; the node runs
in a process of its own, with its defaults; this process subscribes to the odometry, and a listener
process to depth and points where a row says so. Latency is from the stamp of an image to the
arrival of its pose here. All is repeated beside busy processes, which compute without a pause.

    python benchmarks/node_rate.py
    python benchmarks/node_rate.py --busy 0 --outputs odometry -p pipelined:=false
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import numpy as np
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from busy import load

from mem3r_ros.ros.replay.private_domain import claim_domain, enter_domain

CAMERA, LISTENER = '--camera', '--listener'
if {CAMERA, LISTENER}.isdisjoint(sys.argv):
    enter_domain(claim_domain())  # before rclpy starts; the children inherit it

from nav_msgs.msg import Odometry  # noqa: E402
import rclpy  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image, PointCloud2  # noqa: E402

from mem3r_ros.cli.benchmark import moving_texture  # noqa: E402
from mem3r_ros.model.freed_memory import keep_freed_memory  # noqa: E402
from mem3r_ros.model.processor import processor_name  # noqa: E402
from mem3r_ros.ros.conversions import header_at, stamp_ns  # noqa: E402
from mem3r_ros.ros.replay.node_process import NodeProcess  # noqa: E402

TOPICS = {
    'odometry': (),
    'depth': ('depth/image',),
    'depth and points': ('depth/image', 'points'),
}
_KINDS = {'depth/image': Image, 'points': PointCloud2}
_SETTLE_S = 4.0  # the window and the allocators fill
_CONNECT_S = 30.0
_LATE_S = 1.0  # wait for the last poses


@dataclass
class Row:
    """What one run has measured."""

    busy: int
    outputs: str
    images_per_s: float
    sent: int
    posed: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    cores: float  # that the node used

    def line(self) -> str:
        """Return the row of a table."""
        return (
            f'| {self.busy} | {self.outputs} | {self.images_per_s:.1f} | {self.p50_ms:.0f} | '
            f'{self.p90_ms:.0f} | {self.p99_ms:.0f} | {self.sent - self.posed} of {self.sent} | '
            f'{self.cores:.2f} |'
        )


HEAD = (
    '| busy | subscribed | images/s | latency ms, median | 90 % | 99 % | not answered | cores |\n'
    '|---|---|---|---|---|---|---|---|'
)


def camera(size: str, rate_hz: float) -> None:
    """Publish images until the parent ends this process."""
    width, height = map(int, size.split('x'))
    rclpy.init()
    node = Node('benchmark_camera')
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Image, 'image', qos)
    message = Image(height=height, width=width, encoding='rgb8', step=3 * width)
    due_s = time.monotonic()
    try:
        for image in moving_texture(width, height, 1_000_000):
            message.data = array('B', image.tobytes())
            due_s += 1.0 / rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))
            message.header = header_at(time.time_ns(), 'camera_optical_frame')
            publisher.publish(message)
    except (ExternalShutdownException, KeyboardInterrupt):
        pass


def listener(topics: list[str]) -> None:
    """Subscribe to topics until the parent ends this process."""
    keep_freed_memory()  # page faults for each cloud would take time from the node
    rclpy.init()
    node = Node('benchmark_listener')
    for topic in topics:
        # Raw: to unpack a cloud in Python costs more than the node spends to make it.
        node.create_subscription(_KINDS[topic], topic, lambda message: None, 10, raw=True)
    try:
        rclpy.spin(node)
    except (ExternalShutdownException, KeyboardInterrupt):
        pass


@contextmanager
def child(*words: str) -> Iterator[None]:
    """Run this file in another process."""
    process = subprocess.Popen([sys.executable, __file__, *words])
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Poses:
    """Receives the odometry."""

    def __init__(self, node: Node) -> None:
        """Subscribe."""
        self.arrived: list[tuple[int, int]] = []  # stamp and arrival, ns
        node.create_subscription(Odometry, 'odom', self._take, 100)

    def _take(self, message: Odometry) -> None:
        self.arrived.append((stamp_ns(message.header.stamp), time.time_ns()))


def measure(
    node: Node, executor: Any, busy: int, outputs: str, options: argparse.Namespace
) -> Row:
    """Run the node for a while and return what was received from it."""
    poses = Poses(node)
    words = [CAMERA, options.size, str(options.rate)]
    parameters: dict[str, object] = {'mount': 'standalone', 'autostart': False}
    for text in options.parameters:
        name, _, value = text.partition(':=')
        parameters[name] = yaml.safe_load(value)
    with NodeProcess(parameters, {}) as process:
        process.activate(node, executor)
        process_of_node = psutil.Process(process.pid)
        with load(busy), child(*words), child(LISTENER, *TOPICS[outputs]):
            _spin(executor, _CONNECT_S, lambda: len(poses.arrived) > 0)
            if not poses.arrived:
                raise process.failure('the node has sent no odometry')
            _spin(executor, _SETTLE_S)
            poses.arrived.clear()
            start_ns, cpu_s = time.time_ns(), _cpu_s(process_of_node)
            _spin(executor, options.seconds)
            end_ns, cpu_s = time.time_ns(), _cpu_s(process_of_node) - cpu_s
            _spin(executor, _LATE_S)
            process.check()
    sent = round((end_ns - start_ns) * 1e-9 * options.rate)
    latency_ms = np.array(
        [(there - stamp) * 1e-6 for stamp, there in poses.arrived if start_ns <= stamp < end_ns]
    )
    seconds = (end_ns - start_ns) * 1e-9
    return Row(
        busy,
        outputs,
        len(latency_ms) / seconds,
        sent,
        len(latency_ms),
        *(float(np.percentile(latency_ms, part)) for part in (50, 90, 99)),
        cpu_s / seconds,
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _spin(executor: Any, seconds: float, is_done: Any = lambda: False) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not is_done():
        executor.spin_once(timeout_sec=0.05)


def main() -> None:
    """Measure every load and output, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--busy', default='0,1,2', help='numbers of other programs (0,1,2)')
    parser.add_argument(
        '--outputs', nargs='+', choices=TOPICS, default=list(TOPICS), help='what is subscribed'
    )
    parser.add_argument('--seconds', type=float, default=15.0, help='of one run (15)')
    parser.add_argument('--size', default='640x480', metavar='WxH', help='of the images (640x480)')
    parser.add_argument('--rate', type=float, default=30.0, help='images per second (30)')
    parser.add_argument(
        '-p', dest='parameters', action='append', default=[], metavar='NAME:=VALUE',
        help='a parameter of the node, repeatable',
    )  # fmt: skip
    parser.add_argument('--output', type=Path, help='write the figures there as JSON')
    options = parser.parse_args()
    os.environ.pop('OMP_NUM_THREADS', None)  # the node chooses
    rclpy.init(args=[])
    node = Node('benchmark', use_global_arguments=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    changed = ' '.join(options.parameters) or 'defaults'
    print(
        f'{processor_name()}, {len(os.sched_getaffinity(0))} cores, {options.size} at '
        f'{options.rate:g} Hz, {changed}, load before the start {os.getloadavg()[0]:.1f}'
        f'\n\n{HEAD}'
    )
    rows = []
    for busy in map(int, options.busy.split(',')):
        for outputs in options.outputs:
            rows.append(measure(node, executor, busy, outputs, options))
            print(rows[-1].line(), flush=True)
    if options.output:
        text = json.dumps([asdict(row) for row in rows], indent=2)
        options.output.write_text(text + '\n', encoding='utf-8')
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    if CAMERA in sys.argv:
        camera(sys.argv[2], float(sys.argv[3]))
    elif LISTENER in sys.argv:
        listener(sys.argv[2:])
    else:
        main()
