# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Relative pose and depth from optical flow alone: epipolar geometry.

The flow of a pixel lies on its epipolar line, whatever its depth. So rotation and direction of the
translation are found first: for each of many directions on a sphere, the rotation by weighted
least squares; then the direction with the least distance to the epipolar lines. The parallax along
the line gives the depth of each pixel, up to the length of the translation.
"""

# B streams, H x W pixels, P sampled pixels, D directions

from __future__ import annotations

from functools import lru_cache
import math
from typing import NamedTuple

import torch
from torch import Tensor
import torch.nn.functional as F

from mem3r_ros.se3 import matrix, so3_exp
from mem3r_ros.two_view.pixels import lands_inside, viewing_rays
from mem3r_ros.two_view.stream_memory import (
    MAX_LOG_DEPTH,
    NOMINAL_DEPTH_M,
    UNKNOWN_SPREAD,
    DepthMemory,
)

NUM_DIRECTIONS = 64  # on a half sphere, 17 degrees apart: the sign of the translation comes later
SEARCH_STRIDE = 8  # px between the pixels of the search
REFINE_STRIDE = 4  # px between the pixels of the final steps
ROTATION_STEPS = 4  # Gauss-Newton steps of the initial rotation, without translation
SEARCH_STEPS = 2  # of the rotation for each direction
REFINE_STEPS = 6  # of rotation and direction together
ROBUST_SCALE_PX = 0.14  # distance from the epipolar line at which a pixel has half its weight
ROTATION_SCALE_PX = 0.7  # the same for the initial rotation, where parallax counts as error
ANNEAL = 3.0  # factor of the robust scale for each step before the last
BEHIND_TOLERANCE_PX = 0.5  # parallax of the wrong sign that noise explains
DAMPING = 1e-3  # of the steps, over the mean of the normal matrix
MIN_DEPTH = 0.05  # of a rotated ray; points with less are outside the image
FLOW_ERROR_SCALE_PX = 0.2  # forward-backward error at which a pixel has half its weight
PIXEL_NOISE = 0.3  # px, standard deviation of the flow along the epipolar line
DEPTH_SPREAD = 0.3  # standard deviation of a log depth that gives the translation its length
LENGTH_STEPS = 3  # reweighting steps of the translation length
MIN_LENGTH_M = 1e-4  # of a translation: keeps depth finite at rest
MIN_SPREAD = 0.12  # of a triangulated log depth: long flow is rarely better than a tenth
RESIDUAL_LIMITS = (0.05, 1.0)  # px


class EpipolarFit(NamedTuple):
    """Relative pose with a translation of unit length, and the parallax of each pixel."""

    rotation: Tensor  # [B, 3, 3] from this camera to the previous one
    direction: Tensor  # [B, 3] of this camera in the previous one, unit length
    inverse_depth: Tensor  # [B, H, W] in units of 1 / translation; < 0 = behind the camera
    parallax_scale: Tensor  # [B, H, W] px of parallax per unit of inverse depth
    line_distance: Tensor  # [B, H, W] px between the flow and the epipolar line
    weight: Tensor  # [B, H, W] of the flow, 0 to 1; 0 outside the previous image

    @property
    def parallax(self) -> Tensor:
        """Flow along the epipolar line, px, [B, H, W]."""
        return self.inverse_depth * self.parallax_scale

    @property
    def mean_residual(self) -> Tensor:
        """Mean distance from the epipolar lines, each pixel's at most 1 px; 0.05 to 1 px, [B]."""
        total = (self.line_distance.clamp(max=1) * self.weight).sum(dim=(1, 2))
        return (total / self.weight.sum(dim=(1, 2)).clamp(min=1)).clamp(*RESIDUAL_LIMITS)

    def translation_length(self, depth: Tensor, flow_weight: Tensor | None = None) -> Tensor:
        """
        Return the length of the translation, given the depth of each pixel.

        Reweighted least squares of the parallax, which noise hardly biases at rest. Pixels with a
        large residual get less weight: they move, or their depth is wrong.

        :param depth: m, [B, H, W].
        :param flow_weight: of each pixel, 0 to 1 (default: that of this fit).
        :return: m, [B], not negative.
        """
        by_length = (self.parallax_scale / depth).flatten(1)
        parallax = self.parallax.flatten(1)
        usable = (self.weight if flow_weight is None else flow_weight).flatten(1)
        length = torch.zeros_like(by_length[:, :1])
        for step in range(LENGTH_STEPS):
            expected = length * by_length
            variance = PIXEL_NOISE**2 + (DEPTH_SPREAD * expected).square()
            weight = usable / variance
            if step:
                weight = weight / (1 + (parallax - expected).square() / (4 * variance))
            known = (weight * by_length.square()).sum(1, keepdim=True).clamp(min=1e-9)
            length = (weight * by_length * parallax).sum(1, keepdim=True) / known
        return length[:, 0].clamp(min=0)

    def triangulated(self, length: Tensor) -> DepthMemory:
        """
        Return the depth by parallax and its variance.

        :param length: of the translation, m, [B].
        """
        noise = PIXEL_NOISE * self.weight.clamp(min=1e-4).rsqrt()
        least = noise / self.parallax_scale.clamp(min=1e-3)
        scale = length.clamp(min=MIN_LENGTH_M).log() - math.log(NOMINAL_DEPTH_M)
        log_depth = scale[:, None, None] - torch.maximum(self.inverse_depth, least).log()
        log_depth = log_depth.clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH) + math.log(NOMINAL_DEPTH_M)
        spread = (noise / self.parallax.clamp(min=1e-6)).clamp(MIN_SPREAD, UNKNOWN_SPREAD)
        return DepthMemory(log_depth, spread.square())

    def pose(self, length: Tensor) -> Tensor:
        """Return T_previous_camera for a translation of ``length`` m, [B] to [B, 4, 4]."""
        return matrix(self.rotation, self.direction * length[:, None])


