# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From camera frames to odometry, depth and points; nothing of ROS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mem3r_ros.errors import BadFrame
from mem3r_ros.names import imported_at_use

if TYPE_CHECKING:
    from mem3r_ros.tracker.batch import BatchTracker
    from mem3r_ros.tracker.config import TrackerConfig
    from mem3r_ros.tracker.frame import CameraFrame, Health, Status, TrackedFrame
    from mem3r_ros.tracker.pipelined import PipelinedTracker
    from mem3r_ros.tracker.snapshot import Snapshot
    from mem3r_ros.tracker.tracker import Tracker

__all__ = [
    'BadFrame',
    'BatchTracker',
    'CameraFrame',
    'Health',
    'PipelinedTracker',
    'Snapshot',
    'Status',
    'TrackedFrame',
    'Tracker',
    'TrackerConfig',
]

__getattr__ = imported_at_use(
    __name__,
    {
        'BatchTracker': 'batch',
        'CameraFrame': 'frame',
        'Health': 'frame',
        'PipelinedTracker': 'pipelined',
        'Snapshot': 'snapshot',
        'Status': 'frame',
        'TrackedFrame': 'frame',
        'Tracker': 'tracker',
        'TrackerConfig': 'config',
    },
)
