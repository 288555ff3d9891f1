# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Motion as an input, for the small presets: optical flow, pixel rays, and a pose solver.

Correspondence is what a small network learns last. It is handed over: dense inverse search flow
(Kroeger et al., arXiv 1603.03590) to the previous frame, and the ray of each pixel (as TartanVO,
arXiv 2011.00359, feeds intrinsics). The solver fits the relative pose to the flow and to the
predicted depth by weighted Gauss-Newton steps that training differentiates through.
"""

# B streams, H x W pixels, P sampled pixels

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NOMINAL_FOCAL = 0.85  # image widths; a common lens, used until the focal length is known
MOTION_CHANNELS = 7  # flow 2, flow valid 1, warp residual 1, rays 2, rays known 1
_LUMINANCE = (0.299, 0.587, 0.114)


def gray_from_image(image: Tensor) -> Tensor:
    """Turn an image [B, 3, H, W] in [-1, 1] into luminance, uint8 [B, H, W]."""
    weights = image.new_tensor(_LUMINANCE)[:, None, None]
    return ((image * weights).sum(1).float() * 127.5 + 127.5).round().clamp(0, 255).byte()


def optical_flow(previous_gray: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """
    Say where each pixel of the frame was in the previous frame.

    :param previous_gray: uint8 [H, W].
    :param gray: uint8 [H, W].
    :return: displacement from the frame to the previous one, px, float32 [H, W, 2] (x, y).
    """
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The images are small: the finest level is where the precision is.
    search.setFinestScale(0)
    return search.calc(np.ascontiguousarray(gray), np.ascontiguousarray(previous_gray), None)


def flow_to_previous(previous_gray: Tensor, gray: Tensor) -> Tensor:
    """Run :func:`optical_flow` on each stream; uint8 [B, H, W] twice to float32 [B, 2, H, W]."""
    device = gray.device
    flows = [
        optical_flow(before, now)
        for before, now in zip(previous_gray.cpu().numpy(), gray.cpu().numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(device)


def complete_intrinsics(intrinsics: Tensor | None, image: Tensor) -> tuple[Tensor, Tensor]:
    """
    Fill in a nominal camera where none is given.

    :param intrinsics: [B, 4] fx fy cx cy in px, rows of NaN where unknown; or None.
    :param image: [B, 3, H, W], for its size.
    :return: intrinsics [B, 4] without NaN, and which were known, bool [B].
    """
    batch_size, _, height, width = image.shape
    focal = NOMINAL_FOCAL * width
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


def warp_to_frame(previous_gray: Tensor, flow: Tensor) -> Tensor:
    """Fetch the previous image at each pixel's origin: uint8 [B, H, W] to float [B, H, W]."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
    image = previous_gray[:, None].float()
    return F.grid_sample(image, grid, padding_mode='border', align_corners=True)[:, 0]


class MotionInput(NamedTuple):
    """What the network is told about motion and camera in one frame."""

    gray: Tensor  # [B, H, W] uint8
    flow: Tensor  # [B, 2, H, W] px; zero where there is no previous frame
    has_flow: Tensor  # [B] bool
    intrinsics: Tensor  # [B, 4]
    intrinsics_known: Tensor  # [B] bool
    channels: Tensor  # [B, MOTION_CHANNELS, H, W] as fed to the stem


def motion_input(
    image: Tensor,
    flow: Tensor | None,
    intrinsics: Tensor | None,
    previous_gray: Tensor,
    has_previous: Tensor,
) -> MotionInput:
    """
    Gather the motion channels of one frame.

    :param image: [B, 3, H, W] in [-1, 1].
    :param flow: [B, 2, H, W] px, or None to compute it here.
    :param intrinsics: [B, 4] or None, see :func:`complete_intrinsics`.
    :param previous_gray: uint8 [B, H', W']; another size than the image's means no previous frame.
    :param has_previous: bool [B].
    """
    batch_size, _, height, width = image.shape
    gray = gray_from_image(image)
    if previous_gray.shape != gray.shape:
        previous_gray, has_previous = gray, torch.zeros_like(has_previous)
    if flow is None:
        if bool(has_previous.any()):
            flow = flow_to_previous(previous_gray, gray)
        else:
            flow = image.new_zeros((batch_size, 2, height, width), dtype=torch.float32)
    valid = has_previous.float()[:, None, None, None]
    flow = flow.float() * valid
    camera, known = complete_intrinsics(intrinsics, image)
    residual = (gray.float() - warp_to_frame(previous_gray, flow)).abs()[:, None] / 32 * valid
    plane = image.new_ones((batch_size, 1, height, width), dtype=torch.float32)
    channels = torch.cat(
        (
            # Angles rather than pixels: the same turn looks the same through every lens.
            flow / camera[:, :2, None, None] * 20,
            plane * valid,
            residual,
            pixel_rays(camera, height, width) * 2,
            plane * known.float()[:, None, None, None],
        ),
        dim=1,
    )
    return MotionInput(gray, flow, has_previous, camera, known, channels)


