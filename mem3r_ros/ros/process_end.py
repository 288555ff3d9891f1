# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Ends the process on SIGINT and SIGTERM: without a traceback and within a time limit."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import NoReturn

from mem3r_ros.ros.garbage import collect_and_freeze

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# ros2 launch sends SIGTERM 5 s after SIGINT, and SIGKILL 5 s later.
_CLOSE_LIMIT_S = 4.0


class SignalWatcher:
    """
    Waits for SIGINT and SIGTERM on its own thread.

    The signals are blocked in all other threads. No code is interrupted by a KeyboardInterrupt,
    no matter when and how often a signal arrives, and the ROS context stays valid until the node
    is closed. Create it on the main thread before the slow imports.
    """

    def __init__(self) -> None:
        """Block the signals and start the thread."""
        self.stop_requested = threading.Event()
        self._can_close = False
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=self._watch, name='signals', daemon=True).start()

    def is_running(self) -> bool:
        """Return whether no signal has arrived yet."""
        return not self.stop_requested.is_set()

    def close_on_signal(self) -> None:
        """From now on the main thread closes the node on a signal; before, the process exits."""
        self._can_close = True

    def _watch(self) -> None:
        signal.sigwait(_SIGNALS)
        self.stop_requested.set()
        if self._can_close:
            threading.Event().wait(_CLOSE_LIMIT_S)
            print('the node did not close in time; the process exits', file=sys.stderr)
        leave(0)


def release_middleware() -> None:
    """
    Free the ROS entities that only each other refer to.

    Call it after the context is shut down, with no reference to nodes and executors left. While an
    entity lives, the middleware keeps its shared memory, and :func:`leave` would let it stay in
    /dev/shm.
    """
    collect_and_freeze()


def leave(code: int) -> NoReturn:
    """
    Exit at once, without finalising the interpreter.

    Threads of the middleware and of torch can block the finalisation; nothing is left to save.

    :param code: exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # closed, or its reader has ended
    os._exit(code)
