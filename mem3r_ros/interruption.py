# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C takes effect between two results, not in the middle of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import signal
import threading
from types import FrameType


@contextmanager
def uninterrupted() -> Iterator[None]:
    """
    Run a block to its end when Ctrl-C is pressed in it, and raise the interrupt behind it.

    A second Ctrl-C interrupts the block at once. Python runs signal handlers in the main thread
    alone, so nothing changes in another one; nor where the program ignores Ctrl-C.

    :raises KeyboardInterrupt: Ctrl-C was pressed in the block.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if is_main else None
    if not callable(before):
        yield
        return
    is_interrupted = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal is_interrupted
        if is_interrupted:
            before(number, frame)
        is_interrupted = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if is_interrupted:
        signal.raise_signal(signal.SIGINT)
