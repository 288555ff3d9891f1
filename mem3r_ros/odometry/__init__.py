# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Visual odometry of one camera: corners, a window of keyframes, the network as a prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mem3r_ros.names import imported_at_use

if TYPE_CHECKING:
    from mem3r_ros.odometry.config import RefinementConfig
    from mem3r_ros.odometry.frame_input import FrameInput, WindowEstimate
    from mem3r_ros.odometry.keyframe import Keyframe
    from mem3r_ros.odometry.pinhole import DepthImage
    from mem3r_ros.odometry.window import SlidingWindow

__all__ = [
    'DepthImage',
    'FrameInput',
    'Keyframe',
    'RefinementConfig',
    'SlidingWindow',
    'WindowEstimate',
]

__getattr__ = imported_at_use(
    __name__,
    {
        'DepthImage': 'pinhole',
        'FrameInput': 'frame_input',
        'Keyframe': 'keyframe',
        'RefinementConfig': 'config',
        'SlidingWindow': 'window',
        'WindowEstimate': 'frame_input',
    },
)
