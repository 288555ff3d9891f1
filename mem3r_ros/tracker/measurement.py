# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One frame before and after the network, up to the point at which the next frame may begin."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
import math
from typing import Any

import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.odometry import DepthImage, FrameInput, WindowEstimate
from mem3r_ros.tracker.config import CovarianceConfig, TrackerConfig
from mem3r_ros.tracker.decision import Decision
from mem3r_ros.tracker.dense_outputs import DenseView
from mem3r_ros.tracker.frame import Status
from mem3r_ros.tracker.frame_validation import ValidFrame
from mem3r_ros.tracker.health import Problem
from mem3r_ros.tracker.host_answer import HostAnswer
from mem3r_ros.tracker.image_preparation import Prepared
from mem3r_ros.tracker.segments import Crossing
from mem3r_ros.tracker.stage_clock import StageClock
from mem3r_ros.tracker.state_guard import flaw_of_pose, flaw_of_state
from mem3r_ros.tracker.stream_state import StreamState
from mem3r_ros.tracker.uncertainty import increment_covariance, window_covariance

ALL_OUTPUTS = frozenset({'depth', 'points', 'confidence'})
# After a longer break the camera may be at another place that looks alike.
_LONGEST_BREAK_S = 10.0
_MIN_SIDE_PX = 100  # smaller images hold too few corners for the window
_POSSIBLE = ALL_OUTPUTS | {'image'}


def wanted_outputs(outputs: Collection[str] | None) -> frozenset[str]:
    """
    Return which outputs are wanted; None means all but the image, which the caller has.

    :raises UserError: one of them does not exist.
    """
    wanted = ALL_OUTPUTS if outputs is None else frozenset(outputs)
    if not wanted <= _POSSIBLE:
        raise UserError(f'outputs are {sorted(wanted)}; choose of {", ".join(sorted(_POSSIBLE))}')
    return wanted


@dataclass(frozen=True, slots=True)
class FrameContext:
    """One frame before the network."""

    valid: ValidFrame
    prepared: Prepared
    decision: Decision
    wanted: frozenset[str]  # outputs
    fields: frozenset[str]  # of the prediction
    input: Any  # FrameInput; None for a blind frame
    clock: StageClock
    number: int  # of the frame in the stream
    metres_per_unit: float  # of the first segment, as known; for the limits of the motion

    @property
    def stamp_ns(self) -> int:
        """Stamp of the frame."""
        return self.valid.frame.stamp_ns


@dataclass(frozen=True, slots=True)
class Measurement:
    """The prediction for one frame, on the host; lengths are in units of the first segment."""

    T_world_camera: np.ndarray  # in the world and units of the segment
    increment: np.ndarray | None  # since the last measured frame; identity at rest
    view: DenseView | None
    unit: float  # units of the first segment per unit of the view
    confidence: float  # over 1; NaN if unknown
    confidence_ratio: float  # to the usual one of the stream; NaN if unknown
    telemetry: dict[str, float]
    image_token: np.ndarray | None  # [E]; None if it was not wanted
    state: Any  # of the network, after the frame
    problem: Problem
    window_covariance: np.ndarray | None = None  # [6, 6] of the increment
    window_reason: str = ''  # why the window's motion is missing or less certain than usual

    @property
    def step(self) -> float:
        """Length of the increment; 0 without one."""
        return 0.0 if self.increment is None else float(np.linalg.norm(self.increment[:3, 3]))

    def in_metres(self, factor: float) -> Measurement:
        """Return the measurement with increment and covariance in m; ``factor`` is m per unit."""
        covariance = self.window_covariance
        if covariance is not None:
            units = np.array([factor] * 3 + [1.0] * 3)
            covariance = covariance * np.outer(units, units)
        return replace(
            self,
            increment=None if self.increment is None else _scaled(self.increment, factor),
            window_covariance=covariance,
        )


@dataclass(frozen=True, slots=True)
class AcceptedFrame:
    """A frame whose part in the network state is settled: all that the path needs of it."""

    context: FrameContext
    measured: Measurement | None  # None: the frame gave no pose
    status: Status | None  # of a frame without a pose
    warning: str  # why the pose is missing, or less reliable than usual
    num_good: int  # frames with a measured increment so far
    segment: int  # after the frame, as the two below
    segment_age: int
    unit: float  # units of the first segment per unit of this one
    crossing: Crossing | None  # a boundary of segments behind this frame
    notice: str  # message for the user
    counts: dict[str, int]  # bad frames by reason


