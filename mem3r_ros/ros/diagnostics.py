# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The node's part of /diagnostics, once a second, active or not."""

from __future__ import annotations

from collections.abc import Mapping
import os

from diagnostic_msgs.msg import DiagnosticStatus
import torch

from mem3r_ros.ros.frame_statistics import FrameCounts, StageTimes
from mem3r_ros.ros.graph_checks import Finding, Level
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.result_publisher import Output
from mem3r_ros.ros.status import diagnostic
from mem3r_ros.ros.subscriptions import Inputs
from mem3r_ros.tracker import Status

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_LEVELS = {Level.OK: OK, Level.WARN: WARN, Level.ERROR: ERROR}
_MIB = 2**20


def lifecycle_status(state: str, error: str) -> DiagnosticStatus:
    """Tell the state of the lifecycle; ``error`` is why configuring failed, or ''."""
    if error:
        return diagnostic(ERROR, 'mem3r: lifecycle', error, {'state': state})
    return diagnostic(OK, 'mem3r: lifecycle', state, {'state': state})


def input_status(
    inputs: Inputs, counts: FrameCounts, findings: list[Finding], warnings: list[str]
) -> DiagnosticStatus:
    """
    Tell whether images come in, how many, and why not.

    :param inputs: the subscriptions.
    :param counts: where the images went.
    :param findings: why none comes, or what is odd about their stamps.
    :param warnings: what came beside the images and is not used.
    """
    rate_hz = inputs.rate.rate_hz()
    level, message = OK, f'{rate_hz:.1f} images/s'
    if inputs.is_paused:
        message = 'paused by service'
    elif findings or warnings:
        levels = [_LEVELS[finding.level] for finding in findings] + [WARN] * len(warnings)
        level = max(levels, key=_rank)
        found = [f'{finding.topic}: {finding.message}' for finding in findings]
        message = '; '.join(found + warnings)
    values = {
        'rate_hz': rate_hz,
        'topic': inputs.image_topic,
        'encoding': inputs.last_encoding,
        'frame_id': inputs.last_frame_id,
        'calibrated': inputs.camera is not None,
        **counts.as_dict(),
    }
    return diagnostic(level, 'mem3r: input', message, values)


def tracking_status(output: Output) -> DiagnosticStatus:
    """Tell how tracking goes."""
    if output.problem:
        return diagnostic(ERROR, 'mem3r: tracking', output.problem, {})
    state = output.last_state
    if state is None:
        return diagnostic(WARN, 'mem3r: tracking', 'No image tracked yet', {})
    level, message = {
        Status.INITIALISING: (OK, 'Initialising'),
        Status.TRACKING: (OK, 'Tracking'),
        Status.DEGRADED: (WARN, 'Degraded'),
        Status.LOST: (ERROR, 'Lost'),
    }[state]
    values = {'poses': len(output.trajectory), 'map_points': output.num_map_points}
    return diagnostic(level, 'mem3r: tracking', message, values)


def latency_status(stage_times: StageTimes) -> DiagnosticStatus:
    """Tell median and 95th percentile of each stage, in ms."""
    summary = stage_times.summary()
    values = {}
    for stage, (median, high) in summary.items():
        values[f'{stage}_ms_median'] = float(median)
        values[f'{stage}_ms_p95'] = float(high)
    total = summary.get('total')
    message = f'{total[0]:.0f} ms from arrival to published' if total else 'nothing timed yet'
    return diagnostic(OK, 'mem3r: latency', message, values)


def memory_status(device: str) -> DiagnosticStatus:
    """Tell the memory of the process and of its GPU."""
    values = {'host_mib': host_memory_mib()}
    message = f'{values["host_mib"]:.0f} MiB'
    if device.startswith('cuda'):
        values['gpu_allocated_mib'] = torch.cuda.memory_allocated(device) / _MIB
        values['gpu_peak_mib'] = torch.cuda.max_memory_allocated(device) / _MIB
        message += f', GPU {values["gpu_allocated_mib"]:.0f} MiB'
    return diagnostic(OK, 'mem3r: memory', message, values)


def model_status(
    config: NodeConfig, device: str, details: Mapping[str, object]
) -> DiagnosticStatus:
    """Tell which network runs where."""
    values = {'source': config.model, 'device': device, 'dtype': config.dtype, **details}
    return diagnostic(OK, 'mem3r: model', f'{config.model} on {device}', values)


def transport_status(findings: list[Finding]) -> DiagnosticStatus:
    """Tell whether the middleware is set up for images."""
    if findings:
        return diagnostic(WARN, 'mem3r: transport', findings[0].message, {})
    return diagnostic(OK, 'mem3r: transport', 'ready for images', {})


def host_memory_mib() -> float:
    """Return the resident memory of this process."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / _MIB


def _rank(level: bytes) -> int:
    return int.from_bytes(level, 'little')
