# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Bundle adjustment of two frames: relative pose and depth from optical flow and priors.

Flow, the network's depth and motion, and the remembered depth are measurements with standard
deviations. Where the flow is uninformative (little parallax, no texture) the others decide.
"""

# B streams, H x W pixels, P sampled pixels

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
import torch.nn.functional as F

from mem3r_ros.se3 import se3_exp
from mem3r_ros.two_view.constants import constant
from mem3r_ros.two_view.pixels import lands_inside, viewing_rays
from mem3r_ros.two_view.stream_memory import DepthMemory


class Prior(NamedTuple):
    """Motion and depth before the adjustment, with standard deviations."""

    T_previous_camera: Tensor  # [B, 4, 4]
    motion_sigma: Tensor  # [B, 6] of the motion: m, then rad
    depth: Tensor  # [B, H, W] m
    depth_sigma: Tensor  # [B, H, W] of the log depth
    flow_weight: Tensor  # [B, H, W] weight of the flow, 0 to 1


class Solution(NamedTuple):
    """Motion and depth after the adjustment."""

    T_previous_camera: Tensor  # [B, 4, 4]
    depth: DepthMemory  # of this frame


class BundleAdjustment(NamedTuple):
    """
    Robust Gauss-Newton over the relative pose and the depth of each sampled pixel.

    A point on ray m with depth z in the frame was at m + flow/f in the previous one, where the
    stream remembers a depth for it. Each step eliminates the depths (Schur complement: one depth
    per pixel) and solves six equations for the motion.
    """

    steps: int
    stride: int = 4  # px between the sampled pixels: flow is smooth, fewer are cheaper
    robust_scale_px: float = 0.4  # residual at which a pixel has half its weight in the last step
    anneal: float = 3.0  # factor of the robust scale for each step before the last
    memory_scale: float = (
        3.0  # standard deviations at which a remembered depth has half its weight
    )
    pixel_sigma: float = 0.1  # px, standard deviation of the flow
    # Effective number of independent pixels, because errors of neighbours are correlated: for the
    # translation, which errors of depth affect, and for the rotation, which they hardly affect.
    num_independent: tuple[float, float] = (32.0, 40.0)
    noise_steps: int = 2  # steps after the noise of the flow is estimated
    max_log_depth: float = 1.5  # largest correction of a log depth
    min_depth_m: float = 0.05  # nearer points are behind the image plane
    min_sigma: float = 0.02  # smallest standard deviation of a log depth: flow is also biased

    def solve(
        self, prior: Prior, flow: Tensor, intrinsics: Tensor, memory: DepthMemory | None = None
    ) -> Solution:
        """
        Refine relative pose and depth.

        :param flow: px, [B, 2, H, W].
        :param intrinsics: [B, 4].
        :param memory: depth in the previous camera, at the pixels of this frame.
        """
        problem = self._problem(prior, flow, intrinsics, memory)
        pose, moved = prior.T_previous_camera, torch.zeros_like(prior.motion_sigma)
        change = torch.zeros_like(problem.depth_information)
        scales = [self.anneal**step for step in reversed(range(self.steps))]
        for index, scale in enumerate(scales + [1.0] * self.noise_steps):
            if index == len(scales):
                # Larger noise gives the priors more weight.
                problem = problem.with_noise(self._estimated_noise(problem, pose, change))
            twist, by_pixel, information = self._step(problem, pose, change, moved, scale)
            moved = moved + twist
            pose = se3_exp(twist) @ pose
            change = (change + by_pixel).clamp(-self.max_log_depth, self.max_log_depth)
        variance = (problem.noise.square() / information).clamp(min=self.min_sigma**2)
        sampled = torch.stack((change, variance), dim=1)
        sampled = sampled.unflatten(2, prior.depth[self._sampled].shape[-2:])
        change, variance = F.interpolate(
            sampled, size=prior.depth.shape[-2:], mode='bilinear'
        ).unbind(1)
        return Solution(pose, DepthMemory(prior.depth.log() + change, variance))

    @property
    def _sampled(self) -> tuple:
        pixels = slice(self.stride // 2, None, self.stride)
        return (..., pixels, pixels)

    def _problem(
        self, prior: Prior, flow: Tensor, intrinsics: Tensor, memory: DepthMemory | None
    ) -> _Problem:
        def sampled(values: Tensor) -> Tensor:
            return values[self._sampled].flatten(-2)

        rays = sampled(viewing_rays(intrinsics, *flow.shape[-2:]).permute(0, 3, 1, 2))
        focal = intrinsics[:, :2, None]
        # Points outside the previous image have neither flow nor a remembered depth.
        inside = sampled(lands_inside(flow))
        noise = self.pixel_sigma / intrinsics[:, :1]
        for_translation, for_rotation = self.num_independent
        pixels = constant((for_translation,) * 3 + (for_rotation,) * 3, prior.motion_sigma)
        remembered, memory_weight = torch.zeros_like(rays[:, 0]), inside * 0.0
        if memory is not None:
            remembered = sampled(memory.log_depth)
            memory_weight = inside * noise / sampled(memory.variance).sqrt()
        return _Problem(
            points=rays * sampled(prior.depth)[:, None],
            target=rays[:, :2] + sampled(flow) / focal,
            flow_weight=sampled(prior.flow_weight) * inside,
            depth_information=(noise / sampled(prior.depth_sigma)).square(),
            focal=focal,
            noise=noise,
            remembered=remembered,
            memory_weight=memory_weight,
            motion_information=noise.square() / (pixels * prior.motion_sigma.square()),
        )

    def _step(
        self, problem: _Problem, pose: Tensor, change: Tensor, moved: Tensor, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """
        Return one Gauss-Newton update.

        :return: twist applied on the left [B, 6], change of the log depths [B, P], and the
            information of each log depth over that of the flow of one pixel [B, P].
        """
        residual, by_pose, by_depth, in_front = self._rows(problem, pose, change)
        weight = self._weights(problem, residual, scale) * in_front[:, None]
        depth_normal = (weight * by_depth.square()).sum(1) + problem.depth_information
        depth_gradient = (weight * by_depth * residual).sum(1) + problem.depth_information * change
        weighted = by_pose * weight[:, :, None]
        coupling = (weighted * by_depth[:, :, None]).sum(1)  # [B, 6, P]
        eliminated = coupling / depth_normal[:, None]
        count = change.shape[-1]
        normal = (
            torch.einsum('bkip,bkjp->bij', weighted, by_pose)
            - torch.einsum('bip,bjp->bij', eliminated, coupling)
        ) / count + torch.diag_embed(problem.motion_information)
        gradient = (
            torch.einsum('bkip,bkp->bi', weighted, residual)
            - (eliminated * depth_gradient[:, None]).sum(-1)
        ) / count + problem.motion_information * moved
        # solve_ex does not synchronise; the result of a singular stream is not finite.
        twist = -torch.linalg.solve_ex(normal, gradient).result
        by_pixel = -(depth_gradient + (coupling * twist[..., None]).sum(1)) / depth_normal
        return twist, by_pixel, depth_normal

    def _rows(
        self, problem: _Problem, pose: Tensor, change: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """
        Return three rows for each pixel: two of flow and one of remembered depth.

        :return: residuals on the image plane [B, 3, P], their derivatives by a twist on the left
            of the pose [B, 3, 6, P] and by the log depth [B, 3, P], and which points are in front
            of the camera [B, P].
        """
        rotated = pose[:, :3, :3] @ (problem.points * change.exp()[:, None])
        x, y, z = (rotated + pose[:, :3, 3:]).unbind(1)
        in_front = z > self.min_depth_m
        z = z.clamp(min=self.min_depth_m)
        inverse_z = 1 / z
        u, v = x * inverse_z, y * inverse_z
        zero = torch.zeros_like(u)
        weight = problem.memory_weight
        by_pose = torch.stack(
            (
                torch.stack((inverse_z, zero, -u * inverse_z, -u * v, 1 + u * u, -v), dim=1),
                torch.stack((zero, inverse_z, -v * inverse_z, -(1 + v * v), u * v, u), dim=1),
                torch.stack((zero, zero, inverse_z, v, -u, zero), dim=1) * weight[:, None],
            ),
            dim=1,
        )
        moved_depth = rotated[:, 2] * inverse_z
        by_depth = torch.stack(
            (
                inverse_z * (rotated[:, 0] - u * rotated[:, 2]),
                inverse_z * (rotated[:, 1] - v * rotated[:, 2]),
                moved_depth * weight,
            ),
            dim=1,
        )
        residual = torch.cat(
            (
                torch.stack((u, v), dim=1) - problem.target,
                ((z.log() - problem.remembered) * weight)[:, None],
            ),
            dim=1,
        )
        return residual, by_pose, by_depth, in_front

    def _estimated_noise(self, problem: _Problem, pose: Tensor, change: Tensor) -> Tensor:
        """Return the median residual of the flow, at least the nominal noise, [B, 1]."""
        points = pose[:, :3, :3] @ (problem.points * change.exp()[:, None]) + pose[:, :3, 3:]
        projected = points[:, :2] / points[:, 2:].clamp(min=self.min_depth_m)
        residual = (projected - problem.target).norm(dim=1)
        return torch.maximum(residual.median(dim=1, keepdim=True).values, problem.noise)

    def _weights(self, problem: _Problem, residual: Tensor, scale: float) -> Tensor:
        """Return the Cauchy weights of the two rows of flow and the row of depth, [B, 3, P]."""
        pixels = (residual[:, :2] * problem.focal / (self.robust_scale_px * scale)).square().sum(1)
        flow = problem.flow_weight / (1 + pixels)
        # A remembered depth with a large residual belongs to another object. It is nearly right
        # before the motion is known, so its scale is not annealed.
        deviations = residual[:, 2] / (self.memory_scale * problem.noise)
        return torch.stack((flow, flow, 1 / (1 + deviations.square())), dim=1)


class _Problem(NamedTuple):
    """The sampled pixels; lengths on the image plane are in focal lengths."""

    points: Tensor  # [B, 3, P] m, at the prior depth
    target: Tensor  # [B, 2, P] place in the previous frame
    flow_weight: Tensor  # [B, P]
    depth_information: Tensor  # [B, P] of the prior log depth
    focal: Tensor  # [B, 2, 1] px
    noise: Tensor  # [B, 1] standard deviation of the flow
    remembered: Tensor  # [B, P] log depth in the previous camera
    memory_weight: Tensor  # [B, P] sigma of the flow over sigma of the memory; 0 = unknown
    motion_information: Tensor  # [B, 6] of the prior pose, per pixel

    def with_noise(self, noise: Tensor) -> _Problem:
        """Return the problem for another standard deviation of the flow, [B, 1]."""
        factor = noise / self.noise
        return self._replace(
            noise=noise,
            depth_information=self.depth_information * factor.square(),
            memory_weight=self.memory_weight * factor,
            motion_information=self.motion_information * factor.square(),
        )
