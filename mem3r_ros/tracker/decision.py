# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What is decided about a frame before the network runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.frame_validation import ValidFrame
from mem3r_ros.tracker.image_quality import Flaw, ImageQuality
from mem3r_ros.tracker.stream_state import StreamState

# A gap of this many usual intervals is a break; max_gap_s is too short for slow cameras.
_STALE_GAPS = 4


@dataclass(frozen=True, slots=True)
class Decision:
    """How a frame is treated."""

    flaw: Flaw
    is_still: bool  # the camera is at rest: the pose is held
    is_remembered: bool  # whether the network state may take the frame in
    break_reason: str  # why the frame cannot be connected to the ones before; usually empty
    is_after_restore: bool = False  # the first frame of a stream from a snapshot
    is_cut: bool = False  # the image shows another scene than those before
    gives_up_scale: bool = False  # a break because motion was implausible by the measured scale

    @property
    def starts_segment(self) -> bool:
        """Whether a new segment begins with this frame; never with a blind one."""
        return bool(self.break_reason) and not self.flaw.is_blind


def decide(
    valid: ValidFrame, flaw: Flaw, is_still: bool, stream: StreamState, config: TrackerConfig
) -> Decision:
    """
    Decide how a frame is treated.

    :param flaw: of the image.
    :param is_still: whether the image shows a camera at rest.
    """
    reason = _break_reason(valid, stream, config)
    is_still = is_still and not reason
    is_first = stream.segments.is_empty or bool(reason)
    is_remembered = valid.frame.remember and not is_still and (is_first or not flaw.reason)
    return Decision(flaw, is_still, is_remembered, reason)


def apply_break(
    decision: Decision, valid: ValidFrame, stream: StreamState, model: Any
) -> Decision:
    """
    Begin a new segment where the frame cannot be connected to the ones before.

    :return: the decision, with what :func:`follow_decision` needs besides.
    """
    decision = replace(
        decision,
        is_after_restore=stream.is_restored,
        gives_up_scale=decision.starts_segment and stream.is_implausible,
        is_cut=stream.continuity.is_new_scene or valid.is_new_size,
    )
    if valid.is_new_size:
        stream.quality = ImageQuality()
    if decision.starts_segment:
        stream.is_implausible = False
        stream.begin_segment(model.initial_state(1))
    elif decision.break_reason:
        stream.segments.postpone_break(decision.break_reason)
    stream.is_restored = False
    return decision


def follow_decision(
    decision: Decision, stamp_ns: int, stream: StreamState, config: TrackerConfig
) -> None:
    """Let the path follow a break."""
    is_restored = decision.is_after_restore
    if decision.starts_segment:
        coast_s = config.health.coast_s
        stream.follow_break(
            stamp_ns, coast_s, is_restored, decision.gives_up_scale, decision.is_cut
        )
    elif decision.break_reason and is_restored:
        # A restored stream starts at its saved pose; do not extrapolate its velocity.
        stream.pause(stamp_ns, 0.0)


def _break_reason(valid: ValidFrame, stream: StreamState, config: TrackerConfig) -> str:
    """Return why the frame cannot be connected to the ones before; empty if it can."""
    if stream.segments.is_empty:
        return ''
    if stream.segments.break_reason:
        return stream.segments.break_reason
    if stream.continuity.is_new_scene:
        return 'new segment: another scene than before'
    if valid.is_new_size:
        return 'new segment: the image size has changed'
    if valid.gap_s > max(config.health.max_gap_s, _STALE_GAPS * valid.usual_gap_s):
        if stream.is_restored:
            return f'new segment: the loaded state is {valid.gap_s:.1f} s old'
        return f'stale input ({valid.gap_s:.1f} s without an image)'
    if stream.health.is_lost(valid.frame.stamp_ns, config.health):
        return 'new segment: tracking was lost'
    return ''
