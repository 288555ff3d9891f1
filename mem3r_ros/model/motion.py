# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Motion as an input, for the small presets: optical flow, pixel rays, and the depth seen before.

Correspondence is what a small network learns last. It is handed over: dense inverse search flow
(Kroeger et al., arXiv 1603.03590) to the previous frame, and the ray of each pixel (as TartanVO,
arXiv 2011.00359, feeds intrinsics). Along that flow each pixel also fetches the depth that the
stream remembers of it, and how far that may be off.

A camera has more pixels than the network takes; the flow makes use of them (``flow_scale``).
"""

# B streams, H x W pixels

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
import torch.nn.functional as F

from mem3r_ros.camera import nominal_focal_px

if TYPE_CHECKING:
    from mem3r_ros.model.epipolar import EpipolarFit
    from mem3r_ros.model.frame import FrameInput
    from mem3r_ros.model.state import MotionState

MOTION_CHANNELS = 7  # flow 2, flow valid 1, warp residual 1, rays 2, rays known 1
MEMORY_CHANNELS = 2  # remembered log depth and its spread
NOMINAL_DEPTH_M = 3.0  # the middle of a room: depth that nothing is known about
MEMORY_DRIFT = 0.03  # spread that a remembered log depth gains from one frame to the next
MEMORY_DOUBT = 1.15  # factor on its variance: errors of successive frames resemble each other
MAX_LOG_DEPTH = 5.0  # over the nominal depth: 2 cm to 450 m
UNKNOWN_SPREAD = 1.0  # of a log depth that nothing is remembered of, or that no parallax tells
FAST_TURN_PX = 3.0  # beyond it the flow search starts from the shift of the whole image
FAST_TURN_REACH = 0.3  # of the image, how far away that shift is looked for
FAST_TURN_LIKENESS = 0.6  # correlation (-1 to 1) below which it is not believed
FAST_TURN_GAIN = 0.1  # by which it must exceed that without a shift
MIN_SEARCH_SIDE = 16  # px of an image below which there is too little to look for
SMOOTHNESS = 40.0  # of the flow over its fit to the images: blank walls move as their rims do
STRIDE_PX = 3  # between the patches that the flow is put together from
DESCENT_STEPS = 16  # of a patch towards its place
VARIATIONAL_STEPS = 3  # of all pixels together after that
# The way back is searched for in another way, or both would make the same mistakes.
CHECK_SMOOTHNESS = 10.0
CHECK_STRIDE_PX = 5
LARGEST_DIFFERENCE = 30  # grey levels at which a pixel speaks no louder against a start
_LUMINANCE = (0.299, 0.587, 0.114)


def gray_from_image(image: Tensor) -> Tensor:
    """Turn an image [B, 3, H, W] in [-1, 1] into luminance, uint8 [B, H, W]."""
    weights = image.new_tensor(_LUMINANCE)[:, None, None]
    return ((image * weights).sum(1).float() * 127.5 + 127.5).round().clamp(0, 255).byte()


def optical_flow(
    previous_gray: np.ndarray,
    gray: np.ndarray,
    before: np.ndarray | None = None,
    fine: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """
    Say where each pixel of the frame was in the previous frame.

    The search finds only what moved by less than its largest patch. Where the camera is fast it
    starts from the shift of the whole image, or from the flow of the frame before.

    :param previous_gray: uint8 [H, W].
    :param gray: uint8 [H, W].
    :param before: what was found for the previous frame, float32 [H, W, 2].
    :param fine: both images larger, to search there: uint8 [kH, kW].
    :return: displacement from the frame to the previous one, px, float32 [H, W, 2] (x, y).
    """
    start = _start(previous_gray, gray, before)
    if fine is None:
        return _search(previous_gray, gray, start, SMOOTHNESS, STRIDE_PX)
    if start is not None:
        start = _at_size(start, fine[1].shape)
    return _at_size(_search(*fine, start, SMOOTHNESS, STRIDE_PX), gray.shape)


def _at_size(flow: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a flow for images of another size, px of those."""
    ratio = shape[1] / flow.shape[1]
    how = cv2.INTER_LINEAR if ratio > 1 else cv2.INTER_AREA
    return cv2.resize(flow, shape[::-1], interpolation=how) * np.float32(ratio)


