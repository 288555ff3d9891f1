# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Diagnostic messages: the statuses in /diagnostics, and the status of each image."""

from __future__ import annotations

from collections.abc import Mapping
import math
import os
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import torch

from mem3r_ros.ros.conversions import header_at
from mem3r_ros.ros.finding import Finding, Level
from mem3r_ros.ros.frame_result import FrameResult
from mem3r_ros.ros.frame_statistics import FrameCounts, StageTimes
from mem3r_ros.ros.node_snapshot import InputSnapshot, NodeSnapshot, TrackingSnapshot
from mem3r_ros.tracker import Status, TrackedFrame

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_LEVELS = {Level.OK: OK, Level.WARN: WARN, Level.ERROR: ERROR}
_STATUS_LEVELS = {
    Status.INITIALISING: OK,
    Status.TRACKING: OK,
    Status.DEGRADED: WARN,
    Status.LOST: ERROR,
}
_MIB = 2**20
PAUSED = 'paused by ~/pause; call ~/resume'
_MAX_UNTRACKED_S = 2.0


def node_statuses(
    snapshot: NodeSnapshot, transport: list[Finding], findings: list[Finding]
) -> list[DiagnosticStatus]:
    """
    Return all statuses of the node for /diagnostics.

    :param snapshot: state of the node.
    :param transport: problems of the middleware.
    :param findings: problems of the topics that are subscribed.
    """
    statuses = [
        lifecycle_status(snapshot.lifecycle_state, snapshot.configure_error),
        transport_status(transport),
    ]
    if snapshot.input is not None:
        statuses.append(input_status(snapshot, snapshot.input, findings))
    if snapshot.tracking is not None:
        statuses += [
            tracking_status(snapshot, snapshot.tracking),
            latency_status(snapshot.stage_times),
            memory_status(snapshot.device),
            model_status(snapshot),
        ]
    return statuses


def lifecycle_status(state: str, error: str) -> DiagnosticStatus:
    """
    Return the lifecycle state.

    :param state: name of the state.
    :param error: why configuring failed, or ''.
    """
    values = {'state': state}
    if error:
        return diagnostic(ERROR, 'mem3r: lifecycle', error, values)
    return diagnostic(OK, 'mem3r: lifecycle', state, values)


def input_status(
    snapshot: NodeSnapshot, inputs: InputSnapshot, findings: list[Finding]
) -> DiagnosticStatus:
    """
    Return the rate of images, their counts, and the problems of the input.

    :param snapshot: state of the node.
    :param inputs: state of the subscriptions.
    :param findings: problems of the topics that are subscribed.
    """
    skipped = snapshot.skipped
    level, message = OK, f'{inputs.rate_hz:.1f} images/s'
    warnings = [*skipped.recent, *inputs.warnings, *snapshot.refusals]
    if inputs.is_paused:
        level, message = WARN, PAUSED
    elif findings or warnings:
        levels = [_LEVELS[finding.level] for finding in findings] + [WARN] * len(warnings)
        level = max(levels, key=_severity)
        found = [f'{finding.topic}: {finding.message}' for finding in findings]
        message = '; '.join([*found, *warnings])
    values = {
        'rate_hz': inputs.rate_hz,
        'topic': inputs.image.topic,
        'encoding': inputs.encoding,
        'frame_id': inputs.frame_id,
        'calibrated': inputs.is_calibrated,
        'problems': len(findings),
        'images': snapshot.counts.line(),
        **snapshot.counts.as_dict(),
    }
    values |= {f'refused.{source}': number for source, number in snapshot.refused.items()}
    values |= {f'skipped: {reason}': number for reason, number in skipped.by_reason.items()}
    return diagnostic(level, 'mem3r: input', message, values)


def tracking_status(snapshot: NodeSnapshot, tracking: TrackingSnapshot) -> DiagnosticStatus:
    """
    Return the state of tracking; it is OK only while images are tracked and give odometry.

    :param snapshot: state of the node.
    :param tracking: state of the published results.
    """
    name = 'mem3r: tracking'
    values: dict[str, Any] = {'poses': tracking.num_poses, 'map_points': tracking.num_map_points}
    if tracking.places:
        values['places'] = tracking.places
    for key in ('first_odometry_s', 'transform_age_s'):
        if (seconds := getattr(tracking, key)) is not None:
            values[key] = float(seconds)
    if snapshot.input is None:
        return diagnostic(WARN, name, f'The node is {snapshot.lifecycle_state}', values)
    if snapshot.input.is_paused:
        return diagnostic(WARN, name, PAUSED, values)
    skipped = snapshot.skipped
    if skipped.since_tracked:
        is_long = tracking.status is None or skipped.untracked_s > _MAX_UNTRACKED_S
        message = (
            f'{skipped.since_tracked} refused since the last tracked image: {skipped.last_reason}'
        )
        return diagnostic(ERROR if is_long else WARN, name, message, values)
    if tracking.problem:
        return diagnostic(ERROR, name, tracking.problem, values)
    if tracking.status is None:
        return diagnostic(WARN, name, 'No image tracked yet', values)
    if skipped.untracked_s > max(snapshot.max_silence_s, _MAX_UNTRACKED_S):
        message = f'No image tracked for {skipped.untracked_s:.0f} s; see mem3r: input'
        return diagnostic(WARN, name, message, values)
    message = tracking.status.name.capitalize()
    return diagnostic(_STATUS_LEVELS[tracking.status], name, message, values)


