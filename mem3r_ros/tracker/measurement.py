# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What is known about one frame on its way through the tracker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
import math
from typing import Any

import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.tracker.dense_outputs import View
from mem3r_ros.tracker.frame_validation import Accepted
from mem3r_ros.tracker.health import Problem
from mem3r_ros.tracker.image_preparation import Prepared
from mem3r_ros.tracker.image_quality import Flaw
from mem3r_ros.tracker.segments import Segments
from mem3r_ros.tracker.stage_clock import StageClock

ALL_OUTPUTS = frozenset({'depth', 'points', 'confidence'})


def wanted_outputs(outputs: Collection[str] | None) -> frozenset[str]:
    """
    Return which outputs are wanted; None means all.

    :raises UserError: one of them does not exist.
    """
    wanted = ALL_OUTPUTS if outputs is None else frozenset(outputs)
    if not wanted <= ALL_OUTPUTS:
        raise UserError(
            f'outputs are {sorted(wanted)}; choose of {", ".join(sorted(ALL_OUTPUTS))}'
        )
    return wanted


@dataclass(frozen=True, slots=True)
class Work:
    """One frame before the network."""

    accepted: Accepted
    prepared: Prepared
    flaw: Flaw
    is_still: bool
    update: bool  # whether the network may remember the frame
    wanted: frozenset[str]
    reason: str  # why a new segment has begun with this frame; usually empty
    clock: StageClock
    input: Any  # FrameInput; None for a blind frame
    fields: frozenset[str]  # of the prediction


@dataclass(frozen=True, slots=True)
class Look:
    """What the network said about one frame."""

    T_world_camera: np.ndarray  # in the segment's world and units
    increment: np.ndarray | None  # since the last measured frame, m
    view: View | None
    unit: float  # units of the first segment per unit of the view
    confidence: float  # over 1; NaN if unknown
    confidence_ratio: float  # to the stream's usual; NaN if unknown
    telemetry: dict[str, float]
    state: Any
    problem: Problem = field(default_factory=Problem)


def look_at(
    prediction: Any,
    state: Any,
    work: Work,
    segments: Segments,
    factor: float,
    usual_confidence: float,
) -> Look:
    """
    Bring a prediction to the host and into metres.

    :param state: the network's state after the frame.
    :param factor: metres per unit of the first segment.
    :param usual_confidence: over 1; NaN if unknown.
    """
    view = View.of(prediction, work.prepared.ignore)
    T_world_camera = prediction.T_world_camera[0].double().cpu().numpy()
    increment = None
    if np.isfinite(T_world_camera).all():
        increment = segments.increment(T_world_camera)
        if increment is not None:
            increment[:3, 3] *= factor
    else:
        increment = np.full((4, 4), np.nan)
    telemetry = {name: float(value[0]) for name, value in (prediction.telemetry or {}).items()}
    confidence = math.nan if view is None else view.median_confidence
    return Look(
        T_world_camera=T_world_camera,
        increment=increment,
        view=view,
        unit=segments.memory.scale,
        confidence=confidence,
        confidence_ratio=confidence / usual_confidence if usual_confidence else math.nan,
        telemetry=telemetry,
        state=state,
    )
