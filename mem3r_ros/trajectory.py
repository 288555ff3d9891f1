# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Trajectories: stamps and poses, TUM files, association and interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
import logging
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mem3r_ros import plausible
from mem3r_ros.errors import UserError
from mem3r_ros.files import replacing
from mem3r_ros.geometry import pose_from_matrix
from mem3r_ros.text_files import parsed_rows

NANOSECONDS = 1_000_000_000  # in a second

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Poses over time; ``poses`` are T_parent_camera, from camera to parent frame."""

    stamps_ns: np.ndarray  # [N] int64, increasing
    poses: np.ndarray  # [N, 4, 4] float64

    def __post_init__(self) -> None:
        stamps = np.asarray(self.stamps_ns, dtype=np.int64).reshape(-1)
        poses = np.asarray(self.poses, dtype=np.float64).reshape(-1, 4, 4)
        if len(stamps) != len(poses):
            raise ValueError(f'{len(stamps)} stamps for {len(poses)} poses; give one each')
        if np.any(np.diff(stamps) < 0):
            order = np.argsort(stamps, kind='stable')
            stamps, poses = stamps[order], poses[order]
        object.__setattr__(self, 'stamps_ns', stamps)
        object.__setattr__(self, 'poses', poses)

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def positions(self) -> np.ndarray:
        """Return the positions of the camera [N, 3], m."""
        return self.poses[:, :3, 3]

    @property
    def duration_s(self) -> float:
        """Return the time from the first pose to the last."""
        return float(self.stamps_ns[-1] - self.stamps_ns[0]) / NANOSECONDS if len(self) else 0.0

    @property
    def length_m(self) -> float:
        """Return the length of the path."""
        return float(np.linalg.norm(np.diff(self.positions, axis=0), axis=1).sum())

    def select(self, indices: np.ndarray) -> Trajectory:
        """Return the poses of the given indices or mask."""
        return Trajectory(self.stamps_ns[indices], self.poses[indices])

    def interpolate(
        self, stamps_ns: np.ndarray, max_gap_ns: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Interpolate positions linearly and rotations at constant angular velocity.

        :param stamps_ns: query stamps [M].
        :param max_gap_ns: a stamp farther than this from the nearest pose is invalid;
            None: every stamp within the trajectory is valid.
        :return: poses [M, 4, 4] and which are valid [M]; the others are NaN.
        """
        wanted = np.asarray(stamps_ns, dtype=np.int64).reshape(-1)
        poses = np.full((len(wanted), 4, 4), np.nan)
        if not len(self) or not len(wanted):
            return poses, np.zeros(len(wanted), dtype=bool)
        gap_ns = np.abs(self.stamps_ns[nearest_index(self.stamps_ns, wanted)] - wanted)
        inside = (wanted >= self.stamps_ns[0]) & (wanted <= self.stamps_ns[-1])
        valid = inside if max_gap_ns is None else gap_ns <= max_gap_ns
        poses[valid] = self._between(wanted[valid])
        return poses, valid

    def _between(self, wanted_ns: np.ndarray) -> np.ndarray:
        """Interpolate between the neighbours of each stamp; constant beyond the ends."""
        after = np.clip(np.searchsorted(self.stamps_ns, wanted_ns), 1, max(len(self) - 1, 1))
        after = np.minimum(after, len(self) - 1)
        before = np.maximum(after - 1, 0)
        gap_ns = np.maximum(self.stamps_ns[after] - self.stamps_ns[before], 1)
        share = np.clip((wanted_ns - self.stamps_ns[before]) / gap_ns, 0.0, 1.0)[:, None]
        first, second = self.poses[before], self.poses[after]
        start = Rotation.from_matrix(first[:, :3, :3])
        turn = start.inv() * Rotation.from_matrix(second[:, :3, :3])
        poses = np.tile(np.eye(4), (len(wanted_ns), 1, 1))
        poses[:, :3, :3] = (start * Rotation.from_rotvec(share * turn.as_rotvec())).as_matrix()
        poses[:, :3, 3] = (1.0 - share) * first[:, :3, 3] + share * second[:, :3, 3]
        return poses


def nearest_index(sorted_stamps_ns: np.ndarray, wanted_ns: np.ndarray) -> np.ndarray:
    """
    Return the index of the nearest stamp of each query.

    :param sorted_stamps_ns: stamps in increasing order [N], N > 0.
    :param wanted_ns: query stamps [M].
    :return: indices into the sorted stamps [M].
    """
    if len(sorted_stamps_ns) == 1:
        return np.zeros(len(wanted_ns), dtype=np.int64)
    after = np.clip(np.searchsorted(sorted_stamps_ns, wanted_ns), 1, len(sorted_stamps_ns) - 1)
    before = after - 1
    closer_before = wanted_ns - sorted_stamps_ns[before] <= sorted_stamps_ns[after] - wanted_ns
    return np.where(closer_before, before, after)


