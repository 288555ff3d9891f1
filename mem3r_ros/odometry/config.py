# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of the sliding window."""

from __future__ import annotations

from mem3r_ros.config import setting, settings


@settings
class RefinementConfig:
    """Poses from a sliding window of keyframes, with the network as a prior."""

    enabled: bool = setting(
        True,
        'estimate poses from corners in a sliding window of keyframes; off: the poses of the '
        'network alone',
        dynamic=True,
    )
    num_keyframes: int = setting(
        15, 'keyframes that are adjusted together', low=3, high=40, unit='frames'
    )
    num_corners: int = setting(220, 'corners that are tracked', low=30, high=2000)
    pixel_noise: float = setting(
        0.5,
        'standard deviation of a tracked corner in an image 640 px wide; in proportion to the '
        'width from 320 px on',
        low=0.01,
        high=100.0,
        unit='px',
    )
    depth_sigma: float = setting(
        0.4, 'standard deviation of a predicted log depth', low=0.01, high=10.0
    )
    calibration_sigma: float = setting(
        0.003,
        'standard deviation of the log focal length of a calibration: the window refines it; 0: '
        'the calibration is exact',
        low=0.0,
        high=0.5,
    )
    position_share: float = setting(
        0.6,
        "standard deviation of the network's translation along its direction as a part of its "
        'length; across the direction half as much',
        low=0.001,
        high=10.0,
    )
    rotation_share: float = setting(
        0.2,
        "standard deviation of the network's rotation as a part of its angle",
        low=0.001,
        high=10.0,
    )
    scale_follow: float = setting(
        0.0,
        "part of the way to the network's own scale that each keyframe goes",
        low=0.0,
        high=1.0,
    )

    def sigma_px(self, width_scale: float) -> float:
        """
        Return the standard deviation of a tracked corner in the working image, px.

        :param width_scale: pixels of it per pixel at the reference width.
        """
        return self.pixel_noise * max(width_scale, 0.5)
