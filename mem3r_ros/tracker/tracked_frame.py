# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The last stage: what is known is gathered into the tracked frame."""

from __future__ import annotations

import math
from typing import Any

from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.frame import Health, Status, TrackedFrame
from mem3r_ros.tracker.measurement import Look, Work
from mem3r_ros.tracker.stream_state import Stream

_TELEMETRY = (
    'fast_weight_norm',
    'gate_mean',
    'learning_rate_mean',
    'state_change',
    'tracking_cosine',
)


def tracked_frame(
    work: Work,
    look: Look | None,
    stream: Stream,
    config: TrackerConfig,
    status: Status,
    reason: str,
    notice: str = '',
) -> TrackedFrame:
    """
    Gather one frame's results.

    :param look: what the network said; None for a frame without a measurement.
    :param notice: something to tell the user; default: what the intake has to tell.
    """
    scale = stream.factor(config) * stream.segments.memory.scale
    made: dict[str, Any] = {}
    if look is not None and look.view is not None:
        scale = stream.factor(config) * look.unit
        with work.clock('products'):
            camera = stream.products.network_camera(work.prepared)
            if work.wanted:
                made = stream.products.make(
                    look.view, work.prepared, camera, scale, work.wanted, config
                )
    odometry = stream.odometry
    return TrackedFrame(
        stamp_ns=work.accepted.frame.stamp_ns,
        T_odom_camera=odometry.T_odom_camera,
        covariance=odometry.covariance,
        twist=odometry.twist,
        twist_covariance=odometry.twist_covariance,
        status=status,
        reason=reason,
        health=_health(work, look, stream, config, scale),
        segment=stream.segments.memory.index,
        scale=scale,
        notice=notice or work.accepted.notice,
        **made,
    )


def _health(
    work: Work, look: Look | None, stream: Stream, config: TrackerConfig, scale: float
) -> Health:
    is_calibrated = work.prepared.network_camera is not None
    health = Health(
        segment_age=stream.segments.memory.age,
        scale=scale,
        scale_spread=stream.scale_spread(config),
        focal_spread=0.0 if is_calibrated else stream.products.focal.spread,
        is_still=work.is_still,
        stage_ms=work.clock.stage_ms,
        counts=dict(stream.intake.memory.counts),
    )
    if look is not None:
        health.confidence = look.confidence + 1.0
        health.confidence_ratio = look.confidence_ratio
        for name in _TELEMETRY:
            setattr(health, name, look.telemetry.get(name, math.nan))
    return health
