# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The way so far in bounded memory."""

from __future__ import annotations

import numpy as np


class PoseHistory:
    """
    Stamps and poses of a whole run in a fixed number of places.

    When full, every second pose goes and from then on only every second one comes in: hours of
    driving keep their shape, at a coarser step.
    """

    def __init__(self, max_poses: int) -> None:
        """Start empty; at most ``max_poses`` are kept."""
        self._max_poses = max_poses
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._stamps_ns: list[int] = []
        self._poses: list[np.ndarray] = []
        self._step = 1
        self._num_seen = 0

    def add(self, stamp_ns: int, T_odom_base: np.ndarray) -> None:
        """Remember where the base was."""
        if self._num_seen % self._step == 0:
            self._stamps_ns.append(stamp_ns)
            self._poses.append(T_odom_base)
        self._num_seen += 1
        if len(self._poses) >= self._max_poses:
            self._stamps_ns, self._poses = self._stamps_ns[::2], self._poses[::2]
            self._step *= 2

    def __len__(self) -> int:
        """Return the number of poses kept."""
        return len(self._poses)

    def stamps_ns(self) -> np.ndarray:
        """Return the stamps, [N] int64."""
        return np.array(self._stamps_ns, np.int64)

    def poses(self) -> np.ndarray:
        """Return the poses, [N, 4, 4]."""
        return np.array(self._poses, np.float64).reshape(-1, 4, 4)