def skew(vector: Tensor) -> Tensor:
    """Return the matrix of the cross product, [..., 3] to [..., 3, 3]."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def exp_se3(twist: Tensor) -> Tensor:
    """
    Map a twist (translation part, then rotation vector) to a transform.

    :param twist: [..., 6], m and rad.
    :return: [..., 4, 4].
    """
    translation, omega = twist.split(3, dim=-1)
    angle_squared = omega.square().sum(-1, keepdim=True)[..., None]
    small = angle_squared < 1e-6
    safe = torch.where(small, torch.ones_like(angle_squared), angle_squared)
    angle = safe.sqrt()
    # Taylor series near zero: the closed forms are 0/0 there.
    a = torch.where(small, 1 - angle_squared / 6, angle.sin() / angle)
    b = torch.where(small, 0.5 - angle_squared / 24, (1 - angle.cos()) / safe)
    c = torch.where(small, 1 / 6 - angle_squared / 120, (angle - angle.sin()) / (safe * angle))
    cross = skew(omega)
    square = cross @ cross
    identity = torch.eye(3, dtype=twist.dtype, device=twist.device)
    rotation = identity + a * cross + b * square
    moved = (identity + b * cross + c * square) @ translation[..., None]
    bottom = torch.zeros_like(twist[..., :4])
    bottom = torch.cat((bottom[..., :3], torch.ones_like(bottom[..., :1])), dim=-1)
    return torch.cat((torch.cat((rotation, moved), dim=-1), bottom[..., None, :]), dim=-2)


class FlowSolver(NamedTuple):
    """
    Weighted Gauss-Newton on the flow: which camera motion explains it, given the depth?

    A point seen at ray m with depth z in the frame was seen at m + flow/f in the previous one.
    The network supplies z, a weight per pixel, a first guess of the motion and how much to trust
    that guess, which decides where the flow says nothing (little parallax, no texture).
    """

    steps: int
    stride: int = 4  # px between the pixels used: flow is smooth, the solve stays cheap
    pixel_scale: float = 1.0  # px at which a residual counts half in the last step
    anneal: float = 4.0  # each step before it is this much more tolerant

    def solve(
        self,
        T_previous_camera: Tensor,
        depth: Tensor,
        weight: Tensor,
        flow: Tensor,
        intrinsics: Tensor,
        information: Tensor,
    ) -> Tensor:
        """
        Refine the relative pose.

        :param T_previous_camera: first guess, [B, 4, 4].
        :param depth: z in m, [B, H, W].
        :param weight: trust in the flow of each pixel, 0 to 1, [B, H, W].
        :param flow: px, [B, 2, H, W].
        :param intrinsics: [B, 4].
        :param information: trust in the first guess per twist component, [B, 6].
        :return: refined pose, [B, 4, 4].
        """
        stride, half = self.stride, self.stride // 2
        rays = pixel_rays(intrinsics, *depth.shape[-2:])
        thin = (..., slice(half, None, stride), slice(half, None, stride))
        ray, displacement = rays[thin].flatten(2), flow[thin].flatten(2)  # [B, 2, P]
        z, trust = depth[thin].flatten(1), weight[thin].flatten(1)  # [B, P]
        focal = intrinsics[:, :2, None]
        target = ray + displacement / focal
        points = torch.cat((ray, torch.ones_like(ray[:, :1])), dim=1) * z[:, None]
        # Points that left the previous image have no flow to speak of.
        trust = trust * self._inside(target, intrinsics, depth.shape[-2:])
        moved_so_far = torch.zeros_like(information)
        pose = T_previous_camera
        for step in range(self.steps):
            tolerance = self.pixel_scale * self.anneal ** (self.steps - 1 - step)
            update = self._step(
                pose, points, target, trust, focal / tolerance, information, moved_so_far
            )
            moved_so_far = moved_so_far + update
            pose = exp_se3(update) @ pose
        return pose

    def _inside(self, target: Tensor, intrinsics: Tensor, size: torch.Size) -> Tensor:
        height, width = size
        u = target[:, 0] * intrinsics[:, :1] + intrinsics[:, 2:3]
        v = target[:, 1] * intrinsics[:, 1:2] + intrinsics[:, 3:4]
        return ((u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)).to(target.dtype)

    def _step(
        self,
        pose: Tensor,
        points: Tensor,
        target: Tensor,
        trust: Tensor,
        residual_scale: Tensor,
        information: Tensor,
        moved_so_far: Tensor,
    ) -> Tensor:
        """Return one Gauss-Newton update (twist applied on the left), [B, 6]."""
        moved = pose[:, :3, :3] @ points + pose[:, :3, 3:]
        x, y, z = moved.unbind(1)
        inverse_z = 1 / z.clamp(min=0.05)
        u, v = x * inverse_z, y * inverse_z
        residual = torch.stack((u, v), dim=1) - target  # [B, 2, P]
        # Cauchy weights, held constant within the step (iteratively reweighted).
        robust = 1 / (1 + (residual * residual_scale).detach().square().sum(1))
        weight = (trust * robust * (z > 0.05)).clamp(min=0)
        weight = weight / weight.shape[-1]
        zero = torch.zeros_like(u)
        row_u = (inverse_z, zero, -u * inverse_z, -u * v, 1 + u * u, -v)
        row_v = (zero, inverse_z, -v * inverse_z, -(1 + v * v), u * v, u)
        jacobian = torch.stack((torch.stack(row_u, dim=1), torch.stack(row_v, dim=1)), dim=1)
        weighted = jacobian * weight[:, None, None]  # [B, 2, 6, P]
        normal = torch.einsum('bkip,bkjp->bij', weighted, jacobian) + torch.diag_embed(information)
        gradient = torch.einsum('bkip,bkp->bi', weighted, residual) + information * moved_so_far
        return -torch.linalg.solve(normal, gradient)
