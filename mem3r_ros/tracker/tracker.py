# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Camera frames in, odometry, depth and points out.

``Tracker.begin`` and ``Tracker.finish`` are the stages of docs/tracker.md, one line each. Network
steps are pure, so a state takes effect only where it is stored: the state after an uncertain
frame is discarded.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model import FrameInput, update_rule
from mem3r_ros.model.device_queue import device_queue
from mem3r_ros.places import Places
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.decision import Decision, apply_break, decide
from mem3r_ros.tracker.frame import CameraFrame, Status, TrackedFrame
from mem3r_ros.tracker.host_answer import Download, HostAnswer
from mem3r_ros.tracker.image_preparation import Preparation, Prepared
from mem3r_ros.tracker.measurement import (
    FrameContext,
    Measurement,
    covariance_of,
    in_metres,
    is_refined,
    measure,
    wanted_outputs,
    window_input,
)
from mem3r_ros.tracker.network_input import Upload
from mem3r_ros.tracker.pixel_map import network_tensor
from mem3r_ros.tracker.place_input import give_to_places
from mem3r_ros.tracker.scale_sources import observe_scale
from mem3r_ros.tracker.segments import depth_ratio
from mem3r_ros.tracker.snapshot import Snapshot, read_snapshot, write_snapshot
from mem3r_ros.tracker.stage_clock import StageClock
from mem3r_ros.tracker.state_guard import flaw_of_pose, flaw_of_state
from mem3r_ros.tracker.state_rollback import with_motion_of
from mem3r_ros.tracker.stream_state import StreamState
from mem3r_ros.tracker.tracked_frame import tracked_frame

_POSE_FIELDS = frozenset({'T_world_camera', 'telemetry'})
_DENSE_FIELDS = frozenset({'points_camera', 'confidence_camera', 'focal_px', 'image_token'})
_DENSE_SCALES = ('camera_height', 'distance')


