# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pixel rays, and pixels moved by optical flow."""

# B streams, H x W pixels, K frames

from __future__ import annotations

import torch
from torch import Tensor
import torch.nn.functional as F


def pixel_rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """
    Return the ray of each pixel on the plane z = 1, [B, 2, H, W].

    :param intrinsics: [B, 4] fx fy cx cy in px; pixel centres have integer coordinates.
    """
    x = torch.arange(width, device=intrinsics.device, dtype=torch.float32)
    y = torch.arange(height, device=intrinsics.device, dtype=torch.float32)
    fx, fy, cx, cy = intrinsics.float()[:, :, None].unbind(1)
    rays_x = ((x - cx) / fx)[:, None, :].expand(-1, height, -1)
    rays_y = ((y - cy) / fy)[:, :, None].expand(-1, -1, width)
    return torch.stack((rays_x, rays_y), dim=1)


def viewing_rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """
    Return the viewing ray of each pixel with z = 1, [B, H, W, 3], camera frame.

    :param intrinsics: see :func:`pixel_rays`.
    """
    plane = pixel_rays(intrinsics, height, width).permute(0, 2, 3, 1)
    return torch.cat((plane, torch.ones_like(plane[..., :1])), dim=-1)


def lands_inside(flow: Tensor) -> Tensor:
    """Return which pixels the flow [B, 2, H, W] moves to a place in the image, bool [B, H, W]."""
    height, width = flow.shape[-2:]
    x, y = _moved_pixels(flow)
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def warp_to_frame(previous: Tensor, flow: Tensor) -> Tensor:
    """
    Sample the previous frame at the place that each pixel came from, bilinearly.

    :param previous: [B, C, H, W].
    :param flow: displacement to the previous frame, px, [B, 2, H, W].
    :return: float [B, C, H, W].
    """
    height, width = flow.shape[-2:]
    x, y = _moved_pixels(flow)
    grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
    return F.grid_sample(previous.float(), grid, padding_mode='border', align_corners=True)


def _moved_pixels(flow: Tensor) -> tuple[Tensor, Tensor]:
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    return x, y


def static_flow(depth_m: Tensor, T_previous_camera: Tensor, rays: Tensor, focal: Tensor) -> Tensor:
    """
    Return the flow to the previous frame that a static scene has.

    :param depth_m: [K, B, H, W]; +inf for the sky.
    :param T_previous_camera: [K, B, 4, 4].
    :param rays: see :func:`viewing_rays`, [B, H, W, 3].
    :param focal: fx fy, px, [B, 2].
    :return: px, [K, B, 2, H, W].
    """
    points = torch.einsum('kbij,bhwj->kbhwi', T_previous_camera[..., :3, :3], rays)
    # In inverse depth the sky (0) needs no case of its own.
    points = points + T_previous_camera[:, :, None, None, :3, 3] / depth_m[..., None]
    moved = points[..., :2] / points[..., 2:].clamp(min=1e-2) - rays[..., :2]
    return (moved * focal[:, None, None]).permute(0, 1, 4, 2, 3)
