# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Brings the answer of the network to the host: everything in one go, with one wait.

Depth is filtered on the device. Points stay there unless the focal length must be estimated from
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mem3r_ros.model.device_queue import DeviceQueue
from mem3r_ros.tracker.dense_outputs import DenseView
from mem3r_ros.tracker.state_guard import largest_value

_POSE_VALUES = 16


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """One prediction on the host, in units of the network, and the state after it."""

    T_world_camera: np.ndarray  # [4, 4] float64
    telemetry: dict[str, float]
    largest_state_value: float  # magnitude; NaN if a value is NaN
    view: DenseView | None
    image_token: np.ndarray | None  # [E]
    state: Any  # on the device


class Download:
    """Brings answers of one stream to the host, through memory that is used again."""

    def __init__(self, queue: DeviceQueue) -> None:
        """
        Start without memory.

        :param queue: of the network's device.
        """
        self._queue = queue
        self._buffers: dict[str, Tensor] = {}

    def fetch(
        self, answer: tuple[Any, Any], ignore: np.ndarray | None, with_points: bool
    ) -> HostAnswer:
        """
        Return the answer for the first stream of a batch.

        :param answer: the prediction, and the network state after the frame.
        :param ignore: pixels without depth, [h, w] bool.
        :param with_points: bring the points even if the focal length is predicted.
        """
        prediction, state = answer
        statistics = prediction.telemetry or {}
        wanted = {'numbers': _numbers(prediction, state)}
        if prediction.points_camera is not None:
            points = prediction.points_camera[0].float()
            wanted['depth'] = _valid_depth(points[..., 2])
            if prediction.confidence_camera is not None:
                wanted['confidence'] = prediction.confidence_camera[0].float()
            if with_points:
                wanted['points'] = points
        if prediction.image_token is not None:
            wanted['image_token'] = prediction.image_token[0].float()
        host = self._on_host(wanted)
        focal_px, largest, *values = host['numbers'][_POSE_VALUES:].tolist()
        return HostAnswer(
            host['numbers'][:_POSE_VALUES].reshape(4, 4),
            dict(zip(statistics, values, strict=True)),
            largest,
            _view(host, ignore, focal_px),
            host.get('image_token'),
            state,
        )

    def _on_host(self, tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """Return the values as arrays that later frames do not change."""
        if self._queue.device.type == 'cpu':
            # Copies, because a recorded step writes its next answer to the same memory.
            return {name: tensor.numpy().copy() for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            buffer = self._buffers.get(name)
            if buffer is None or buffer.shape != tensor.shape:
                buffer = self._queue.host_buffer(tuple(tensor.shape), tensor.dtype)
                self._buffers[name] = buffer
            self._queue.copy(tensor, buffer)
        self._queue.wait()
        return {name: self._buffers[name].numpy().copy() for name in tensors}


def _numbers(prediction: Any, state: Any) -> Tensor:
    """Return pose, focal length (NaN: not predicted), largest state value and telemetry."""
    pose = prediction.T_world_camera[0].double().flatten()
    focal = prediction.focal_px
    parts = [
        pose,
        pose.new_full((1,), float('nan')) if focal is None else focal[:1].double(),
        largest_value(state).double().reshape(1).to(pose.device),
    ]
    parts += [value[:1].double() for value in (prediction.telemetry or {}).values()]
    return torch.cat(parts)


def _valid_depth(depth: Tensor) -> Tensor:
    """Return the depth, NaN where it is not positive and finite."""
    is_valid = (depth > 0) & (depth < float('inf'))
    return torch.where(is_valid, depth, float('nan'))


def _view(
    host: dict[str, np.ndarray], ignore: np.ndarray | None, focal_px: float
) -> DenseView | None:
    depth = host.get('depth')
    if depth is None:
        return None
    if ignore is not None:
        depth[ignore] = np.nan
    confidence = host.get('confidence')
    if confidence is None:
        confidence = np.full(depth.shape, 2.0, np.float32)
    return DenseView(host.get('points'), depth, confidence, focal_px)
