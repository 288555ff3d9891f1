# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The node as a child process: start, lifecycle transitions, stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.task import Future

from mem3r_ros.child_process import end_with_parent
from mem3r_ros.errors import UserError
from mem3r_ros.ros.parameters import yaml_value

NODE_NAME = 'mem3r'
LOG_FILE = 'node.log'
_START_S = 60.0
# A full-size network on a slow disk takes long to load and to run once.
_CONFIGURE_S = 600.0
_REPEAT_S = 3.0  # without an answer the state is requested at this interval
_STOP_S = 10.0
_SHOWN_LINES = 6


class NodeFailed(UserError):
    """The process of the node ended or does not answer."""

    def __init__(self, message: str, last_lines: tuple[str, ...] = ()) -> None:
        """Keep the last lines of the log with the message."""
        super().__init__(message)
        self.last_lines = last_lines


class NodeProcess:
    """Runs ``mem3r_ros.ros.node`` with parameters; use it in a ``with`` statement."""

    _log_copy: Path | None = None
    _is_log_needed = False

    def __init__(
        self,
        parameters: Mapping[str, object],
        remappings: Mapping[str, str],
        log_file: Path | None = None,
        params_file: Path | None = None,
    ) -> None:
        """
        Start the process.

        :param parameters: dotted names and values; they override the file.
        :param remappings: topic names.
        :param log_file: receives the output of the process; default: a temporary file.
        :param params_file: ROS parameter file.
        """
        self._is_log_temporary = log_file is None
        self.log_file = log_file or Path(tempfile.mkdtemp(prefix='mem3r_node_'), LOG_FILE)
        command = [sys.executable, '-m', 'mem3r_ros.ros.node', '--ros-args']
        if params_file is not None:
            command += ['--params-file', str(params_file)]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={yaml_value(value)}']
        for name, target in remappings.items():
            command += ['-r', f'{name}:={target}']
        with open(self.log_file, 'wb') as log:
            # A new session: Ctrl-C at the terminal must reach this process first.
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )

    def __enter__(self) -> NodeProcess:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process; a temporary log stays only if an error has named it."""
        self.stop()
        self._copy_log()
        if self._is_log_temporary and not self._is_log_needed:
            shutil.rmtree(self.log_file.parent, ignore_errors=True)

    def copy_log_to(self, file: Path) -> None:
        """Write the log to another file as well, now and when the process ends."""
        self._log_copy = file
        self._copy_log()

    def _copy_log(self) -> None:
        if self._log_copy is not None:
            shutil.copyfile(self.log_file, self._log_copy)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def activate(self, node: Node, executor: Executor) -> None:
        """
        Configure and activate the node, as a lifecycle manager does.

        :param node: calls the services.
        :param executor: spins ``node``.
        :raises NodeFailed: a transition failed, or the process ended.
        """
        manager = LifecycleManager(node, executor, NODE_NAME)
        try:
            deadline = time.monotonic() + _START_S
            while not manager.is_ready():
                self.check()
                if time.monotonic() > deadline:
                    raise self.failure('the node did not start')
                manager.spin_once()
            self._change_state(manager, 'configure', 'unconfigured', 'inactive')
            self._change_state(manager, 'activate', 'inactive', 'active')
        finally:
            manager.close()

    def _change_state(self, manager: LifecycleManager, name: str, start: str, goal: str) -> None:
        """
        Request a transition; repeat the request if it or its answer was lost.

        The middleware drops an answer if the node has not yet discovered the reader of it, as on a
        busy machine. Therefore the state is requested as well.
        """
        deadline = time.monotonic() + _CONFIGURE_S
        answers = [manager.request(name)]
        state, ask_s = None, time.monotonic() + _REPEAT_S
        while time.monotonic() < deadline:
            manager.spin_once()
            self.check()
            results = [answer.result().success for answer in answers if answer.done()]
            if any(results):
                return
            if results and len(answers) == 1:
                raise self.failure(f'the node cannot {name}')
            if state is not None and state.done():
                label, state = state.result().current_state.label, None
                if label == goal:
                    return
                if label == start and results:
                    raise self.failure(f'the node cannot {name}')
                if label == start:
                    answers.append(manager.request(name))
            if time.monotonic() > ask_s:
                state, ask_s = manager.request_state(), time.monotonic() + _REPEAT_S
        raise self.failure(f'the node did not answer to {name}')

    def check(self) -> None:
        """Raise NodeFailed if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise self.failure(f'the node ended with code {code}')

    def failure(self, what: str) -> NodeFailed:
        """Return an error with the cause and the last error in the log of the node."""
        text = self.log_file.read_text(encoding='utf-8', errors='replace')
        lines = [line for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if '[ERROR]' in line or line.startswith('error:')]
        if errors:
            # The node has reported the cause in one sentence.
            sentence = errors[-1].rpartition(f'[{NODE_NAME}]: ')[2].removeprefix('error: ')
            return NodeFailed(f'{what}: {sentence}')
        self._is_log_needed = self._log_copy is None
        log_file = self._log_copy or self.log_file
        return NodeFailed(f'{what}; its log is {log_file}', tuple(lines[-_SHOWN_LINES:]))

    def stop(self) -> int:
        """End the process, first by SIGINT, and return its exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                continue
        # A process blocked in a system call does not end even on SIGKILL: do not wait for it.
        code = self._process.poll()
        return -signal.SIGKILL if code is None else code


class LifecycleManager:
    """Clients of the lifecycle services of a node."""

    def __init__(self, node: Node, executor: Executor, name: str) -> None:
        """
        Create the clients.

        :param node: owner of the clients.
        :param executor: spins ``node``.
        :param name: name of the managed node.
        """
        self._node = node
        self._executor = executor
        self._change = node.create_client(ChangeState, f'{name}/change_state')
        self._get = node.create_client(GetState, f'{name}/get_state')

    def is_ready(self) -> bool:
        """Return whether the services are discovered."""
        return self._change.service_is_ready() and self._get.service_is_ready()

    def spin_once(self) -> None:
        """Run the callbacks of the node for a moment."""
        self._executor.spin_once(timeout_sec=0.05)

    def request(self, transition: str) -> Future:
        """Request a transition and return the future of its answer."""
        number = getattr(Transition, f'TRANSITION_{transition.upper()}')
        return self._change.call_async(ChangeState.Request(transition=Transition(id=number)))

    def request_state(self) -> Future:
        """Request the state and return the future of it."""
        return self._get.call_async(GetState.Request())

    def close(self) -> None:
        """Destroy the clients."""
        self._node.destroy_client(self._change)
        self._node.destroy_client(self._get)
