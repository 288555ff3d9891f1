# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The transforms of one child frame to its parent, over a limited time or for ever."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from tf2_ros.exceptions import ExtrapolationException
from tf2_ros.rigid import IDENTITY, Rigid, interpolate


class Sample(NamedTuple):
    """One received transform."""

    stamp_ns: int
    parent: str
    rigid: Rigid


class TimeCache:
    """Transforms of one moving child frame, sorted by stamp, no older than the cache time."""

    is_static = False

    def __init__(self, cache_time_ns: int) -> None:
        """
        Start empty.

        :param cache_time_ns: how far back from the newest one transforms are kept.
        """
        self._cache_time_ns = cache_time_ns
        self._stamps: list[int] = []
        self._samples: list[Sample] = []

    def insert(self, sample: Sample) -> bool:
        """
        Keep a transform.

        :param sample: what to keep.
        :return: False when it is older than the cache reaches, and so was dropped.
        """
        newest_ns = self.newest_ns
        num_expired = 0
        while (
            num_expired < len(self._stamps)
            and self._stamps[num_expired] + self._cache_time_ns < newest_ns
        ):
            num_expired += 1
        del self._stamps[:num_expired], self._samples[:num_expired]
        if self._stamps and sample.stamp_ns < newest_ns - self._cache_time_ns:
            return False
        index = bisect_right(self._stamps, sample.stamp_ns)
        first = index
        while first and self._stamps[first - 1] == sample.stamp_ns:
            first -= 1
        if sample not in self._samples[first:index]:
            self._stamps.insert(index, sample.stamp_ns)
            self._samples.insert(index, sample)
        return True

    def at(self, time_ns: int) -> Sample:
        """
        Return the transform at a time, interpolated between its neighbours.

        :param time_ns: when; 0 is the newest.
        :return: the transform and its parent then.
        :raises ExtrapolationException: the kept transforms do not cover that time.
        """
        if not self._samples:
            raise ExtrapolationException(
                f'Lookup at time {seconds(time_ns)} is impossible: no transform is in the buffer'
            )
        if time_ns == 0:
            return self._samples[-1]
        index = bisect_right(self._stamps, time_ns)
        if index and self._stamps[index - 1] == time_ns:
            return self._samples[index - 1]
        if len(self._samples) == 1:
            raise ExtrapolationException(
                f'Lookup would require extrapolation at time {seconds(time_ns)}, but only time '
                f'{seconds(self._stamps[0])} is in the buffer'
            )
        if index == len(self._stamps):
            raise ExtrapolationException(
                'Lookup would require extrapolation into the future. Requested time '
                f'{seconds(time_ns)} but the latest data is at time {seconds(self._stamps[-1])}'
            )
        if index == 0:
            raise ExtrapolationException(
                'Lookup would require extrapolation into the past. Requested time '
                f'{seconds(time_ns)} but the earliest data is at time {seconds(self._stamps[0])}'
            )
        older, newer = self._samples[index - 1], self._samples[index]
        if older.parent != newer.parent:  # the frame was hung elsewhere in between
            return older
        ratio = (time_ns - older.stamp_ns) / (newer.stamp_ns - older.stamp_ns)
        return Sample(time_ns, older.parent, interpolate(older.rigid, newer.rigid, ratio))

    @property
    def newest(self) -> Sample | None:
        """The transform with the latest stamp, None when there is none."""
        return self._samples[-1] if self._samples else None

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest transform, 0 when there is none."""
        return self._stamps[-1] if self._stamps else 0

    @property
    def oldest_ns(self) -> int:
        """Stamp of the oldest transform, 0 when there is none."""
        return self._stamps[0] if self._stamps else 0

    def __len__(self) -> int:
        """Return how many transforms are kept."""
        return len(self._samples)

    def clear(self) -> None:
        """Forget every transform."""
        self._stamps.clear()
        self._samples.clear()


class StaticCache:
    """The one transform of a child frame that never moves; it holds at every time."""

    is_static = True
    newest_ns = 0
    oldest_ns = 0

    def __init__(self) -> None:
        """Start with nothing that would be used."""
        self._sample = Sample(0, '', IDENTITY)

    def insert(self, sample: Sample) -> bool:
        """
        Replace the transform.

        :param sample: the new one.
        :return: True.
        """
        self._sample = sample._replace(stamp_ns=0)
        return True

    def at(self, time_ns: int) -> Sample:
        """
        Return the transform.

        :param time_ns: when; any time will do.
        :return: the transform, stamped with that time.
        """
        return self._sample._replace(stamp_ns=time_ns)

    @property
    def newest(self) -> Sample:
        """The transform."""
        return self._sample

    def __len__(self) -> int:
        """Return how many transforms are kept."""
        return 1

    def clear(self) -> None:
        """Keep the transform: what never moves outlives a jump of the clock."""


def seconds(time_ns: int) -> str:
    """
    Write a time for a message to the user.

    :param time_ns: nanoseconds.
    :return: seconds with six places.
    """
    return f'{time_ns / 1e9:.6f}'
