# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Endurance test of the node under random disturbances.

The shipped recording loops in real time with /clock. Services are called and parameters changed
at random, camera_info is switched on and off, and the process of the node is stopped and
continued. With ``--faults`` impossible messages come, too. Checks: no exception in the log, no
growth of memory, open files and threads, no jump of the odometry within a session (each loop of
the recording begins a new session), every fault counted by the node.

    python benchmarks/soak.py --minutes 30 --faults --output benchmarks/results
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field
import math
import os
from pathlib import Path
import platform
import random
import signal
import sys
import tempfile
import threading
import time

import numpy as np
import torch

from mem3r_ros.cli.demo import sample_bag
from mem3r_ros.data.bag import Bag
from mem3r_ros.ros.replay.private_domain import claim_domain, enter_domain

enter_domain(claim_domain())  # before rclpy starts

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import PoseWithCovarianceStamped  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
import rclpy  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from mem3r_ros.ros.conversions import stamp_message, stamp_ns  # noqa: E402
from mem3r_ros.ros.replay.bag_player import CameraTopics, find_topics  # noqa: E402
from mem3r_ros.ros.replay.node_process import NodeProcess  # noqa: E402

SERVICES = ('reset', 'pause', 'resume', 'save_state', 'load_state', 'save_trajectory', 'save_map')
CHANGES = (
    ('tracking.update_rule', ('cut3r', 'ttt3r', 'ttsa3r', 'memix', 'filt3r')),
    ('tracking.cloud.stride', (1, 2, 4)),
    ('tracking.cloud.edge_ratio', (0.0, 0.1)),
    ('tracking.depth.min_confidence', (1.0, 1.5)),
    ('tracking.reset_interval', (0, 40)),
    ('depth.invalid_value', ('rep117', 'zero')),
    ('publish_points', (True, False)),
    ('publish_depth', (True, False)),
    ('map.accumulate', ('always', 'subscribed', 'never')),
    ('path.rate', (0.5, 5.0)),
    ('tracking.health.max_turn_rate', (-1.0,)),  # refused, with a reason
)
# The recording moves slower than this; the node does not know it. What does more has jumped.
MAX_SPEED = 3.0  # m/s
MAX_STEP_M = 0.3
MAX_GROWTH_MIB = 60.0
MAX_GROWTH_HANDLES = 10
FAULTS = ('image', 'image stamp', 'camera_info', 'mask', 'wheel_odom', 'pose_hint')
MIB = 2**20


@dataclass
class Observed:
    """What the checks at the end look at."""

    num_odom: int = 0
    num_messages: Counter = field(default_factory=Counter)
    states: Counter = field(default_factory=Counter)
    jumps: list[str] = field(default_factory=list)
    largest_step_m: float = 0.0
    intervals_s: list[float] = field(default_factory=list)  # between two poses
    sessions: set[int] = field(default_factory=set)
    memory: list[tuple[float, float]] = field(default_factory=list)  # minutes, MiB
    handles: list[int] = field(default_factory=list)  # open files of the node
    threads: list[int] = field(default_factory=list)  # of the node
    faults: Counter = field(default_factory=Counter)  # sent
    images: str = ''  # newest balance in /diagnostics
    refused: dict[str, str] = field(default_factory=dict)  # newest counts in /diagnostics
    actions: Counter = field(default_factory=Counter)
    load: list[float] = field(default_factory=list)  # of the machine
    last: tuple[int, np.ndarray] | None = None  # stamp, position


