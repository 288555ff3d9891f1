# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Input and output of one step of the network."""

# B streams, H x W pixels

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.two_view.bundle_adjustment import Prior
from mem3r_ros.two_view.stream_memory import DepthMemory


@dataclass(frozen=True, slots=True)
class FrameInput:
    """
    One frame of each of B streams; an image, a ray map, or both.

    ``reset`` acts after the frame: the frame belongs to the old segment, the next one starts from
    the learned pose token. Frames without an image do not change the state.
    """

    image: Tensor | None = None  # [B, 3, H, W] in [-1, 1]
    ray_map: Tensor | None = None  # [B, H, W, 6] origin and direction per pixel
    update: Tensor | None = None  # [B] bool, None = True: whether the frame is remembered
    reset: Tensor | None = None  # [B] bool, None = False
    intrinsics: Tensor | None = None  # [B, 4] fx fy cx cy in px; NaN rows or None = unknown
    flow: Tensor | None = None  # [B, 2 or 3, H, W] see two_view.observation; None = measured
    fine_gray: Tensor | None = None  # [B, kH, kW] uint8, k = flow_scale; None = image, enlarged

    def check(self, patch_size: int, batch_size: int, flow_scale: int = 1) -> None:
        """
        Check shapes against the network and the state.

        :param flow_scale: of the network's configuration.
        :raises UserError: there is neither image nor ray map, or a shape does not fit.
        """
        if self.image is None and self.ray_map is None:
            raise UserError('the frame has neither an image nor a ray map')
        size = self._size()
        if size[0] % patch_size or size[1] % patch_size or 0 in size:
            raise UserError(
                f'the frame is {size[1]}x{size[0]} px; both sides must be multiples of '
                f'{patch_size}'
            )
        has_flow_error = self.flow is not None and self.flow.shape[1:2] == (3,)
        expected = {
            'image': (batch_size, 3, *size),
            'ray_map': (batch_size, *size, 6),
            'update': (batch_size,),
            'reset': (batch_size,),
            'intrinsics': (batch_size, 4),
            'flow': (batch_size, 3 if has_flow_error else 2, *size),
            'fine_gray': (batch_size, *(side * flow_scale for side in size)),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != shape:
                raise UserError(f'{name} has shape {tuple(value.shape)}; expected {shape}')

    def _size(self) -> tuple[int, int]:
        if self.image is not None:
            return self.image.shape[-2], self.image.shape[-1]
        return self.ray_map.shape[1], self.ray_map.shape[2]

    def update_mask(self, like: Tensor) -> Tensor:
        """Return which streams remember the frame, bool [B] on the device of ``like``."""
        if self.update is None:
            size, has_image = like.shape[:1], self.image is not None
            return torch.full(size, has_image, dtype=torch.bool, device=like.device)
        update = self.update.to(like.device).bool()
        return update if self.image is not None else torch.zeros_like(update)

    def reset_mask(self, like: Tensor) -> Tensor:
        """Return which streams start a new segment after the frame, bool [B]."""
        if self.reset is None:
            return torch.zeros(like.shape[:1], dtype=torch.bool, device=like.device)
        return self.reset.to(like.device).bool()


class TwoViewPrediction(NamedTuple):
    """Results of the two-view front end besides pose and points."""

    prior: Prior  # motion and depth before the bundle adjustment
    single_image_depth: Tensor  # [B, H, W] m, from this image alone
    depth: DepthMemory  # after the bundle adjustment
    T_world_camera: Tensor  # [B, 4, 4] float64


@dataclass(frozen=True, slots=True)
class Prediction:
    """
    Output of one step; fields that were not asked for are None.

    World is the first camera of the segment. Camera frames are optical: x right, y down,
    z forward.
    """

    points_camera: Tensor | None = None  # [B, H, W, 3] m
    points_world: Tensor | None = None  # [B, H, W, 3] m
    confidence_camera: Tensor | None = None  # [B, H, W] above 1
    confidence_world: Tensor | None = None  # [B, H, W] above 1
    rgb: Tensor | None = None  # [B, H, W, 3] in (-1, 1)
    camera_pose: Tensor | None = None  # [B, 7] tx ty tz (m) qw qx qy qz
    T_world_camera: Tensor | None = None  # [B, 4, 4]
    T_previous_camera: Tensor | None = None  # [B, 4, 4], presets with two-view geometry
    focal_px: Tensor | None = None  # [B], presets with two-view geometry
    two_view: TwoViewPrediction | None = None  # presets with two-view geometry; always given
    image_token: Tensor | None = None  # [B, E] mean of the encoder's image tokens
    telemetry: dict[str, Tensor] | None = None  # name -> [B], statistics of the memories

    @property
    def recurrent(self) -> tuple[Tensor, ...]:
        """Tensors that the state takes from the prediction."""
        if self.two_view is None:
            return ()
        return (self.two_view.T_world_camera, *self.two_view.depth)


PREDICTION_FIELDS = tuple(item.name for item in fields(Prediction))
