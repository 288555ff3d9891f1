# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What optical flow says of motion and depth when no depth is known: epipolar geometry.

A pixel's flow lies on its epipolar line, whatever its depth. So the turn and the direction of the
shift are found first: the turn by weighted least squares for each of many directions on a sphere,
the direction by which leaves least beside the lines. How far along its line a pixel went then
tells how near it is, up to the length of the shift.
"""

# B streams, H x W pixels, P sampled pixels, D directions

from __future__ import annotations

from functools import lru_cache
import math
from typing import NamedTuple

import torch
from torch import Tensor
import torch.nn.functional as F

from mem3r_ros.model.motion import (
    MAX_LOG_DEPTH,
    NOMINAL_DEPTH_M,
    UNKNOWN_SPREAD,
    DepthMemory,
    MotionInput,
    lands_inside,
    pixel_rays,
)
from mem3r_ros.se3 import exp_so3, matrix_from_parts

DIRECTIONS = 64  # on half a sphere, about 17 degrees apart: a line does not tell to from fro
SEARCH_STRIDE = 8  # px between the pixels that the search looks at
POLISH_STRIDE = 4  # px between those that the final steps look at
SEARCH_STEPS = 2
POLISH_STEPS = 6
TURN_STEPS = 4  # of the first guess, a turn without a shift
PIXEL_SCALE = 0.14  # px beside its line at which a pixel counts half
BEYOND_INFINITY = 0.5  # px against its line by which a match may go
TURN_SCALE = 0.7  # px, the same for the first guess, which parallax is an error to
ANNEAL = 3.0  # each step before the last is this much more tolerant
DAMPING = 1e-3  # of the steps, over the mean of what is known
MIN_DEPTH = 0.05  # of a turned ray: what lies further off is not in the image
MISSED_SCALE = 0.2  # px by which flow there and back misses its start when it counts half
PIXEL_NOISE = 0.3  # px, spread of the flow along its line
DEPTH_SPREAD = 0.3  # of a log depth that tells the length of the shift
LENGTH_STEPS = 3
MIN_LENGTH_M = 1e-4  # of a shift: depth stays finite when the camera rests
MIN_SPREAD = 0.12  # of one that much parallax tells: long flow is seldom better than a tenth
DOUBT_LIMITS = (0.05, 1.0)
EPIPOLAR_CHANNELS = 3  # log depth, its spread, px beside the line


class EpipolarFit(NamedTuple):
    """Motion since the previous frame, the length of its shift unknown, and each pixel's part."""

    rotation: Tensor  # [B, 3, 3] from this camera to the previous one
    direction: Tensor  # [B, 3] of this camera as seen from the previous one, unit length
    nearness: Tensor  # [B, H, W] length of the shift over depth; below 0 where flow contradicts
    lever: Tensor  # [B, H, W] px of parallax per unit of nearness
    off_line: Tensor  # [B, H, W] px of flow beside the epipolar line
    trust: Tensor  # [B, H, W] in the flow: 0 outside the previous image or if the way back errs

    @property
    def parallax(self) -> Tensor:
        """Flow along the epipolar line, px, [B, H, W]."""
        return self.nearness * self.lever

    @property
    def doubt(self) -> Tensor:
        """
        How much of the flow the motion does not explain, 0.05 (nothing) to 1, [B].

        Mean distance from the epipolar lines, px; a pixel further off than 1 px is wrong anyway.
        """
        left = (self.off_line.clamp(max=1) * self.trust).sum(dim=(1, 2))
        return (left / self.trust.sum(dim=(1, 2)).clamp(min=1)).clamp(*DOUBT_LIMITS)

    def shift_length(self, depth: Tensor, trust: Tensor | None = None) -> Tensor:
        """
        Return how long the shift was, given the depth of each pixel.

        Least squares of the parallax, which noise hardly biases when the camera rests. A pixel
        that disagrees by much moves, or its depth is wrong: it counts less.

        :param depth: m, [B, H, W].
        :param trust: in the flow of each pixel, 0 to 1 (default: that of this fit).
        :return: m, [B], not negative.
        """
        by_length = (self.lever / depth).flatten(1)
        parallax = self.parallax.flatten(1)
        usable = (self.trust if trust is None else trust).flatten(1)
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
        Return the depth that the parallax tells, and how well.

        :param length: of the shift, m, [B].
        """
        noise = PIXEL_NOISE * self.trust.clamp(min=1e-4).rsqrt()
        least = noise / self.lever.clamp(min=1e-3)
        scale = length.clamp(min=MIN_LENGTH_M).log() - math.log(NOMINAL_DEPTH_M)
        log_depth = scale[:, None, None] - torch.maximum(self.nearness, least).log()
        log_depth = log_depth.clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH) + math.log(NOMINAL_DEPTH_M)
        spread = (noise / self.parallax.clamp(min=1e-6)).clamp(MIN_SPREAD, UNKNOWN_SPREAD)
        return DepthMemory(log_depth, spread.square())

    def pose(self, length: Tensor) -> Tensor:
        """Return T_previous_camera for a shift of ``length`` m, [B] to [B, 4, 4]."""
        return matrix_from_parts(self.rotation, self.direction * length[:, None])


class _Matches(NamedTuple):
    """Rays of the same points in both frames, on the plane z = 1."""

    here: Tensor  # [B, 3, P]
    there: Tensor  # [B, 3, P]
    trust: Tensor  # [B, P] in the flow, 0 to 1
    focal: Tensor  # [B, 1, 1] px

    def thinned(self, keep: Tensor) -> _Matches:
        """Return some of the matches."""
        return _Matches(
            self.here[..., keep], self.there[..., keep], self.trust[:, keep], self.focal
        )


@torch.no_grad()
def with_epipolar(seen: MotionInput) -> MotionInput:
    """
    Add what epipolar geometry tells to the motion input of one frame.

    The length of the shift is the one that suits the remembered depth.
    """
    with torch.autocast(seen.flow.device.type, enabled=False):
        fit = fit_epipolar(seen.flow, seen.intrinsics, seen.missed)
        depth = fit.triangulated(fit.shift_length(seen.depth.log_depth.exp()))
    valid = seen.has_flow[:, None, None]
    channels = (
        torch.where(valid, depth.log_depth - math.log(NOMINAL_DEPTH_M), 0.0),
        torch.where(valid, depth.variance.sqrt(), UNKNOWN_SPREAD),
        torch.where(valid, fit.off_line.clamp(max=4) / 2, 0.0),
    )
    channels = torch.cat((seen.channels, torch.stack(channels, dim=1)), dim=1)
    return seen._replace(epipolar=fit, triangulated=depth, channels=channels)


def fit_epipolar(flow: Tensor, intrinsics: Tensor, missed: Tensor | None = None) -> EpipolarFit:
    """
    Find the motion whose epipolar lines the flow lies on.

    :param flow: to the previous frame, px, [B, 2, H, W].
    :param intrinsics: [B, 4] fx fy cx cy in px.
    :param missed: px by which flow there and back misses its start, [B, H, W].
    """
    height, width = flow.shape[-2:]
    every = _matches(flow, intrinsics, missed)
    few = every.thinned(_grid(height, width, SEARCH_STRIDE, flow.device))
    rotation, direction = _search(few, _turn(few))
    some = every.thinned(_grid(height, width, POLISH_STRIDE, flow.device))
    rotation, direction = _polish(some, rotation, direction)
    lever, along, off_line = (
        part[:, 0] for part in _parallax(every, rotation[:, None], direction[:, None])
    )
    # A line does not tell to from fro: points are in front of the camera, so most parallax does.
    side = torch.where((along * every.trust).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    pixels = (side * along / lever, lever, off_line, every.trust)
    return EpipolarFit(
        rotation, direction * side, *(values.unflatten(-1, (height, width)) for values in pixels)
    )


def _matches(flow: Tensor, intrinsics: Tensor, missed: Tensor | None) -> _Matches:
    rays = pixel_rays(intrinsics, *flow.shape[-2:]).flatten(2)
    there = rays + flow.flatten(2) / intrinsics[:, :2, None]
    trust = lands_inside(flow).flatten(1).float()
    if missed is not None:
        trust = trust / (1 + (missed.flatten(1) / MISSED_SCALE).square())
    one = torch.ones_like(rays[:, :1])
    focal = intrinsics[:, :2].mean(dim=1)[:, None, None]
    return _Matches(torch.cat((rays, one), 1), torch.cat((there, one), 1), trust, focal)


def _grid(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Return the indices of every ``stride``-th pixel each way."""
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