def _search(
    previous_gray: np.ndarray,
    gray: np.ndarray,
    start: np.ndarray | None,
    smoothness: float,
    stride_px: int,
) -> np.ndarray:
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The images are small: the finest level is where the precision is.
    search.setFinestScale(0)
    search.setVariationalRefinementAlpha(smoothness)
    search.setPatchStride(stride_px)
    search.setGradientDescentIterations(DESCENT_STEPS)
    search.setVariationalRefinementIterations(VARIATIONAL_STEPS)
    return search.calc(np.ascontiguousarray(gray), np.ascontiguousarray(previous_gray), start)


def checked_flow(
    previous_gray: np.ndarray,
    gray: np.ndarray,
    before: np.ndarray | None = None,
    fine: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """
    Say where each pixel was in the previous frame, and whether the way back agrees.

    Nothing tells wrong flow as surely: on rendered worlds it is right to a tenth of a pixel where
    there and back lead to the start, and off by several where they miss it by one.

    :param previous_gray: uint8 [H, W].
    :param gray: uint8 [H, W].
    :param before: see :func:`optical_flow`.
    :param fine: see :func:`optical_flow`; the way back is not searched for there.
    :return: displacement (x, y) and how far there and back end from the start, px, [H, W, 3].
    """
    there = optical_flow(previous_gray, gray, before, fine)
    start = _start(gray, previous_gray, None)
    back = _search(gray, previous_gray, start, CHECK_SMOOTHNESS, CHECK_STRIDE_PX)
    missed = np.linalg.norm(there + _fetched(back, there), axis=-1, keepdims=True)
    return np.concatenate((there, missed), axis=-1)


def _fetched(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return what a picture has where the flow leads, [H, W, ...]."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _start(
    previous_gray: np.ndarray, gray: np.ndarray, before: np.ndarray | None
) -> np.ndarray | None:
    """
    Return the flow that the search starts from; None is no flow.

    What moved fast until now moves on, unless the images say that it does not.
    """
    shift = _whole_shift(previous_gray, gray)
    if before is None or np.abs(before).max(initial=0) < FAST_TURN_PX:
        return shift

    def difference(flow: np.ndarray) -> float:
        apart = cv2.absdiff(_fetched(previous_gray, flow), gray)
        return float(np.minimum(apart, LARGEST_DIFFERENCE).mean())

    before = np.ascontiguousarray(before, np.float32)
    other = np.zeros_like(before) if shift is None else shift
    return before.copy() if difference(before) < difference(other) else shift


def _whole_shift(previous_gray: np.ndarray, gray: np.ndarray) -> np.ndarray | None:
    """
    Return the shift of the whole image as a flow, or None where it is small or unsure.

    The middle of the frame, at half size, is looked for in the previous one.
    """
    height, width = gray.shape
    if min(height, width) < MIN_SEARCH_SIDE:
        return None
    half = (width // 2, height // 2)
    small = cv2.resize(gray, half, interpolation=cv2.INTER_AREA)
    where = cv2.resize(previous_gray, half, interpolation=cv2.INTER_AREA)
    x, y = (int(FAST_TURN_REACH * side) for side in half)
    likeness = cv2.matchTemplate(
        where, small[y : half[1] - y, x : half[0] - x], cv2.TM_CCOEFF_NORMED
    )
    _, best, _, found = cv2.minMaxLoc(likeness)
    shift = 2.0 * (found[0] - x), 2.0 * (found[1] - y)
    is_sure = best > FAST_TURN_LIKENESS and best > likeness[y, x] + FAST_TURN_GAIN
    if not is_sure or shift[0] ** 2 + shift[1] ** 2 < FAST_TURN_PX**2:
        return None
    return np.full((height, width, 2), shift, np.float32)


def enlarged(gray: Tensor, scale: int) -> Tensor | None:
    """Return images [B, H, W] uint8 as the flow looks at them; None where that is as they are."""
    if scale == 1:
        return None
    larger = F.interpolate(gray[:, None].float(), scale_factor=scale, mode='bilinear')
    return larger[:, 0].round().byte()


def flow_to_previous(
    previous_gray: Tensor, gray: Tensor, before: Tensor, fine: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """
    Run :func:`checked_flow` on each stream.

    :param previous_gray: uint8 [B, H, W].
    :param gray: uint8 [B, H, W].
    :param before: flow of the previous frame, [B, 2, H, W].
    :param fine: previous images and those of the frame for a finer search, uint8 [B, kH, kW].
    :return: float32 [B, 3, H, W].
    """
    device = gray.device
    images = [each.cpu().numpy() for each in (previous_gray, gray)]
    images.append(before.permute(0, 2, 3, 1).float().cpu().numpy())
    if fine is not None:
        images.append(list(zip(*(each.cpu().numpy() for each in fine), strict=True)))
    flows = [checked_flow(*stream) for stream in zip(*images, strict=True)]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(device)


def complete_intrinsics(intrinsics: Tensor | None, image: Tensor) -> tuple[Tensor, Tensor]:
    """
    Fill in a nominal camera where none is given.

    :param intrinsics: [B, 4] fx fy cx cy in px, rows of NaN where unknown; or None.
    :param image: [B, 3, H, W], for its size.
    :return: intrinsics [B, 4] without NaN, and which were known, bool [B].
    """
    batch_size, _, height, width = image.shape
    focal = nominal_focal_px(width, height)
    nominal = torch.tensor(
        [focal, focal, (width - 1) / 2, (height - 1) / 2],
        device=image.device,
        dtype=torch.float32,
    ).expand(batch_size, -1)
    if intrinsics is None:
        return nominal, torch.zeros(batch_size, dtype=torch.bool, device=image.device)
    known = intrinsics.isfinite().all(dim=1)
    return torch.where(known[:, None], intrinsics.float(), nominal), known


def pixel_rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """
    Return the ray of each pixel on the plane z = 1, [B, 2, H, W].

    :param intrinsics: [B, 4] fx fy cx cy; whole numbers are pixel centres.
    """
    x = torch.arange(width, device=intrinsics.device, dtype=torch.float32)
    y = torch.arange(height, device=intrinsics.device, dtype=torch.float32)
    fx, fy, cx, cy = intrinsics.float()[:, :, None].unbind(1)
    rays_x = ((x - cx) / fx)[:, None, :].expand(-1, height, -1)
    rays_y = ((y - cy) / fy)[:, :, None].expand(-1, -1, width)
    return torch.stack((rays_x, rays_y), dim=1)


def lands_inside(flow: Tensor) -> Tensor:
    """Say which pixels the flow [B, 2, H, W] leads to a place in the previous image, [B, H, W]."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def warp_to_frame(previous: Tensor, flow: Tensor) -> Tensor:
    """Fetch what the previous frame had at each pixel's origin: [B, C, H, W], float."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
    return F.grid_sample(previous.float(), grid, padding_mode='border', align_corners=True)


class DepthMemory(NamedTuple):
    """Depth that a stream remembers, per pixel."""

    log_depth: Tensor  # [B, H, W], of metres
    variance: Tensor  # [B, H, W], of the log depth

    def state_fields(self) -> dict[str, Tensor]:
        """Return it under the names it has in a stream's state."""
        return {'log_depth': self.log_depth, 'depth_variance': self.variance}

    def fetched(self, flow: Tensor) -> DepthMemory:
        """Return it at the pixels of a new frame, a little less sure than it was."""
        log_depth, variance = warp_to_frame(torch.stack(self, dim=1), flow).unbind(1)
        return DepthMemory(log_depth, variance * MEMORY_DOUBT + MEMORY_DRIFT**2)


class MotionInput(NamedTuple):
    """What the network is told about motion, camera and remembered depth in one frame."""

    gray: Tensor  # [B, H, W] uint8
    flow: Tensor  # [B, 2, H, W] px; zero where there is no previous frame
    missed: Tensor  # [B, H, W] px by which flow there and back misses its start
    has_flow: Tensor  # [B] bool
    intrinsics: Tensor  # [B, 4]
    intrinsics_known: Tensor  # [B] bool
    depth: DepthMemory | None  # in the previous camera, at the pixels of this frame
    channels: Tensor  # [B, MOTION_CHANNELS (+ others), H, W] as fed to the stem
    fine: Tensor | None = None  # [B, kH, kW] uint8, the image as the flow looks at it
    epipolar: EpipolarFit | None = None  # what the flow alone tells of the motion
    triangulated: DepthMemory | None = None  # and of depth


def motion_input(frame: FrameInput, before: MotionState, flow_scale: int = 1) -> MotionInput:
    """
    Gather the motion channels of one frame.

    :param frame: its flow, where given, may come with how far there and back miss (see
        :func:`checked_flow`); else it is measured here, on ``fine_gray``.
    :param before: what the streams remember; an image of another size means no previous frame.
    :param flow_scale: how much larger than the image ``fine_gray`` is.
    """
    image, flow = frame.image, frame.flow
    batch_size, _, height, width = image.shape
    gray = gray_from_image(image)
    fine = enlarged(gray, flow_scale) if frame.fine_gray is None else frame.fine_gray
    previous_gray, has_previous, depth = before.previous_gray, before.has_previous, before.depth
    flow_before = before.previous_flow
    if previous_gray.shape != gray.shape:
        previous_gray, has_previous = gray, torch.zeros_like(has_previous)
        depth = no_depth_memory(gray) if depth is not None else None
        flow_before = no_flow(gray)
    if flow is None:
        if bool(has_previous.any()):
            pair = None if fine is None else (before.previous_fine, fine)
            flow = flow_to_previous(previous_gray, gray, flow_before, pair)
        else:
            flow = image.new_zeros((batch_size, 3, height, width), dtype=torch.float32)
    valid = has_previous.float()[:, None, None, None]
    flow = flow.float() * valid
    missed = flow[:, 2] if flow.shape[1] == 3 else torch.zeros_like(flow[:, 0])
    flow = flow[:, :2]
    camera, known = complete_intrinsics(frame.intrinsics, image)
    warped = warp_to_frame(previous_gray[:, None], flow)
    plane = image.new_ones((batch_size, 1, height, width), dtype=torch.float32)
    channels = [
        # Angles rather than pixels: the same turn looks the same through every lens.
        flow / camera[:, :2, None, None] * 20,
        plane * valid,
        (gray[:, None].float() - warped).abs() / 32 * valid,
        pixel_rays(camera, height, width) * 2,
        plane * known.float()[:, None, None, None],
    ]
    if depth is not None:
        depth = depth.fetched(flow)
        channels += [(depth.log_depth[:, None] - math.log(NOMINAL_DEPTH_M)) * valid]
        spread = torch.where(valid > 0, depth.variance[:, None].sqrt(), UNKNOWN_SPREAD)
        channels += [spread.clamp(max=UNKNOWN_SPREAD)]
    return MotionInput(
        gray, flow, missed, has_previous, camera, known, depth, torch.cat(channels, dim=1), fine
    )


def no_flow(gray: Tensor) -> Tensor:
    """Return the flow of streams that have not moved, of the shape of ``gray`` [B, H, W]."""
    size = (gray.shape[0], 2, *gray.shape[1:])
    return torch.zeros(size, dtype=torch.float32, device=gray.device)


def no_depth_memory(gray: Tensor) -> DepthMemory:
    """Return the memory of streams that have seen nothing, of the shape of ``gray`` [B, H, W]."""
    nothing = torch.zeros(gray.shape, dtype=torch.float32, device=gray.device)
    return DepthMemory(nothing + math.log(NOMINAL_DEPTH_M), nothing + UNKNOWN_SPREAD**2)