class _Matches(NamedTuple):
    """Rays of the same points in both frames, on the plane z = 1."""

    current: Tensor  # [B, 3, P]
    previous: Tensor  # [B, 3, P]
    weight: Tensor  # [B, P] of the flow, 0 to 1
    focal: Tensor  # [B, 1, 1] px

    def subset(self, keep: Tensor) -> _Matches:
        """Return the matches of the given indices."""
        return _Matches(
            self.current[..., keep], self.previous[..., keep], self.weight[:, keep], self.focal
        )


def fit_epipolar(
    flow: Tensor, intrinsics: Tensor, flow_error: Tensor | None = None
) -> EpipolarFit:
    """
    Fit the relative pose to the flow.

    :param flow: to the previous frame, px, [B, 2, H, W].
    :param intrinsics: [B, 4] fx fy cx cy in px.
    :param flow_error: forward-backward error of the flow, px, [B, H, W].
    """
    height, width = flow.shape[-2:]
    matches = _matches(flow, intrinsics, flow_error)
    few = matches.subset(_grid(height, width, SEARCH_STRIDE, flow.device))
    rotation, direction = _search(few, _initial_rotation(few))
    some = matches.subset(_grid(height, width, REFINE_STRIDE, flow.device))
    rotation, direction = _refine(some, rotation, direction)
    parallax_scale, along, line_distance = (
        part[:, 0] for part in _parallax(matches, rotation[:, None], direction[:, None])
    )
    # The sign of the translation: most points must be in front of the camera.
    sign = torch.where((along * matches.weight).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    pixels = (sign * along / parallax_scale, parallax_scale, line_distance, matches.weight)
    return EpipolarFit(
        rotation, direction * sign, *(values.unflatten(-1, (height, width)) for values in pixels)
    )


def _matches(flow: Tensor, intrinsics: Tensor, flow_error: Tensor | None) -> _Matches:
    current = viewing_rays(intrinsics, *flow.shape[-2:]).permute(0, 3, 1, 2).flatten(2)
    previous = current[:, :2] + flow.flatten(2) / intrinsics[:, :2, None]
    weight = lands_inside(flow).flatten(1).float()
    if flow_error is not None:
        weight = weight / (1 + (flow_error.flatten(1) / FLOW_ERROR_SCALE_PX).square())
    focal = intrinsics[:, :2].mean(dim=1)[:, None, None]
    return _Matches(current, torch.cat((previous, current[:, 2:]), dim=1), weight, focal)


def _grid(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Return the indices of every ``stride``-th pixel in both directions."""
    index = torch.arange(height * width, device=device).view(height, width)
    start = min(stride, height, width) // 2
    return index[start::stride, start::stride].flatten()


@lru_cache(maxsize=4)
def _half_sphere(count: int, device: torch.device) -> Tensor:
    """Return unit vectors spread evenly over the half with z > 0 (Fibonacci lattice), [D, 3]."""
    index = torch.arange(count, device=device) + 0.5
    angle = index * math.pi * (3 - math.sqrt(5))
    z = 1 - index / count
    radius = (1 - z * z).sqrt()
    return torch.stack((radius * angle.cos(), radius * angle.sin(), z), dim=-1)


def _solve(normal: Tensor, gradient: Tensor) -> Tensor:
    """Return the damped Gauss-Newton step, [..., N]."""
    scale = normal.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp(min=1e-6)
    eye = torch.eye(normal.shape[-1], device=normal.device)
    return -torch.linalg.solve_ex(normal + DAMPING * scale * eye, gradient).result


def _initial_rotation(matches: _Matches) -> Tensor:
    """Return the rotation that fits most of the flow without a translation, [B, 3, 3]."""
    rotation = torch.eye(3, device=matches.current.device).repeat(matches.current.shape[0], 1, 1)
    for step in reversed(range(ROTATION_STEPS)):
        x, y, z = (rotation @ matches.current).unbind(1)
        z = z.clamp(min=MIN_DEPTH)
        u, v = x / z, y / z
        residual = torch.stack((u, v), dim=1) - matches.previous[:, :2]  # [B, 2, P]
        by_rotation = torch.stack(
            (torch.stack((-u * v, 1 + u * u, -v), 1), torch.stack((-1 - v * v, u * v, u), 1)), 1
        )  # [B, 2, 3, P]
        tolerance = ROTATION_SCALE_PX * ANNEAL**step
        pixels = (residual * matches.focal / tolerance).square().sum(1)
        weighted = by_rotation * (matches.weight / (1 + pixels))[:, None, None]
        normal = (weighted @ by_rotation.mT).sum(1)
        gradient = (weighted @ residual[..., None]).sum(1)[..., 0]
        rotation = so3_exp(_solve(normal, gradient)) @ rotation
    return rotation


def _line_residual(
    matches: _Matches, rotation: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Return the signed distances of the matches from their epipolar lines.

    :param rotation: [B, D, 3, 3].
    :param direction: [B, D, 3].
    :return: px [B, D, P]; rotated rays [B, D, 3, P]; px per unit of the triple product [B, D, P].
    """
    rotated = rotation @ matches.current[:, None]
    line_x, line_y, line_z = _cross(direction[..., None].unbind(2), rotated.unbind(2))
    u, v, _ = matches.previous[:, None].unbind(2)
    pixels = matches.focal * (line_x * line_x + line_y * line_y).clamp(min=1e-12).rsqrt()
    return (u * line_x + v * line_y + line_z) * pixels, rotated, pixels


def _rotation_jacobian(
    matches: _Matches, rotated: Tensor, direction: Tensor, pixels: Tensor
) -> Tensor:
    """Return the derivative of :func:`_line_residual` by a left rotation, [B, D, 3, P]."""
    across = _cross(matches.previous[:, None].unbind(2), direction[..., None].unbind(2))
    return torch.stack(_cross(rotated.unbind(2), across), dim=2) * pixels[:, :, None]


def _cross(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cross product by component, the fastest form for these shapes."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _search(matches: _Matches, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Fit the rotation for many directions; return the best pair of each stream."""
    directions = _half_sphere(NUM_DIRECTIONS, rotation.device)
    direction = directions.expand(rotation.shape[0], -1, -1)
    rotation = rotation[:, None].expand(-1, NUM_DIRECTIONS, -1, -1)
    for step in reversed(range(SEARCH_STEPS)):
        residual, rotated, pixels = _line_residual(matches, rotation, direction)
        robust = 1 + (residual / (ROBUST_SCALE_PX * ANNEAL**step)).square()
        slope = _rotation_jacobian(matches, rotated, direction, pixels)
        weighted = slope * (matches.weight[:, None] / robust)[:, :, None]
        gradient = (weighted @ residual[..., None])[..., 0]
        rotation = so3_exp(_solve(weighted @ slope.mT, gradient)) @ rotation
    best = _cost(matches, rotation, direction).argmin(dim=1)
    stream = torch.arange(len(best), device=best.device)
    return rotation[stream, best], direction[stream, best]


def _cost(matches: _Matches, rotation: Tensor, direction: Tensor) -> Tensor:
    """
    Return the robust cost of each direction or its opposite, whichever is less, [B, D].

    The scene is in front of the camera: a match behind it costs its distance from infinity, less
    the noise that a rotating camera sees.
    """
    _, along, across = _parallax(matches, rotation, direction)

    def cost(behind: Tensor) -> Tensor:
        squared = across.square() + (behind - BEHIND_TOLERANCE_PX).clamp(min=0).square()
        return (matches.weight[:, None] * (squared / ROBUST_SCALE_PX**2).log1p()).mean(-1)

    return torch.minimum(cost(-along), cost(along))


def _refine(matches: _Matches, rotation: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Take the final steps, of rotation and direction together."""
    for _ in range(REFINE_STEPS):
        residual, rotated, pixels = _line_residual(matches, rotation[:, None], direction[:, None])
        weight = matches.weight[:, None] / (1 + (residual / ROBUST_SCALE_PX).square())
        across = _tangents(direction)  # [B, 2, 3]
        by_translation = _cross(rotated.unbind(2), matches.previous[:, None].unbind(2))
        by_translation = torch.stack(by_translation, dim=2) * pixels[:, :, None]
        by_rotation = _rotation_jacobian(matches, rotated, direction[:, None], pixels)
        slope = torch.cat((across @ by_translation[:, 0], by_rotation[:, 0]), dim=1)  # [B, 5, P]
        weighted = slope * weight
        step = _solve(weighted @ slope.mT, (weighted @ residual.mT)[..., 0])
        rotation = so3_exp(step[:, 2:]) @ rotation
        direction = F.normalize(direction + (step[:, None, :2] @ across)[:, 0], dim=-1)
    return rotation, direction


def _tangents(direction: Tensor) -> Tensor:
    """Return two unit vectors orthogonal to each direction and to each other, [B, 2, 3]."""
    axis = F.one_hot(direction.abs().argmin(dim=-1), 3).to(direction.dtype)
    first = F.normalize(torch.linalg.cross(direction, axis), dim=-1)
    return torch.stack((first, torch.linalg.cross(direction, first)), dim=1)


def _parallax(
    matches: _Matches, rotation: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Split the flow without its rotation into the parts along and across the epipolar line.

    :param rotation: [B, D, 3, 3].
    :param direction: [B, D, 3].
    :return: px of parallax per unit of inverse depth (length of the translation over depth); px
        along the line, < 0 behind infinity; px across it; [B, D, P] each.
    """
    rotated = rotation @ matches.current[:, None]
    previous = matches.previous[:, None, :2]
    flow = previous - rotated[:, :, :2] / rotated[:, :, 2:].clamp(min=MIN_DEPTH)
    # previous * (1 + inverse_depth * t_z) = rotated + inverse_depth * t
    line = direction[..., :2, None] - previous * direction[..., 2:, None]
    length = line.square().sum(2).sqrt().clamp(min=1e-6)
    along = (flow * line).sum(2) / length
    across = (flow[:, :, 0] * line[:, :, 1] - flow[:, :, 1] * line[:, :, 0]).abs() / length
    return length * matches.focal, along * matches.focal, across * matches.focal