def _turn(matches: _Matches) -> Tensor:
    """Return the turn that explains most of the flow without a shift, [B, 3, 3]."""
    rotation = torch.eye(3, device=matches.here.device).repeat(matches.here.shape[0], 1, 1)
    for step in reversed(range(TURN_STEPS)):
        x, y, z = (rotation @ matches.here).unbind(1)
        z = z.clamp(min=MIN_DEPTH)
        u, v = x / z, y / z
        residual = torch.stack((u, v), dim=1) - matches.there[:, :2]  # [B, 2, P]
        by_turn = torch.stack(
            (torch.stack((-u * v, 1 + u * u, -v), 1), torch.stack((-1 - v * v, u * v, u), 1)), 1
        )  # [B, 2, 3, P]
        tolerance = TURN_SCALE * ANNEAL**step
        pixels = (residual * matches.focal / tolerance).square().sum(1)
        weighted = by_turn * (matches.trust / (1 + pixels))[:, None, None]
        normal = (weighted @ by_turn.mT).sum(1)
        gradient = (weighted @ residual[..., None]).sum(1)[..., 0]
        rotation = exp_so3(_solve(normal, gradient)) @ rotation
    return rotation


def _beside(
    matches: _Matches, rotation: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Return how far the matches lie beside their epipolar lines.

    :param rotation: [B, D, 3, 3].
    :param direction: [B, D, 3].
    :return: px [B, D, P]; turned rays [B, D, 3, P]; px per unit of the triple product [B, D, P].
    """
    turned = rotation @ matches.here[:, None]
    line_x, line_y, line_z = _cross(direction[..., None].unbind(2), turned.unbind(2))
    u, v, _ = matches.there[:, None].unbind(2)
    pixels = matches.focal * (line_x * line_x + line_y * line_y).clamp(min=1e-12).rsqrt()
    return (u * line_x + v * line_y + line_z) * pixels, turned, pixels


def _by_turn(matches: _Matches, turned: Tensor, direction: Tensor, pixels: Tensor) -> Tensor:
    """Return the derivative of :func:`_beside` by a turn on the left, [B, D, 3, P]."""
    across = _cross(matches.there[:, None].unbind(2), direction[..., None].unbind(2))
    return torch.stack(_cross(turned.unbind(2), across), dim=2) * pixels[:, :, None]


def _cross(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cross product by component, in which these shapes are fastest."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _search(matches: _Matches, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Try many directions, each with the turn that suits it; return the best of each stream."""
    directions = _half_sphere(DIRECTIONS, rotation.device)
    direction = directions.expand(rotation.shape[0], -1, -1)
    rotation = rotation[:, None].expand(-1, DIRECTIONS, -1, -1)
    trust = matches.trust[:, None]
    for step in reversed(range(SEARCH_STEPS)):
        residual, turned, pixels = _beside(matches, rotation, direction)
        weight = trust / (1 + (residual / (PIXEL_SCALE * ANNEAL**step)).square())
        slope = _by_turn(matches, turned, direction, pixels)
        weighted = slope * weight[:, :, None]
        gradient = (weighted @ residual[..., None])[..., 0]
        rotation = exp_so3(_solve(weighted @ slope.mT, gradient)) @ rotation
    best = _cost(matches, rotation, direction).argmin(dim=1)
    stream = torch.arange(len(best), device=best.device)
    return rotation[stream, best], direction[stream, best]


def _cost(matches: _Matches, rotation: Tensor, direction: Tensor) -> Tensor:
    """
    Return what the matches cost for each direction or its opposite, the better of both, [B, D].

    What a camera sees lies in front of it: a match beyond infinity is as far off as infinity is,
    less what noise does to a camera that only turns.
    """
    _, along, beside = _parallax(matches, rotation, direction)

    def cost(beyond: Tensor) -> Tensor:
        off = beside.square() + (beyond - BEYOND_INFINITY).clamp(min=0).square()
        return (matches.trust[:, None] * (off / PIXEL_SCALE**2).log1p()).mean(-1)

    return torch.minimum(cost(-along), cost(along))


def _polish(matches: _Matches, rotation: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Take the last steps, of turn and direction together."""
    for _ in range(POLISH_STEPS):
        residual, turned, pixels = _beside(matches, rotation[:, None], direction[:, None])
        weight = matches.trust[:, None] / (1 + (residual / PIXEL_SCALE).square())
        across = _tangents(direction)  # [B, 2, 3]
        by_shift = _cross(turned.unbind(2), matches.there[:, None].unbind(2))
        by_shift = torch.stack(by_shift, dim=2) * pixels[:, :, None]
        by_turn = _by_turn(matches, turned, direction[:, None], pixels)
        slope = torch.cat((across @ by_shift[:, 0], by_turn[:, 0]), dim=1)  # [B, 5, P]
        weighted = slope * weight
        step = _solve(weighted @ slope.mT, (weighted @ residual.mT)[..., 0])
        rotation = exp_so3(step[:, 2:]) @ rotation
        direction = F.normalize(direction + (step[:, None, :2] @ across)[:, 0], dim=-1)
    return rotation, direction


def _tangents(direction: Tensor) -> Tensor:
    """Return two unit vectors at right angles to each direction and each other, [B, 2, 3]."""
    axis = F.one_hot(direction.abs().argmin(dim=-1), 3).to(direction.dtype)
    first = F.normalize(torch.linalg.cross(direction, axis), dim=-1)
    return torch.stack((first, torch.linalg.cross(direction, first)), dim=1)


def _parallax(
    matches: _Matches, rotation: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Split what the turn leaves of the flow into its parts along and beside the epipolar line.

    :param rotation: [B, D, 3, 3].
    :param direction: [B, D, 3].
    :return: px of parallax per unit of nearness (length of the shift over depth), px along the
        line (below 0: behind infinity), px beside it; [B, D, P] each.
    """
    turned = rotation @ matches.here[:, None]
    there = matches.there[:, None, :2]
    flow = there - turned[:, :, :2] / turned[:, :, 2:].clamp(min=MIN_DEPTH)
    # there * (1 + nearness * t_z) = turned + nearness * t
    lever = direction[..., :2, None] - there * direction[..., 2:, None]
    length = lever.square().sum(2).sqrt().clamp(min=1e-6)
    along = (flow * lever).sum(2) / length
    beside = (flow[:, :, 0] * lever[:, :, 1] - flow[:, :, 1] * lever[:, :, 0]).abs() / length
    return length * matches.focal, along * matches.focal, beside * matches.focal
