# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Calls that run on another thread, or where their result is needed if they have not begun."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

from mem3r_ros.threads import usable_cores

Result = TypeVar('Result')
_MAX_THREADS = 2


class Job(Generic[Result]):
    """One call."""

    def __init__(self, threads: ThreadPoolExecutor, call: Callable[[], Result]) -> None:
        """Put the call in the queue of the threads."""
        self._call = call
        self._future = threads.submit(call)

    def result(self) -> Result:
        """Return the result; on a busy machine the call may run here, once."""
        return self._call() if self._future.cancel() else self._future.result()


class HelperThreads:
    """Threads for parts of a frame, on the cores that the calling thread does not use."""

    def __init__(self) -> None:
        """Start the threads with the first call."""
        number = min(_MAX_THREADS, max(1, usable_cores() - 1))
        self._threads = ThreadPoolExecutor(number, 'helper')

    def start(self, function: Callable[..., Result], *arguments: Any) -> Job[Result]:
        """
        Start a call; calls begin in this order.

        :param function: changes nothing that another thread uses meanwhile; its exception is
            raised by :meth:`Job.result`.
        """
        return Job(self._threads, partial(function, *arguments))
