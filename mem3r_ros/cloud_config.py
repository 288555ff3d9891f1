# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of the coloured points of one frame."""

from __future__ import annotations

from mem3r_ros.config import setting, settings


@settings
class CloudConfig:
    """Selection of the pixels that become points."""

    stride: int = setting(
        1,
        'use every n-th row and column of the depth image',
        low=1,
        high=64,
        unit='px',
        dynamic=True,
    )
    min_depth_m: float = setting(
        0.05, 'nearer points are dropped', low=0.0, high=1000.0, unit='m', dynamic=True
    )
    max_depth_m: float = setting(
        50.0, 'farther points are dropped', low=0.01, high=100000.0, unit='m', dynamic=True
    )
    min_confidence: float = setting(
        1.0,
        'points with lower confidence are dropped; 1 keeps all',
        low=0.0,
        high=1e6,
        dynamic=True,
    )
    edge_ratio: float = setting(
        0.1,
        'points next to a depth step larger than this, relative to their depth, are dropped; '
        '0 keeps all',
        low=0.0,
        high=10.0,
        dynamic=True,
    )
    min_neighbours: int = setting(
        0,
        'points with fewer than this many of the 8 neighbours at about their depth are dropped: '
        'noise that a costmap would mark as obstacles; 0 keeps all',
        low=0,
        high=8,
        dynamic=True,
    )
