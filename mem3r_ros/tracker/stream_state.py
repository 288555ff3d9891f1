# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""All that one camera has taught the tracker, and how it is put away and brought back."""

from __future__ import annotations

from dataclasses import is_dataclass
import json
from typing import Any

import numpy as np
import torch

from mem3r_ros.config import to_dict
from mem3r_ros.errors import UserError
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.dense_outputs import Products, View
from mem3r_ros.tracker.frame_validation import Accepted, Intake
from mem3r_ros.tracker.health import HealthMonitor
from mem3r_ros.tracker.image_quality import ImageQuality
from mem3r_ros.tracker.keyframe_refinement import Refinement
from mem3r_ros.tracker.motion_model import Pace
from mem3r_ros.tracker.odometry import Odometry
from mem3r_ros.tracker.scale import Scale
from mem3r_ros.tracker.segments import Segments
from mem3r_ros.tracker.snapshot import Snapshot, pack, unpack
from mem3r_ros.tracker.state_rollback import Recovery
from mem3r_ros.tracker.stillness import Stillness

# A camera that always takes its time is not stale for it: so many usual gaps are let pass.
_STALE_GAPS = 4


class Stream:
    """The stages of one stream with their memories, and the network's state."""

    def __init__(self, model: Any) -> None:
        """Start a stream that has seen nothing."""
        self.intake = Intake()
        self.quality = ImageQuality()
        self.stillness = Stillness()
        self.segments = Segments()
        self.scale = Scale()
        self.refinement = Refinement()
        self.health = HealthMonitor()
        self.pace = Pace()
        self.odometry = Odometry()
        self.products = Products()
        self.recovery = Recovery()
        self.last_view: tuple[View, float] | None = None
        self.is_restored = False  # and no frame has followed yet
        with torch.inference_mode():
            self.state = model.initial_state(1)

    def factor(self, config: TrackerConfig) -> float:
        """Return metres per unit of the first segment."""
        return self.scale.factor(config.scale)

    def scale_spread(self, config: TrackerConfig) -> float:
        """Return the relative standard deviation of the scale, boundaries included."""
        spread = self.scale.spread(config.scale, config.covariance.model_scale_spread)
        return float(np.hypot(spread, np.sqrt(self.segments.memory.log_scale_variance)))

    def break_reason(self, accepted: Accepted, config: TrackerConfig) -> str:
        """Say why this frame cannot be connected to the ones before; empty if it can."""
        if self.segments.memory.T_world_camera is None:
            return ''
        if self.segments.memory.break_reason:
            return self.segments.memory.break_reason
        if accepted.is_new_size:
            return 'new segment: the image size has changed'
        limit_s = max(config.health.max_gap_s, _STALE_GAPS * accepted.usual_gap_s)
        if accepted.gap_s > limit_s:
            if self.is_restored:
                return f'new segment: the loaded state is {accepted.gap_s:.1f} s old'
            return f'stale input ({accepted.gap_s:.1f} s without an image)'
        if self.health.is_lost(accepted.frame.stamp_ns, config.health):
            return 'new segment after being lost'
        return ''

    def postpone_break(self, reason: str, stamp_ns: int) -> None:
        """Hold the break until a frame shows something: a blind one begins no segment."""
        self.segments.memory.break_reason = reason
        if self.is_restored:
            # Expected where it was saved, it must not set off in the dark.
            self.odometry.coast(stamp_ns, 0.0)
            self.odometry.start(stamp_ns)

    def begin_unconnected(self, stamp_ns: int, config: TrackerConfig, model: Any) -> None:
        """Begin a segment that shares no frame with the old one; it hangs on the last pose."""
        # A camera that was on its way went on; a saved one is expected where it was saved.
        coast_s = 0.0 if self.is_restored else config.health.coast_s
        self.odometry.coast(stamp_ns, coast_s)
        self.odometry.start(stamp_ns)
        self.begin_segment(None, None)
        self.health.forget_usual()
        self.pace, self.recovery = Pace(), Recovery()
        self.state = model.initial_state(1)

    def begin_segment(
        self, T_world_camera: np.ndarray | None, scale_ratio: tuple[float, float] | None
    ) -> None:
        """Begin a segment; without a ratio nothing tells how its unit compares with the old."""
        self.segments.begin(T_world_camera, scale_ratio)
        if scale_ratio is None:
            self.scale.forget_unit()

    def _stages(self) -> dict[str, Any]:
        return {
            'intake': self.intake,
            'quality': self.quality,
            'stillness': self.stillness,
            'segments': self.segments,
            'scale': self.scale,
            'refinement': self.refinement,
            'health': self.health,
            'pace': self.pace,
            'odometry': self.odometry,
            'focal': self.products.focal,
            'recovery': self.recovery,
        }

    def _memories(self) -> dict[str, Any]:
        return {name: stage.memory for name, stage in self._stages().items()}

    def snapshot(self, model: Any) -> Snapshot:
        """Return everything as plain values; later frames do not change them."""
        values, tensors = pack(self._memories())
        values['model'] = _fingerprint(model)
        states = {'state': self.state}
        states |= {f'kept{index}': state for index, state in enumerate(self.recovery.kept)}
        for prefix, state in states.items():
            for name, tensor in state.to_dict().items():
                tensors[f'{prefix}/{name}'] = tensor.detach().cpu().clone()
        return Snapshot(values, tensors)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, model: Any, device: torch.device) -> Stream:
        """
        Build the stream that a snapshot was taken of.

        :raises UserError: it was taken with another network or another version.
        """
        if snapshot.values.get('model') != _fingerprint(model):
            raise UserError('the snapshot was taken with another network; load that one first')
        stream = cls(model)
        memories = unpack(stream._memories(), snapshot.values, snapshot.tensors)
        for name, stage in stream._stages().items():
            stage.memory = memories[name]
        state_type = type(stream.state)
        states = [_named(snapshot, prefix, device) for prefix in ('state', 'kept0', 'kept1')]
        stream.state = state_type.from_dict(states[0])
        stream.is_restored = True
        stream.recovery.kept = [state_type.from_dict(named) for named in states[1:] if named]
        return stream


def _named(snapshot: Snapshot, prefix: str, device: torch.device) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(f'{prefix}/'): tensor.clone().to(device)
        for name, tensor in snapshot.tensors.items()
        if name.startswith(f'{prefix}/')
    }


def _fingerprint(model: Any) -> str:
    """Return what two networks must share for their states to be the same thing."""
    return json.dumps(to_dict(model.config), sort_keys=True) if is_dataclass(model.config) else ''
