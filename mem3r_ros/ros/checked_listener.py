# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A listener of TF that keeps impossible transforms and stamps out of the buffer."""

from __future__ import annotations

from collections.abc import Callable
import time

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformListener

from mem3r_ros.errors import UserError
from mem3r_ros.ros.conversions import frame_name, matrix_from_transform, stamp_ns
from mem3r_ros.ros.stamp_monitor import StampMonitor, Verdict

_AUTHORITY = 'mem3r'
_MAX_LINKS = 1000  # of which stamps are watched


class CheckedListener(TransformListener):
    """
    Passes every link through the gate for numbers, and its stamp through that for stamps.

    tf2 accepts infinite numbers. It drops what is older than its newest transform by more than its
    cache, so a single stamp far ahead would hide all that follow.
    """

    def __init__(
        self,
        buffer: Buffer,
        node: Node,
        cache_s: float,
        refuse: Callable[[str], None],
        accept: Callable[[], None],
    ) -> None:
        """
        Subscribe.

        :param buffer: receives the transforms.
        :param node: owner of the subscriptions.
        :param cache_s: stamps that go back or ahead by more must be confirmed by the next one.
        :param refuse: called with the reason for each link that is refused.
        :param accept: called for each message without such a link.
        """
        self._buffer = buffer
        self._clock = node.get_clock()
        self._cache_s = cache_s
        self._refuse = refuse
        self._accept = accept
        self._stamps: dict[tuple[str, str], StampMonitor] = {}
        self._refused: dict[str, str] = {}  # child frame -> reason of its newest refusal
        super().__init__(buffer, node, spin_thread=False)

    def callback(self, data: TFMessage) -> None:
        """Add moving transforms."""
        self._add(data, self._add_moving)

    def static_callback(self, data: TFMessage) -> None:
        """Add static transforms."""
        self._add(data, lambda link: self._buffer.set_transform_static(link, _AUTHORITY))

    def forget(self) -> None:
        """Drop the moving transforms; static ones stay."""
        self._stamps.clear()
        self._buffer.clear()

    def refusals(self) -> tuple[str, ...]:
        """Return the links whose newest message was refused, with the reason."""
        return tuple(dict(self._refused).values())

    def _add(self, data: TFMessage, add: Callable[[TransformStamped], None]) -> None:
        is_good = True
        for link in data.transforms:
            link.header.frame_id = frame_name(link.header.frame_id)
            link.child_frame_id = frame_name(link.child_frame_id)
            try:
                matrix_from_transform(link.transform, _name(link))
                add(link)
                self._refused.pop(link.child_frame_id, None)
            except UserError as error:
                is_good = False
                if len(self._refused) < _MAX_LINKS:
                    self._refused[link.child_frame_id] = str(error)
                self._refuse(str(error))
        if is_good:
            self._accept()

    def _add_moving(self, link: TransformStamped) -> None:
        key = link.header.frame_id, link.child_frame_id
        if key not in self._stamps and len(self._stamps) >= _MAX_LINKS:
            self._stamps.clear()
        monitor = self._stamps.setdefault(key, StampMonitor(self._cache_s))
        now_ns = self._clock.now().nanoseconds
        verdict = monitor.judge(stamp_ns(link.header.stamp), time.monotonic(), now_ns)
        if verdict in (Verdict.AHEAD, Verdict.BEHIND):
            raise UserError(f'{_name(link)}: {verdict.value}; the next one must confirm it')
        if verdict is Verdict.NEW_SESSION:
            self.forget()
            self._stamps[key] = monitor
        self._buffer.set_transform(link, _AUTHORITY)


def _name(link: TransformStamped) -> str:
    return f'transform from {link.header.frame_id} to {link.child_frame_id}'
