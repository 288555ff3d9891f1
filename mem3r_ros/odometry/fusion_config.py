# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of the depth fusion."""

from __future__ import annotations

from mem3r_ros.config import setting, settings


@settings
class DepthFusionConfig:
    """Depth improved by earlier images at the poses of the odometry."""

    enabled: bool = setting(
        True,
        'fuse the depth of the network with matches between images, at about 320x240 px',
        dynamic=True,
    )
    network_sigma: float = setting(
        0.25,
        'standard deviation of the log depth of the network, its scale left aside',
        low=0.01,
        high=10.0,
        dynamic=True,
    )
