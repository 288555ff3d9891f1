# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A tree of frames that can wait for transforms and forgets them when the clock jumps back."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time as wall_time
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.task import Future
from tf2_ros.buffer_core import DEFAULT_CACHE_TIME, BufferCore
from tf2_ros.buffer_interface import BufferInterface

POLL_S = 0.02


class Buffer(BufferCore, BufferInterface):
    """The usual buffer: filled by a TransformListener, asked by the node."""

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        """
        Start without frames.

        :param cache_time: how far back transforms are kept, 10 s by default.
        :param node: its clock is watched for jumps, and it serves `tf2_frames` where tf2_msgs
            has that service.
        """
        BufferCore.__init__(self, cache_time or DEFAULT_CACHE_TIME)
        BufferInterface.__init__(self)
        self._waiting: list[Callable[[], None]] = []
        self._waiting_lock = threading.RLock()
        self.clock = node.get_clock() if node is not None else Clock()
        if node is not None:
            self._serve_frames(node)
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True
        )
        self.jump_handle = self.clock.create_jump_callback(
            threshold, post_callback=self.time_jump_callback
        )

    def time_jump_callback(self, time_jump: TimeJump) -> None:
        """
        Forget what was received before the clock jumped.

        :param time_jump: how it jumped.
        """
        get_logger('tf2_buffer').warning('The clock jumped back in time; clearing the tf buffer')
        self.clear()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """
        Keep a transform of a moving frame, and wake whoever waited for it.

        :param transform: parent in the header, child frame, transform of child points to parent.
        :param authority: who says so.
        """
        super().set_transform(transform, authority)
        self._wake()

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """
        Keep a transform that holds at every time, and wake whoever waited for it.

        :param transform: parent in the header, child frame, transform of child points to parent.
        :param authority: who says so.
        """
        super().set_transform_static(transform, authority)
        self._wake()

    def lookup_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Any,
        timeout: Duration = Duration(),  # noqa: B008 - never changed
    ) -> TransformStamped:
        """
        Return the transform of source points to the target frame.

        :param target_frame: frame to transform to.
        :param source_frame: frame to transform from.
        :param time: when; 0 is the latest that the whole chain has.
        :param timeout: how long to wait for it; something else must spin the node meanwhile.
        :return: message with the target in its header and the source as child.
        :raises TransformException: it cannot be known; the subclass says in which way.
        """
        self.can_transform(target_frame, source_frame, time, timeout)
        return self.lookup_transform_core(target_frame, source_frame, time)

    def lookup_transform_full(
        self,
        target_frame: str,
        target_time: Any,
        source_frame: str,
        source_time: Any,
        fixed_frame: str,
        timeout: Duration = Duration(),  # noqa: B008 - never changed
    ) -> TransformStamped:
        """
        Return the transform of source points at one time to the target frame at another.

        :param target_frame: frame to transform to.
        :param target_time: when the target frame is looked at.
        :param source_frame: frame to transform from.
        :param source_time: when the source frame is looked at.
        :param fixed_frame: frame that stands still between the two times.
        :param timeout: how long to wait for it.
        :return: message with the target in its header, stamped with the target's time.
        :raises TransformException: it cannot be known; the subclass says in which way.
        """
        frames = (target_frame, target_time, source_frame, source_time, fixed_frame)
        self.can_transform_full(*frames, timeout)
        return self.lookup_transform_full_core(*frames)

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Any,
        timeout: Duration = Duration(),  # noqa: B008 - never changed
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """
        Tell whether a lookup would succeed, waiting for it if asked to.

        :param target_frame: frame to transform to.
        :param source_frame: frame to transform from.
        :param time: when; 0 is the latest that the whole chain has.
        :param timeout: how long to wait for it.
        :param return_debug_tuple: also return why not.
        :return: whether it would, or that and the reason.
        """
        result = _wait(lambda: self.can_transform_core(target_frame, source_frame, time), timeout)
        return result if return_debug_tuple else result[0]

    def can_transform_full(
        self,
        target_frame: str,
        target_time: Any,
        source_frame: str,
        source_time: Any,
        fixed_frame: str,
        timeout: Duration = Duration(),  # noqa: B008 - never changed
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """
        Tell whether a lookup across time would succeed, waiting for it if asked to.

        :param target_frame: frame to transform to.
        :param target_time: when the target frame is looked at.
        :param source_frame: frame to transform from.
        :param source_time: when the source frame is looked at.
        :param fixed_frame: frame that stands still between the two times.
        :param timeout: how long to wait for it.
        :param return_debug_tuple: also return why not.
        :return: whether it would, or that and the reason.
        """
        frames = (target_frame, target_time, source_frame, source_time, fixed_frame)
        result = _wait(lambda: self.can_transform_full_core(*frames), timeout)
        return result if return_debug_tuple else result[0]

    async def lookup_transform_async(
        self, target_frame: str, source_frame: str, time: Any
    ) -> TransformStamped:
        """
        Return the transform once it is known.

        :param target_frame: frame to transform to.
        :param source_frame: frame to transform from.
        :param time: when; 0 is the latest that the whole chain has.
        :return: as lookup_transform.
        """
        await self.wait_for_transform_async(target_frame, source_frame, time)
        return self.lookup_transform_core(target_frame, source_frame, time)

    async def lookup_transform_full_async(
        self,
        target_frame: str,
        target_time: Any,
        source_frame: str,
        source_time: Any,
        fixed_frame: str,
    ) -> TransformStamped:
        """
        Return the transform across time once it is known.

        :param target_frame: frame to transform to.
        :param target_time: when the target frame is looked at.
        :param source_frame: frame to transform from.
        :param source_time: when the source frame is looked at.
        :param fixed_frame: frame that stands still between the two times.
        :return: as lookup_transform_full.
        """
        frames = (target_frame, target_time, source_frame, source_time, fixed_frame)
        await self.wait_for_transform_full_async(*frames)
        return self.lookup_transform_full_core(*frames)

    def wait_for_transform_async(self, target_frame: str, source_frame: str, time: Any) -> Future:
        """
        Return a future that gets the transform once it is known.

        :param target_frame: frame to transform to.
        :param source_frame: frame to transform from.
        :param time: when; 0 is the latest that the whole chain has.
        :return: future of the message.
        """
        return self._future(
            lambda: self.can_transform_core(target_frame, source_frame, time)[0],
            lambda: self.lookup_transform_core(target_frame, source_frame, time),
        )

    def wait_for_transform_full_async(
        self,
        target_frame: str,
        target_time: Any,
        source_frame: str,
        source_time: Any,
        fixed_frame: str,
    ) -> Future:
        """
        Return a future that gets the transform across time once it is known.

        :param target_frame: frame to transform to.
        :param target_time: when the target frame is looked at.
        :param source_frame: frame to transform from.
        :param source_time: when the source frame is looked at.
        :param fixed_frame: frame that stands still between the two times.
        :return: future of the message.
        """
        frames = (target_frame, target_time, source_frame, source_time, fixed_frame)
        return self._future(
            lambda: self.can_transform_full_core(*frames)[0],
            lambda: self.lookup_transform_full_core(*frames),
        )

    def _serve_frames(self, node: Node) -> None:
        from tf2_msgs.srv import FrameGraph

        def answer(_: Any, __: Any) -> Any:
            return FrameGraph.Response(frame_yaml=self.all_frames_as_yaml())

        self.srv = node.create_service(FrameGraph, 'tf2_frames', answer)

    def _future(self, is_known: Callable[[], bool], look_up: Callable[[], Any]) -> Future:
        future: Future = Future()

        def check() -> None:
            if not future.done() and is_known():
                try:
                    future.set_result(look_up())
                except Exception as error:
                    future.set_exception(error)

        def forget(_: Future) -> None:
            with self._waiting_lock:
                if check in self._waiting:
                    self._waiting.remove(check)

        with self._waiting_lock:
            self._waiting.append(check)
        future.add_done_callback(forget)
        check()
        return future

    def _wake(self) -> None:
        with self._waiting_lock:
            waiting = list(self._waiting)
        for check in waiting:
            check()


def _wait(check: Callable[[], tuple[bool, str]], timeout: Duration) -> tuple[bool, str]:
    end = wall_time.monotonic() + timeout.nanoseconds / 1e9
    result = check()
    while not result[0] and wall_time.monotonic() < end:
        wall_time.sleep(POLL_S)
        result = check()
    return result
