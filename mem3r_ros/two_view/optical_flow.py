# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Dense optical flow to the previous frame, with a forward-backward check.

The search is dense inverse search (DIS, Kroeger et al., arXiv 1603.03590) by OpenCV. It may run on
larger images than the network takes, because a camera has more pixels.
"""

# B streams, H x W pixels, kH x kW pixels of the larger images

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
import torch.nn.functional as F

from mem3r_ros.two_view.constants import constant

LARGE_MOTION_PX = 3.0  # above it the search starts from the shift of the whole image
SHIFT_RANGE = 0.3  # largest shift that is searched for, over the image side
MIN_CORRELATION = 0.6  # below it (-1 to 1) a shift of the whole image is rejected
MIN_CORRELATION_GAIN = 0.1  # over the correlation without a shift
MIN_SEARCH_SIDE = 16  # px; smaller images are too small for a template search
SMOOTHNESS = 40.0  # weight of smooth flow over the images: fills textureless walls from their rims
STRIDE_PX = 4  # between patches
DESCENT_STEPS = 16  # gradient descent steps of each patch
VARIATIONAL_STEPS = 3  # variational refinement steps of the dense flow
# The backward search uses other settings: two equal searches make the same errors.
CHECK_SMOOTHNESS = 10.0
CHECK_STRIDE_PX = 5
MAX_GRAY_DIFFERENCE = 30  # cap on the per-pixel difference when initial flows are compared
_LUMINANCE = (0.299, 0.587, 0.114)


def gray_from_image(image: Tensor) -> Tensor:
    """Turn an image [B, 3, H, W] in [-1, 1] into luminance, uint8 [B, H, W]."""
    weights = constant(_LUMINANCE, image)[:, None, None]
    return ((image * weights).sum(1).float() * 127.5 + 127.5).round().clamp(0, 255).byte()


def enlarged(gray: Tensor, scale: int) -> Tensor | None:
    """Enlarge images [B, H, W] uint8 by ``scale``; None for a scale of 1."""
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
    :param fine: previous and current images for a finer search, uint8 [B, kH, kW].
    :return: float32 [B, 3, H, W].
    """
    images = [each.cpu().numpy() for each in (previous_gray, gray)]
    images.append(before.permute(0, 2, 3, 1).float().cpu().numpy())
    if fine is not None:
        images.append(list(zip(*(each.cpu().numpy() for each in fine), strict=True)))
    flows = [checked_flow(*stream) for stream in zip(*images, strict=True)]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(gray.device)


