# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The trajectory so far, in bounded memory."""

from __future__ import annotations

from array import array

import numpy as np


class PoseHistory:
    """
    Stamps and poses of a whole run, at most a fixed number.

    When full, every other pose is dropped and from then on only every other pose is added: the
    trajectory of many hours keeps its shape at a coarser step.
    """

    def __init__(self, max_poses: int) -> None:
        """Start empty; keep at most ``max_poses``."""
        self._max_poses = max_poses
        self.clear()

    def clear(self) -> None:
        """Remove all poses."""
        self._stamps_ns = array('q')
        self._rows = array('d')  # 12 numbers per pose; objects would take three times the memory
        self._step = 1
        self._num_seen = 0

    def add(self, stamp_ns: int, T_odom_base: np.ndarray) -> None:
        """Add the pose of the base at a stamp."""
        if self._num_seen % self._step == 0:
            self._stamps_ns.append(stamp_ns)
            self._rows.frombytes(np.ascontiguousarray(T_odom_base[:3], np.float64).tobytes())
        self._num_seen += 1
        if len(self) >= self._max_poses:
            stamps_ns, poses = self.stamps_ns()[::2], self.poses()[::2, :3]
            self._stamps_ns, self._rows = array('q', stamps_ns.tobytes()), array('d')
            self._rows.frombytes(np.ascontiguousarray(poses).tobytes())
            self._step *= 2

    def __len__(self) -> int:
        """Return the number of poses kept."""
        return len(self._stamps_ns)

    def stamps_ns(self) -> np.ndarray:
        """Return the stamps, [N] int64."""
        return np.array(self._stamps_ns, np.int64)

    def poses(self) -> np.ndarray:
        """Return the poses, [N, 4, 4]."""
        poses = np.tile(np.eye(4), (len(self), 1, 1))
        poses[:, :3] = np.array(self._rows, np.float64).reshape(-1, 3, 4)
        return poses
