# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Segments: stretches of the stream between two resets of the network's memory.

Each segment has a world frame and a scale of its own. TTT3R's demo repeats the boundary frame and
multiplies the segments' poses afterwards; here the same is causal and the scale is matched: the
boundary frame is run in both segments, and its two depth images say how their units compare. Poses
are only ever used as increments, so neither a new origin nor a new scale can be seen from outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.geometry import invert, orthonormalise

_MIN_PIXELS = 24


@dataclass(slots=True)
class SegmentMemory:
    """Where the running segment stands."""

    index: int = 0
    age: int = 0  # frames taken into the memory since the segment began
    scale: float = 1.0  # units of the first segment per unit of this one
    log_scale_variance: float = 0.0  # of ``scale``: summed over the boundaries it is made of
    T_world_camera: np.ndarray | None = None  # of the last frame, in this segment's units
    is_reset_requested: bool = False
    break_reason: str = ''  # why the next frame that shows something cannot be connected


class Segments:
    """Turns poses in segment worlds into increments of one scale."""

    def __init__(self) -> None:
        """Start the first segment."""
        self.memory = SegmentMemory()

    def increment(self, T_world_camera: np.ndarray) -> np.ndarray | None:
        """
        Return the motion since the last frame, in the units of the first segment.

        :param T_world_camera: pose in this segment's world.
        :return: ``T_last_camera``; None in the first frame of a segment.
        """
        if self.memory.T_world_camera is None:
            return None
        T_last_camera = orthonormalise(invert(self.memory.T_world_camera) @ T_world_camera)
        T_last_camera[:3, 3] *= self.memory.scale
        return T_last_camera

    def advance(self, T_world_camera: np.ndarray, is_remembered: bool) -> None:
        """Take the pose as that of the last frame."""
        self.memory.T_world_camera = T_world_camera
        self.memory.age += is_remembered

    def is_reset_due(self, interval: int) -> bool:
        """Say whether this frame shall be the boundary to a new segment."""
        memory = self.memory
        return memory.is_reset_requested or 0 < interval <= memory.age

    def begin(
        self, T_world_camera: np.ndarray | None, scale_ratio: tuple[float, float] | None = None
    ) -> None:
        """
        Begin a new segment.

        :param T_world_camera: pose of the boundary frame in the new world; None if no frame is
            shared with the old segment.
        :param scale_ratio: units of the old segment per unit of the new one and the standard
            deviation of its logarithm, from :func:`depth_ratio`; None if nothing links the two:
            the old scale goes on as a guess, and how good that is the scale has to say.
        """
        memory = self.memory
        ratio, variance = 1.0, 0.0
        if scale_ratio is not None:
            ratio, variance = scale_ratio[0], memory.log_scale_variance + scale_ratio[1] ** 2
        self.memory = SegmentMemory(
            index=memory.index + 1,
            age=0 if T_world_camera is None else 1,
            scale=memory.scale * ratio,
            log_scale_variance=variance,
            T_world_camera=T_world_camera,
        )

    def trust_scale(self) -> None:
        """Forget the doubt of boundaries: metres have been measured in this segment."""
        self.memory.log_scale_variance = 0.0


def depth_ratio(
    old_depth: np.ndarray, new_depth: np.ndarray, weights: np.ndarray
) -> tuple[float, float] | None:
    """
    Compare the units of two depth images of the same frame.

    :param old_depth: [H, W], in old units.
    :param new_depth: [H, W], in new units.
    :param weights: how far each pixel is trusted, [H, W]; 0 leaves it out.
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
        # One-sided outliers pull even a median: leave them out and look again.
        near = np.abs(logs - centre) <= 2.5 * spread + 1e-9
        if near.all() or near.sum() < _MIN_PIXELS:
            break
        logs, weights = logs[near], weights[near]
    # Neighbouring pixels err together: count one in a patch of about 8 x 8 as independent.
    num_independent = max(1.0, len(logs) / 64)
    return float(np.exp(centre)), float(spread / np.sqrt(num_independent))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the value at which half of the weight is reached."""
    order = np.argsort(values)
    running = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(running, 0.5 * running[-1])])
