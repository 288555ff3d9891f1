# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Camera frames in, odometry, depth and points out.

One frame's way: intake (is it a frame?), prepare (rectify, resize), quality (is anything to be
seen?), stillness (has anything moved?), the network, health (is its answer to be believed?),
segments and scale (what is the motion in metres?), odometry (where is the camera now?), products.
The network's memory changes only by frames that passed all of it: steps are pure, and the state
after a doubtful frame is simply not taken over.
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
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.dense_outputs import View
from mem3r_ros.tracker.frame import CameraFrame, Status, TrackedFrame
from mem3r_ros.tracker.image_preparation import Preparation, Prepared
from mem3r_ros.tracker.image_quality import ImageQuality
from mem3r_ros.tracker.keyframe_refinement import DepthView
from mem3r_ros.tracker.measurement import Look, Work, look_at, wanted_outputs
from mem3r_ros.tracker.pixel_map import network_tensor
from mem3r_ros.tracker.scale_sources import observe_scale
from mem3r_ros.tracker.segments import depth_ratio
from mem3r_ros.tracker.snapshot import Snapshot, read_snapshot, write_snapshot
from mem3r_ros.tracker.stage_clock import StageClock
from mem3r_ros.tracker.state_rollback import Recovery, with_motion_of
from mem3r_ros.tracker.stream_state import Stream
from mem3r_ros.tracker.tracked_frame import tracked_frame
from mem3r_ros.tracker.uncertainty import increment_covariance

_POSE_FIELDS = frozenset({'T_world_camera', 'telemetry'})
_DENSE_FIELDS = frozenset({'points_camera', 'confidence_camera', 'focal_px'})
# Corners are followed where the camera's image is so many times as wide as the network's.
_FINER = 1.5
_DENSE_SCALES = ('camera_height', 'distance')


