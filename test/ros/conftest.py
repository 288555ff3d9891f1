# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A ROS domain for each test process, so tests do not receive messages of each other."""

from collections.abc import Callable, Iterator
import fcntl
import importlib.util
import os
from pathlib import Path
import tempfile
import time
from typing import Any

import pytest

HAS_ROS = importlib.util.find_spec('rclpy') is not None
FIRST_DOMAIN, LAST_DOMAIN = 60, 100  # ports of higher ones overlap those of outgoing connections


class _NeedsRos(pytest.Module):
    """A test module that is shown as skipped, unread, because ROS is missing."""

    def collect(self):
        pytest.skip('needs ROS 2: rclpy is not installed', allow_module_level=True)


if not HAS_ROS:

    def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector):
        """Show each module of this folder as skipped where ROS is missing."""
        return _NeedsRos.from_parent(parent, path=module_path)


def _claim_domain() -> int:
    """Take a domain that no other test process of this machine holds; it ends with the process."""
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').lstrip('gw'))
    count = LAST_DOMAIN - FIRST_DOMAIN + 1
    for offset in range(count):
        domain = FIRST_DOMAIN + (worker + offset) % count
        path = Path(tempfile.gettempdir(), f'mem3r_ros_test_domain_{domain}.lock')
        try:
            lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        return domain
    raise RuntimeError(f'all ROS domains from {FIRST_DOMAIN} to {LAST_DOMAIN} are in use')


@pytest.fixture(scope='session')
def ros_domain() -> Iterator[int]:
    """Return the domain of this test process; child processes inherit it by the environment."""
    domain = _claim_domain()
    before = {name: os.environ.get(name) for name in ('ROS_DOMAIN_ID', 'ROS_LOCALHOST_ONLY')}
    os.environ.pop('ROS_LOCALHOST_ONLY', None)
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    yield domain
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture
def ros_context(ros_domain: int) -> Iterator[Any]:
    """Return a private, initialised rclpy context; nothing in it outlives the test."""
    import rclpy
    from rclpy.context import Context

    from mem3r_ros.ros.garbage import collect_and_freeze

    # A node of the test before that a reference cycle keeps alive would still answer for its name.
    collect_and_freeze()
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield context
    rclpy.try_shutdown(context=context)
    context.destroy()


@pytest.fixture
def ros_executor(ros_context: Any) -> Iterator[Any]:
    """Return a single-threaded executor of the private context."""
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor(context=ros_context)
    yield executor
    executor.shutdown()


@pytest.fixture
def make_node(ros_context: Any, ros_executor: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a node of the private context and hands it to the executor."""
    from rclpy.node import Node

    nodes = []

    def make(name: str, **options: Any) -> Any:
        node = Node(name, context=ros_context, **options)
        ros_executor.add_node(node)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        ros_executor.remove_node(node)
        node.destroy_node()


@pytest.fixture
def spin_until(ros_executor: Any) -> Callable[..., bool]:
    """Return a function that spins until a condition holds; False when it never did."""

    def spin(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            ros_executor.spin_once(timeout_sec=0.05)
        return True

    return spin


@pytest.fixture(scope='session')
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small network with random weights as a file."""
    from node_harness import save_small_model

    return save_small_model(tmp_path_factory.mktemp('model') / 'small.safetensors')


@pytest.fixture
def start_node(ros_context: Any, model_file: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that runs the node in this process; see ``node_harness.RunningNode``."""
    from node_harness import RunningNode

    running = []

    def start(
        *, remappings: tuple[str, ...] = (), options: dict[str, Any] | None = None, **parameters
    ) -> Any:
        settings = {
            'model': str(model_file),
            'warm_up_size': [0, 0],
            'input_policy': 'all',
            'mount': 'standalone',
            'input.camera_info_wait': 0.0,
            'autostart': True,
        }
        settings.update({name.replace('__', '.'): value for name, value in parameters.items()})
        node = RunningNode(ros_context, settings, remappings, **(options or {}))
        running.append(node)
        if settings['autostart']:
            node.node.start_by_itself()
        return node.node

    yield start
    while running:
        running.pop().stop()


@pytest.fixture
def camera(make_node: Callable[..., Any]) -> Any:
    """Return a camera that publishes small pictures."""
    from node_harness import Camera

    return Camera(make_node('test_camera'))


@pytest.fixture
def listener(make_node: Callable[..., Any]) -> Any:
    """Return somebody who keeps all messages."""
    from node_harness import Listener

    return Listener(make_node('test_listener'))


@pytest.fixture
def running(start_node, camera, listener, spin_until):
    """Return a function that starts a node, and returns it with a function that sends images."""
    from node_harness import values_of

    def start(**parameters):
        node = start_node(**parameters)
        statuses = listener.subscribe_status()
        assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

        def send(count=1):
            for _ in range(count):
                answered = len(statuses)
                camera.send()
                assert spin_until(lambda before=answered: len(statuses) > before)
            return values_of(statuses[-1])

        return node, send

    return start
