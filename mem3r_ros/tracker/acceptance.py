# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Settles what the network state keeps of a frame; then the next frame may begin.

Network steps are pure, so a state takes effect only where it is stored: in :func:`learn` and at a
boundary of segments. The state after an uncertain frame is discarded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mem3r_ros.model.device_queue import DeviceQueue
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.frame import Status
from mem3r_ros.tracker.host_answer import Download, HostAnswer
from mem3r_ros.tracker.measurement import AcceptedFrame, FrameContext, Measurement, measure
from mem3r_ros.tracker.segments import Crossing, depth_ratio
from mem3r_ros.tracker.state_guard import flaw_of_pose, flaw_of_state
from mem3r_ros.tracker.state_rollback import with_motion_of
from mem3r_ros.tracker.stream_state import StreamState


class NetworkAnswers:
    """Answers of the network for one stream, on the host; asks again with other states."""

    def __init__(self, model: Any, queue: DeviceQueue, all_fields: frozenset[str]) -> None:
        """
        Use a network.

        :param queue: of its device.
        :param all_fields: of a prediction, with depth.
        """
        self._model = model
        self._download = Download(queue)
        self._all_fields = all_fields

    def fetch(self, answer: tuple[Any, Any], context: FrameContext) -> HostAnswer:
        """Bring an answer to the host."""
        prepared = context.prepared
        needs_focal = prepared.network_camera is None and answer[0].focal_px is None
        return self._download.fetch(answer, prepared.ignore, needs_focal)

    def with_state(self, context: FrameContext, state: Any, rule: Any) -> HostAnswer:
        """Run a frame again with an older state."""
        answer = self._model.step(context.input, state, rule, outputs=context.fields)
        return self.fetch(answer, context)

    def as_first(self, context: FrameContext, rule: Any) -> HostAnswer:
        """Run a frame again as the first one of a segment."""
        frame, state = replace(context.input, update=None), self._model.initial_state(1)
        return self.fetch(self._model.step(frame, state, rule, outputs=self._all_fields), context)


def rolled_back(
    context: FrameContext,
    measured: Measurement,
    stream: StreamState,
    config: TrackerConfig,
    network: NetworkAnswers,
    rule: Any,
) -> Measurement:
    """Repeat the measurement with older states; return the first one without a problem."""
    for kept in stream.rollback.candidates():
        state = with_motion_of(kept, stream.state)
        again = measure(network.with_state(context, state, rule), context, stream, config)
        if not again.problem.reason:
            stream.state = state
            stream.rollback.adopt(kept)
            return again
    return measured


def without_pose(
    context: FrameContext, reason: str, stream: StreamState, config: TrackerConfig
) -> AcceptedFrame:
    """Accept a frame that gave no pose."""
    notice = stream.validation.count(
        'unusable', f'no pose from this frame: {reason}', context.stamp_ns
    )
    status, reason = stream.health.report_no_pose(context.stamp_ns, reason, config.health)
    return _accepted(context, None, stream, status, reason, None, notice)


def with_pose(
    context: FrameContext,
    measured: Measurement,
    stream: StreamState,
    config: TrackerConfig,
    network: NetworkAnswers,
    rule: Any,
) -> AcceptedFrame:
    """Accept a frame with a pose: learn from it, and cross a boundary of segments behind it."""
    decision, health = context.decision, stream.health
    stream.motion_model.add(measured.increment, health.since_good_s(context.stamp_ns))
    warning = decision.break_reason or decision.flaw.reason or measured.problem.reason
    health.report_pose(context.stamp_ns, measured.increment is not None, warning)
    if not decision.is_still:
        learn(context, measured, stream)
    crossing, notice = None, ''
    if _is_boundary(context, measured, stream, config):
        with context.clock('boundary'):
            crossing, notice = _crossed(context, measured, stream, network, rule)
    return _accepted(context, measured, stream, None, warning, crossing, notice)


def learn(context: FrameContext, measured: Measurement, stream: StreamState) -> None:
    """Update the usual values, the last pose, the anchor and the network state."""
    is_remembered = _is_remembered(context, measured)
    stream.health.add(measured.confidence, measured.telemetry)
    stream.segments.advance(measured.T_world_camera, is_remembered)
    stream.stillness.set_anchor(context.prepared.grey, context.prepared.ignore_grey)
    if is_remembered:
        stream.state = measured.state
        stream.rollback.add(measured.state)


def _is_boundary(
    context: FrameContext, measured: Measurement, stream: StreamState, config: TrackerConfig
) -> bool:
    """Return whether this frame is the last one of its segment."""
    if measured.view is None:
        return False
    if _is_remembered(context, measured):
        return stream.segments.is_reset_due(config.reset_interval)
    is_uncertain = bool(measured.problem.reason)
    return is_uncertain and stream.health.report_uncertain(context.stamp_ns, config.health)


def _crossed(
    context: FrameContext,
    measured: Measurement,
    stream: StreamState,
    network: NetworkAnswers,
    rule: Any,
) -> tuple[Crossing | None, str]:
    """
    Run the frame again as the first of a new segment, and match the scales.

    Where the answer cannot be used, the old segment continues and the next frame tries again.

    :return: the boundary, None if there is none; a message for the user.
    """
    fetched = network.as_first(context, rule)
    view, T_world_camera = fetched.view, fetched.T_world_camera
    weights = np.minimum(measured.view.confidence, view.confidence)
    ratio = depth_ratio(measured.view.depth, view.depth, weights)
    flaw = flaw_of_pose(T_world_camera) or flaw_of_state(fetched.largest_state_value)
    if not flaw and ratio is not None and not stream.segments.is_plausible(ratio[0]):
        flaw = f'network gave depth {1 / ratio[0]:.3g} times as large'
    if flaw:
        text = f'new segment put off: {flaw}'
        return None, stream.validation.count('new segment put off', text, context.stamp_ns)
    factor, log_spread = (1.0, None) if ratio is None else ratio
    stream.begin_segment(fetched.state, T_world_camera, factor)
    return Crossing(log_spread), ''


def _accepted(
    context: FrameContext,
    measured: Measurement | None,
    stream: StreamState,
    status: Status | None,
    warning: str,
    crossing: Crossing | None,
    notice: str,
) -> AcceptedFrame:
    """Return what the path needs of a frame; later frames do not change it."""
    return AcceptedFrame(
        context=context,
        measured=measured,
        status=status,
        warning=warning,
        num_good=stream.health.num_good,
        segment=stream.segments.index,
        segment_age=stream.segments.age,
        unit=stream.segments.scale,
        crossing=crossing,
        notice=notice,
        counts=dict(stream.validation.counts),
    )


def _is_remembered(context: FrameContext, measured: Measurement) -> bool:
    """Return whether the network state after the frame is kept."""
    return context.decision.is_remembered and not measured.problem.reason
