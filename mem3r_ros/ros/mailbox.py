# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Passes items between threads: only the newest, or all of them with backpressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Mailbox(Generic[Item]):
    """
    A slot for the newest item, or a bounded queue whose sender waits while it is full.

    With ``overwrite`` and capacity 1 a waiting item is replaced by a newer one and counted as
    dropped: a robot must not act on old images. Without ``overwrite`` no item is lost, and a slow
    reader slows the writer down.
    """

    def __init__(
        self,
        capacity: int = 1,
        *,
        overwrite: bool = True,
        on_drop: Callable[[], None] | None = None,
    ) -> None:
        """
        Open the mailbox.

        :param capacity: how many items may wait.
        :param overwrite: whether a full mailbox drops its oldest item; else ``put`` waits.
        :param on_drop: called for each dropped item.
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
        Add an item; wait while the mailbox is full and must not overwrite.

        :param item: for the other thread.
        :return: False if the mailbox is closed; then the item is not added.
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
        """Add an item before all others, without waiting; it is never dropped."""
        with self._changed:
            if self._closed:
                return False
            self._urgent.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float | None = None) -> Item | None:
        """
        Take the oldest item.

        :param timeout_s: longest wait; None: until an item comes or the mailbox is closed.
        :return: the item, or None after the time or when the mailbox is closed and empty.
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
        """Drop the waiting items; urgent ones stay."""
        with self._changed:
            while self._items:
                self._items.popleft()
                self._on_drop()
            self._changed.notify_all()

    def close(self) -> None:
        """Refuse new items and wake all waiting threads; remaining items can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def __len__(self) -> int:
        """Return the number of waiting items."""
        return len(self._items)
