# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Camera frames in, odometry, depth and points out.

``Tracker.begin``, ``Tracker.accept`` and ``Tracker.finish`` are the stages of docs/tracker.md, one
line each. The next frame waits for ``accept`` alone: ``finish`` may run beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.helper_threads import HelperThreads, Job, Result
from mem3r_ros.model import FrameInput, update_rule
from mem3r_ros.model.device_queue import device_queue
from mem3r_ros.places import Places
from mem3r_ros.tracker.acceptance import NetworkAnswers, rolled_back, with_pose, without_pose
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.decision import Decision, apply_break, decide, follow_decision
from mem3r_ros.tracker.feedback import BEFORE_FIRST, Report
from mem3r_ros.tracker.frame import CameraFrame, TrackedFrame
from mem3r_ros.tracker.image_preparation import Preparation, Prepared
from mem3r_ros.tracker.image_quality import Flaw
from mem3r_ros.tracker.measurement import (
    AcceptedFrame,
    FrameContext,
    Measurement,
    is_refined,
    measure,
    wanted_outputs,
)
from mem3r_ros.tracker.network_input import Upload
from mem3r_ros.tracker.path import (
    by_outside_poses,
    calibration_notice,
    coasted,
    move,
    refined,
    status_of,
)
from mem3r_ros.tracker.pixel_map import network_tensor
from mem3r_ros.tracker.place_input import give_to_places
from mem3r_ros.tracker.scale_sources import observe_scale
from mem3r_ros.tracker.snapshot import Snapshot, read_snapshot, write_snapshot
from mem3r_ros.tracker.stage_clock import StageClock
from mem3r_ros.tracker.stream_state import StreamState
from mem3r_ros.tracker.tracked_frame import tracked_frame
from mem3r_ros.two_view.flow_search import FlowSearch, PendingFlow

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
        self._upload = Upload(queue)
        self._network = NetworkAnswers(model, queue, self._all_fields)
        # The small presets compute depth for every pose.
        self._is_depth_free = getattr(model.config, 'two_view', None) is not None
        self._preparation = Preparation(model.config)
        self._helpers: HelperThreads | None = None
        self.flow_search: FlowSearch | None = None  # None: the network searches the flow
        if self._device.type != 'cpu':
            self.use_helpers()  # the network would read its images back from the device
        self._flow: PendingFlow | None = None  # of the frame that is measured
        self.configure(config or TrackerConfig())
        self.reset()

    def configure(self, config: TrackerConfig) -> None:
        """Use other settings from the next frame on; the state of the stream is kept."""
        self.config = config
        self.rule = update_rule(config.update_rule)

    def reset(self) -> None:
        """Start a new stream with the next frame."""
        self._stream = StreamState(self.model)

    def use_helpers(self) -> None:
        """Search the optical flow, if it is an input, and check the image beside it on threads."""
        front_end = getattr(self.model, 'front_end', None)
        if front_end is not None and self._helpers is None:
            self._helpers = HelperThreads()
            self.flow_search = FlowSearch(front_end.config.flow_scale, self._helpers)

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
        return self.finish(self.advance(frame, outputs))

    @torch.inference_mode()
    def advance(self, frame: CameraFrame, outputs: Collection[str] | None = None) -> AcceptedFrame:
        """
        Advance the network state by one frame: all that the next frame waits for.

        :raises BadFrame: the frame is rejected; the stream continues with the next one.
        """
        context = self.begin(frame, outputs)
        answer = None
        if context.input is not None:
            with context.clock('network'):
                answer = self.model.step(
                    context.input, self._stream.state, self.rule, outputs=context.fields
                )
        return self.accept(context, answer)

    # Before the network and after it, so that several streams can share one batched step.

    def begin(self, frame: CameraFrame, outputs: Collection[str] | None = None) -> FrameContext:
        """Do everything before the network; ``FrameContext.input`` is None for a blind frame."""
        stream, config, clock = self._stream, self.config, StageClock()
        wanted = wanted_outputs(outputs)
        with clock('prepare'):
            valid = stream.validation.check(frame)
            prepared = self._preparation.prepare(valid, config.input, self._helpers)
            flaw = stream.quality.check(prepared.grey, config.health)
            image = None if flaw.is_blind else self._upload.frame_input(prepared)
        # In the order in which the results are needed, but for the shortest.
        grey, ignore = prepared.grey, prepared.ignore_grey
        compared = self._start_check(flaw, stream.continuity.compare, grey, ignore, config.health)
        flow = self._start_flow(image, prepared)
        motion = self._start_check(flaw, stream.stillness.measure, grey, config.stillness)
        with clock('network'):
            if flow is not None:
                flow.search()
        if flaw.reason:
            stream.continuity.skip(frame.stamp_ns)
        else:
            with clock('continuity'):
                flaw = stream.continuity.check(
                    grey, ignore, frame.stamp_ns, valid.usual_gap_s, config.health, compared
                )
            if flaw.is_blind:
                stream.quality.discard_last()
        with clock('stillness'):
            is_still = not flaw.reason and stream.stillness.check(grey, config.stillness, motion)
        decision = decide(valid, flaw, is_still, stream, config)
        decision = apply_break(decision, valid, stream, self.model)
        with clock('network'):
            image = None if flaw.is_blind else self._completed(image, decision, flow)
        number = stream.feedback.next_number()
        report = stream.report(number, config)
        fields = self._fields(wanted, prepared, decision, report)
        return FrameContext(
            valid, prepared, decision, wanted, fields, image, clock, number, report.metres_per_unit
        )

    def accept(self, context: FrameContext, answer: tuple[Any, Any] | None) -> AcceptedFrame:
        """
        Check the answer of the network and update its state; then the next frame may begin.

        :param answer: the prediction and the next network state; None for a blind frame.
        """
        stream, config, network = self._stream, self.config, self._network
        if answer is None:
            return without_pose(context, context.decision.flaw.reason, stream, config)
        with context.clock('network'):
            fetched = network.fetch(answer, context)
        with context.clock('health'):
            measured = measure(fetched, context, stream, config)
        if measured.problem.reason:
            measured = rolled_back(context, measured, stream, config, network, self.rule)
        stream.is_implausible = measured.problem.is_implausible
        if measured.problem.is_unusable:
            return without_pose(context, measured.problem.reason, stream, config)
        accepted = with_pose(context, measured, stream, config, network, self.rule)
        self._keep_flow(measured)
        return accepted

    # May run beside begin and accept of the next frame.

    @torch.inference_mode()
    def finish(self, accepted: AcceptedFrame) -> TrackedFrame:
        """Estimate path, scale and depth by an accepted frame; return its result."""
        stream, config, context = self._stream, self.config, accepted.context
        measured = accepted.measured
        if measured is None:
            follow_decision(context.decision, context.stamp_ns, stream, config)
            tracked = coasted(accepted, stream, config)
            stream.add_report(context.number, config)
            return tracked
        stream.dense_outputs.observe_focal(context.prepared, measured.view)
        departure = stream.window.focal.departure
        own = refined(context, measured, stream, config)  # the scale is measured with it
        if own.increment is None:  # otherwise the window has measured the motion over a break
            follow_decision(context.decision, context.stamp_ns, stream, config)
        measured = by_outside_poses(context, own, stream, config)
        with context.clock('odometry'):
            move(context, measured, stream, config)
        status, reason = status_of(accepted, measured, stream, config)
        notice = '' if context.decision.is_still else observe_scale(context, own, stream, config)
        if accepted.crossing is not None:
            stream.follow_crossing(accepted.crossing)
        give_to_places(context, measured, stream, config)
        wrong_calibration = calibration_notice(departure, context, stream)
        notice = accepted.notice or notice or wrong_calibration
        tracked = tracked_frame(accepted, measured, stream, config, status, reason, notice)
        stream.add_report(context.number, config)
        return tracked

    # Parts of begin.

    def _start_flow(self, image: FrameInput | None, prepared: Prepared) -> PendingFlow | None:
        """Search the flow of a frame beside the checks of its image, if that is wanted."""
        if image is None or self.flow_search is None or prepared.small is None:
            return None
        pixels = image.image
        if pixels.device.type != 'cpu':
            pixels = network_tensor(prepared.small)
        return self.flow_search.start(pixels, prepared.fine_gray, self._stream.state.motion)

    def _start_check(
        self, flaw: Flaw, check: Callable[..., Result], *arguments: Any
    ) -> Job[Result] | None:
        """Check an image beside the search of its flow; None: later, where that is needed."""
        if flaw.reason or self._helpers is None:
            return None
        return self._helpers.start(check, *arguments)

    def _completed(
        self, image: FrameInput, decision: Decision, flow: PendingFlow | None
    ) -> FrameInput:
        """Return the input of the network; a flow counts if no break has come in between."""
        is_valid = flow is not None and flow.memory is self._stream.state.motion
        self._flow = flow if is_valid else None
        found = flow.result() if is_valid else None
        return self._upload.completed(image, decision.is_remembered, found)

    def _keep_flow(self, measured: Measurement) -> None:
        """Keep the frame for the next search if the state remembers it."""
        state, flow = self._stream.state, self._flow
        # A step whose results are not finite changes nothing.
        if (
            flow is None
            or state is not measured.state
            or not measured.telemetry.get('state_change')
        ):
            return
        self.flow_search.remember(state.motion, flow)

    def _fields(
        self, wanted: frozenset[str], prepared: Prepared, decision: Decision, report: Report
    ) -> frozenset[str]:
        """Return the fields of the prediction that the stages or the user need."""
        stream, config = self._stream, self.config
        uses_keyframes = is_refined(prepared, config) or config.places.enabled
        is_dense = (
            bool(wanted)
            or self._is_depth_free
            or config.scale.source in _DENSE_SCALES
            or (uses_keyframes and report.wants_depth)
            or (decision.is_remembered and stream.segments.is_reset_due(config.reset_interval))
            or stream.health.is_uncertain
        )
        return self._all_fields if is_dense else self._all_fields & _POSE_FIELDS

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
        if not self._stream.feedback.reports:  # of a version before there were reports
            self._stream.add_report(BEFORE_FIRST, self.config)

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
        self._stream.scale.observe_distance(distance_m, depth * unit, self.config.scale)

    @torch.inference_mode()
    def warm_up(self, width: int, height: int) -> None:
        """Run the network on an empty image of this size; the stream does not change."""
        pixels = self._preparation.plan(width, height, self.config.input)
        image = np.zeros((pixels.height, pixels.width, 3), np.uint8)
        frame = FrameInput(image=network_tensor(image, self._device))
        state = self.model.initial_state(1)
        for _ in range(2):  # the second frame uses the code path of all later ones
            _, state = self.model.step(frame, state, self.rule, outputs=self._all_fields)