class Soak:
    """The camera, the vandal and the observer, all in one process beside the node's."""

    def __init__(
        self, node: Node, process: NodeProcess, topics: CameraTopics, has_faults: bool
    ) -> None:
        self.node = node
        self.process = process
        self.topics = topics
        self.seen = Observed()
        self.random = random.Random(0)
        self.sends_info = True
        self.has_faults = has_faults
        self.is_over = threading.Event()
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        create = node.create_subscription
        create(Odometry, 'odom', self._on_odom, 10)
        create(DiagnosticArray, 'status', self._on_status, latched)
        create(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        for kind, topic in (
            (Image, 'depth/image'),
            (PointCloud2, 'points'),
            (PointCloud2, 'map/points'),
        ):
            create(kind, topic, lambda _, t=topic: self.seen.num_messages.update([t]), 10)
        self._image = node.create_publisher(CompressedImage, topics.image, 10)
        self._info = node.create_publisher(CameraInfo, topics.info, 10)
        self._clock = node.create_publisher(Clock, '/clock', 10)
        self._mask = node.create_publisher(Image, 'mask', 10)
        self._wheel = node.create_publisher(Odometry, 'wheel_odom', 10)
        self._hint = node.create_publisher(PoseWithCovarianceStamped, 'pose_hint', 10)
        self._services = {n: node.create_client(Trigger, f'mem3r/{n}') for n in SERVICES}
        self._set = node.create_client(SetParameters, 'mem3r/set_parameters')

    def _on_status(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.seen.sessions.add(int(values['session']))
        self.seen.states.update([values['state']])

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the newest counts of the node."""
        for status in message.status:
            if status.name == 'mem3r: input':
                values = {pair.key: pair.value for pair in status.values}
                self.seen.images = values.get('images', '')
                self.seen.refused = {k: v for k, v in values.items() if k.startswith('refused.')}

    def _on_odom(self, message: Odometry) -> None:
        """Compare each position with the one before, within a session of increasing stamps."""
        p = message.pose.pose.position
        stamp, position = stamp_ns(message.header.stamp), np.array([p.x, p.y, p.z])
        self.seen.num_odom += 1
        if not np.isfinite(position).all():
            self.seen.jumps.append(f'not finite at {stamp}')
        if self.seen.last is not None and stamp > self.seen.last[0]:
            step_m = float(np.linalg.norm(position - self.seen.last[1]))
            elapsed_s = (stamp - self.seen.last[0]) * 1e-9
            self.seen.largest_step_m = max(self.seen.largest_step_m, step_m)
            self.seen.intervals_s.append(elapsed_s)
            if step_m > MAX_STEP_M + MAX_SPEED * elapsed_s:
                self.seen.jumps.append(f'{step_m:.2f} m in {elapsed_s:.2f} s at {stamp}')
        self.seen.last = stamp, position

    def play(self, path: Path) -> None:
        """Loop the recording in real time until the end."""
        while not self.is_over.is_set():
            with Bag(path) as bag:
                first_ns, started_s = None, time.monotonic()
                for message in bag.messages(self.topics.image, self.topics.info):
                    first_ns = message.stamp_ns if first_ns is None else first_ns
                    due_s = started_s + (message.stamp_ns - first_ns) * 1e-9
                    if self.is_over.wait(max(0.0, due_s - time.monotonic())):
                        return
                    self._clock.publish(Clock(clock=stamp_message(message.stamp_ns)))
                    if message.topic == self.topics.image:
                        self._image.publish(message.data)
                    elif self.sends_info:
                        self._info.publish(message.data)

    def send_fault(self) -> None:
        """Publish one impossible message."""
        name = self.random.choice(FAULTS)
        number = self.random.choice((math.inf, -math.inf, math.nan, 1e300, 1e12))
        if name.startswith('image'):
            message = CompressedImage(format='jpeg', data=self.random.randbytes(200))
            if name == 'image stamp':
                message.header.stamp.sec = 2**31 - 1
            self._image.publish(message)
        elif name == 'camera_info':
            self._info.publish(CameraInfo(width=64, height=48, k=[number] * 9))
        elif name == 'mask':
            self._mask.publish(Image(encoding='rgb8', width=2**32 - 1))
        elif name == 'wheel_odom':
            wheel = Odometry()
            wheel.pose.pose.position.x = number
            self._wheel.publish(wheel)
        else:
            hint = PoseWithCovarianceStamped()
            hint.pose.pose.position.y = number
            self._hint.publish(hint)
        self.seen.faults[name] += 1

    def disturb(self) -> None:
        """Do one random thing."""
        if self.has_faults:
            self.send_fault()
        choice = self.random.random()
        if choice < 0.45:
            name = self.random.choice(SERVICES)
            self._services[name].call_async(Trigger.Request())
            self.seen.actions[name] += 1
            if name == 'pause':
                time.sleep(0.5)
                self._services['resume'].call_async(Trigger.Request())
        elif choice < 0.8:
            name, values = self.random.choice(CHANGES)
            parameter = Parameter(name, value=self.random.choice(values))
            request = SetParameters.Request(parameters=[parameter.to_parameter_msg()])
            self._set.call_async(request)
            self.seen.actions['parameter'] += 1
        elif choice < 0.9:
            self.sends_info = not self.sends_info
            self.seen.actions['camera_info'] += 1
        else:
            pid = self.process.pid
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self.random.uniform(0.2, 3.0))
            os.kill(pid, signal.SIGCONT)
            self.seen.actions['stop and continue'] += 1

    def measure(self, minutes: float) -> None:
        """Note the resident memory of the node, its open files and its threads."""
        process = Path(f'/proc/{self.process.pid}')
        self.seen.handles.append(len(list((process / 'fd').iterdir())))
        self.seen.threads.append(len(list((process / 'task').iterdir())))
        pages = int(Path(f'/proc/{self.process.pid}/statm').read_text().split()[1])
        self.seen.memory.append((minutes, pages * os.sysconf('SC_PAGE_SIZE') / MIB))
        self.seen.load.append(os.getloadavg()[0])


def verdict(seen: Observed, log: str) -> list[str]:
    """Return what is wrong; nothing is the hoped-for answer."""
    wrong = [f'odometry jumped: {jump}' for jump in seen.jumps[:5]]
    wrong += [
        f'log: {line}' for line in log.splitlines() if 'Traceback' in line or 'Error' in line
    ]
    # The first quarter fills caches, the map and the path to their bounds.
    settled = seen.memory[len(seen.memory) // 4 :]
    if len(settled) >= 4:
        half = len(settled) // 2
        before = float(np.median([mib for _, mib in settled[:half]]))
        after = float(np.median([mib for _, mib in settled[half:]]))
        if after - before > MAX_GROWTH_MIB:
            wrong.append(f'memory grew from {before:.0f} to {after:.0f} MiB')
    for name, counts in (('open files', seen.handles), ('threads', seen.threads)):
        settled = counts[len(counts) // 4 :]
        half = len(settled) // 2
        if (
            half >= 2
            and np.median(settled[half:]) - np.median(settled[:half]) > MAX_GROWTH_HANDLES
        ):
            wrong.append(f'{name} grew to {counts[-1]}')
    for name in set(seen.faults) - {'image', 'image stamp'}:
        if f'refused.{name}' not in seen.refused:
            wrong.append(f'{seen.faults[name]} faults of {name}: none is counted by the node')
    if not seen.num_odom:
        wrong.append('no odometry came')
    return wrong


def summary(seen: Observed, minutes: float, wrong: list[str]) -> list[str]:
    """Tell what was seen, one line each."""
    fifths = np.array_split([mib for _, mib in seen.memory], 5)
    memory = ', '.join(f'{np.median(part):.0f}' for part in fifths if len(part))
    intervals_ms = 1e3 * np.array(seen.intervals_s or [np.nan])
    return [
        f'{minutes:g} min, {seen.num_odom} poses, {len(seen.sessions)} sessions',
        f'messages: {_counts(seen.num_messages)}',
        f'disturbances: {_counts(seen.actions)}',
        f'status: {_counts(seen.states)}',
        f'interval of poses: median {np.median(intervals_ms):.0f} ms, '
        f'99 % {np.percentile(intervals_ms, 99):.0f} ms, longest {intervals_ms.max():.0f} ms',
        f'largest step of odometry: {seen.largest_step_m:.2f} m',
        f'memory, median of each fifth of the time: {memory} MiB',
        f'open files: {_range(seen.handles)}; threads: {_range(seen.threads)}',
        f'faults sent: {_counts(seen.faults) or "none"}',
        f'images by the node: {seen.images}',
        f'refused by the node: {_counts(Counter(seen.refused)) or "nothing"}',
        f'load of the machine: median {np.median(seen.load or [np.nan]):.1f}',
        *(f'wrong: {line}' for line in wrong),
        'FAILED' if wrong else 'passed',
    ]


def _counts(counter: Counter) -> str:
    return ', '.join(f'{name} {number}' for name, number in sorted(counter.items()))


def _range(counts: list[int]) -> str:
    return f'{min(counts)} to {max(counts)}, last {counts[-1]}' if counts else 'unknown'


def write_results(lines: list[str], command: str, folder: Path) -> None:
    """Keep the summary as ``soak.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = [
        '# Endurance test of the node',
        '',
        f'Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, '
        f'{os.cpu_count()} cores. Made by `{command}`.',
        '',
        *(f'- {line}' for line in lines),
        '',
    ]
    (folder / 'soak.md').write_text('\n'.join(text), encoding='utf-8')


def run(
    minutes: float, model: str, pause_s: float, folder: Path, has_faults: bool
) -> tuple[Observed, int]:
    """Disturb a node for so long; return what was seen and its exit code."""
    path = sample_bag()
    topics = find_topics(path, None, 'base_link')
    parameters = {
        'model': model,
        'autostart': False,
        'use_sim_time': True,
        'image_transport': 'compressed',
        'mount': 'standalone',
        'output_directory': str(folder),
        'num_threads': 1,
    }
    node = Node('soak', use_global_arguments=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    remappings = {'image/compressed': topics.image, 'camera_info': topics.info}
    with NodeProcess(parameters, remappings, folder / 'node.log') as process:
        process.activate(node, executor)
        soak = Soak(node, process, topics, has_faults)
        threading.Thread(target=soak.play, args=(path,), daemon=True).start()
        threading.Thread(target=executor.spin, daemon=True).start()
        started_s = time.monotonic()
        while (passed := (time.monotonic() - started_s) / 60.0) < minutes:
            time.sleep(pause_s)
            soak.disturb()
            process.check()
            soak.measure(passed)
        soak.is_over.set()
        time.sleep(1.0)
        code = process.stop()
    executor.shutdown()
    return soak.seen, code


def main() -> int:
    """Run, print what was seen, and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description='Run the node under stress and watch it.')
    parser.add_argument('--minutes', type=float, default=30.0)
    parser.add_argument('--model', default='mem3r-tiny')
    parser.add_argument('--pause', type=float, default=1.5, help='s between disturbances')
    parser.add_argument('--faults', action='store_true', help='send impossible messages, too')
    parser.add_argument('--output', type=Path, help='folder for soak.md')
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix='mem3r_soak_'))
    rclpy.init(args=[])
    seen, code = run(args.minutes, args.model, args.pause, folder, args.faults)
    wrong = verdict(seen, (folder / 'node.log').read_text())
    if code != 0:
        wrong.append(f'the node ended with code {code}')
    lines = summary(seen, args.minutes, wrong)
    print('\n'.join([*lines, f'log: {folder / "node.log"}']))
    if args.output is not None:
        write_results(lines, 'python ' + ' '.join(sys.argv), args.output)
    return int(bool(wrong))


if __name__ == '__main__':
    sys.exit(main())
