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
from mem3r_ros.tracker.feedback import Feedback, Report
from mem3r_ros.tracker.frame_validation import FrameValidation
from mem3r_ros.tracker.health import HealthMonitor
from mem3r_ros.tracker.image_continuity import ImageContinuity
from mem3r_ros.tracker.image_quality import ImageQuality
from mem3r_ros.tracker.motion_model import MotionModel
from mem3r_ros.tracker.notices import Notices
from mem3r_ros.tracker.odometry import Odometry
from mem3r_ros.tracker.outside_motion import OutsideMotion
from mem3r_ros.tracker.scale import Scale
from mem3r_ros.tracker.segments import Crossing, Segments
from mem3r_ros.tracker.snapshot import Snapshot, pack, unpack
from mem3r_ros.tracker.snapshot_check import check_state, check_values
from mem3r_ros.tracker.state_rollback import StateRollback
from mem3r_ros.tracker.stillness import Stillness

_SINCE_0_2 = frozenset(
    {
        'window',
        'window_landmarks',
        'window_keyframes',
        'window_focal',
        'window_edges',
        'depth_fusion',
        'places',
        'notices',
        'feedback',
    }
)
_RENAMED = {'segments.log_scale_variance': 'scale.log_boundary_variance'}  # old name, new name


class StreamState:
    """
    The stages of one stream, each with its own memory, and the state of the network.

    Two groups, because the path of a frame may be estimated while the next frame is measured:
    what the network needs of each frame, and what follows from its answers. ``Tracker.accept``
    and what comes before it use the first group, ``Tracker.finish`` uses the second.
    """

    def __init__(self, model: Any) -> None:
        """Start a stream without frames."""
        # The measurement: images and network.
        self.validation = FrameValidation()
        self.quality = ImageQuality()
        self.continuity = ImageContinuity()
        self.stillness = Stillness()
        self.segments = Segments()
        self.health = HealthMonitor()
        self.motion_model = MotionModel()
        self.rollback = StateRollback()
        self.is_implausible = False  # the newest measurement, by the present scale
        self.is_restored = False  # from a snapshot, and no frame has followed yet
        with torch.inference_mode():
            self.state = model.initial_state(1)
        # The path: pose, scale, depth and places.
        self.notices = Notices()
        self.scale = Scale()
        self.window = SlidingWindow()
        self.odometry = Odometry()
        self.dense_outputs = DenseOutputs(self.window.focal)
        self.depth_fusion = DepthFusion()
        self.outside = OutsideMotion()
        self.places = Places()
        self.last_view: tuple[DenseView, float] | None = None  # and its unit
        # From the path to the measurement, with a delay.
        self.feedback = Feedback()

    def metres_per_unit(self, config: TrackerConfig) -> float:
        """Return metres per unit of the first segment."""
        return self.scale.factor(config.scale)

    def scale_spread(self, config: TrackerConfig) -> float:
        """Return the relative standard deviation of the scale, boundaries included."""
        spread = self.scale.spread(config.scale, config.covariance.model_scale_spread)
        return float(np.hypot(spread, np.sqrt(self.scale.log_boundary_variance)))

    def request_reset(self) -> None:
        """Begin a new segment with the next good frame, without places."""
        self.segments.request_reset()
        self.places = Places()

    def report(self, number: int, config: TrackerConfig) -> Report:
        """Return what the measurement of a frame knows of the path."""
        known = self.feedback.report_for(number)
        if known is not None:
            return known
        is_given = config.scale.source == 'fixed'
        return Report(config.scale.factor if is_given else 1.0, True)

    def add_report(self, number: int, config: TrackerConfig) -> None:
        """Report the path of a frame that is finished to the measurement of later frames."""
        wants_depth = self.places.wants_depth
        wants_depth |= config.refinement.enabled and self.window.wants_depth
        self.feedback.add(number, Report(self.metres_per_unit(config), wants_depth))

    def begin_segment(
        self, state: Any, T_world_camera: np.ndarray | None = None, ratio: float = 1.0
    ) -> None:
        """
        Begin a segment; the path follows in :meth:`follow_break` or :meth:`follow_crossing`.

        :param state: network state of the new segment.
        :param T_world_camera: as in :meth:`Segments.begin`.
        :param ratio: as in :meth:`Segments.begin`.
        """
        self.segments.begin(T_world_camera, ratio)
        if T_world_camera is None:
            self.motion_model = MotionModel()
        self.health.forget_usual()
        self.rollback = StateRollback()
        self.state = state

    def follow_break(
        self,
        stamp_ns: int,
        coast_s: float,
        is_restored: bool,
        gives_up_scale: bool,
        is_cut: bool,
    ) -> None:
        """
        Let the path begin anew at its last pose, because the frame is linked to none before.

        :param coast_s: the last velocity continues as long at most.
        :param is_restored: the stream came from a snapshot, and this is its first frame.
        :param gives_up_scale: motion was implausible by the measured scale.
        :param is_cut: the images show another scene than before.
        """
        self.pause(stamp_ns, 0.0 if is_restored else coast_s)
        if gives_up_scale and self.scale.give_up():
            # Frame after frame too fast: the scale may be what is wrong, and would stay so.
            self.notices.count('scale', 'measured scale given up', stamp_ns)
        self.scale.forget_unit()
        self.places.begin_stretch(is_restored, is_cut)

    def follow_crossing(self, crossing: Crossing) -> None:
        """Let the scale of the path follow a boundary of segments."""
        if crossing.log_spread is None:
            self.scale.forget_unit()
        else:
            self.scale.cross_boundary(crossing.log_spread)

    def pause(self, stamp_ns: int, coast_s: float) -> None:
        """Continue the last velocity for ``coast_s`` at most, then start anew at that pose."""
        self.odometry.coast(stamp_ns, coast_s)
        self.odometry.start(stamp_ns)

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
            'window_edges': self.window.edges,
            'health': self.health,
            'pace': self.motion_model,
            'odometry': self.odometry,
            'focal': self.dense_outputs.focal,
            'depth_fusion': self.depth_fusion,
            'recovery': self.rollback,
            'notices': self.notices,
            'feedback': self.feedback,
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
        values = {_RENAMED.get(name, name): value for name, value in snapshot.values.items()}
        packed = {name.partition('.')[0] for name in (*values, *snapshot.tensors)}
        # Stages that version 0.1 did not have start anew with the next frame.
        skipped = _SINCE_0_2 - packed
        places = PlaceRecord()
        stages = stream._stages(places)
        saved = {name: stage for name, stage in stages.items() if name not in skipped}
        unpack(saved, values, snapshot.tensors)
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
