# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Motion and depth that explain the optical flow: bundle adjustment of two frames.

Everything that is known enters as a measurement with a spread: the flow, the network's depth and
motion, and the depth that the stream remembers. What the flow cannot say (little parallax, no
texture) the others decide.
"""

# B streams, H x W pixels, P sampled pixels

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
import torch.nn.functional as F

from mem3r_ros.model.motion import DepthMemory, lands_inside, pixel_rays
from mem3r_ros.se3 import exp_se3


class Guess(NamedTuple):
    """What the network says before the flow is looked at."""

    T_previous_camera: Tensor  # [B, 4, 4]
    motion_sigma: Tensor  # [B, 6] spread of the motion: m, then rad
    depth: Tensor  # [B, H, W] m
    depth_sigma: Tensor  # [B, H, W] spread of its logarithm
    flow_weight: Tensor  # [B, H, W] trust in the flow, 0 to 1


class Solution(NamedTuple):
    """What explains the flow, the guess and the memory together."""

    T_previous_camera: Tensor  # [B, 4, 4]
    depth: DepthMemory  # of this frame: log depth and its variance


class FlowSolver(NamedTuple):
    """
    Bundle adjustment of two frames by Gauss-Newton steps.

    A point seen at ray m with depth z in the frame was seen at m + flow/f in the previous one,
    where the stream remembers a depth for it. Each step eliminates the depths (Schur complement:
    every pixel has its own) and solves six equations for the motion.
    """

    steps: int
    stride: int = 4  # px between the pixels used: flow is smooth, the solve stays cheap
    pixel_scale: float = 0.4  # px at which a residual counts half in the last step
    anneal: float = 3.0  # each step before it is this much more tolerant
    memory_scale: float = 3.0  # spreads at which a remembered depth counts half
    pixel_sigma: float = 0.1  # px, noise of the flow: what all else is weighed against
    # How many pixels speak for themselves, errors of neighbours being alike: on a shift, which
    # each wrong region of depth bends its own way, and on a turn, which depth hardly matters to.
    num_independent: tuple[float, float] = (32.0, 40.0)
    second_thoughts: int = 2  # steps after the noise of the flow was measured
    max_log_depth: float = 1.5  # the most that a depth may be corrected
    min_depth_m: float = 0.05  # what comes nearer to the camera has no place in the image
    min_sigma: float = 0.02  # least spread of a log depth: flow has a bias, not only noise

    def solve(
        self,
        guess: Guess,
        flow: Tensor,
        intrinsics: Tensor,
        memory: DepthMemory | None = None,
    ) -> Solution:
        """
        Refine relative pose and depth.

        :param flow: px, [B, 2, H, W].
        :param intrinsics: [B, 4].
        :param memory: depth in the previous camera, at the pixels of this frame.
        """
        problem = self._problem(guess, flow, intrinsics, memory)
        pose, moved = guess.T_previous_camera, torch.zeros_like(guess.motion_sigma)
        change = torch.zeros_like(problem.prior)
        tolerances = [self.anneal**step for step in reversed(range(self.steps))]
        for index, tolerance in enumerate(tolerances + [1.0] * self.second_thoughts):
            if index == len(tolerances):
                # What no motion explains is not flow: then all else counts for more.
                problem = problem.with_noise(self._measured_noise(problem, pose, change))
            twist, by_pixel, certainty = self._step(problem, pose, change, moved, tolerance)
            moved = moved + twist
            pose = exp_se3(twist) @ pose
            change = (change + by_pixel).clamp(-self.max_log_depth, self.max_log_depth)
        variance = (problem.noise.square() / certainty).clamp(min=self.min_sigma**2)
        thin = torch.stack((change, variance), dim=1)
        thin = thin.unflatten(2, guess.depth[self._thin].shape[-2:])
        change, variance = F.interpolate(
            thin, size=guess.depth.shape[-2:], mode='bilinear'
        ).unbind(1)
        return Solution(pose, DepthMemory(guess.depth.log() + change, variance))

    @property
    def _thin(self) -> tuple:
        pixels = slice(self.stride // 2, None, self.stride)
        return (..., pixels, pixels)

    def _problem(
        self, guess: Guess, flow: Tensor, intrinsics: Tensor, memory: DepthMemory | None
    ) -> _FlowProblem:
        height, width = guess.depth.shape[-2:]
        ray = pixel_rays(intrinsics, height, width)[self._thin].flatten(2)
        focal = intrinsics[:, :2, None]
        target = ray + flow[self._thin].flatten(2) / focal
        # Points that left the previous image have neither a flow nor a memory to speak of.
        inside = lands_inside(flow)[self._thin].flatten(1)
        points = torch.cat((ray, torch.ones_like(ray[:, :1])), dim=1)
        noise = self.pixel_sigma / intrinsics[:, :1]
        shift, turn = self.num_independent
        pixels = guess.motion_sigma.new_tensor([shift] * 3 + [turn] * 3)
        remembered, remembered_sigma = torch.zeros_like(points[:, 0]), None
        if memory is not None:
            remembered = memory.log_depth[self._thin].flatten(1)
            remembered_sigma = memory.variance[self._thin].flatten(1).sqrt()
        return _FlowProblem(
            points * guess.depth[self._thin].flatten(1)[:, None],
            target,
            guess.flow_weight[self._thin].flatten(1) * inside,
            (noise / guess.depth_sigma[self._thin].flatten(1)).square(),
            focal,
            noise,
            remembered,
            inside * 0.0 if remembered_sigma is None else inside * noise / remembered_sigma,
            noise.square() / (pixels * guess.motion_sigma.square()),
        )

    def _step(
        self,
        problem: _FlowProblem,
        pose: Tensor,
        change: Tensor,
        moved: Tensor,
        tolerance: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """
        Return one Gauss-Newton update.

        :return: twist applied on the left [B, 6], change of the log depths [B, P], and what is
            known of each of those, over the information of one pixel's flow [B, P].
        """
        residual, by_pose, by_depth, in_front = self._rows(problem, pose, change)
        weight = self._weights(problem, residual, tolerance) * in_front[:, None]
        depth_normal = (weight * by_depth.square()).sum(1) + problem.prior
        depth_gradient = (weight * by_depth * residual).sum(1) + problem.prior * change
        weighted = by_pose * weight[:, :, None]
        coupling = (weighted * by_depth[:, :, None]).sum(1)  # [B, 6, P]
        eliminated = coupling / depth_normal[:, None]
        count = change.shape[-1]
        normal = (
            torch.einsum('bkip,bkjp->bij', weighted, by_pose)
            - torch.einsum('bip,bjp->bij', eliminated, coupling)
        ) / count + torch.diag_embed(problem.information)
        gradient = (
            torch.einsum('bkip,bkp->bi', weighted, residual)
            - (eliminated * depth_gradient[:, None]).sum(-1)
        ) / count + problem.information * moved
        # Without asking the device: a stream that cannot be solved comes out not finite.
        twist = -torch.linalg.solve_ex(normal, gradient).result
        by_pixel = -(depth_gradient + (coupling * twist[..., None]).sum(1)) / depth_normal
        return twist, by_pixel, depth_normal

    def _rows(
        self, problem: _FlowProblem, pose: Tensor, change: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """
        Return what is to be explained by each pixel: two rows of flow and one of memory.

        :return: residuals on the image plane [B, 3, P], their derivatives by a twist on the left
            of the pose [B, 3, 6, P] and by the log depth [B, 3, P], which are in view [B, P].
        """
        turned = pose[:, :3, :3] @ (problem.points * change.exp()[:, None])
        x, y, z = (turned + pose[:, :3, 3:]).unbind(1)
        in_front = z > self.min_depth_m
        z = z.clamp(min=self.min_depth_m)
        inverse_z = 1 / z
        u, v = x * inverse_z, y * inverse_z
        zero = torch.zeros_like(u)
        strength = problem.memory_strength
        by_pose = torch.stack(
            (
                torch.stack((inverse_z, zero, -u * inverse_z, -u * v, 1 + u * u, -v), dim=1),
                torch.stack((zero, inverse_z, -v * inverse_z, -(1 + v * v), u * v, u), dim=1),
                torch.stack((zero, zero, inverse_z, v, -u, zero), dim=1) * strength[:, None],
            ),
            dim=1,
        )
        moved_depth = turned[:, 2] * inverse_z
        by_depth = torch.stack(
            (
                inverse_z * (turned[:, 0] - u * turned[:, 2]),
                inverse_z * (turned[:, 1] - v * turned[:, 2]),
                moved_depth * strength,
            ),
            dim=1,
        )
        residual = torch.cat(
            (
                torch.stack((u, v), dim=1) - problem.target,
                ((z.log() - problem.remembered) * strength)[:, None],
            ),
            dim=1,
        )
        return residual, by_pose, by_depth, in_front

    def _measured_noise(self, problem: _FlowProblem, pose: Tensor, change: Tensor) -> Tensor:
        """Return the median of what is left of the flow, at least the usual noise, [B, 1]."""
        points = pose[:, :3, :3] @ (problem.points * change.exp()[:, None]) + pose[:, :3, 3:]
        seen = points[:, :2] / points[:, 2:].clamp(min=self.min_depth_m)
        left = (seen - problem.target).norm(dim=1).median(dim=1, keepdim=True).values
        return torch.maximum(left, problem.noise)

    def _weights(self, problem: _FlowProblem, residual: Tensor, tolerance: float) -> Tensor:
        """Cauchy weights of the two rows of flow and the row of memory, [B, 3, P]."""
        pixels = (residual[:, :2] * problem.focal / (self.pixel_scale * tolerance)).square().sum(1)
        flow = problem.weight / (1 + pixels)
        # It was something else's depth when it is many spreads off. Unlike the flow it is nearly
        # right before any motion is known, so it is judged as strictly from the first step on.
        spreads = residual[:, 2] / (self.memory_scale * problem.noise)
        return torch.stack((flow, flow, 1 / (1 + spreads.square())), dim=1)


class _FlowProblem(NamedTuple):
    """The sampled pixels of :class:`FlowSolver`; lengths on the image plane are focal lengths."""

    points: Tensor  # [B, 3, P] m, first guess
    target: Tensor  # [B, 2, P] where the previous frame saw them
    weight: Tensor  # [B, P]
    prior: Tensor  # [B, P] information of the log depth
    focal: Tensor  # [B, 2, 1] px
    noise: Tensor  # [B, 1] spread of the flow, focal lengths
    remembered: Tensor  # [B, P] log depth in the previous camera
    memory_strength: Tensor  # [B, P] spread of the flow over that of the memory; 0 = unknown
    information: Tensor  # [B, 6] of the first pose, per pixel

    def with_noise(self, noise: Tensor) -> _FlowProblem:
        """Return the problem with another spread of the flow, [B, 1] focal lengths."""
        factor = noise / self.noise
        return self._replace(
            noise=noise,
            prior=self.prior * factor.square(),
            memory_strength=self.memory_strength * factor,
            information=self.information * factor.square(),
        )