class Tracker:
    """One stream: a network that other trackers may share, and all that this camera taught it."""

    def __init__(self, model: Any, config: TrackerConfig | None = None) -> None:
        """
        Start a stream.

        :param model: a network with ``config``, ``initial_state`` and ``step``.
        :param config: settings; default: all defaults.
        """
        self.model = model
        weight = next(iter(model.parameters()), None) if hasattr(model, 'parameters') else None
        self._device = torch.device('cpu') if weight is None else weight.device
        available = getattr(getattr(model, 'predictor', None), 'available', None)
        self._available = frozenset(available) if available else _POSE_FIELDS | _DENSE_FIELDS
        self._preparation = Preparation(model.config)
        self.configure(config or TrackerConfig())
        self.reset()

    def configure(self, config: TrackerConfig) -> None:
        """Use other settings from the next frame on; what has been learned stays."""
        self.config = config
        self.rule = update_rule(config.update_rule)

    def reset(self) -> None:
        """Forget everything: the next frame is the first one of a new stream."""
        self._stream = Stream(self.model)

    def request_reset(self) -> None:
        """Begin a new segment with the next good frame; odometry goes on without a step."""
        self._stream.segments.memory.is_reset_requested = True

    @property
    def state(self) -> Any:
        """The network's recurrent state of this stream."""
        return self._stream.state

    @torch.inference_mode()
    def track(self, frame: CameraFrame, outputs: Collection[str] | None = None) -> TrackedFrame:
        """
        Track one frame.

        :param frame: the image, its stamp and what is known about it.
        :param outputs: which of depth, points and confidence are wanted; default all. Heads that
            nobody asks for are not computed.
        :return: pose, covariance, twist, status and the wanted outputs; a frame that shows
            nothing gives a pose by continuity and says so in its status.
        :raises BadFrame: the frame cannot be used at all; the stream goes on with the next one.
        """
        work = self.begin(frame, outputs)
        answer = None
        if work.input is not None:
            with work.clock('network'):
                answer = self.model.step(
                    work.input, self._stream.state, self.rule, outputs=work.fields
                )
        return self.finish(work, answer)

    # The two halves around the network, so that several streams can share one batched step.

    def begin(self, frame: CameraFrame, outputs: Collection[str] | None = None) -> Work:
        """Do all that comes before the network; ``Work.input`` is None for a blind frame."""
        clock = StageClock()
        wanted = wanted_outputs(outputs)
        with clock('prepare'):
            accepted = self._stream.intake.accept(frame)
            prepared = self._preparation.prepare(accepted, self.config.input)
            flaw = self._stream.quality.judge(prepared.grey, self.config.health)
        with clock('stillness'):
            is_still = not flaw.reason and self._stream.stillness.judge(
                prepared.grey, self.config.stillness
            )
        if accepted.is_new_size:
            self._stream.quality = ImageQuality()
        reason = self._stream.break_reason(accepted, self.config)
        if reason and flaw.is_blind:
            self._stream.postpone_break(reason, frame.stamp_ns)
        elif reason:
            self._stream.begin_unconnected(frame.stamp_ns, self.config, self.model)
            is_still = False
        self._stream.is_restored = False
        is_first = self._stream.segments.memory.T_world_camera is None
        update = frame.remember and not is_still and (is_first or not flaw.reason)
        work = Work(
            accepted,
            prepared,
            flaw,
            is_still,
            update,
            wanted,
            reason,
            clock,
            input=None,
            fields=self._fields(wanted, update, prepared),
        )
        if flaw.is_blind:
            return work
        with clock('prepare'):
            return replace(work, input=self._input(work))

    def finish(self, work: Work, answer: tuple[Any, Any] | None) -> TrackedFrame:
        """Do all that comes after the network, given its prediction and the next state."""
        if answer is None:
            return self._unseen(work, work.flaw.reason)
        with work.clock('judge'):
            look = self._judged(work, *answer)
        if look.problem.reason and not work.is_still:
            look = self._rolled_back(work, look)
        if look.problem.is_unusable and not work.is_still:
            return self._unseen(work, look.problem.reason)
        self._stream.products.observe_focal(work.prepared, look.view)
        if look.view is not None:
            self._stream.last_view = (look.view, look.unit)
        with work.clock('odometry'):
            look = self._move(work, look)
            status, reason = self._status(work, look)
        is_remembered = work.update and not look.problem.reason
        self._remember(work, look, is_remembered)
        if self._is_boundary(work, look, is_remembered):
            with work.clock('boundary'):
                self._cross_boundary(work, look)
        return self._tracked(work, look, status, reason)

    # Before the network.

    def _fields(self, wanted: frozenset[str], update: bool, prepared: Prepared) -> frozenset[str]:
        config = self.config
        is_dense = (
            bool(wanted)
            or config.scale.source in _DENSE_SCALES
            or (self._is_refined(prepared) and self._stream.refinement.wants_keyframe())
            or (update and self._stream.segments.is_reset_due(config.reset_interval))
            or self._stream.health.memory.doubtful_since_ns is not None
        )
        fields = _POSE_FIELDS | _DENSE_FIELDS if is_dense else _POSE_FIELDS
        return fields & self._available

    def _input(self, work: Work) -> FrameInput:
        camera = work.prepared.network_camera
        intrinsics = None
        if camera is not None:
            values = [[camera.fx, camera.fy, camera.cx, camera.cy]]
            intrinsics = torch.tensor(values, dtype=torch.float32, device=self._device)
        update = None if work.update else torch.zeros(1, dtype=torch.bool, device=self._device)
        image = network_tensor(work.prepared.small, self._device)
        fine = work.prepared.fine_gray
        if fine is not None:
            fine = torch.from_numpy(fine)[None].to(self._device)
        return FrameInput(image=image, update=update, intrinsics=intrinsics, fine_gray=fine)

    # After the network.

    def _judged(self, work: Work, prediction: Any, state: Any) -> Look:
        look = look_at(
            prediction,
            state,
            work,
            self._stream.segments,
            self._stream.factor(self.config),
            self._stream.health.usual_confidence,
        )
        stream, config = self._stream, self.config
        since_s = stream.health.since_good_s(work.accepted.frame.stamp_ns)
        acceleration = stream.pace.acceleration(
            look.increment, since_s, stream.factor(config), config.covariance
        )
        problem = stream.health.check(
            look.increment, since_s, acceleration, look.confidence, look.telemetry, config.health
        )
        return replace(look, problem=problem)

    def _rolled_back(self, work: Work, look: Look) -> Look:
        """Look again with an older memory; keep the better answer."""
        for kept in self._stream.recovery.candidates():
            state = with_motion_of(kept, self._stream.state)
            answer = self.model.step(work.input, state, self.rule, outputs=work.fields)
            again = self._judged(work, *answer)
            if not again.problem.reason:
                self._stream.state = state
                self._stream.recovery.adopt(kept)
                return again
        return look

    def _move(self, work: Work, look: Look) -> Look:
        """Publish the motion; return the look with the motion that was."""
        stamp_ns = work.accepted.frame.stamp_ns
        self._stream.pace.note(
            np.eye(4) if work.is_still else look.increment,
            self._stream.health.since_good_s(stamp_ns),
            self._stream.factor(self.config),
        )
        if work.is_still:
            self._stream.odometry.hold(stamp_ns)
            return look
        increment = self._refined(work, look)
        if increment is not None:
            is_doubtful = bool(look.problem.reason or work.flaw.reason)
            covariance = increment_covariance(
                increment, look.confidence_ratio, is_doubtful, self.config.covariance
            )
            spread = self._stream.scale_spread(self.config)
            self._stream.odometry.advance(increment, covariance, spread, stamp_ns)
        elif self._stream.odometry.memory.stamp_ns is None or work.reason:
            self._stream.odometry.start(stamp_ns)
        return replace(look, increment=increment)

    def _is_refined(self, prepared: Prepared) -> bool:
        """Say whether the camera sees enough more than the network for corners to help."""
        pixels = prepared.pixels
        is_finer = pixels.source_width >= _FINER * pixels.width
        return self.config.refinement.enabled and is_finer

    def _refined(self, work: Work, look: Look) -> np.ndarray | None:
        """Let corners at camera resolution better the motion, if that is asked for."""
        if not self._is_refined(work.prepared):
            return look.increment
        with work.clock('refinement'):
            network_camera = self._stream.products.network_camera(work.prepared)
            camera = work.prepared.camera
            if camera is None:
                camera = work.prepared.pixels.source_camera(network_camera)
            factor, view = self._stream.factor(self.config), None
            if look.view is not None:
                view = DepthView(look.view.depth * (factor * look.unit), network_camera)
            return self._stream.refinement.process(
                work.prepared.image, camera, look.increment, view, factor, self.config.refinement
            )

    def _status(self, work: Work, look: Look) -> tuple[Status, str]:
        stamp_ns = work.accepted.frame.stamp_ns
        doubt = work.reason or work.flaw.reason or ('' if work.is_still else look.problem.reason)
        is_measured = work.is_still or look.increment is not None
        return self._stream.health.good(stamp_ns, is_measured, doubt)

    def _remember(self, work: Work, look: Look, is_remembered: bool) -> None:
        """Take over what the frame taught, as far as it may be taken over."""
        if work.is_still:
            return
        observe_scale(work, look, self._stream, self.config)
        self._stream.health.learn(look.confidence, look.telemetry)
        self._stream.segments.advance(look.T_world_camera, is_remembered)
        self._stream.stillness.move_anchor(work.prepared.grey, work.prepared.ignore_grey)
        if is_remembered:
            self._stream.state = look.state
            self._stream.recovery.note(look.state)

    def _is_boundary(self, work: Work, look: Look, is_remembered: bool) -> bool:
        if look.view is None:
            return False
        if is_remembered:
            return self._stream.segments.is_reset_due(self.config.reset_interval)
        stamp_ns = work.accepted.frame.stamp_ns
        is_doubt = bool(look.problem.reason) and not work.is_still
        return is_doubt and self._stream.health.doubt_lasts(stamp_ns, self.config.health)

    def _cross_boundary(self, work: Work, look: Look) -> None:
        """Run the frame once more, as the first of a new segment, and match the scales."""
        fields = (_POSE_FIELDS | _DENSE_FIELDS) & self._available
        frame = replace(work.input, update=None)
        prediction, state = self.model.step(
            frame, self.model.initial_state(1), self.rule, outputs=fields
        )
        view = View.of(prediction, work.prepared.ignore)
        weights = np.minimum(look.view.confidence, view.confidence)
        ratio = depth_ratio(look.view.depth, view.depth, weights)
        T_world_camera = prediction.T_world_camera[0].double().cpu().numpy()
        self._stream.begin_segment(T_world_camera, ratio)
        self._stream.health.forget_usual()
        self._stream.recovery = Recovery()
        self._stream.state = state

    # What comes out.

    def _unseen(self, work: Work, reason: str) -> TrackedFrame:
        """Go on without a measurement."""
        stamp_ns = work.accepted.frame.stamp_ns
        notice = self._stream.intake.count(
            'unusable', f'no pose from this frame: {reason}', stamp_ns
        )
        status, reason = self._stream.health.bad(stamp_ns, reason, self.config.health)
        self._stream.scale.break_path()
        self._stream.odometry.coast(stamp_ns, self.config.health.coast_s)
        return self._tracked(work, None, status, reason, notice)

    def _tracked(
        self, work: Work, look: Look | None, status: Status, reason: str, notice: str = ''
    ) -> TrackedFrame:
        return tracked_frame(work, look, self._stream, self.config, status, reason, notice)

    # Besides the stream.

    def snapshot(self, path: str | Path | None = None) -> Snapshot:
        """
        Return the whole stream as plain values: state, segments, scale, pose, all of it.

        :param path: also write it there as one safetensors file.
        :raises UserError: the file cannot be written.
        """
        snapshot = self._stream.snapshot(self.model)
        if path is not None:
            write_snapshot(path, snapshot)
        return snapshot

    def restore(self, snapshot: Snapshot | str | Path) -> None:
        """
        Go on from a snapshot: the next frames give what they would have given without a stop.

        :raises UserError: it cannot be read, or was taken with another network.
        """
        if not isinstance(snapshot, Snapshot):
            snapshot = read_snapshot(snapshot)
        self._stream = Stream.from_snapshot(snapshot, self.model, self._device)

    def measure_distance(
        self, distance_m: float, pixel: tuple[float, float] | None = None
    ) -> None:
        """
        Tell the depth of one point of the last frame; used with scale source 'distance'.

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
        """Run the network once on an empty image of this size; the stream is not changed."""
        pixels = self._preparation.plan(width, height, self.config.input)
        image = np.zeros((pixels.height, pixels.width, 3), np.uint8)
        frame = FrameInput(image=network_tensor(image, self._device))
        fields = (_POSE_FIELDS | _DENSE_FIELDS) & self._available
        state = self.model.initial_state(1)
        for _ in range(2):  # the second frame takes the path of all later ones
            _, state = self.model.step(frame, state, self.rule, outputs=fields)
