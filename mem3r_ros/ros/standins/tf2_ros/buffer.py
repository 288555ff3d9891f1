# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A tree of coordinate frames over time."""

from __future__ import annotations

from bisect import bisect_left
import threading
import time as wall_time
from typing import Any, NamedTuple

from geometry_msgs.msg import TransformStamped
import numpy as np
from rclpy.clock import Clock, JumpThreshold
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation, Slerp
from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)

_POLL_S = 0.02
_MIN_NORM = 1e-6  # a shorter quaternion has no direction


class _Pose(NamedTuple):
    """The transform of points of a child frame to its parent."""

    translation: np.ndarray
    rotation: Rotation

    def __matmul__(self, other: _Pose) -> _Pose:
        moved = self.rotation.apply(other.translation) + self.translation
        return _Pose(moved, self.rotation * other.rotation)

    def inverse(self) -> _Pose:
        back = self.rotation.inv()
        return _Pose(-back.apply(self.translation), back)


_IDENTITY = _Pose(np.zeros(3), Rotation.identity())


class _Sample(NamedTuple):
    """One received transform."""

    stamp_ns: int
    parent: str
    pose: _Pose


class _Link:
    """The transforms of one child frame, sorted by stamp; a static one has one sample."""

    def __init__(self, *, is_static: bool) -> None:
        self.is_static = is_static
        self.samples: list[_Sample] = []

    def add(self, sample: _Sample, cache_ns: int) -> str:
        """Add a sample; return why it is refused, or ''."""
        if self.is_static:
            self.samples = [sample]
            return ''
        stamps = [known.stamp_ns for known in self.samples]
        if stamps and sample.stamp_ns < stamps[-1] - cache_ns:
            return 'it is older than the cache'
        index = bisect_left(stamps, sample.stamp_ns)
        if index < len(stamps) and stamps[index] == sample.stamp_ns:
            return 'there is one with the same stamp'
        self.samples.insert(index, sample)
        oldest_ns = self.samples[-1].stamp_ns - cache_ns
        self.samples = [known for known in self.samples if known.stamp_ns >= oldest_ns]
        return ''

    def at(self, time_ns: int) -> _Sample:
        """Return the sample at a time, interpolated; time 0 is the latest."""
        if not self.samples:
            raise ExtrapolationException('no transform is in the buffer')
        if self.is_static or time_ns == 0:
            return self.samples[-1]
        stamps = [sample.stamp_ns for sample in self.samples]
        index = bisect_left(stamps, time_ns)
        if index < len(stamps) and stamps[index] == time_ns:
            return self.samples[index]
        if index in (0, len(stamps)):
            where, edge = ('past', 'earliest') if index == 0 else ('future', 'latest')
            known_ns = stamps[0] if index == 0 else stamps[-1]
            raise ExtrapolationException(
                f'Lookup would require extrapolation into the {where}. Requested time '
                f'{_seconds(time_ns)} but the {edge} data is at time {_seconds(known_ns)}'
            )
        before, after = self.samples[index - 1], self.samples[index]
        if before.parent != after.parent:
            return before
        ratio = (time_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
        shift = after.pose.translation - before.pose.translation
        turns = Rotation.concatenate([before.pose.rotation, after.pose.rotation])
        pose = _Pose(before.pose.translation + ratio * shift, Slerp([0, 1], turns)(ratio))
        return _Sample(time_ns, before.parent, pose)


class Buffer:
    """Keeps transforms and returns the one between two frames; usable from several threads."""

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        """
        Start without frames.

        :param cache_time: how long transforms are kept; default: 10 s.
        :param node: the buffer is cleared when the clock of this node jumps back.
        """
        self._cache_ns = (cache_time or Duration(seconds=10)).nanoseconds
        self._links: dict[str, _Link] = {}
        self._frames: set[str] = set()
        self._lock = threading.RLock()
        clock = Clock() if node is None else node.get_clock()
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self.jump_handle = clock.create_jump_callback(
            threshold, post_callback=lambda jump: self.clear()
        )

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a moving transform; an invalid one is logged and ignored."""
        self._add(transform, authority, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Add a transform that is valid at all times; an invalid one is logged and ignored."""
        self._add(transform, authority, is_static=True)

    def clear(self) -> None:
        """Remove the moving transforms; static ones and the names of frames stay."""
        with self._lock:
            for link in self._links.values():
                if not link.is_static:
                    link.samples.clear()

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Any, timeout: Duration | None = None
    ) -> TransformStamped:
        """
        Return the transform of points of the source frame to the target frame.

        :param target_frame: frame to transform to.
        :param source_frame: frame to transform from.
        :param time: time of rclpy or of a message; 0 is the latest common time of the chain.
        :param timeout: longest wait for the transform; another thread must spin the node.
        :return: message with the target in its header and the source as child.
        :raises TransformException: it is not available; the subclass gives the reason.
        """
        self.can_transform(target_frame, source_frame, time, timeout)
        pose, time_ns = self._lookup(target_frame, source_frame, _nanoseconds(time))
        message = TransformStamped(child_frame_id=source_frame)
        message.header.frame_id = target_frame
        message.header.stamp = Time(nanoseconds=time_ns).to_msg()
        t, q = message.transform.translation, message.transform.rotation
        t.x, t.y, t.z = map(float, pose.translation)
        q.x, q.y, q.z, q.w = map(float, pose.rotation.as_quat(canonical=True))
        return message

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Any,
        timeout: Duration | None = None,
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """Return whether a lookup succeeds; with return_debug_tuple also why it does not."""
        deadline = wall_time.monotonic() + (timeout.nanoseconds * 1e-9 if timeout else 0.0)
        while True:
            try:
                self._lookup(target_frame, source_frame, _nanoseconds(time))
                return (True, '') if return_debug_tuple else True
            except TransformException as error:
                if wall_time.monotonic() >= deadline:
                    return (False, str(error)) if return_debug_tuple else False
            wall_time.sleep(_POLL_S)

    def _add(self, message: TransformStamped, authority: str, *, is_static: bool) -> None:
        parent = message.header.frame_id.removeprefix('/')
        child = message.child_frame_id.removeprefix('/')
        t, q = message.transform.translation, message.transform.rotation
        translation, quaternion = np.array((t.x, t.y, t.z)), np.array((q.x, q.y, q.z, q.w))
        fault = _fault(parent, child, translation, quaternion)
        if not fault:
            # from_quat normalises, as the real package does.
            pose = _Pose(translation, Rotation.from_quat(quaternion))
            sample = _Sample(_nanoseconds(message.header.stamp), parent, pose)
            with self._lock:
                link = self._links.get(child)
                if link is None or link.is_static != is_static:
                    link = self._links[child] = _Link(is_static=is_static)
                self._frames |= {parent, child}
                fault = link.add(sample, self._cache_ns)
        if fault:
            get_logger('tf2_buffer').warning(
                f'Ignoring the transform from "{parent}" to "{child}" by "{authority}": {fault}',
                throttle_duration_sec=2.5,
            )

    def _lookup(self, target: str, source: str, time_ns: int) -> tuple[_Pose, int]:
        """Return the transform of source points to the target, and its time."""
        with self._lock:
            if target == source:  # also for unknown frames
                return _IDENTITY, time_ns
            for frame in (target, source):
                self._check_frame(frame)
            time_ns = time_ns or self._latest_common_ns(target, source)
            above_source, source_gap = self._climb(source, time_ns)
            above_target, target_gap = self._climb(target, time_ns)
        for frame, T_frame_target in above_target.items():
            if frame in above_source:
                return T_frame_target.inverse() @ above_source[frame], time_ns
        if gap := target_gap or source_gap:
            raise ExtrapolationException(
                f'{gap}, when looking up transform from frame [{source}] to frame [{target}]'
            )
        raise ConnectivityException(
            f"Could not find a connection between '{target}' and '{source}' because they are not "
            'part of the same tree. Tf has two or more unconnected trees.'
        )

    def _check_frame(self, frame: str) -> None:
        if not frame or frame.startswith('/'):
            raise InvalidArgumentException(
                f'Invalid frame name "{frame}": it is empty or starts with a slash'
            )
        if frame not in self._frames:
            raise LookupException(f'"{frame}" passed to lookupTransform does not exist.')

    def _climb(
        self, start: str, time_ns: int
    ) -> tuple[dict[str, _Pose], ExtrapolationException | None]:
        """Return the pose of start in each frame above it, up to the root or a gap in time."""
        poses, frame = {start: _IDENTITY}, start
        while frame in self._links:
            try:
                sample = self._links[frame].at(time_ns)
            except ExtrapolationException as gap:
                return poses, gap
            if sample.parent in poses:
                raise LookupException(
                    f'The tf tree is invalid because it contains a loop: {frame}'
                )
            poses[sample.parent] = sample.pose @ poses[frame]
            frame = sample.parent
        return poses, None

    def _latest_common_ns(self, target: str, source: str) -> int:
        """Return the latest time of all moving transforms between two frames; 0 if none moves."""
        stamps = []
        chains = [list(self._climb(frame, 0)[0]) for frame in (source, target)]
        for own, other in (chains, reversed(chains)):
            for frame in own:
                if frame in other:
                    break
                link = self._links.get(frame)
                if link is not None and not link.is_static and link.samples:
                    stamps.append(link.samples[-1].stamp_ns)
        return min(stamps, default=0)


def _nanoseconds(time: Any) -> int:
    if hasattr(time, 'nanoseconds'):
        return int(time.nanoseconds)
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def _seconds(time_ns: int) -> str:
    return f'{time_ns * 1e-9:.6f}'


def _fault(parent: str, child: str, translation: np.ndarray, quaternion: np.ndarray) -> str:
    """Return why a transform is invalid, or ''."""
    if not parent or not child:
        return 'a frame name is empty'
    if child == parent:
        return 'frame_id and child_frame_id are the same'
    if np.isnan(translation).any() or np.isnan(quaternion).any():
        return 'it contains NaN'
    norm = np.linalg.norm(quaternion)
    if not _MIN_NORM < norm < np.inf:
        return f'its quaternion has norm {norm:g}'
    return ''
