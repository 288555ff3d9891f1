# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A camera's path: stamps and poses, TUM files in and out, association and interpolation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mem3r_ros.errors import UserError
from mem3r_ros.files import replacing
from mem3r_ros.geometry import pose_from_matrix, rotation_from_quaternion

NANOSECONDS = 1_000_000_000  # in a second


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Poses over time; ``poses`` are T_parent_camera, which takes camera points to the parent."""

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
        """Return where the camera was [N, 3], m."""
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
        Interpolate positions linearly and rotations on the great circle.

        :param stamps_ns: wanted stamps [M].
        :param max_gap_ns: a stamp farther than this from the nearest pose is not valid;
            None allows every stamp inside the trajectory.
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
        """Interpolate between the neighbours of each stamp; hold the ends."""
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
    Find the nearest stamp of each wanted one.

    :param sorted_stamps_ns: stamps in increasing order [N], N > 0.
    :param wanted_ns: stamps to look for [M].
    :return: indices into the sorted stamps [M].
    """
    if len(sorted_stamps_ns) == 1:
        return np.zeros(len(wanted_ns), dtype=np.int64)
    after = np.clip(np.searchsorted(sorted_stamps_ns, wanted_ns), 1, len(sorted_stamps_ns) - 1)
    before = after - 1
    closer_before = wanted_ns - sorted_stamps_ns[before] <= sorted_stamps_ns[after] - wanted_ns
    return np.where(closer_before, before, after)


def associate(
    first: Trajectory, second: Trajectory, max_difference_ns: int = 20_000_000
) -> tuple[np.ndarray, np.ndarray]:
    """
    Pair the poses of two trajectories that are nearest to each other in time.

    :param first: one trajectory.
    :param second: the other.
    :param max_difference_ns: pairs farther apart than this are left out.
    :return: indices into the first and into the second [P]; no pose is used twice.
    """
    if not len(first) or not len(second):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    to_second = nearest_index(second.stamps_ns, first.stamps_ns)
    to_first = nearest_index(first.stamps_ns, second.stamps_ns)
    indices = np.arange(len(first))
    difference_ns = np.abs(second.stamps_ns[to_second] - first.stamps_ns)
    mutual = (to_first[to_second] == indices) & (difference_ns <= max_difference_ns)
    return indices[mutual], to_second[mutual]


def read_tum(path: str | Path) -> Trajectory:
    """
    Read a TUM trajectory file: ``stamp tx ty tz qx qy qz qw``, seconds and metres.

    :param path: text file; lines that start with # are comments.
    :return: the trajectory, sorted by stamp.
    :raises UserError: the file is missing or a line does not hold eight numbers.
    """
    stamps: list[int] = []
    rows: list[list[float]] = []
    for number, words in text_rows(path):
        try:
            stamps.append(seconds_to_ns(words[0]))
            row = [float(word) for word in words[1:8]]
        except (ValueError, InvalidOperation):
            row = []
        if len(row) != 7 or not np.all(np.isfinite(row)) or not np.any(row[3:]):
            raise UserError(
                f'{path} line {number} is not "stamp tx ty tz qx qy qz qw": {" ".join(words)[:60]}'
            )
        rows.append(row)
    values = np.array(rows, dtype=np.float64).reshape(-1, 7)
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    if len(values):
        poses[:, :3, :3] = rotation_from_quaternion(values[:, 3:])
        poses[:, :3, 3] = values[:, :3]
    return Trajectory(np.array(stamps, dtype=np.int64), poses)


def write_tum(path: str | Path, trajectory: Trajectory) -> None:
    """
    Write a TUM trajectory file; stamps keep every nanosecond.

    :param path: file to write; an old one is replaced.
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


def seconds_to_ns(text: str) -> int:
    """Turn decimal seconds into nanoseconds without the rounding of a float."""
    return int((Decimal(text) * NANOSECONDS).to_integral_value())


def ns_to_seconds(stamp_ns: int) -> str:
    """Turn nanoseconds into decimal seconds with all nine digits."""
    sign = '-' if stamp_ns < 0 else ''
    return f'{sign}{abs(stamp_ns) // NANOSECONDS}.{abs(stamp_ns) % NANOSECONDS:09d}'


def text_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """
    Read the words of each line that is neither empty nor a comment.

    :param path: text file with blanks or commas between the words.
    :return: line number, counted from 1, and words.
    :raises UserError: the file cannot be read as text.
    """
    try:
        with open(path, encoding='utf-8') as file:
            for number, line in enumerate(file, start=1):
                words = line.split('#', 1)[0].replace(',', ' ').split()
                if words:
                    yield number, words
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is not a text file') from error