def measure(
    answer: HostAnswer, context: FrameContext, stream: StreamState, config: TrackerConfig
) -> Measurement:
    """Take the motion out of a prediction, and check it."""
    view, telemetry, T_world_camera = answer.view, answer.telemetry, answer.T_world_camera
    confidence = math.nan if view is None else view.median_confidence
    usual = stream.health.usual_confidence
    flaw = '' if context.decision.is_still else flaw_of_pose(T_world_camera)
    if not flaw and context.decision.is_remembered:
        flaw = flaw_of_state(answer.largest_state_value)
    if context.decision.is_still:
        increment, problem = np.eye(4), Problem()
    elif flaw:
        increment, problem = None, Problem(flaw, is_unusable=True)
    else:
        factor = context.metres_per_unit
        increment = stream.segments.increment(T_world_camera)
        motion_m = None if increment is None else _scaled(increment, factor)
        since_s = stream.health.since_good_s(context.stamp_ns)
        acceleration = stream.motion_model.acceleration(
            motion_m, since_s, factor, config.covariance
        )
        problem = stream.health.check(
            motion_m, since_s, acceleration, confidence, telemetry, config.health
        )
    return Measurement(
        T_world_camera=T_world_camera,
        increment=increment,
        view=view,
        unit=stream.segments.scale,
        confidence=confidence,
        confidence_ratio=confidence / usual if usual else math.nan,
        telemetry=telemetry,
        image_token=answer.image_token,
        state=answer.state,
        problem=problem,
    )


def is_refined(prepared: Prepared, config: TrackerConfig) -> bool:
    """Return whether the window estimates the motion."""
    return config.refinement.enabled and min(prepared.image.shape[:2]) >= _MIN_SIDE_PX


def window_input(context: FrameContext, measured: Measurement, stream: StreamState) -> FrameInput:
    """Return what the sliding window needs of a frame, in units of the first segment."""
    prepared, outputs, view = context.prepared, stream.dense_outputs, measured.view
    depth = None
    if view is not None:
        camera = outputs.network_camera(prepared).zoomed(stream.window.focal.factor)
        depth = DepthImage(view.depth * measured.unit, camera)
    return FrameInput(
        stamp_ns=context.stamp_ns,
        grey=prepared.source_grey,
        camera=outputs.source_camera(prepared),
        T_previous_camera=measured.increment,
        depth=depth,
        is_calibrated=prepared.camera is not None,
        is_near=is_near(context, stream),
        is_scale_held=stream.scale.is_measured,
    )


def is_near(context: FrameContext, stream: StreamState) -> bool:
    """Return whether the camera has been measured a short time ago, in a scale that is kept."""
    decision, blind_s = context.decision, stream.odometry.blind_s(context.stamp_ns)
    is_another = decision.is_after_restore or decision.gives_up_scale
    return blind_s < _LONGEST_BREAK_S and not is_another


def by_window(estimate: WindowEstimate) -> dict[str, Any]:
    """Return the fields of a measurement that the window replaces."""
    fields = {'increment': estimate.T_previous_camera, 'window_reason': estimate.reason}
    if estimate.covariance is None:
        return fields
    return {**fields, 'window_covariance': estimate.covariance}


def covariance_of(
    measured: Measurement, is_degraded: bool, config: CovarianceConfig
) -> np.ndarray:
    """Return the covariance of an increment in metres, by the window or by the network."""
    if measured.window_covariance is not None:
        is_degraded = is_degraded or bool(measured.window_reason)
        return window_covariance(
            measured.increment, measured.window_covariance, is_degraded, config
        )
    return increment_covariance(measured.increment, measured.confidence_ratio, is_degraded, config)


def _scaled(increment: np.ndarray, factor: float) -> np.ndarray:
    """Return a motion in other units."""
    scaled = increment.copy()
    scaled[:3, 3] *= factor
    return scaled
