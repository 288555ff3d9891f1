# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tree of frames: keeps transforms, and finds the one between any two frames at any time."""

from __future__ import annotations

import math
import threading
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.time import Time
from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)
from tf2_ros.rigid import IDENTITY, Rigid, compose, invert
from tf2_ros.time_cache import Sample, StaticCache, TimeCache, seconds

DEFAULT_CACHE_TIME = Duration(seconds=10)
MAX_DEPTH = 1000  # a chain this long is a loop
NORM_TOLERANCE = 10e-3


class BufferCore:
    """A tree of frames over time; safe to use from several threads."""

    def __init__(self, cache_time: Duration = DEFAULT_CACHE_TIME) -> None:
        """
        Start without frames.

        :param cache_time: how far back transforms are kept.
        """
        self._cache_time_ns = nanoseconds(cache_time)
        self._caches: dict[str, TimeCache | StaticCache] = {}
        self._authorities: dict[str, str] = {}
        self._frames: dict[str, None] = {}  # every name ever seen, in order
        self._lock = threading.RLock()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """
        Keep a transform of a moving frame; a faulty one is logged and ignored.

        :param transform: parent in the header, child frame, transform of child points to it.
        :param authority: who says so.
        """
        self._insert(transform, authority, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """
        Keep a transform that holds at every time; a faulty one is logged and ignored.

        :param transform: parent in the header, child frame, transform of child points to it.
        :param authority: who says so.
        """
        self._insert(transform, authority, is_static=True)

    def clear(self) -> None:
        """Forget all transforms but the static ones; the frames stay known."""
        with self._lock:
            for cache in self._caches.values():
                cache.clear()

    def can_transform_core(
        self, target_frame: str, source_frame: str, time: Any
    ) -> tuple[bool, str]:
        """
        Tell whether a lookup would succeed.

        :param target_frame: frame to transform to.
        :param source_frame: frame to transform from.
        :param time: when; 0 is the latest that the whole chain has.
        :return: whether it would, and if not, why.
        """
        try:
            self._lookup(target_frame, source_frame, nanoseconds(time))
        except TransformException as error:
            return False, str(error)
        return True, ''

    def can_transform_full_core(
        self,
        target_frame: str,
        target_time: Any,
        source_frame: str,
        source_time: Any,
        fixed_frame: str,
    ) -> tuple[bool, str]:
        """
        Tell whether a lookup across time would succeed.

        :param target_frame: frame to transform to.
        :param target_time: when the target frame is looked at.
        :param source_frame: frame to transform from.
        :param source_time: when the source frame is looked at.
        :param fixed_frame: frame that stands still between the two times.
        :return: whether it would, and if not, why.
        """
        try:
            self._lookup_full(
                target_frame,
                nanoseconds(target_time),
                source_frame,
                nanoseconds(source_time),
                fixed_frame,
            )
        except TransformException as error:
            return False, str(error)
        return True, ''

    def lookup_transform_core(
        self, target_frame: str, source_frame: str, time: Any
    ) -> TransformStamped:
        """
        Return the transform of source points to the target frame.

        :param target_frame: frame to transform to.
        :param source_frame: frame to transform from.
        :param time: when; 0 is the latest that the whole chain has.
        :return: message with the target in its header and the source as child.
        :raises TransformException: it cannot be known; the subclass says in which way.
        """
        rigid, time_ns = self._lookup(target_frame, source_frame, nanoseconds(time))
        return _message(target_frame, source_frame, rigid, time_ns)

    def lookup_transform_full_core(
        self,
        target_frame: str,
        target_time: Any,
        source_frame: str,
        source_time: Any,
        fixed_frame: str,
    ) -> TransformStamped:
        """
        Return the transform of source points at one time to the target frame at another.

        :param target_frame: frame to transform to.
        :param target_time: when the target frame is looked at.
        :param source_frame: frame to transform from.
        :param source_time: when the source frame is looked at.
        :param fixed_frame: frame that stands still between the two times.
        :return: message with the target in its header, stamped with the target's time.
        :raises TransformException: it cannot be known; the subclass says in which way.
        """
        rigid, time_ns = self._lookup_full(
            target_frame,
            nanoseconds(target_time),
            source_frame,
            nanoseconds(source_time),
            fixed_frame,
        )
        return _message(target_frame, source_frame, rigid, time_ns)

    def get_latest_common_time(self, target_frame: str, source_frame: str) -> Time:
        """
        Return the latest time at which every moving transform between two frames is known.

        :param target_frame: one frame.
        :param source_frame: the other frame.
        :return: that time; 0 when only static transforms lie between them.
        :raises TransformException: the frames are unknown or not joined.
        """
        with self._lock:
            for frame in (target_frame, source_frame):
                self._check_frame(frame)
            return Time(nanoseconds=self._latest_common_ns(target_frame, source_frame))

    def all_frames_as_string(self) -> str:
        """
        Describe the tree as sentences.

        :return: a line for each frame that has a parent.
        """
        with self._lock:
            lines = []
            for frame, cache in self._caches.items():
                parent = cache.newest.parent if cache.newest else 'NO_PARENT'
                lines.append(f'Frame {frame} exists with parent {parent}.\n')
            return ''.join(lines)

    def all_frames_as_yaml(self) -> str:
        """
        Describe the tree as YAML.

        :return: parent, broadcaster, rate and covered time of each frame.
        """
        with self._lock:
            if not self._frames:
                return '[]'
            return ''.join(
                self._frame_as_yaml(frame, cache)
                for frame, cache in self._caches.items()
                if cache.newest
            )

    def _frame_as_yaml(self, frame: str, cache: TimeCache | StaticCache) -> str:
        assert cache.newest is not None
        length_s = (cache.newest_ns - cache.oldest_ns) / 1e9
        return (
            f'{frame}: \n'
            f"  parent: '{cache.newest.parent}'\n"
            f"  broadcaster: '{self._authorities.get(frame, 'no recorded authority')}'\n"
            f'  rate: {len(cache) / max(length_s, 1e-4):.3f}\n'
            f'  most_recent_transform: {seconds(cache.newest_ns)}\n'
            f'  oldest_transform: {seconds(cache.oldest_ns)}\n'
            f'  buffer_length: {length_s:.3f}\n'
        )

    def _frameExists(self, frame: str) -> bool:
        """Return whether any transform named this frame."""
        return frame in self._frames

    def _getFrameStrings(self) -> list[str]:
        """Return every frame that any transform named."""
        return list(self._frames)

    def _insert(self, transform: TransformStamped, authority: str, is_static: bool) -> None:
        parent = transform.header.frame_id.removeprefix('/')
        child = transform.child_frame_id.removeprefix('/')
        t, q = transform.transform.translation, transform.transform.rotation
        rigid = Rigid((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
        fault = _fault(parent, child, rigid)
        sample = Sample(nanoseconds(transform.header.stamp), parent, rigid)
        with self._lock:
            if not fault:
                cache = self._caches.get(child)
                if cache is None or cache.is_static != is_static:
                    cache = StaticCache() if is_static else TimeCache(self._cache_time_ns)
                    self._caches[child] = cache
                self._frames[child] = None
                self._frames[parent] = None
                if cache.insert(sample):
                    self._authorities[child] = authority
                else:
                    fault = 'it is older than the buffer reaches'
        if fault:
            get_logger('tf2_buffer').warning(
                f'Ignoring the transform from "{parent}" to "{child}" at time '
                f'{seconds(sample.stamp_ns)} by "{authority}": {fault}',
                throttle_duration_sec=2.5,
            )

    def _check_frame(self, frame: str) -> None:
        if not frame:
            raise InvalidArgumentException('A frame name is empty; tf2 frames need a name')
        if frame.startswith('/'):
            raise InvalidArgumentException(
                f'Frame "{frame}" starts with a slash; tf2 frame names do not'
            )
        if frame not in self._frames:
            raise LookupException(f'Frame "{frame}" does not exist: no transform names it')

    def _lookup(self, target: str, source: str, time_ns: int) -> tuple[Rigid, int]:
        """Return the transform of source points to the target, and the time it holds at."""
        with self._lock:
            if target == source:  # also of frames that nobody has named yet
                cache = self._caches.get(target)
                return IDENTITY, time_ns or (cache.newest_ns if cache else 0)
            for frame in (target, source):
                self._check_frame(frame)
            time_ns = time_ns or self._latest_common_ns(target, source)
            above_source, source_gap = self._climb(source, time_ns, {target})
            if target in above_source:
                return above_source[target], time_ns
            above_target, target_gap = self._climb(target, time_ns, set(above_source))
            for frame, T_frame_target in above_target.items():
                if frame in above_source:
                    return compose(invert(T_frame_target), above_source[frame]), time_ns
        gap = target_gap or source_gap
        if gap:
            raise ExtrapolationException(
                f'{gap}, when looking up transform from frame [{source}] to frame [{target}]'
            )
        raise _not_joined(target, source)

    def _lookup_full(
        self, target: str, target_ns: int, source: str, source_ns: int, fixed: str
    ) -> tuple[Rigid, int]:
        with self._lock:
            for frame in (target, source, fixed):
                self._check_frame(frame)
            T_fixed_source, _ = self._lookup(fixed, source, source_ns)
            T_target_fixed, time_ns = self._lookup(target, fixed, target_ns)
        return compose(T_target_fixed, T_fixed_source), time_ns

    def _climb(
        self, start: str, time_ns: int, goals: set[str]
    ) -> tuple[dict[str, Rigid], ExtrapolationException | None]:
        """Return start seen from each frame above it, up to a goal, the root or a gap in time."""
        seen = {start: IDENTITY}
        frame, rigid = start, IDENTITY
        while frame not in goals and frame in self._caches:
            try:
                sample = self._caches[frame].at(time_ns)
            except ExtrapolationException as gap:
                return seen, gap
            frame, rigid = sample.parent, compose(sample.rigid, rigid)
            if frame in seen or len(seen) > MAX_DEPTH:
                raise LookupException(
                    f'The tf tree is invalid: there is a loop through frame [{frame}]'
                )
            seen[frame] = rigid
        return seen, None

    def _latest_common_ns(self, target: str, source: str) -> int:
        """Return the latest time that all moving links between two frames have, 0 for none."""
        if target == source:
            cache = self._caches.get(target)
            return cache.newest_ns if cache else 0
        source_links = self._newest_links(source)
        target_links = self._newest_links(target)
        for joint in source_links:
            if joint in target_links:
                stamps = [*source_links[joint], *target_links[joint]]
                return min((stamp for stamp in stamps if stamp), default=0)
        raise _not_joined(target, source)

    def _newest_links(self, start: str) -> dict[str, list[int]]:
        """Return for each frame from start to the root the stamps of the links up to it."""
        links: dict[str, list[int]] = {start: []}
        frame = start
        while frame in self._caches:
            newest = self._caches[frame].newest
            if newest is None:
                break
            if newest.parent in links:
                raise LookupException(
                    f'The tf tree is invalid: there is a loop through frame [{frame}]'
                )
            links[newest.parent] = [*links[frame], newest.stamp_ns]
            frame = newest.parent
        return links


def nanoseconds(time: Any) -> int:
    """
    Return a time or duration of rclpy or of a message as one number.

    :param time: has nanoseconds, or sec and nanosec.
    :return: nanoseconds.
    :raises TypeError: it is neither.
    """
    if hasattr(time, 'nanoseconds'):
        return int(time.nanoseconds)
    if hasattr(time, 'sec') and hasattr(time, 'nanosec'):
        return int(time.sec) * 1_000_000_000 + int(time.nanosec)
    raise TypeError(f'{type(time).__name__} is no time: it needs nanoseconds, or sec and nanosec')


def _not_joined(target: str, source: str) -> ConnectivityException:
    return ConnectivityException(
        f"Could not find a connection between '{target}' and '{source}' because they are not "
        'part of the same tree. Tf has two or more unconnected trees.'
    )


def _fault(parent: str, child: str, rigid: Rigid) -> str:
    """Return why a transform cannot be kept, '' when it can."""
    if not child:
        return 'its child_frame_id is empty'
    if not parent:
        return 'its frame_id is empty'
    if child == parent:
        return 'its frame_id and child_frame_id are the same'
    if any(math.isnan(value) for value in (*rigid.translation, *rigid.rotation)):
        return 'it holds a nan value'
    if abs(sum(value * value for value in rigid.rotation) - 1.0) >= NORM_TOLERANCE:
        return f'its quaternion {rigid.rotation} is not of length one'
    return ''


def _message(target: str, source: str, rigid: Rigid, time_ns: int) -> TransformStamped:
    message = TransformStamped()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(time_ns, 1_000_000_000)
    message.header.frame_id, message.child_frame_id = target, source
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = rigid.translation
    q.x, q.y, q.z, q.w = rigid.rotation
    return message
