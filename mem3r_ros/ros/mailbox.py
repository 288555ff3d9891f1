# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Hands things from one thread to another: the newest only, or all of them with backpressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Mailbox(Generic[Item]):
    """
    A slot for the newest item, or a bounded queue whose sender waits while it is full.

    Under ``latest`` (capacity 1, ``overwrite``) an item that nobody took yet is replaced and
    counted as dropped: a robot must not act on old pictures. Without ``overwrite`` nothing is
    lost, and a slow reader slows the writer down.
    """

    def __init__(
        self,
        capacity: int = 1,
        *,
        overwrite: bool = True,
        on_drop: Callable[[], None] | None = None,
    ) -> None:
        """
        Make an open mailbox.

        :param capacity: items that may wait.
        :param overwrite: whether a full box drops its oldest item instead of making ``put`` wait.
        :param on_drop: called for each item that is thrown away.
        """
        self._items: deque[Item] = deque()
        self._urgent: deque[Item] = deque()
        self._capacity = capacity
        self._overwrite = overwrite
        self._changed = threading.Condition()
        self._closed = False
        self._on_drop = on_drop or (lambda: None)

    def put(self, item: Item) -> bool:
        """
        Leave an item; waits while the box is full and may not overwrite.

        :param item: what the other thread will get.
        :return: False if the box was closed and the item was not taken in.
        """
        with self._changed:
            while len(self._items) >= self._capacity and not self._overwrite and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            if len(self._items) >= self._capacity:
                self._items.popleft()
                self._on_drop()
            self._items.append(item)
            self._changed.notify_all()
            return True

    def put_urgent(self, item: Item) -> bool:
        """Leave an item ahead of the others that never waits and is never dropped: a command."""
        with self._changed:
            if self._closed:
                return False
            self._urgent.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float | None = None) -> Item | None:
        """
        Take the oldest item.

        :param timeout_s: how long to wait for one; None: until the box is closed.
        :return: the item, or None if there is none in time or the box is closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._urgent or self._items or self._closed, timeout_s)
            waiting = self._urgent or self._items
            if not waiting:
                return None
            item = waiting.popleft()
            self._changed.notify_all()
            return item

    def clear(self) -> None:
        """Throw away the items that wait, but no commands."""
        with self._changed:
            while self._items:
                self._items.popleft()
                self._on_drop()
            self._changed.notify_all()

    def close(self) -> None:
        """Take nothing more in and wake everybody who waits; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._items)