def read_tum(path: str | Path) -> Trajectory:
    """
    Read a trajectory file of TUM or EuRoC; the number of columns selects the format.

    TUM: ``stamp tx ty tz qx qy qz qw``. EuRoC: ``stamp, p x y z, q w x y z`` and nine columns of
    velocity and bias, which are ignored. Rows without a valid pose are dropped and logged.

    :param path: text file; lines that start with # are comments.
    :return: the trajectory, sorted by stamp.
    :raises UserError: the file is missing, or most of its rows are not poses.
    """
    rows = parsed_rows(path, _pose_of, '"stamp tx ty tz qx qy qz qw"')
    kept = [row for row in rows if row.value is not None]
    poses = np.array([row.value for row in kept]).reshape(-1, 4, 4)
    return Trajectory(stamps_from_text([row.words[0] for row in kept], path), poses)


def _pose_of(words: list[str]) -> np.ndarray:
    if len(words) == 12:
        raise UserError('twelve numbers are a pose of KITTI, which has no stamp; convert the file')
    if len(words) not in (8, 17):
        raise UserError(f'{len(words)} columns; expected 8 (TUM) or 17 (EuRoC)')
    decimal_stamp(words[0])
    return pose_of_words(words[1:8], is_w_first=len(words) == 17)


def pose_of_words(words: Sequence[str], *, is_w_first: bool = False) -> np.ndarray:
    """
    Return the pose [4, 4] of seven words, position and quaternion.

    :param is_w_first: whether the quaternion is w x y z rather than x y z w.
    :raises ValueError: they are not a pose.
    """
    values = [float(word) for word in words]
    if len(values) != 7:
        raise UserError(f'{len(values)} numbers; expected position and quaternion')
    if is_w_first:
        values[3:] = [*values[4:], values[3]]
    return plausible.pose(values[:3], values[3:], 'pose')


def write_tum(path: str | Path, trajectory: Trajectory) -> None:
    """
    Write a TUM trajectory file; stamps keep every nanosecond.

    :param path: file to write; an existing one is replaced.
    :param trajectory: what to write.
    :raises UserError: the file cannot be written; the old one is unchanged.
    """
    with replacing(path, 'w', encoding='ascii') as file:
        file.write('# timestamp tx ty tz qx qy qz qw\n')
        for stamp_ns, pose in zip(trajectory.stamps_ns, trajectory.poses, strict=True):
            file.write(tum_line(int(stamp_ns), pose))


def tum_line(stamp_ns: int, pose: np.ndarray) -> str:
    """Return one line of a TUM file for T_parent_camera [4, 4]."""
    numbers = ' '.join(f'{value:.7f}' for value in np.concatenate(pose_from_matrix(pose)))
    return f'{ns_to_seconds(stamp_ns)} {numbers}\n'


def decimal_stamp(text: str) -> Decimal:
    """
    Return the number of a time stamp, in any unit.

    :raises UserError: it is not a number, or is out of range.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal('NaN')
    # The exponent is checked first: 1e999999999 does not fit into memory.
    if not value.is_finite() or value.adjusted() > 19:
        raise UserError(f'{text[:40]} is not a time stamp')
    return value


def seconds_to_ns(text: str) -> int:
    """
    Convert decimal seconds to nanoseconds without the rounding of a float.

    :raises UserError: it is not a number, or is out of range.
    """
    return plausible.stamp(int((decimal_stamp(text) * NANOSECONDS).to_integral_value()))


def stamps_from_text(
    words: Sequence[str], path: str | Path, per_second: int | None = None
) -> np.ndarray:
    """
    Convert the stamps of one file to nanoseconds; their magnitude gives their unit.

    Seconds since 1970 have ten digits until the year 2286, and intervals between images are below
    a thousand seconds. Larger whole numbers are in milli-, micro- or nanoseconds.

    :param words: decimal numbers, in the order of the file.
    :param path: for messages.
    :param per_second: units per second; None: unknown.
    :return: [N] int64.
    :raises UserError: one is not a number, or is out of range.
    """
    values = [decimal_stamp(word) for word in words]
    if per_second is None:
        per_second = _units_a_second(values)
        if per_second > 1:
            unit = _UNITS[per_second]
            LOGGER.warning('%s: stamps such as %s are read as %s', path, words[-1], unit)
    factor = NANOSECONDS // per_second
    stamps = [plausible.stamp(int((value * factor).to_integral_value())) for value in values]
    return np.array(stamps, dtype=np.int64)


_UNITS = {1_000: 'milliseconds', 1_000_000: 'microseconds', NANOSECONDS: 'nanoseconds'}


def _units_a_second(stamps: list[Decimal]) -> int:
    """Return the number of stamp units per second of a file."""
    if not stamps or any(stamp != stamp.to_integral_value() for stamp in stamps):
        return 1
    largest = max(abs(stamp) for stamp in stamps)
    steps = sorted(abs(b - a) for a, b in pairwise(stamps) if a != b)
    step = steps[len(steps) // 2] if steps else Decimal(0)
    for per_second, size, usual_step in ((NANOSECONDS, 10**17, 10**6), (10**6, 10**14, 10**3)):
        if largest >= size or step >= usual_step:
            return per_second
    return 1_000 if largest >= 10**11 else 1


def ns_to_seconds(stamp_ns: int) -> str:
    """Convert nanoseconds to decimal seconds with all nine digits."""
    sign = '-' if stamp_ns < 0 else ''
    return f'{sign}{abs(stamp_ns) // NANOSECONDS}.{abs(stamp_ns) % NANOSECONDS:09d}'
