# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The status message of each image: how tracking goes and why."""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from mem3r_ros.ros.conversions import header_at
from mem3r_ros.ros.frame_result import Result
from mem3r_ros.ros.frame_statistics import FrameCounts
from mem3r_ros.tracker import Status, TrackedFrame

_LEVELS = {
    Status.INITIALISING: DiagnosticStatus.OK,
    Status.TRACKING: DiagnosticStatus.OK,
    Status.DEGRADED: DiagnosticStatus.WARN,
    Status.LOST: DiagnosticStatus.ERROR,
}


def diagnostic(
    level: bytes, name: str, message: str, values: Mapping[str, Any]
) -> DiagnosticStatus:
    """Write one status with its key-value pairs; numbers are cut to what a reader needs."""
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def status_message(
    result: Result,
    counts: FrameCounts,
    published: tuple[str, ...],
    problem: str,
    hardware_id: str,
) -> DiagnosticArray:
    """
    Tell the state after one image.

    :param result: answer of the worker.
    :param counts: of the node so far.
    :param published: topics that were sent for this image.
    :param problem: what keeps the odometry back (a missing transform), or ''.
    :param hardware_id: the camera's frame.
    :return: one status under the image's stamp.
    """
    tracked = result.tracked
    values: dict[str, Any] = {'session': result.session}
    if tracked is None:
        level, state, reason = DiagnosticStatus.WARN, 'SKIPPED', result.reason
    else:
        level, state = _LEVELS[tracked.status], tracked.status.name
        reason = tracked.reason or tracked.notice
        values |= _tracking_values(tracked)
    if problem:
        level, reason = DiagnosticStatus.ERROR, problem
    message = f'{state}: {reason}' if reason else state
    values = {'state': state, 'reason': reason} | values
    values |= {f'frames.{name}': number for name, number in counts.as_dict().items()}
    values |= {f'ms.{name}': time for name, time in result.milliseconds.items()}
    values['published'] = ' '.join(published)
    status = diagnostic(level, 'mem3r: tracking', message, values)
    status.hardware_id = hardware_id
    return DiagnosticArray(header=header_at(result.stamp_ns, result.camera_frame), status=[status])


def _tracking_values(tracked: TrackedFrame) -> dict[str, Any]:
    health = tracked.health
    values = {
        'segment': tracked.segment,
        'segment_age': health.segment_age,
        'scale': tracked.scale,
        'scale_spread': health.scale_spread,
        'is_still': health.is_still,
        'confidence': health.confidence,
        'fast_weight_norm': health.fast_weight_norm,
        'gate_mean': health.gate_mean,
        'learning_rate_mean': health.learning_rate_mean,
        'state_change': health.state_change,
        'tracking_cosine': health.tracking_cosine,
        'focal_spread': health.focal_spread,
    }
    if tracked.intrinsics is not None:
        values['focal_px'] = tracked.intrinsics.fx
    values |= {f'bad.{name}': number for name, number in health.counts.items()}
    # What the model or the situation does not say is left out rather than sent as "nan".
    return {
        name: value
        for name, value in values.items()
        if not (isinstance(value, float) and math.isnan(value))
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:.6g}' if isinstance(value, float) else str(value)
