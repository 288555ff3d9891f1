# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Cost of publishing for the thread that runs the network.

A worker computes a fixed number of matrix products per frame and publishes a 640x480 depth image
and the full cloud of 307,200 points; a subscriber in another process receives both. Prints the
additional time of the worker compared with no subscriber, and the time of the publishing thread.

    python benchmarks/publish.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
import subprocess
import sys
import time

import numpy as np
import torch

from mem3r_ros.ros.replay.private_domain import claim_domain, enter_domain

LISTEN = '--listen'
if LISTEN not in sys.argv:
    enter_domain(claim_domain())  # before rclpy starts; the listener inherits it

import rclpy  # noqa: E402
from rclpy.executors import ExternalShutdownException  # noqa: E402
from rclpy.lifecycle import LifecycleNode  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import Image, PointCloud2  # noqa: E402

from mem3r_ros.camera import Intrinsics  # noqa: E402
from mem3r_ros.geometry import T_FLU_OPTICAL  # noqa: E402
from mem3r_ros.ros.frame_result import FrameResult  # noqa: E402
from mem3r_ros.ros.frame_statistics import FrameCounts, StageTimes  # noqa: E402
from mem3r_ros.ros.mailbox import Mailbox  # noqa: E402
from mem3r_ros.ros.node_config import NodeConfig  # noqa: E402
from mem3r_ros.ros.publishers import Publishers  # noqa: E402
from mem3r_ros.ros.result_publisher import ResultPublisher  # noqa: E402
from mem3r_ros.ros.transforms import Transforms  # noqa: E402
from mem3r_ros.ros.worker_thread import WorkerThread  # noqa: E402
from mem3r_ros.tracker import Status, TrackedFrame  # noqa: E402

WIDTH, HEIGHT = 640, 480
BUDGET_MS = 5.0


def frame(stamp_ns: int) -> TrackedFrame:
    """Return a result with everything in full size."""
    camera = Intrinsics(500.0, 500.0, 319.5, 239.5, WIDTH, HEIGHT)
    depth = np.random.default_rng(0).uniform(1.0, 5.0, (HEIGHT, WIDTH)).astype(np.float32)
    points = (camera.rays() * depth[..., None]).reshape(-1, 3)
    return TrackedFrame(
        stamp_ns=stamp_ns,
        T_odom_camera=np.array(T_FLU_OPTICAL),
        covariance=np.eye(6),
        twist=np.zeros(6),
        twist_covariance=np.eye(6),
        status=Status.TRACKING,
        depth=depth,
        intrinsics=camera,
        points=points,
        colours=np.full((len(points), 3), 128, np.uint8),
        weights=np.ones(len(points), np.float32),
        confidence=depth,
    )


@dataclass
class Timed:
    """Milliseconds of each frame."""

    work: np.ndarray  # of the worker, all in all
    hand_over: np.ndarray  # in the call that hands the result over
    processor: np.ndarray  # of the worker's thread on a core, all in all


def run(
    send: Callable[[FrameResult], object],
    make: Callable[[int], FrameResult],
    num_frames: int,
    products: int,
    rest_s: float,
) -> Timed:
    """Work and hand over, frame by frame, on this thread."""
    a = torch.randn(256, 256)
    work, hand_over, processor = [], [], []
    for index in range(num_frames):
        result = make(index)
        started, on_core = time.perf_counter(), time.thread_time()
        for _ in range(products):
            a = torch.nn.functional.normalize(a @ a)
        before = time.perf_counter()
        send(result)
        ended = time.perf_counter()
        work.append(1e3 * (ended - started))
        hand_over.append(1e3 * (ended - before))
        processor.append(1e3 * (time.thread_time() - on_core))
        time.sleep(rest_s)
    return Timed(np.array(work), np.array(hand_over), np.array(processor))


def listen() -> None:
    """Take depth and points until the parent ends us."""
    rclpy.init()
    node = Node('benchmark_listener')
    for kind, topic in ((Image, 'depth/image'), (PointCloud2, 'points')):
        node.create_subscription(kind, topic, lambda message: None, 10)
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass  # terminated by the parent


def main() -> int:
    """Measure with and without a listener and print the difference."""
    parser = argparse.ArgumentParser(description='Measure what publishing costs the worker.')
    parser.add_argument('--frames', type=int, default=60)
    parser.add_argument('--products', type=int, default=40, help='matrix products per frame')
    parser.add_argument('--rest', type=float, default=0.03, help='s between two frames')
    args = parser.parse_args()
    torch.set_num_threads(1)
    rclpy.init(args=[])
    node = LifecycleNode('benchmark', use_global_arguments=False)
    config = NodeConfig(mount='standalone')
    publishers = Publishers(node, config)
    node.trigger_configure()
    node.trigger_activate()
    stage_times = StageTimes()
    output = ResultPublisher(
        config, publishers, Transforms(node, config), FrameCounts(), stage_times
    )
    thread = WorkerThread('publish', Mailbox(2, overwrite=False), output.handle, print)
    thread.start()
    template = frame(0)

    def make(index: int) -> FrameResult:
        return FrameResult(1 + index, 'camera_optical_frame', time.monotonic(), template)

    work = (thread.mailbox.put, make, args.frames, args.products, args.rest)
    run(*work)  # warm up
    alone = run(*work)
    listener = subprocess.Popen([sys.executable, __file__, LISTEN])
    try:
        while not (
            publishers.depth.get_subscription_count()
            and publishers.points.get_subscription_count()
        ):
            time.sleep(0.05)
        run(*work)
        heard = run(*work)
    finally:
        listener.terminate()
        listener.wait()
    thread.stop()
    median, high = stage_times.summary()['publish']
    print(f'{"ms a frame":<28}{"alone":>10}{"heard":>10}{"more":>10}')
    rows = (
        ('worker, median', alone.work, heard.work, 50),
        # Other programs on the machine only ever make it slower: the quiet frames tell most.
        ('worker, quietest tenth', alone.work, heard.work, 10),
        ('worker, on a core', alone.processor, heard.processor, 50),
        ('handing over', alone.hand_over, heard.hand_over, 50),
    )
    more = {}
    for name, before, after, percent in rows:
        first, second = np.percentile(before, percent), np.percentile(after, percent)
        more[name] = second - first
        print(f'{name:<28}{first:>10.2f}{second:>10.2f}{more[name]:>+10.2f}')
    print(f'publishing thread: {median:.1f} ms a frame (95th percentile {high:.1f})')
    # Wall times say as much about what else runs here; the verdict is about the thread itself.
    slower_ms = more['worker, on a core']
    print('within' if slower_ms < BUDGET_MS else 'OVER', f'the budget of {BUDGET_MS:g} ms')
    node.destroy_node()
    rclpy.try_shutdown()
    return int(slower_ms >= BUDGET_MS)


if __name__ == '__main__':
    sys.exit(listen() if LISTEN in sys.argv else main())
