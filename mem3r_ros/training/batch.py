# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A batch of clips in the layout of the training loop.

Legend: T frames, B clips, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor

from mem3r_ros.two_view.pixels import viewing_rays

SMOOTH_DEPTH = 0.05  # relative difference of neighbouring pixels that are on one surface


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One posed RGB-D clip at network size, as a clip source returns it."""

    image: np.ndarray  # [T, H, W, 3] uint8 RGB
    depth_m: np.ndarray  # [T, H, W] float32; NaN unknown, +inf sky
    T_world_camera: np.ndarray  # [T, 4, 4] float32, any world frame
    intrinsics: np.ndarray  # [4] float32: fx fy cx cy, px
    moving: np.ndarray  # [T, H, W] bool, pixels of moving objects
    fine_gray: np.ndarray | None = None  # [T, kH, kW] uint8, finer images for the flow, if any

    def cut(self, frames: slice | np.ndarray) -> Clip:
        """Return the clip of some of its frames."""
        return Clip(
            image=self.image[frames],
            depth_m=self.depth_m[frames],
            T_world_camera=self.T_world_camera[frames],
            intrinsics=self.intrinsics,
            moving=self.moving[frames],
            fine_gray=None if self.fine_gray is None else self.fine_gray[frames],
        )

    def reduced(self, scale: int) -> Clip:
        """Return the clip with ``scale`` times smaller images; the flow keeps the finer ones."""
        if scale == 1:
            return self
        height, width = (side // scale for side in self.image.shape[1:3])
        fx, fy, cx, cy = self.intrinsics / scale
        to_centre = (1 / scale - 1) / 2  # whole numbers are pixel centres
        middle = slice(scale // 2, None, scale)
        return Clip(
            image=np.stack(
                [cv2.resize(i, (width, height), interpolation=cv2.INTER_AREA) for i in self.image]
            ),
            depth_m=_reduced_depth(self.depth_m, scale),
            T_world_camera=self.T_world_camera,
            intrinsics=np.array([fx, fy, cx + to_centre, cy + to_centre], np.float32),
            moving=self.moving[:, middle, middle],
            fine_gray=np.stack([cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in self.image]),
        )

    def mirrored_backwards(self) -> Clip:
        """Return the clip mirrored left to right, in reversed order of frames."""
        mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
        intrinsics = self.intrinsics.copy()
        intrinsics[2] = self.image.shape[2] - 1 - intrinsics[2]
        return Clip(
            image=self.image[::-1, :, ::-1],
            depth_m=self.depth_m[::-1, :, ::-1],
            T_world_camera=(mirror @ self.T_world_camera @ mirror)[::-1],
            intrinsics=intrinsics,
            moving=self.moving[::-1, :, ::-1],
            fine_gray=None if self.fine_gray is None else self.fine_gray[::-1, :, ::-1],
        )


def _reduced_depth(depth_m: np.ndarray, scale: int) -> np.ndarray:
    """
    Return the depth at the centre of each block of pixels.

    Inverse depth is linear on a plane, so its mean is exact there. Across an edge a mean would
    belong to no surface: there, and next to unknown depth, one pixel represents the block.
    """
    count, height, width = depth_m.shape
    blocks = depth_m.reshape(count, height // scale, scale, width // scale, scale)
    with np.errstate(divide='ignore', invalid='ignore'):
        inverse = 1 / blocks
        lowest, highest = inverse.min(axis=(2, 4)), inverse.max(axis=(2, 4))
        is_smooth = highest - lowest <= SMOOTH_DEPTH * highest
        mean = 1 / inverse.mean(axis=(2, 4))
    return np.where(is_smooth, mean, blocks[:, :, scale // 2, :, scale // 2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Clips of one length and size, frames first, so that a chunk is a slice."""

    image: Tensor  # [T, B, 3, H, W] uint8
    flow: Tensor | None  # [T, B, 3, H, W] checked flow to the previous frame, px; 0 at first
    depth_m: Tensor  # [T, B, H, W]; NaN unknown, +inf sky
    T_world_camera: Tensor  # [T, B, 4, 4], world = camera of the first frame
    intrinsics: Tensor  # [B, 4] fx fy cx cy, px
    moving: Tensor  # [T, B, H, W] bool
    is_metric: Tensor  # [B] bool
    is_focal_known: bool = True  # whether the network is given the intrinsics
    is_by_rays: tuple[bool, ...] = ()  # frames given to the network by their rays alone; () = none

    def to(self, device: str | torch.device) -> Batch:
        """Return the batch with its tensors on ``device``."""
        moved = {}
        for item in fields(self):
            value = getattr(self, item.name)
            moved[item.name] = (
                value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            )
        return Batch(**moved)

    @property
    def num_frames(self) -> int:
        """Frames in each clip."""
        return self.image.shape[0]

    @property
    def batch_size(self) -> int:
        """Clips side by side."""
        return self.image.shape[1]

    def network_image(self, frame: int) -> Tensor:
        """Return one frame as the network takes it, [B, 3, H, W] in [-1, 1]."""
        return self.image[frame].float().div(127.5).sub(1.0)

    def ray_map(self, frame: int) -> Tensor:
        """
        Return the rays of one frame's pixels in the first camera's frame, [B, H, W, 6].

        The convention of :func:`mem3r_ros.geometry.ray_map`: the camera's translation is added to
        the direction before it is normalised.
        """
        R, t = self.T_world_camera[frame, :, :3, :3], self.T_world_camera[frame, :, :3, 3]
        rays = viewing_rays(self.intrinsics, *self.image.shape[-2:])
        origins = t[:, None, None].expand_as(rays)
        directions = torch.einsum('bij,bhwj->bhwi', R, rays) + origins
        directions = torch.nn.functional.normalize(directions, dim=-1)
        return torch.cat((origins, directions), dim=-1)


def collate(clips: list[Clip], flows: list[np.ndarray] | None, is_metric: list[bool]) -> Batch:
    """
    Stack clips of equal length and size.

    :param clips: B clips.
    :param flows: [T, 3, H, W] of each clip, px, see ``optical_flow.checked_flow``; None without.
    :param is_metric: whether the clip's scale is in metres.
    """
    stack = lambda arrays: torch.from_numpy(np.stack(arrays, axis=1))  # noqa: E731
    return Batch(
        image=stack([clip.image.transpose(0, 3, 1, 2) for clip in clips]),
        flow=None if flows is None else stack(flows),
        depth_m=stack([clip.depth_m for clip in clips]),
        T_world_camera=stack([relative_to_first(clip.T_world_camera) for clip in clips]),
        intrinsics=torch.from_numpy(np.stack([clip.intrinsics for clip in clips])),
        moving=stack([clip.moving for clip in clips]),
        is_metric=torch.tensor(is_metric),
    )


def relative_to_first(T_world_camera: np.ndarray) -> np.ndarray:
    """Return poses with the first camera as the world, [T, 4, 4] float32 (float64 inside)."""
    poses = np.asarray(T_world_camera, np.float64)
    return (np.linalg.inv(poses[0]) @ poses).astype(np.float32)
