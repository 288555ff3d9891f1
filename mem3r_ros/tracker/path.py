# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The stages of ``Tracker.finish``: from an accepted frame to the pose on the path."""

from __future__ import annotations

from dataclasses import replace

from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.frame import Status, TrackedFrame
from mem3r_ros.tracker.health import status_of_pose
from mem3r_ros.tracker.measurement import (
    AcceptedFrame,
    FrameContext,
    Measurement,
    by_window,
    covariance_of,
    is_refined,
    window_input,
)
from mem3r_ros.tracker.stream_state import StreamState
from mem3r_ros.tracker.tracked_frame import tracked_frame

_MAX_DEPARTURE = 0.07  # of the focal length; estimates from good calibrations err by less


def coasted(accepted: AcceptedFrame, stream: StreamState, config: TrackerConfig) -> TrackedFrame:
    """Extrapolate the pose of a frame that gave none."""
    stream.scale.break_path()
    stream.places.note_blind()
    stream.odometry.coast(accepted.context.stamp_ns, config.health.coast_s)
    return tracked_frame(
        accepted, None, stream, config, accepted.status, accepted.warning, accepted.notice
    )


def refined(
    context: FrameContext, measured: Measurement, stream: StreamState, config: TrackerConfig
) -> Measurement:
    """Replace the network's motion by that of the window, and its depth scale too."""
    if not is_refined(context.prepared, config):
        stream.window.focal.forget_calibration()  # the motion is not that of the window
        return measured
    if not context.decision.is_still:
        with context.clock('refinement'):
            frame = window_input(context, measured, stream)
            estimate = stream.window.process(frame, config.refinement)
        if estimate is not None:
            measured = replace(measured, **by_window(estimate))
    return replace(measured, unit=measured.unit * stream.window.depth_scale)


def calibration_notice(before: float, context: FrameContext, stream: StreamState) -> str:
    """
    Report a calibration that the images contradict, when that is found.

    :param before: relative departure of the focal length from the calibration before this frame.
    """
    now = stream.window.focal.departure
    if abs(now) < _MAX_DEPARTURE or abs(before) >= _MAX_DEPARTURE:
        return ''
    text = (
        f'the images show a focal length {100 * abs(now):.0f} % '
        f'{"longer" if now > 0 else "shorter"} than the calibration; calibrate the camera'
    )
    return stream.notices.count('calibration contradicted', text, context.stamp_ns)


def by_outside_poses(
    context: FrameContext, own: Measurement, stream: StreamState, config: TrackerConfig
) -> Measurement:
    """Return the measurement in metres; its motion is that of outside poses, if there are two."""
    measured = own.in_metres(stream.metres_per_unit(config))
    increment = stream.outside.increment(context.valid.frame.T_outside_camera)
    if increment is not None and own.increment is not None and not context.decision.is_still:
        measured = replace(measured, increment=increment)
    if measured.view is not None:
        stream.last_view = (measured.view, measured.unit)
    return measured


def move(
    context: FrameContext, measured: Measurement, stream: StreamState, config: TrackerConfig
) -> None:
    """Move the odometry and the fused depth by the increment, m."""
    odometry, decision, increment = stream.odometry, context.decision, measured.increment
    stream.depth_fusion.move(increment, stream.metres_per_unit(config))
    if decision.is_still:
        odometry.hold(context.stamp_ns)
    elif increment is not None:
        is_degraded = bool(measured.problem.reason or decision.flaw.reason)
        covariance = covariance_of(measured, is_degraded, config.covariance)
        spread = stream.scale_spread(config)
        odometry.advance(increment, covariance, spread, context.stamp_ns)
    elif not odometry.is_started or decision.break_reason:
        odometry.start(context.stamp_ns)


def status_of(
    accepted: AcceptedFrame, measured: Measurement, stream: StreamState, config: TrackerConfig
) -> tuple[Status, str]:
    """Return the status of the stream after a frame with a pose, and its reason."""
    context = accepted.context
    is_settled = (
        context.decision.is_still
        or not is_refined(context.prepared, config)
        or stream.window.has_settled
        or stream.scale.is_measured
    )
    status, reason = status_of_pose(accepted.num_good, accepted.warning, is_settled)
    if context.decision.starts_segment and measured.increment is not None:
        reason = f'{reason}; the motion over the break is measured'
    return status, reason or measured.window_reason
