# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Segments: stretches of the stream between two resets of the network state.

Each segment has its own world frame and scale. The demo of TTT3R repeats the boundary frame and
multiplies the poses of the segments afterwards. Here the same is causal, and the scale is matched:
the boundary frame runs in both segments, and the ratio of its two depth images is the ratio of
their units. Poses are used as increments only, so the odometry shows neither a new origin nor a
new scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mem3r_ros.geometry import invert, orthonormalise
from mem3r_ros.plausible import SCALE_RANGE

_MIN_PIXELS = 24


class Crossing(NamedTuple):
    """A boundary behind which a new segment has begun."""

    log_spread: float | None  # of the ratio of both units; None: nothing links the two


@dataclass(slots=True)
class Segments:
    """The current segment; turns poses in its world into increments of one scale."""

    index: int = 0
    age: int = 0  # frames that the network state took in since the segment began
    scale: float = 1.0  # units of the first segment per unit of this one
    T_world_camera: np.ndarray | None = None  # of the last frame, in units of this segment
    is_reset_requested: bool = False
    break_reason: str = ''  # why the next visible frame cannot be connected

    @property
    def is_empty(self) -> bool:
        """Whether no frame of this segment has a pose yet."""
        return self.T_world_camera is None

    def increment(self, T_world_camera: np.ndarray) -> np.ndarray | None:
        """
        Return the motion since the last frame, in the units of the first segment.

        :param T_world_camera: pose in the world of this segment.
        :return: ``T_last_camera``; None in the first frame of a segment, NaN for a pose that is
            not finite.
        """
        if not np.isfinite(T_world_camera).all():
            return np.full((4, 4), np.nan)
        if self.T_world_camera is None:
            return None
        T_last_camera = orthonormalise(invert(self.T_world_camera) @ T_world_camera)
        T_last_camera[:3, 3] *= self.scale
        return T_last_camera

    def advance(self, T_world_camera: np.ndarray, is_remembered: bool) -> None:
        """Store the pose of the last frame."""
        self.T_world_camera = T_world_camera
        self.age += is_remembered

    def request_reset(self) -> None:
        """Begin a new segment with the next good frame."""
        self.is_reset_requested = True

    def postpone_break(self, reason: str) -> None:
        """Keep the reason of a break until a frame with visible content comes."""
        self.break_reason = reason

    def is_reset_due(self, interval: int) -> bool:
        """Return whether this frame is the boundary to a new segment."""
        return self.is_reset_requested or 0 < interval <= self.age

    def is_plausible(self, ratio: float) -> bool:
        """
        Return whether the scale stays within reason in a new segment.

        :param ratio: units of this segment per unit of the new one.
        """
        low, high = SCALE_RANGE
        return low <= ratio <= high and low <= self.scale * ratio <= high

    def begin(self, T_world_camera: np.ndarray | None, ratio: float = 1.0) -> None:
        """
        Begin a new segment.

        :param T_world_camera: pose of the boundary frame in the new world; None if the two
            segments share no frame.
        :param ratio: units of the old segment per unit of the new one. If nothing links the two,
            the old scale continues as a guess, whose uncertainty belongs to :class:`Scale`.
        """
        self.index += 1
        self.age = 0 if T_world_camera is None else 1
        self.scale *= ratio
        self.T_world_camera = T_world_camera
        self.is_reset_requested, self.break_reason = False, ''


def depth_ratio(
    old_depth: np.ndarray, new_depth: np.ndarray, weights: np.ndarray
) -> tuple[float, float] | None:
    """
    Compare the units of two depth images of the same frame.

    :param old_depth: [H, W], in old units.
    :param new_depth: [H, W], in new units.
    :param weights: weight of each pixel, [H, W]; 0 excludes it.
    :return: old units per new unit, as the weighted median of the logarithms, and the standard
        deviation of its logarithm; None with too few pixels.
    """
    with np.errstate(invalid='ignore', divide='ignore'):
        logs = np.log(old_depth) - np.log(new_depth)
    usable = np.isfinite(logs) & (weights > 0)
    if usable.sum() < _MIN_PIXELS:
        return None
    logs, weights = logs[usable], weights[usable]
    for _ in range(4):
        centre = weighted_median(logs, weights)
        spread = 1.4826 * weighted_median(np.abs(logs - centre), weights)
        # One-sided outliers bias even a median: remove them and repeat.
        near = np.abs(logs - centre) <= 2.5 * spread + 1e-9
        if near.all() or near.sum() < _MIN_PIXELS:
            break
        logs, weights = logs[near], weights[near]
    # Errors of neighbouring pixels are correlated: one in a patch of 8 x 8 is independent.
    num_independent = max(1.0, len(logs) / 64)
    return float(np.exp(centre)), float(spread / np.sqrt(num_independent))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the value at which the cumulative weight reaches one half."""
    order = np.argsort(values)
    running = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(running, 0.5 * running[-1])])
