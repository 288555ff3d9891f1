# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Errors of paths and depth, and statistics of processing time."""

from mem3r_ros.evaluation.depth_error import DepthError, DepthMeter, depth_error
from mem3r_ros.evaluation.timing import TimingSummary, timing_summary
from mem3r_ros.evaluation.trajectory_error import Alignment, TrajectoryError, trajectory_error

__all__ = [
    'Alignment',
    'DepthError',
    'DepthMeter',
    'TimingSummary',
    'TrajectoryError',
    'depth_error',
    'timing_summary',
    'trajectory_error',
]
