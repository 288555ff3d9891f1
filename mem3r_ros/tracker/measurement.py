# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One frame before and after the network."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
import math
from typing import Any

import cv2
import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.odometry import DepthImage, FrameInput, WindowEstimate
from mem3r_ros.tracker.config import CovarianceConfig, TrackerConfig
from mem3r_ros.tracker.decision import Decision
from mem3r_ros.tracker.dense_outputs import DenseView
from mem3r_ros.tracker.frame_validation import ValidFrame
from mem3r_ros.tracker.health import Problem
from mem3r_ros.tracker.host_answer import HostAnswer
from mem3r_ros.tracker.image_preparation import Prepared
from mem3r_ros.tracker.stage_clock import StageClock
from mem3r_ros.tracker.state_guard import flaw_of_pose, flaw_of_state
from mem3r_ros.tracker.stream_state import StreamState
from mem3r_ros.tracker.uncertainty import increment_covariance, window_covariance

ALL_OUTPUTS = frozenset({'depth', 'points', 'confidence'})
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

    @property
    def stamp_ns(self) -> int:
        """Stamp of the frame."""
        return self.valid.frame.stamp_ns


@dataclass(frozen=True, slots=True)
class Measurement:
    """The prediction for one frame, on the host and in metres."""

    T_world_camera: np.ndarray  # in the world and units of the segment
    increment: np.ndarray | None  # since the last measured frame, m; identity at rest
    view: DenseView | None
    unit: float  # units of the first segment per unit of the view
    confidence: float  # over 1; NaN if unknown
    confidence_ratio: float  # to the usual one of the stream; NaN if unknown
    telemetry: dict[str, float]
    image_token: np.ndarray | None  # [E]; None if it was not wanted
    state: Any  # of the network, after the frame
    problem: Problem
    window_covariance: np.ndarray | None = None  # [6, 6] of the increment, m^2 and rad^2
    window_reason: str = ''  # why the window's motion is missing or less certain than usual

    @property
    def step_m(self) -> float:
        """Length of the increment; 0 without one."""
        return 0.0 if self.increment is None else float(np.linalg.norm(self.increment[:3, 3]))


def measure(
    answer: HostAnswer, context: FrameContext, stream: StreamState, config: TrackerConfig
) -> Measurement:
    """Convert a prediction to metres, and check it."""
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
        factor = stream.metres_per_unit(config)
        increment = stream.segments.increment(T_world_camera)
        if increment is not None:
            increment[:3, 3] *= factor
        since_s = stream.health.since_good_s(context.stamp_ns)
        acceleration = stream.motion_model.acceleration(
            increment, since_s, factor, config.covariance
        )
        problem = stream.health.check(
            increment, since_s, acceleration, confidence, telemetry, config.health
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


def window_input(
    context: FrameContext, measured: Measurement, stream: StreamState, factor: float
) -> FrameInput:
    """
    Return what the sliding window needs of a frame, in units of the first segment.

    :param factor: metres per unit of the first segment.
    """
    prepared, outputs, view = context.prepared, stream.dense_outputs, measured.view
    T_previous_camera = measured.increment
    if T_previous_camera is not None:
        T_previous_camera = T_previous_camera.copy()
        T_previous_camera[:3, 3] /= factor
    depth = None
    if view is not None:
        depth = DepthImage(view.depth * measured.unit, outputs.network_camera(prepared))
    return FrameInput(
        stamp_ns=context.stamp_ns,
        grey=cv2.cvtColor(prepared.image, cv2.COLOR_RGB2GRAY),
        camera=outputs.source_camera(prepared),
        T_previous_camera=T_previous_camera,
        depth=depth,
        is_calibrated=prepared.camera is not None,
        is_scale_held=stream.scale.is_measured,
    )


def in_metres(estimate: WindowEstimate, factor: float) -> dict[str, Any]:
    """Return the fields of a measurement that the window replaces."""
    increment = estimate.T_previous_camera.copy()
    increment[:3, 3] *= factor
    fields = {'increment': increment, 'window_reason': estimate.reason}
    if estimate.covariance is None:
        return fields
    units = np.array([factor] * 3 + [1.0] * 3)
    covariance = estimate.covariance * np.outer(units, units)
    return {**fields, 'window_covariance': covariance}


def covariance_of(
    measured: Measurement, is_degraded: bool, config: CovarianceConfig
) -> np.ndarray:
    """Return the covariance of the increment, by the window or by the network."""
    if measured.window_covariance is not None:
        is_degraded = is_degraded or bool(measured.window_reason)
        return window_covariance(
            measured.increment, measured.window_covariance, is_degraded, config
        )
    return increment_covariance(measured.increment, measured.confidence_ratio, is_degraded, config)
