# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Builds the result of a frame from the measurement and the stages of the stream."""

from __future__ import annotations

from collections import Counter
import math
from typing import Any

from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.dense_outputs import DenseView
from mem3r_ros.tracker.frame import Health, Status, TrackedFrame
from mem3r_ros.tracker.measurement import AcceptedFrame, FrameContext, Measurement
from mem3r_ros.tracker.stream_state import StreamState

_TELEMETRY = (
    'fast_weight_norm',
    'gate_mean',
    'learning_rate_mean',
    'state_change',
    'tracking_cosine',
)


def tracked_frame(
    accepted: AcceptedFrame,
    measured: Measurement | None,
    stream: StreamState,
    config: TrackerConfig,
    status: Status,
    reason: str,
    notice: str = '',
) -> TrackedFrame:
    """
    Return the result of one frame.

    :param measured: in metres; None for a frame without a measurement.
    :param notice: message for the user; default: that of the frame validation.
    """
    context = accepted.context
    scale = stream.metres_per_unit(config) * accepted.unit
    made: dict[str, Any] = {}
    if measured is not None and measured.view is not None:
        scale = stream.metres_per_unit(config) * measured.unit
        if context.wanted:
            made = _dense_outputs(context, measured.view, stream, scale, config)
    return TrackedFrame(
        stamp_ns=context.stamp_ns,
        **stream.odometry.published()._asdict(),
        status=status,
        reason=reason,
        health=_health(accepted, measured, stream, config, scale),
        segment=accepted.segment,
        scale=scale,
        ignored=context.valid.ignored,
        notice=notice or context.valid.notice,
        **_in_map(stream, config),
        **made,
    )


def _in_map(stream: StreamState, config: TrackerConfig) -> dict[str, Any]:
    """Return the pose in the map, and the correction of the path."""
    places = stream.places
    if not config.places.enabled:
        return {}
    found = places.pose(stream.odometry.T_odom_camera)
    made: dict[str, Any] = {'is_located': places.is_located, 'correction': places.correction}
    if found is not None:
        made['T_map_camera'], made['map_covariance'] = found
    return made


def _dense_outputs(
    context: FrameContext,
    view: DenseView,
    stream: StreamState,
    scale: float,
    config: TrackerConfig,
) -> dict[str, Any]:
    """Return the dense fields of the result."""
    outputs, prepared = stream.dense_outputs, context.prepared
    with context.clock('depth'):
        depth_view = outputs.depth_view(
            view, prepared, scale, stream.depth_fusion, context.decision.is_still, config
        )
    with context.clock('outputs'):
        return outputs.make(depth_view, prepared, context.wanted, config)


def _health(
    accepted: AcceptedFrame,
    measured: Measurement | None,
    stream: StreamState,
    config: TrackerConfig,
    scale: float,
) -> Health:
    context = accepted.context
    is_calibrated = context.prepared.network_camera is not None
    health = Health(
        segment_age=accepted.segment_age,
        scale=scale,
        scale_spread=stream.scale_spread(config),
        is_metric_guess=stream.scale.is_guess(config.scale),
        focal_spread=0.0 if is_calibrated else stream.dense_outputs.focal_spread,
        focal_departure=stream.window.focal.departure,
        is_still=context.decision.is_still,
        brightness=float(context.prepared.grey[::4, ::4].mean()),
        stage_ms=context.clock.stage_ms,
        counts=dict(Counter(accepted.counts) + Counter(stream.notices.counts)),
    )
    if measured is not None:
        health.window_covariance = measured.window_covariance
        health.confidence = measured.confidence + 1.0
        health.confidence_ratio = measured.confidence_ratio
        for name in _TELEMETRY:
            setattr(health, name, measured.telemetry.get(name, math.nan))
    return health
