# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A thread that handles the items of a mailbox and runs commands between them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
import threading
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException

from mem3r_ros.errors import UserError
from mem3r_ros.ros.mailbox import Mailbox


def spin(executor: Executor, on_error: Callable[[Exception], None]) -> None:
    """
    Spin until the executor is shut down; an exception of a callback does not end it.

    :param executor: spins the callbacks of the node.
    :param on_error: called with each exception of a callback.
    """
    while True:
        try:
            return executor.spin()
        except ExternalShutdownException:
            return
        except InvalidHandle:
            # A transition destroyed a subscription while another thread checked if it is ready.
            continue
        except Exception as error:
            on_error(error)


@dataclass(slots=True)
class Command:
    """An action to run between two items, and the future of its result."""

    action: Callable[[], Any]
    answer: Future = field(default_factory=Future)

    def run(self) -> None:
        """Run the action; its exception is passed to the caller."""
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self.action())
        except Exception as error:  # passed on, not swallowed
            self.answer.set_exception(error)


class WorkerThread:
    """
    Owns the objects that its handler uses: all access goes through ``mailbox`` or ``call``.

    An exception of the handler is reported; it ends neither the thread nor the node.
    """

    def __init__(
        self,
        name: str,
        mailbox: Mailbox,
        handle: Callable[[Any], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """
        Prepare the thread; ``start`` starts it.

        :param name: shown by debuggers.
        :param mailbox: source of the items; closing it ends the thread.
        :param handle: called with each item.
        :param on_error: called with each exception of ``handle``.
        """
        self.mailbox = mailbox
        self._handle = handle
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call(self, action: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """
        Run ``action`` on this thread between two items and return its result.

        :param action: takes no arguments; its exceptions are raised here.
        :param timeout_s: longest wait for the result.
        :raises UserError: the thread has ended or did not answer in time.
        """
        if threading.current_thread() is self._thread:
            return action()
        command = Command(action)
        if not self.mailbox.put_urgent(command):
            raise UserError('the node is not active; activate it first')
        try:
            return command.answer.result(timeout_s)
        except TimeoutError as error:
            raise UserError(f'no answer within {timeout_s:.0f} s; the node is busy') from error

    def post(self, action: Callable[[], Any]) -> None:
        """Run ``action`` on this thread between two items, without waiting for it."""
        command = Command(action)
        command.answer.add_done_callback(self._report)
        self.mailbox.put_urgent(command)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """
        Close the mailbox and wait until the remaining items are handled.

        :param timeout_s: longest wait.
        :return: whether the thread has ended.
        """
        self.mailbox.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _report(self, answer: Future) -> None:
        if not answer.cancelled() and isinstance(error := answer.exception(), Exception):
            self._on_error(error)

    def _run(self) -> None:
        while (item := self.mailbox.get()) is not None:
            if isinstance(item, Command):
                item.run()
                continue
            try:
                self._handle(item)
            except Exception as error:  # one bad frame must not end the node
                self._on_error(error)
