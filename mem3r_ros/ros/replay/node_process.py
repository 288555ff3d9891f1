# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The node as a process of its own: started, watched, led through its lifecycle, stopped."""

from __future__ import annotations

from collections.abc import Mapping
import ctypes
from pathlib import Path
import signal
import subprocess
import sys
import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import Executor
from rclpy.node import Node

from mem3r_ros.errors import UserError
from mem3r_ros.ros.parameters import yaml_value

NODE_NAME = 'mem3r'
_START_S = 60.0
# A network of full size on a slow disk takes its time to load and to run once.
_CONFIGURE_S = 600.0
_STOP_S = 10.0
_PR_SET_PDEATHSIG = 1
_SHOWN_LINES = 6


class NodeFailed(UserError):
    """The node's process ended or fell silent."""

    def __init__(self, message: str, last_lines: tuple[str, ...] = ()) -> None:
        """Keep what the node said last beside the message."""
        super().__init__(message)
        self.last_lines = last_lines


def _end_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed, so that no node is left over."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        pass  # not Linux: only a killed replay would leave its node


class NodeProcess:
    """Runs ``mem3r_ros.ros.node`` with given parameters; use it in a ``with`` statement."""

    def __init__(
        self,
        parameters: Mapping[str, object],
        remappings: Mapping[str, str],
        log_file: Path,
        params_file: Path | None = None,
    ) -> None:
        """
        Start the process; it waits unconfigured.

        :param parameters: dotted names and values; they win over the file's.
        :param remappings: topic names.
        :param log_file: where everything goes that it says.
        :param params_file: ROS parameter file.
        """
        self.log_file = log_file
        command = [sys.executable, '-m', 'mem3r_ros.ros.node', '--ros-args']
        if params_file is not None:
            command += ['--params-file', str(params_file)]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={yaml_value(value)}']
        for name, target in remappings.items():
            command += ['-r', f'{name}:={target}']
        with open(log_file, 'wb') as log:
            # A session of its own: Ctrl-C at the terminal must not reach the node before us.
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def __enter__(self) -> NodeProcess:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process, whatever happened."""
        self.stop()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def activate(self, node: Node, executor: Executor) -> None:
        """
        Lead the node to its active state, as a lifecycle manager would.

        :param node: our own node, which calls its services.
        :param executor: spins ours.
        :raises NodeFailed: a transition failed, or the process ended.
        """
        client = node.create_client(ChangeState, f'{NODE_NAME}/change_state')
        try:
            deadline = time.monotonic() + _START_S
            while not client.service_is_ready():
                self.check()
                if time.monotonic() > deadline:
                    raise self.failure('the node did not start')
                time.sleep(0.02)
            steps = (
                (Transition.TRANSITION_CONFIGURE, 'configure'),
                (Transition.TRANSITION_ACTIVATE, 'activate'),
            )
            for transition, name in steps:
                request = ChangeState.Request(transition=Transition(id=transition))
                future = client.call_async(request)
                deadline = time.monotonic() + _CONFIGURE_S
                while not future.done():
                    executor.spin_once(timeout_sec=0.05)
                    self.check()
                    if time.monotonic() > deadline:
                        raise self.failure(f'the node did not answer to {name}')
                if not future.result().success:
                    raise self.failure(f'the node cannot {name}')
        finally:
            node.destroy_client(client)

    def check(self) -> None:
        """Raise NodeFailed if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise self.failure(f'the node ended with code {code}')

    def failure(self, what: str) -> NodeFailed:
        """Return the error that says what happened and what the node said last."""
        text = self.log_file.read_text(encoding='utf-8', errors='replace')
        lines = [line for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if '[ERROR]' in line or line.startswith('error:')]
        if errors:
            # One sentence is enough where the node itself knows what is wrong.
            sentence = errors[-1].rpartition(f'[{NODE_NAME}]: ')[2].removeprefix('error: ')
            return NodeFailed(f'{what}: {sentence}')
        return NodeFailed(f'{what}; its log is {self.log_file}', tuple(lines[-_SHOWN_LINES:]))

    def stop(self) -> int:
        """End the process, politely first, and return its exit code."""
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(how)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                continue
        return self._process.wait()
