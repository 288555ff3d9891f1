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
from torch import Tensor
import torch.nn.functional as F

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
    Bundle adjustment of two frames: the motion and the depth that explain the flow.

    A point seen at ray m with depth z in the frame was seen at m + flow/f in the previous one.
    The network supplies a first guess of z and of the motion, how far each may be off, and a
    weight per pixel; they decide where the flow says nothing (little parallax, no texture).
    Each Gauss-Newton step eliminates the depths (Schur complement: every pixel has its own) and
    solves six equations for the motion.
    """

    steps: int
    stride: int = 4  # px between the pixels used: flow is smooth, the solve stays cheap
    pixel_scale: float = 1.0  # px at which a residual counts half in the last step
    anneal: float = 3.0  # each step before it is this much more tolerant
    pixel_sigma: float = 0.5  # px, noise of the flow: what depth priors are weighed against
    max_log_depth: float = 1.5  # the most that a depth may be corrected

    def solve(
        self,
        T_previous_camera: Tensor,
        depth: Tensor,
        depth_sigma: Tensor,
        weight: Tensor,
        flow: Tensor,
        intrinsics: Tensor,
        information: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """
        Refine relative pose and depth.

        :param T_previous_camera: first guess, [B, 4, 4].
        :param depth: first guess of z in m, [B, H, W].
        :param depth_sigma: standard deviation of its logarithm, [B, H, W].
        :param weight: trust in the flow of each pixel, 0 to 1, [B, H, W].
        :param flow: px, [B, 2, H, W].
        :param intrinsics: [B, 4].
        :param information: trust in the first pose per twist component, [B, 6].
        :return: refined pose [B, 4, 4] and the correction of the logarithm of z, [B, H, W].
        """
        problem = self._problem(depth, depth_sigma, weight, flow, intrinsics)
        pose, moved = T_previous_camera, torch.zeros_like(information)
        log_depth = torch.zeros_like(problem.prior)
        for step in range(self.steps):
            tolerance = self.pixel_scale * self.anneal ** (self.steps - 1 - step)
            twist, change = self._step(problem, pose, log_depth, moved, information, tolerance)
            moved = moved + twist
            pose = exp_se3(twist) @ pose
            log_depth = (log_depth + change).clamp(-self.max_log_depth, self.max_log_depth)
        thin_size = depth[self._thin].shape[-2:]
        correction = F.interpolate(
            log_depth.unflatten(1, thin_size)[:, None], size=depth.shape[-2:], mode='bilinear'
        )
        return pose, correction[:, 0]

    @property
    def _thin(self) -> tuple:
        pixels = slice(self.stride // 2, None, self.stride)
        return (..., pixels, pixels)

    def _problem(
        self, depth: Tensor, depth_sigma: Tensor, weight: Tensor, flow: Tensor, intrinsics: Tensor
    ) -> _FlowProblem:
        height, width = depth.shape[-2:]
        ray = pixel_rays(intrinsics, height, width)[self._thin].flatten(2)
        focal = intrinsics[:, :2, None]
        target = ray + flow[self._thin].flatten(2) / focal
        pixel = target * focal + intrinsics[:, 2:, None]
        # Points that left the previous image have no flow to speak of.
        limits = pixel.new_tensor([width - 1, height - 1])[:, None]
        inside = ((pixel >= 0) & (pixel <= limits)).all(dim=1)
        points = torch.cat((ray, torch.ones_like(ray[:, :1])), dim=1)
        sigma = depth_sigma[self._thin].flatten(1)
        return _FlowProblem(
            points * depth[self._thin].flatten(1)[:, None],
            target,
            weight[self._thin].flatten(1) * inside,
            (self.pixel_sigma / intrinsics[:, :1] / sigma).square(),
            focal,
        )

    def _step(
        self,
        problem: _FlowProblem,
        pose: Tensor,
        log_depth: Tensor,
        moved: Tensor,
        information: Tensor,
        tolerance: float,
    ) -> tuple[Tensor, Tensor]:
        """Return one Gauss-Newton update: twist applied on the left [B, 6], log depths [B, P]."""
        turned = pose[:, :3, :3] @ (problem.points * log_depth.exp()[:, None])
        x, y, z = (turned + pose[:, :3, 3:]).unbind(1)
        inverse_z = 1 / z.clamp(min=0.05)
        u, v = x * inverse_z, y * inverse_z
        residual = torch.stack((u, v), dim=1) - problem.target  # [B, 2, P]
        # Cauchy weights, held constant within the step (iteratively reweighted).
        pixels = (residual * problem.focal / tolerance).detach()
        weight = problem.weight * (z > 0.05) / (1 + pixels.square().sum(1))
        zero = torch.zeros_like(u)
        row_u = (inverse_z, zero, -u * inverse_z, -u * v, 1 + u * u, -v)
        row_v = (zero, inverse_z, -v * inverse_z, -(1 + v * v), u * v, u)
        by_pose = torch.stack((torch.stack(row_u, dim=1), torch.stack(row_v, dim=1)), dim=1)
        by_depth = inverse_z[:, None] * (
            turned[:, :2] - torch.stack((u, v), dim=1) * turned[:, 2:]
        )
        depth_normal = weight * by_depth.square().sum(1) + problem.prior
        depth_gradient = weight * (by_depth * residual).sum(1) + problem.prior * log_depth
        weighted = by_pose * weight[:, None, None]  # [B, 2, 6, P]
        coupling = (weighted * by_depth[:, :, None]).sum(1)  # [B, 6, P]
        eliminated = coupling / depth_normal[:, None]
        count = weight.shape[-1]
        normal = (
            torch.einsum('bkip,bkjp->bij', weighted, by_pose)
            - torch.einsum('bip,bjp->bij', eliminated, coupling)
        ) / count + torch.diag_embed(information)
        gradient = (
            torch.einsum('bkip,bkp->bi', weighted, residual)
            - (eliminated * depth_gradient[:, None]).sum(-1)
        ) / count + information * moved
        twist = -torch.linalg.solve(normal, gradient)
        change = -(depth_gradient + (coupling * twist[..., None]).sum(1)) / depth_normal
        return twist, change


class _FlowProblem(NamedTuple):
    """The sampled pixels of :class:`FlowSolver`; lengths on the image plane are focal lengths."""

    points: Tensor  # [B, 3, P] m, first guess
    target: Tensor  # [B, 2, P] where the previous frame saw them
    weight: Tensor  # [B, P]
    prior: Tensor  # [B, P] information of the log depth
    focal: Tensor  # [B, 2, 1] px