def checked_flow(
    previous_gray: np.ndarray,
    gray: np.ndarray,
    before: np.ndarray | None = None,
    fine: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """
    Return the optical flow and its forward-backward error.

    Forward-backward error is the best predictor of wrong flow. On rendered worlds, flow with a
    small error is right to a tenth of a pixel. Flow with an error of 1 px is off by several.

    :param previous_gray: uint8 [H, W].
    :param gray: uint8 [H, W].
    :param before: see :func:`optical_flow`.
    :param fine: see :func:`optical_flow`; the backward search does not use it.
    :return: displacement (x, y) and forward-backward error, px, [H, W, 3].
    """
    forward = optical_flow(previous_gray, gray, before, fine)
    return with_error(forward, backward_flow(previous_gray, gray))


def backward_flow(previous_gray: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """Return where each pixel of the previous frame is in the frame, for the check, [H, W, 2]."""
    start = _initial_flow(gray, previous_gray, None)
    return _search(gray, previous_gray, start, CHECK_SMOOTHNESS, CHECK_STRIDE_PX)


def with_error(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Return the flow and its forward-backward error, px, [H, W, 3]."""
    there = _sampled(backward, forward)
    there += forward
    found = np.empty((*forward.shape[:2], 3), np.float32)
    found[..., :2] = forward
    x, y = there[..., 0], there[..., 1]
    np.sqrt(x * x + y * y, out=found[..., 2])
    return found


def optical_flow(
    previous_gray: np.ndarray,
    gray: np.ndarray,
    before: np.ndarray | None = None,
    fine: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """
    Return where each pixel of the frame was in the previous frame.

    DIS finds only motion below the size of its largest patch. For a fast camera the search starts
    from the shift of the whole image, or from the flow of the previous frame.

    :param previous_gray: uint8 [H, W].
    :param gray: uint8 [H, W].
    :param before: flow of the previous frame, float32 [H, W, 2].
    :param fine: both images at a larger size, on which to search: uint8 [kH, kW].
    :return: displacement from the frame to the previous one, px, float32 [H, W, 2] (x, y).
    """
    start = _initial_flow(previous_gray, gray, before)
    if fine is None:
        return _search(previous_gray, gray, start, SMOOTHNESS, STRIDE_PX)
    if start is not None:
        start = _resized(start, fine[1].shape)
    return _resized(_search(*fine, start, SMOOTHNESS, STRIDE_PX), gray.shape)


def _search(
    previous_gray: np.ndarray,
    gray: np.ndarray,
    start: np.ndarray | None,
    smoothness: float,
    stride_px: int,
) -> np.ndarray:
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # Full resolution: the images are small, and accuracy comes from the finest level.
    search.setFinestScale(0)
    search.setVariationalRefinementAlpha(smoothness)
    search.setPatchStride(stride_px)
    search.setGradientDescentIterations(DESCENT_STEPS)
    search.setVariationalRefinementIterations(VARIATIONAL_STEPS)
    return search.calc(np.ascontiguousarray(gray), np.ascontiguousarray(previous_gray), start)


def _resized(flow: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize a flow to images of another size, in px of those."""
    ratio = shape[1] / flow.shape[1]
    method = cv2.INTER_LINEAR if ratio > 1 else cv2.INTER_AREA
    return cv2.resize(flow, shape[::-1], interpolation=method) * np.float32(ratio)


def _sampled(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Sample an image where the flow leads, [H, W, ...]."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _initial_flow(
    previous_gray: np.ndarray, gray: np.ndarray, before: np.ndarray | None
) -> np.ndarray | None:
    """
    Return the flow that the search starts from; None is zero flow.

    A large previous flow is used if it matches the images better than the shift does.
    """
    shift = _image_shift(previous_gray, gray)
    if before is None or np.abs(before).max(initial=0) < LARGE_MOTION_PX:
        return shift

    def difference(flow: np.ndarray) -> float:
        pixels = cv2.absdiff(_sampled(previous_gray, flow), gray)
        return float(np.minimum(pixels, MAX_GRAY_DIFFERENCE).mean())

    before = np.ascontiguousarray(before, np.float32)
    other = np.zeros_like(before) if shift is None else shift
    return before.copy() if difference(before) < difference(other) else shift


def _image_shift(previous_gray: np.ndarray, gray: np.ndarray) -> np.ndarray | None:
    """
    Return the shift of the whole image as a flow; None if it is small or uncertain.

    By template matching at half size: the middle of the frame is searched for in the previous one.
    """
    height, width = gray.shape
    if min(height, width) < MIN_SEARCH_SIDE:
        return None
    half = (width // 2, height // 2)
    frame = cv2.resize(gray, half, interpolation=cv2.INTER_AREA)
    previous = cv2.resize(previous_gray, half, interpolation=cv2.INTER_AREA)
    x, y = (int(SHIFT_RANGE * side) for side in half)
    template = frame[y : half[1] - y, x : half[0] - x]
    correlation = cv2.matchTemplate(previous, template, cv2.TM_CCOEFF_NORMED)
    _, best, _, place = cv2.minMaxLoc(correlation)
    shift = 2.0 * (place[0] - x), 2.0 * (place[1] - y)
    is_sure = best > MIN_CORRELATION and best > correlation[y, x] + MIN_CORRELATION_GAIN
    if not is_sure or shift[0] ** 2 + shift[1] ** 2 < LARGE_MOTION_PX**2:
        return None
    return np.full((height, width, 2), shift, np.float32)
