# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Threads: one that takes items out of a mailbox, commands in between; and the executor's."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
import threading
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor

from mem3r_ros.errors import UserError
from mem3r_ros.ros.frame_result import Command
from mem3r_ros.ros.mailbox import Mailbox


def spin(executor: Executor) -> None:
    """
    Spin until the executor is shut down.

    A transition takes subscriptions and publishers away in one thread while another looks whether
    their events are ready. rclpy lets that out of its loop, which would end the node.
    """
    while True:
        try:
            return executor.spin()
        except InvalidHandle:
            continue


class MailThread:
    """
    Owns whatever its handler touches: all access goes through ``mailbox`` or ``call``.

    An exception of the handler ends neither the thread nor the node; it is reported.
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

        :param name: for debuggers.
        :param mailbox: where its items come from; closing it ends the thread.
        :param handle: called with each item.
        :param on_error: called with what ``handle`` raised.
        """
        self.mailbox = mailbox
        self._handle = handle
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start to work."""
        self._thread.start()

    def call(self, action: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """
        Run ``action`` on this thread between two items and return its result.

        :param action: no arguments; its exceptions are raised here.
        :param timeout_s: how long to wait for the answer.
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
        """Close the mailbox, finish what is inside, and tell whether the thread has ended."""
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
