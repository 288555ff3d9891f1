# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Per-stream tracker state, with save and restore."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.odometry import SlidingWindow
from mem3r_ros.odometry.depth_fusion import DepthFusion
from mem3r_ros.places import Places
from mem3r_ros.places.record import PlaceRecord
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.dense_outputs import DenseOutputs, DenseView
from mem3r_ros.tracker.frame_validation import FrameValidation
from mem3r_ros.tracker.health import HealthMonitor
from mem3r_ros.tracker.image_continuity import ImageContinuity
from mem3r_ros.tracker.image_quality import ImageQuality
from mem3r_ros.tracker.motion_model import MotionModel
from mem3r_ros.tracker.odometry import Odometry
from mem3r_ros.tracker.outside_motion import OutsideMotion
from mem3r_ros.tracker.scale import Scale
from mem3r_ros.tracker.segments import Segments
from mem3r_ros.tracker.snapshot import Snapshot, pack, unpack
from mem3r_ros.tracker.snapshot_check import check_state, check_values
from mem3r_ros.tracker.state_rollback import StateRollback
from mem3r_ros.tracker.stillness import Stillness

_SINCE_0_2 = frozenset(
    {'window', 'window_landmarks', 'window_keyframes', 'window_focal', 'depth_fusion', 'places'}
)


class StreamState:
    """The stages of one stream, each with its own memory, and the state of the network."""

    def __init__(self, model: Any) -> None:
        """Start a stream without frames."""
        self.validation = FrameValidation()
        self.quality = ImageQuality()
        self.continuity = ImageContinuity()
        self.stillness = Stillness()
        self.segments = Segments()
        self.scale = Scale()
        self.window = SlidingWindow()
        self.health = HealthMonitor()
        self.motion_model = MotionModel()
        self.odometry = Odometry()
        self.dense_outputs = DenseOutputs(self.window.focal)
        self.depth_fusion = DepthFusion()
        self.rollback = StateRollback()
        self.outside = OutsideMotion()
        self.places = Places()
        self.last_view: tuple[DenseView, float] | None = None  # and its unit
        self.is_implausible = False  # the newest measurement, by the present scale
        self.is_restored = False  # from a snapshot, and no frame has followed yet
        with torch.inference_mode():
            self.state = model.initial_state(1)

    def metres_per_unit(self, config: TrackerConfig) -> float:
        """Return metres per unit of the first segment."""
        return self.scale.factor(config.scale)

    def scale_spread(self, config: TrackerConfig) -> float:
        """Return the relative standard deviation of the scale, boundaries included."""
        spread = self.scale.spread(config.scale, config.covariance.model_scale_spread)
        return float(np.hypot(spread, np.sqrt(self.segments.log_scale_variance)))

    def request_reset(self) -> None:
        """Begin a new segment with the next good frame, without places."""
        self.segments.request_reset()
        self.places = Places()

    def pause(self, stamp_ns: int, coast_s: float) -> None:
        """Continue the last velocity for ``coast_s`` at most, then start anew at that pose."""
        self.odometry.coast(stamp_ns, coast_s)
        self.odometry.start(stamp_ns)

    def begin_segment(
        self,
        state: Any,
        T_world_camera: np.ndarray | None = None,
        scale_ratio: tuple[float, float] | None = None,
    ) -> None:
        """
        Begin a segment; the odometry continues from the last pose.

        :param state: network state of the new segment.
        :param T_world_camera: as in :meth:`Segments.begin`.
        :param scale_ratio: as in :meth:`Segments.begin`; None: the unit is unknown.
        """
        self.segments.begin(T_world_camera, scale_ratio)
        if scale_ratio is None:
            self.scale.forget_unit()
        if T_world_camera is None:
            self.motion_model = MotionModel()
            self.places.begin_stretch(self.is_restored)
        self.health.forget_usual()
        self.rollback = StateRollback()
        self.state = state

    def _stages(self, places: PlaceRecord) -> dict[str, Any]:
        """Return the stages by their names in snapshots, which never change."""
        return {
            'intake': self.validation,
            'quality': self.quality,
            'continuity': self.continuity,
            'stillness': self.stillness,
            'segments': self.segments,
            'scale': self.scale,
            'window': self.window,
            'window_landmarks': self.window.landmarks,
            'window_keyframes': self.window.keyframes,
            'window_focal': self.window.focal,
            'health': self.health,
            'pace': self.motion_model,
            'odometry': self.odometry,
            'focal': self.dense_outputs.focal,
            'depth_fusion': self.depth_fusion,
            'recovery': self.rollback,
            'places': places,
        }

    def snapshot(self, model: Any) -> Snapshot:
        """Return everything as plain values; later frames do not change them."""
        values, tensors = pack(self._stages(self.places.record()))
        values['model'] = _fingerprint(model)
        states = {'state': self.state}
        states |= {f'kept{index}': state for index, state in enumerate(self.rollback.kept)}
        for prefix, state in states.items():
            for name, tensor in state.to_dict().items():
                tensors[f'{prefix}/{name}'] = tensor.detach().cpu().clone()
        return Snapshot(values, tensors)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, model: Any, device: torch.device) -> StreamState:
        """
        Build the stream of a snapshot.

        :raises UserError: it was taken with another network or another version, or is damaged.
        """
        if snapshot.values.get('model') != _fingerprint(model):
            raise UserError('the snapshot was taken with another network; load that one first')
        stream = cls(model)
        packed = {name.partition('.')[0] for name in (*snapshot.values, *snapshot.tensors)}
        # Stages that version 0.1 did not have start anew with the next frame.
        skipped = _SINCE_0_2 - packed
        places = PlaceRecord()
        stages = stream._stages(places)
        saved = {name: stage for name, stage in stages.items() if name not in skipped}
        unpack(saved, snapshot.values, snapshot.tensors)
        check_values(stages)
        stream.places.restore(places)
        state_type, expected = type(stream.state), stream.state.to_dict()
        states = [_named(snapshot, prefix, device) for prefix in ('state', 'kept0', 'kept1')]
        for named in (states[0], *filter(None, states[1:])):
            check_state(named, expected)
        stream.state = state_type.from_dict(states[0])
        stream.is_restored = True
        stream.rollback.kept = [state_type.from_dict(named) for named in states[1:] if named]
        return stream


def _named(snapshot: Snapshot, prefix: str, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the tensors of one network state."""
    return {
        name.removeprefix(f'{prefix}/'): tensor.clone().to(device)
        for name, tensor in snapshot.tensors.items()
        if name.startswith(f'{prefix}/')
    }


def _fingerprint(model: Any) -> str:
    """Return the configuration that two networks must share to exchange states."""
    return json.dumps(model.config.to_metadata(), sort_keys=True)
