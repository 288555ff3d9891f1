# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Per-stream memory of the two-view front end: previous pose, image, flow and depth."""

# B streams, H x W pixels

from __future__ import annotations

from dataclasses import dataclass, fields
import math
from typing import NamedTuple

import torch
from torch import Tensor

from mem3r_ros.two_view.pixels import warp_to_frame

NOMINAL_DEPTH_M = 3.0  # depth of a pixel before anything is known about it
MAX_LOG_DEPTH = 5.0  # relative to the nominal depth: 2 cm to 450 m
UNKNOWN_SPREAD = 1.0  # standard deviation of an unknown log depth
DRIFT_PER_FRAME = 0.03  # standard deviation that a remembered log depth gains in one frame
VARIANCE_GROWTH = 1.15  # factor per frame, because errors of successive frames are correlated


class DepthMemory(NamedTuple):
    """Depth of each pixel with its uncertainty."""

    log_depth: Tensor  # [B, H, W], of metres
    variance: Tensor  # [B, H, W], of the log depth

    @staticmethod
    def unknown(like: Tensor) -> DepthMemory:
        """Return unknown depth of the shape and device of ``like`` [B, H, W]."""
        zero = torch.zeros(like.shape, dtype=torch.float32, device=like.device)
        return DepthMemory(zero + math.log(NOMINAL_DEPTH_M), zero + UNKNOWN_SPREAD**2)

    def warped(self, flow: Tensor) -> DepthMemory:
        """Return the depth at the pixels of the next frame, with a larger variance."""
        log_depth, variance = warp_to_frame(torch.stack(self, dim=1), flow).unbind(1)
        return DepthMemory(log_depth, variance * VARIANCE_GROWTH + DRIFT_PER_FRAME**2)


@dataclass(frozen=True, slots=True)
class MotionState:
    """Memory of B streams between two frames; the field names are those of saved states."""

    T_world_camera: Tensor  # [B, 4, 4] float64, pose of the last remembered frame
    previous_gray: Tensor  # [B, H, W] uint8, the last remembered image
    previous_flow: Tensor  # [B, 2, H, W] px, flow of that image to the one before it
    has_previous: Tensor  # [B] bool
    log_depth: Tensor | None = None  # [B, H, W] of metres, depth of that image
    depth_variance: Tensor | None = None  # [B, H, W] of the log depth
    previous_fine: Tensor | None = None  # [B, kH, kW] uint8, that image at the size of the flow

    @staticmethod
    def empty(
        batch_size: int,
        size: tuple[int, int],
        device: torch.device,
        flow_scale: int = 1,
        with_depth: bool = True,
    ) -> MotionState:
        """
        Return the memory of streams without a previous frame.

        :param size: height and width of the images, px.
        :param flow_scale: size of the images on which flow is measured, over ``size``.
        :param with_depth: whether depth is remembered.
        """
        height, width = size
        gray = torch.zeros(batch_size, height, width, dtype=torch.uint8, device=device)
        depth = DepthMemory.unknown(gray) if with_depth else (None, None)
        fine = None
        if flow_scale != 1:
            fine = gray.new_zeros((batch_size, height * flow_scale, width * flow_scale))
        return MotionState(
            T_world_camera=torch.eye(4, dtype=torch.float64, device=device).repeat(
                batch_size, 1, 1
            ),
            previous_gray=gray,
            previous_flow=gray.new_zeros((batch_size, 2, height, width), dtype=torch.float32),
            has_previous=torch.zeros(batch_size, dtype=torch.bool, device=device),
            log_depth=depth[0],
            depth_variance=depth[1],
            previous_fine=fine,
        )

    @property
    def depth(self) -> DepthMemory | None:
        """Depth of the last remembered image; None for a network without depth memory."""
        if self.log_depth is None:
            return None
        return DepthMemory(self.log_depth, self.depth_variance)

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the images, px."""
        return self.previous_gray.shape[2], self.previous_gray.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields that are not None, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
