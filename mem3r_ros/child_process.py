# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Child processes that do not outlive the program that started them."""

from __future__ import annotations

from collections.abc import Callable
import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # of prctl(2)
try:
    # Loaded here: between fork and exec, nothing may wait for a lock of another thread.
    _PRCTL = ctypes.CDLL(None).prctl
except (OSError, AttributeError):
    _PRCTL = None  # not Linux: a child goes on when its parent is killed


def end_with_parent() -> Callable[[], None]:
    """
    Return what ``subprocess`` calls in a child: Linux shall end it when this process ends.

    :return: the argument ``preexec_fn`` of a Popen.
    """
    parent = os.getpid()

    def request_end() -> None:
        if _PRCTL is None:
            return
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the request
            os._exit(1)

    return request_end
