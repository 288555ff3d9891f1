# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The pose history is complete at first, coarser later, and bounded."""

import numpy as np

from mem3r_ros.geometry import matrix
from mem3r_ros.ros.pose_history import PoseHistory


def pose(index):
    return matrix(np.eye(3), np.array([float(index), 0.0, 0.0]))


def test_poses_are_returned_unchanged():
    history = PoseHistory(10)
    for index in range(5):
        history.add(index, pose(index))

    np.testing.assert_array_equal(history.stamps_ns(), range(5))
    np.testing.assert_array_equal(history.poses(), [pose(index) for index in range(5)])


def test_a_long_trajectory_keeps_its_shape_in_bounded_memory():
    history = PoseHistory(100)

    for index in range(10_000):
        history.add(index, pose(index))

    assert 50 <= len(history) < 100
    stamps_ns = history.stamps_ns()
    assert stamps_ns[0] == 0
    assert len(set(np.diff(stamps_ns))) == 1
    np.testing.assert_array_equal(history.poses()[:, 0, 3], stamps_ns)