def latency_status(stage_times: StageTimes) -> DiagnosticStatus:
    """Return median and 95th percentile of each stage, ms."""
    summary = stage_times.summary()
    values = {}
    for stage, (median, high) in summary.items():
        values[f'{stage}_ms_median'] = float(median)
        values[f'{stage}_ms_p95'] = float(high)
    total = summary.get('total')
    message = f'{total[0]:.0f} ms from arrival to published' if total else 'no image measured yet'
    return diagnostic(OK, 'mem3r: latency', message, values)


def memory_status(device: str) -> DiagnosticStatus:
    """Return the memory of the process and of its GPU, MiB."""
    values = {'host_mib': host_memory_mib()}
    message = f'{values["host_mib"]:.0f} MiB'
    if device.startswith('cuda'):
        values['gpu_allocated_mib'] = torch.cuda.memory_allocated(device) / _MIB
        values['gpu_peak_mib'] = torch.cuda.max_memory_allocated(device) / _MIB
        message += f', GPU {values["gpu_allocated_mib"]:.0f} MiB'
    return diagnostic(OK, 'mem3r: memory', message, values)


def model_status(snapshot: NodeSnapshot) -> DiagnosticStatus:
    """Return the name of the network and its device."""
    values = {
        'source': snapshot.model,
        'device': snapshot.device,
        'dtype': snapshot.dtype,
        'update_rule': snapshot.update_rule,
    }
    message = f'{snapshot.model} on {snapshot.device}'
    return diagnostic(OK, 'mem3r: model', message, values)


def transport_status(findings: list[Finding]) -> DiagnosticStatus:
    """Return whether the middleware is configured for images."""
    if findings:
        return diagnostic(WARN, 'mem3r: transport', findings[0].message, {})
    return diagnostic(OK, 'mem3r: transport', 'ready for images', {})


def image_status(
    result: FrameResult, counts: FrameCounts, published: tuple[str, ...], problem: str
) -> DiagnosticArray:
    """
    Return the message of topic status for one image.

    :param result: result for the image.
    :param counts: images by outcome, so far.
    :param published: topics that were published for this image.
    :param problem: why there is no odometry (a missing transform), or ''.
    :return: one status with the image's stamp and frame.
    """
    tracked = result.tracked
    values: dict[str, Any] = {'session': result.session}
    if tracked is None:
        level, state, reason = WARN, 'SKIPPED', result.reason
    else:
        level, state = _STATUS_LEVELS[tracked.status], tracked.status.name
        reason = tracked.reason or tracked.notice
        values |= _tracking_values(tracked)
    if problem:
        level, reason = ERROR, problem
    message = f'{state}: {reason}' if reason else state
    values = {'state': state, 'reason': reason} | values
    values |= {f'frames.{name}': number for name, number in counts.as_dict().items()}
    values |= {f'ms.{name}': time for name, time in result.stage_ms.items()}
    values['published'] = ' '.join(published)
    status = diagnostic(level, 'mem3r: tracking', message, values)
    status.hardware_id = result.camera_frame
    return DiagnosticArray(header=header_at(result.stamp_ns, result.camera_frame), status=[status])


def diagnostic(
    level: bytes, name: str, message: str, values: Mapping[str, Any]
) -> DiagnosticStatus:
    """
    Return one status.

    :param level: OK, WARN or ERROR.
    :param name: name of the status.
    :param message: one sentence.
    :param values: key-value pairs; floats are written with six digits.
    """
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def host_memory_mib() -> float:
    """Return the resident memory of this process, MiB."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / _MIB


def _tracking_values(tracked: TrackedFrame) -> dict[str, Any]:
    health = tracked.health
    values = {
        'segment': tracked.segment,
        'segment_age': health.segment_age,
        'scale': tracked.scale,
        'scale_spread': health.scale_spread,
        'metres_are_a_guess': health.is_metric_guess,
        'is_still': health.is_still,
        'brightness': health.brightness,
        'confidence': health.confidence,
        'fast_weight_norm': health.fast_weight_norm,
        'gate_mean': health.gate_mean,
        'learning_rate_mean': health.learning_rate_mean,
        'state_change': health.state_change,
        'tracking_cosine': health.tracking_cosine,
        'focal_spread': health.focal_spread,
        'focal_departure': health.focal_departure,
    }
    if tracked.intrinsics is not None:
        values['focal_px'] = tracked.intrinsics.fx
    values |= {f'bad.{name}': number for name, number in health.counts.items()}
    # Values that the model does not give are omitted instead of sent as "nan".
    return {
        name: value
        for name, value in values.items()
        if not (isinstance(value, float) and math.isnan(value))
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _severity(level: bytes) -> int:
    return int.from_bytes(level, 'little')