class Tracker:
    """Tracks one camera. Trackers may share a network; each has its own state."""

    def __init__(self, model: Any, config: TrackerConfig | None = None) -> None:
        """
        Start a stream.

        :param model: a network with ``config``, ``initial_state`` and ``step``.
        :param config: settings; default: all defaults.
        """
        self.model = model
        self._device = torch.device(getattr(model, 'device', None) or 'cpu')
        fields = _POSE_FIELDS | _DENSE_FIELDS
        available = getattr(getattr(model, 'predictor', None), 'available', None)
        self._all_fields = fields & frozenset(available) if available else fields
        queue = getattr(model, 'queue', None) or device_queue(self._device)
        self._upload, self._download = Upload(queue), Download(queue)
        self._preparation = Preparation(model.config)
        self.configure(config or TrackerConfig())
        self.reset()

    def configure(self, config: TrackerConfig) -> None:
        """Use other settings from the next frame on; the state of the stream is kept."""
        self.config = config
        self.rule = update_rule(config.update_rule)

    def reset(self) -> None:
        """Start a new stream with the next frame."""
        self._stream = StreamState(self.model)

    def request_reset(self) -> None:
        """Begin a new segment with the next good frame; the odometry continues smoothly."""
        self._stream.request_reset()

    @property
    def state(self) -> Any:
        """The recurrent network state of this stream."""
        return self._stream.state

    @property
    def places(self) -> Places:
        """The place memory of this stream; empty unless ``places.enabled``."""
        return self._stream.places

    @torch.inference_mode()
    def track(self, frame: CameraFrame, outputs: Collection[str] | None = None) -> TrackedFrame:
        """
        Track one frame.

        :param frame: the image, its stamp, and optional calibration, mask and wheel path.
        :param outputs: wanted ones among depth, points, confidence and image; default all but the
            image. Heads that are not needed are not computed.
        :return: pose, covariance, twist, status and the wanted outputs. A frame without a
            measurement gets an extrapolated pose, and its status has the reason.
        :raises BadFrame: the frame is rejected; the stream continues with the next one.
        """
        context = self.begin(frame, outputs)
        answer = None
        if context.input is not None:
            with context.clock('network'):
                answer = self.model.step(
                    context.input, self._stream.state, self.rule, outputs=context.fields
                )
        return self.finish(context, answer)

    # The two halves around the network, so that several streams can share one batched step.

    def begin(self, frame: CameraFrame, outputs: Collection[str] | None = None) -> FrameContext:
        """Do everything before the network; ``FrameContext.input`` is None for a blind frame."""
        stream, config, clock = self._stream, self.config, StageClock()
        wanted = wanted_outputs(outputs)
        with clock('prepare'):
            valid = stream.validation.check(frame)
            prepared = self._preparation.prepare(valid, config.input)
            flaw = stream.quality.check(prepared.grey, config.health)
        if flaw.reason:
            stream.continuity.skip(frame.stamp_ns)
        else:
            with clock('continuity'):
                flaw = stream.continuity.check(
                    prepared.grey,
                    prepared.ignore_grey,
                    frame.stamp_ns,
                    valid.usual_gap_s,
                    config.health,
                )
            if flaw.is_blind:
                stream.quality.discard_last()
        with clock('stillness'):
            is_still = not flaw.reason and stream.stillness.check(prepared.grey, config.stillness)
        decision = decide(valid, flaw, is_still, stream, config)
        apply_break(decision, valid, stream, config, self.model)
        with clock('prepare'):
            image = None
            if not flaw.is_blind:
                image = self._upload.frame_input(prepared, decision.is_remembered)
        fields = self._fields(wanted, prepared, decision)
        return FrameContext(valid, prepared, decision, wanted, fields, image, clock)

    def finish(self, context: FrameContext, answer: tuple[Any, Any] | None) -> TrackedFrame:
        """
        Do everything after the network.

        :param answer: the prediction and the next network state; None for a blind frame.
        """
        if answer is None:
            return self._without_measurement(context, context.decision.flaw.reason)
        with context.clock('network'):
            fetched = self._fetched(answer, context)
        with context.clock('health'):
            measured = measure(fetched, context, self._stream, self.config)
        if measured.problem.reason:
            measured = self._rolled_back(context, measured)
        self._stream.is_implausible = measured.problem.is_implausible
        if measured.problem.is_unusable:
            return self._without_measurement(context, measured.problem.reason)
        self._add_motion(context, measured)
        self._stream.dense_outputs.observe_focal(context.prepared, measured.view)
        own = self._refined(context, measured)  # the scale is measured with it
        measured = self._by_outside_poses(context, own)
        if measured.view is not None:
            self._stream.last_view = (measured.view, measured.unit)
        with context.clock('odometry'):
            self._move(context, measured)
        status, reason = self._status(context, measured)
        notice = ''
        if not context.decision.is_still:
            notice = observe_scale(context, own, self._stream, self.config)
            self._learn(context, measured)
        if self._is_boundary(context, measured):
            with context.clock('boundary'):
                notice = self._cross_boundary(context, measured) or notice
        give_to_places(context, measured, self._stream, self.config)
        return tracked_frame(context, measured, self._stream, self.config, status, reason, notice)

    # Before the network.

    def _fields(
        self, wanted: frozenset[str], prepared: Prepared, decision: Decision
    ) -> frozenset[str]:
        """Return the fields of the prediction that the stages or the user need."""
        stream, config = self._stream, self.config
        is_dense = (
            bool(wanted)
            or config.scale.source in _DENSE_SCALES
            or (is_refined(prepared, self.config) and stream.window.wants_depth)
            or (decision.is_remembered and stream.segments.is_reset_due(config.reset_interval))
            or stream.health.is_uncertain
            or stream.places.wants_depth
        )
        return self._all_fields if is_dense else self._all_fields & _POSE_FIELDS

    # After the network.

    def _fetched(self, answer: tuple[Any, Any], context: FrameContext) -> HostAnswer:
        """Bring an answer to the host."""
        prepared = context.prepared
        needs_focal = prepared.network_camera is None and answer[0].focal_px is None
        return self._download.fetch(answer, prepared.ignore, needs_focal)

    def _rolled_back(self, context: FrameContext, measured: Measurement) -> Measurement:
        """Repeat the measurement with older states; return the first one without a problem."""
        for kept in self._stream.rollback.candidates():
            state = with_motion_of(kept, self._stream.state)
            answer = self.model.step(context.input, state, self.rule, outputs=context.fields)
            again = measure(self._fetched(answer, context), context, self._stream, self.config)
            if not again.problem.reason:
                self._stream.state = state
                self._stream.rollback.adopt(kept)
                return again
        return measured

    def _add_motion(self, context: FrameContext, measured: Measurement) -> None:
        since_s = self._stream.health.since_good_s(context.stamp_ns)
        factor = self._stream.metres_per_unit(self.config)
        self._stream.motion_model.add(measured.increment, since_s, factor)

    def _refined(self, context: FrameContext, measured: Measurement) -> Measurement:
        """Replace the network's motion by that of the window, and its depth scale too."""
        prepared, stream = context.prepared, self._stream
        if not is_refined(prepared, self.config):
            return measured
        if not context.decision.is_still:
            with context.clock('refinement'):
                factor = stream.metres_per_unit(self.config)
                frame = window_input(context, measured, stream, factor)
                estimate = stream.window.process(frame, self.config.refinement)
            if estimate is not None:
                measured = replace(measured, **in_metres(estimate, factor))
        return replace(measured, unit=measured.unit * stream.window.depth_scale)

    def _by_outside_poses(self, context: FrameContext, measured: Measurement) -> Measurement:
        """Replace the motion by that of poses from outside, if there are two."""
        increment = self._stream.outside.increment(context.valid.frame.T_outside_camera)
        if increment is None or measured.increment is None or context.decision.is_still:
            return measured
        return replace(measured, increment=increment)

    def _move(self, context: FrameContext, measured: Measurement) -> None:
        """Move the odometry and the fused depth by the increment."""
        odometry, decision, increment = self._stream.odometry, context.decision, measured.increment
        self._stream.depth_fusion.move(increment, self._stream.metres_per_unit(self.config))
        if decision.is_still:
            odometry.hold(context.stamp_ns)
        elif increment is not None:
            is_degraded = bool(measured.problem.reason or decision.flaw.reason)
            covariance = covariance_of(measured, is_degraded, self.config.covariance)
            spread = self._stream.scale_spread(self.config)
            odometry.advance(increment, covariance, spread, context.stamp_ns)
        elif not odometry.is_started or decision.break_reason:
            odometry.start(context.stamp_ns)

    def _status(self, context: FrameContext, measured: Measurement) -> tuple[Status, str]:
        decision = context.decision
        warning = decision.break_reason or decision.flaw.reason or measured.problem.reason
        is_measured = measured.increment is not None
        is_settled = (
            decision.is_still
            or not is_refined(context.prepared, self.config)
            or self._stream.window.has_settled
            or self._stream.scale.is_measured
        )
        status, reason = self._stream.health.report_pose(
            context.stamp_ns, is_measured, warning, is_settled
        )
        return status, reason or measured.window_reason

    def _learn(self, context: FrameContext, measured: Measurement) -> None:
        """Update the usual values, the last pose, the anchor and the network state."""
        stream = self._stream
        is_remembered = _is_remembered(context, measured)
        stream.health.add(measured.confidence, measured.telemetry)
        stream.segments.advance(measured.T_world_camera, is_remembered)
        stream.stillness.set_anchor(context.prepared.grey, context.prepared.ignore_grey)
        if is_remembered:
            stream.state = measured.state
            stream.rollback.add(measured.state)

    def _is_boundary(self, context: FrameContext, measured: Measurement) -> bool:
        """Return whether this frame is the last one of its segment."""
        stream, config = self._stream, self.config
        if measured.view is None:
            return False
        if _is_remembered(context, measured):
            return stream.segments.is_reset_due(config.reset_interval)
        is_uncertain = bool(measured.problem.reason)
        return is_uncertain and stream.health.report_uncertain(context.stamp_ns, config.health)

    def _cross_boundary(self, context: FrameContext, measured: Measurement) -> str:
        """
        Run the frame again as the first of a new segment, and match the scales.

        Where the answer cannot be used, the old segment continues and the next frame tries again.

        :return: a message for the user; empty if the segment has begun, or one came just before.
        """
        answer = self.model.step(
            replace(context.input, update=None),
            self.model.initial_state(1),
            self.rule,
            outputs=self._all_fields,
        )
        fetched = self._fetched(answer, context)
        view, T_world_camera = fetched.view, fetched.T_world_camera
        weights = np.minimum(measured.view.confidence, view.confidence)
        ratio = depth_ratio(measured.view.depth, view.depth, weights)
        flaw = flaw_of_pose(T_world_camera) or flaw_of_state(fetched.largest_state_value)
        if not flaw and ratio is not None and not self._stream.segments.is_plausible(ratio[0]):
            flaw = f'network gave depth {1 / ratio[0]:.3g} times as large'
        if flaw:
            return self._stream.validation.count(
                'new segment put off', f'new segment put off: {flaw}', context.stamp_ns
            )
        self._stream.begin_segment(fetched.state, T_world_camera, ratio)
        return ''

    def _without_measurement(self, context: FrameContext, reason: str) -> TrackedFrame:
        """Extrapolate the pose."""
        stream, config, stamp_ns = self._stream, self.config, context.stamp_ns
        notice = stream.validation.count(
            'unusable', f'no pose from this frame: {reason}', stamp_ns
        )
        status, reason = stream.health.report_no_pose(stamp_ns, reason, config.health)
        stream.scale.break_path()
        stream.odometry.coast(stamp_ns, config.health.coast_s)
        return tracked_frame(context, None, stream, config, status, reason, notice)

    # Besides the frames.

    def snapshot(self, path: str | Path | None = None) -> Snapshot:
        """
        Return the state of the stream as plain values: network state, segments, scale, pose.

        :param path: also write it there as one safetensors file.
        :raises UserError: the file cannot be written.
        """
        snapshot = self._stream.snapshot(self.model)
        if path is not None:
            write_snapshot(path, snapshot)
        return snapshot

    def restore(self, snapshot: Snapshot | str | Path) -> None:
        """
        Continue from a snapshot: the results equal those of a stream that never stopped.

        :raises UserError: it cannot be read, or was taken with another network.
        """
        if not isinstance(snapshot, Snapshot):
            snapshot = read_snapshot(snapshot)
        self._stream = StreamState.from_snapshot(snapshot, self.model, self._device)

    def measure_distance(
        self, distance_m: float, pixel: tuple[float, float] | None = None
    ) -> None:
        """
        Set the true depth of one point of the last frame, for scale source 'distance'.

        :param distance_m: depth along the optical axis.
        :param pixel: (x, y) in the network's image; default: its centre.
        :raises UserError: there is no depth there.
        """
        if self._stream.last_view is None:
            raise UserError('there is no depth yet to compare the distance with')
        view, unit = self._stream.last_view
        depth = view.depth_at_centre() if pixel is None else view.depth_at(*pixel)
        if not np.isfinite(depth):
            raise UserError(f'there is no depth at pixel {pixel}; choose another point')
        if self._stream.scale.observe_distance(distance_m, depth * unit, self.config.scale):
            self._stream.segments.trust_scale()

    @torch.inference_mode()
    def warm_up(self, width: int, height: int) -> None:
        """Run the network on an empty image of this size; the stream does not change."""
        pixels = self._preparation.plan(width, height, self.config.input)
        image = np.zeros((pixels.height, pixels.width, 3), np.uint8)
        frame = FrameInput(image=network_tensor(image, self._device))
        state = self.model.initial_state(1)
        for _ in range(2):  # the second frame uses the code path of all later ones
            _, state = self.model.step(frame, state, self.rule, outputs=self._all_fields)


def _is_remembered(context: FrameContext, measured: Measurement) -> bool:
    """Return whether the network state after the frame is kept."""
    return context.decision.is_remembered and not measured.problem.reason
