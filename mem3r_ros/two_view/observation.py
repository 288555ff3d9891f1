# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
One frame as seen from the previous one: the extra input channels of the small presets.

A small network learns correspondence last, so correspondence is an input. The channels are the
optical flow, the ray of each pixel (as in TartanVO, arXiv 2011.00359), the remembered depth warped
along the flow, and the depth from parallax.
"""

# B streams, H x W pixels, kH x kW pixels of the images on which flow is measured

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mem3r_ros.camera import nominal_focal_px
from mem3r_ros.two_view.constants import constant
from mem3r_ros.two_view.epipolar import EpipolarFit, fit_epipolar
from mem3r_ros.two_view.optical_flow import enlarged, flow_to_previous, gray_from_image
from mem3r_ros.two_view.pixels import pixel_rays, warp_to_frame
from mem3r_ros.two_view.stream_memory import (
    NOMINAL_DEPTH_M,
    UNKNOWN_SPREAD,
    DepthMemory,
    MotionState,
)

MOTION_CHANNELS = 7  # flow 2, flow valid 1, photometric error 1, rays 2, rays known 1
DEPTH_CHANNELS = 2  # remembered log depth and its spread
EPIPOLAR_CHANNELS = 3  # log depth by parallax, its spread, distance from the epipolar line


def num_channels(with_depth: bool, with_epipolar: bool) -> int:
    """Return the number of input channels of :class:`Observation`."""
    return MOTION_CHANNELS + DEPTH_CHANNELS * with_depth + EPIPOLAR_CHANNELS * with_epipolar


class Observation(NamedTuple):
    """Flow, camera and depth of one frame before the network runs."""

    T_world_previous: Tensor  # [B, 4, 4] float64, pose of the previous frame
    gray: Tensor  # [B, H, W] uint8
    fine: Tensor | None  # [B, kH, kW] uint8, the image on which flow is measured
    flow: Tensor  # [B, 2, H, W] px; zero without a previous frame
    flow_error: Tensor  # [B, H, W] px, forward-backward error of the flow
    has_flow: Tensor  # [B] bool
    intrinsics: Tensor  # [B, 4] fx fy cx cy, px
    intrinsics_known: Tensor  # [B] bool
    depth: DepthMemory | None  # in the previous camera, at the pixels of this frame
    channels: Tensor  # [B, MOTION_CHANNELS (+ others), H, W], input of the stem
    epipolar: EpipolarFit | None = None  # relative pose from the flow alone
    triangulated: DepthMemory | None = None  # depth from the flow alone


def observe(
    image: Tensor,
    memory: MotionState,
    flow: Tensor | None = None,
    intrinsics: Tensor | None = None,
    fine_gray: Tensor | None = None,
    flow_scale: int = 1,
) -> Observation:
    """
    Measure the flow of a frame and warp the remembered depth to it.

    :param image: [B, 3, H, W] in [-1, 1].
    :param memory: the streams before the frame, for images of the same size.
    :param flow: px, [B, 2, H, W], or [B, 3, H, W] with its forward-backward error (see
        :func:`mem3r_ros.two_view.optical_flow.checked_flow`); None = measured here.
    :param intrinsics: see :func:`complete_intrinsics`.
    :param fine_gray: [B, kH, kW] uint8; None = ``image``, enlarged.
    :param flow_scale: k, the size of ``fine_gray`` over that of the image.
    """
    gray = gray_from_image(image)
    fine = enlarged(gray, flow_scale) if fine_gray is None else fine_gray
    has_previous = memory.has_previous[:, None, None, None]
    valid = has_previous.float()
    if flow is None:
        flow = searched_flow(gray, fine, memory)
    flow = torch.where(has_previous, flow.float(), 0.0)
    flow_error = flow[:, 2] if flow.shape[1] == 3 else torch.zeros_like(flow[:, 0])
    flow = flow[:, :2]
    intrinsics, known = complete_intrinsics(intrinsics, image)
    warped = warp_to_frame(memory.previous_gray[:, None], flow)
    ones = torch.ones_like(warped)
    channels = [
        # Over the focal length: the same rotation gives the same values for every lens.
        flow / intrinsics[:, :2, None, None] * 20,
        ones * valid,
        (gray[:, None].float() - warped).abs() / 32 * valid,
        pixel_rays(intrinsics, *gray.shape[1:]) * 2,
        ones * known.float()[:, None, None, None],
    ]
    depth = memory.depth
    if depth is not None:
        depth = depth.warped(flow)
        channels += [_depth_channels(depth, memory.has_previous)]
    return Observation(
        T_world_previous=memory.T_world_camera,
        gray=gray,
        fine=fine,
        flow=flow,
        flow_error=flow_error,
        has_flow=memory.has_previous,
        intrinsics=intrinsics,
        intrinsics_known=known,
        depth=depth,
        channels=torch.cat(channels, dim=1),
    )


def searched_flow(gray: Tensor, fine: Tensor | None, memory: MotionState) -> Tensor:
    """
    Search the flow of a frame on the host.

    :param gray: [B, H, W] uint8.
    :param fine: [B, kH, kW] uint8.
    :return: flow and its forward-backward error, px, [B, 3, H, W]; zero if no stream has a
        previous frame.
    """
    if not bool(memory.has_previous.any()):
        return gray.new_zeros((len(gray), 3, *gray.shape[1:]), dtype=torch.float32)
    pair = None if fine is None else (memory.previous_fine, fine)
    return flow_to_previous(memory.previous_gray, gray, memory.previous_flow, pair)


@torch.no_grad()
def with_epipolar(seen: Observation) -> Observation:
    """
    Add the epipolar geometry of the flow.

    The length of the translation is the one that fits the remembered depth.
    """
    with torch.autocast(seen.flow.device.type, enabled=False):
        fit = fit_epipolar(seen.flow, seen.intrinsics, seen.flow_error)
        depth = fit.triangulated(fit.translation_length(seen.depth.log_depth.exp()))
    distance = fit.line_distance[:, None].clamp(max=4) / 2
    distance = torch.where(seen.has_flow[:, None, None, None], distance, 0.0)
    channels = torch.cat((seen.channels, _depth_channels(depth, seen.has_flow), distance), dim=1)
    return seen._replace(epipolar=fit, triangulated=depth, channels=channels)


def _depth_channels(depth: DepthMemory, valid: Tensor) -> Tensor:
    """Return log depth over the nominal one and its spread, [B, 2, H, W]; ``valid`` is [B]."""
    valid = valid[:, None, None]
    log_depth = torch.where(valid, depth.log_depth - math.log(NOMINAL_DEPTH_M), 0.0)
    spread = torch.where(valid, depth.variance.sqrt(), UNKNOWN_SPREAD)
    return torch.stack((log_depth, spread.clamp(max=UNKNOWN_SPREAD)), dim=1)


def complete_intrinsics(intrinsics: Tensor | None, image: Tensor) -> tuple[Tensor, Tensor]:
    """
    Fill in a nominal camera where none is given.

    :param intrinsics: [B, 4] fx fy cx cy in px, rows of NaN where unknown; or None.
    :param image: [B, 3, H, W]; only its size is used.
    :return: intrinsics [B, 4] without NaN, and which were known, bool [B].
    """
    batch_size, _, height, width = image.shape
    focal = nominal_focal_px(width, height)
    values = (focal, focal, (width - 1) / 2, (height - 1) / 2)
    nominal = constant(values, image.new_empty(0, dtype=torch.float32)).expand(batch_size, -1)
    if intrinsics is None:
        return nominal, torch.zeros(batch_size, dtype=torch.bool, device=image.device)
    known = intrinsics.isfinite().all(dim=1)
    return torch.where(known[:, None], intrinsics.float(), nominal), known
