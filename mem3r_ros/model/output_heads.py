# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From decoded tokens to poses, points, confidences and colours: only what is asked for."""

# B streams, H x W pixels, N image tokens, C decoder width

from __future__ import annotations

from functools import partial
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.decoder import Decoded
from mem3r_ros.model.dense_heads import (
    ResidualConvolutions,
    confidence_from_raw,
    dense_head,
    points_from_raw,
    pose_from_raw,
    rgb_from_raw,
)
from mem3r_ros.model.flow_solver import FlowSolver, Guess
from mem3r_ros.model.frame import Prediction
from mem3r_ros.model.layers import Mlp, ModulatedBlock, start_at_unit_gain
from mem3r_ros.model.motion import (
    MAX_LOG_DEPTH,
    NOMINAL_DEPTH_M,
    DepthMemory,
    MotionInput,
    pixel_rays,
)
from mem3r_ros.model.positions import Positions
from mem3r_ros.model.state import MotionState, where_stream
from mem3r_ros.se3 import matrix_from_pose, orthonormalise, pose_from_matrix

if TYPE_CHECKING:
    from mem3r_ros.model.network import Encoded

NOMINAL_DEPTH_SIGMA = 0.3  # spread of the log depth that is seen anew
DEPTH_SIGMA_LIMITS = (0.03, 1.0)  # of the log depth before the solver
SURE_OFF_LINE_PX = 0.3  # what lies less beside its epipolar line is as good as on it
MAX_LOG_CONFIDENCE = 7.0  # beyond a thousand there is nothing to tell apart
NOMINAL_MOTION_SIGMA = (0.05,) * 3 + (0.01,) * 3  # m, rad: spread before training
MOTION_SCALE = 0.1  # steps between frames are small: the pose head predicts tens of them
WORLD_BLOCKS = 2
_GUESSED = {
    'T_previous_camera_prior',
    'motion_sigma',
    'depth_seen',
    'depth_prior',
    'depth_sigma',
    'flow_weight',
}
_REMEMBERED = {'log_depth', 'depth_variance'}


class Predictor(nn.Module):
    """All heads behind the decoder."""

    def __init__(self, config: ModelConfig) -> None:
        """Create the heads that the configuration asks for."""
        super().__init__()
        self.config = config
        width, eps = config.dec_embed_dim, config.norm_eps
        pose_channels = 7 + (7 if config.motion_input else 0) + config.global_scale
        self.pose_head = (
            Mlp(width, int(width * config.mlp_ratio), pose_channels) if config.pose_head else None
        )
        self.by_depth = config.points == 'depth'
        self.camera_head = dense_head(config, 4 + config.depth_memory + config.epipolar_input)
        self.rgb_head = dense_head(config, 3) if config.rgb_head else None
        self.world_blocks, self.world_head = None, None
        if config.world_head:
            self.world_blocks = nn.ModuleList(
                ModulatedBlock(width, config.dec_num_heads, config.mlp_ratio, eps)
                for _ in range(WORLD_BLOCKS)
            )
            self.world_head = dense_head(config, 4)
        self.solver = FlowSolver(config.motion_solver_steps)
        if config.motion_input:
            start_at_unit_gain(self)
            self._start_at_rest()
        self.available = self._available()

    def _start_at_rest(self) -> None:
        """Begin training with no motion, the nominal focal length and depth."""
        with torch.no_grad():
            self.pose_head.fc2.weight.mul_(0.01)
            self.pose_head.fc2.bias.zero_()
            self.camera_head.last_layer.weight.mul_(0.01)
            for part in self.modules():
                if isinstance(part, ResidualConvolutions):
                    part.conv2.weight.mul_(0.1)  # eight of them add up

    def _available(self) -> frozenset[str]:
        names = {'points_camera', 'confidence_camera', 'telemetry'}
        if self.config.pose_head:
            names |= {'camera_pose', 'T_world_camera'}
        if self.world_head is not None or self.config.pose_head:
            names |= {'points_world', 'confidence_world'}
        if self.rgb_head is not None:
            names |= {'rgb'}
        if self.config.motion_input:
            names |= {'T_previous_camera', 'focal_px'}
        if self.by_depth:
            names |= _GUESSED
        if self.config.depth_memory:
            names |= _REMEMBERED
        return frozenset(names)

    def forward(
        self,
        decoded: Decoded,
        encoded: Encoded,
        positions: Positions,
        motion: MotionState | None,
        wanted: frozenset[str],
    ) -> Prediction:
        """
        Compute the wanted outputs of one frame.

        :param positions: of the image tokens, without the pose token.
        :param motion: where the streams were, for presets with motion input.
        """
        dense_dtype = self.camera_head_dtype
        levels = tuple(
            level.to(dense_dtype)
            for level in (encoded.features, *decoded.levels, decoded.image_tokens)
        )
        finer = [features.to(dense_dtype) for features in encoded.finer]
        found: dict[str, Tensor] = {}
        if self._needs_camera_points(wanted):
            raw = self.camera_head(levels, finer, encoded.grid).float()
        else:
            raw = None
        pose_raw = self._pose_raw(decoded)
        if motion is not None:
            found |= self._relative_pose(raw, pose_raw, encoded.motion, motion, wanted)
        elif pose_raw is not None:
            found['camera_pose'] = pose_from_raw(pose_raw)
            found['T_world_camera'] = matrix_from_pose(found['camera_pose'])
        if raw is not None and not self.by_depth:
            in_front = self.config.head_type == 'linear'
            found['points_camera'] = points_from_raw(raw[..., :3], in_front)
            found['confidence_camera'] = confidence_from_raw(raw[..., 3])
        if wanted & {'points_world', 'confidence_world'}:
            found |= self._world_points(found, levels, decoded, positions, finer, encoded)
        if 'rgb' in wanted:
            found['rgb'] = rgb_from_raw(self.rgb_head(levels, finer, encoded.grid).float())
        keep = wanted | _REMEMBERED | ({'T_previous_camera'} if motion is not None else set())
        return Prediction(**{name: value for name, value in found.items() if name in keep})

    @property
    def camera_head_dtype(self) -> torch.dtype:
        """What the dense heads compute in."""
        return next(self.camera_head.parameters()).dtype

    def world_pose(self, motion: MotionState, T_previous_camera: Tensor) -> Tensor:
        """Compose the relative pose onto the last remembered one, float64 [B, 4, 4]."""
        return orthonormalise(motion.T_world_camera @ T_previous_camera.double())

    def _needs_camera_points(self, wanted: frozenset[str]) -> bool:
        """Say whether the camera head must run; the solver needs depth whatever is asked for."""
        if self.by_depth:
            return True
        if wanted & {'points_camera', 'confidence_camera'}:
            return True
        return self.world_head is None and bool(wanted & {'points_world', 'confidence_world'})

    def _pose_raw(self, decoded: Decoded) -> Tensor | None:
        if self.pose_head is None:
            return None
        head = self.pose_head
        with torch.autocast(decoded.pose_token.device.type, enabled=False):
            return head(decoded.pose_token[:, 0].to(head.fc1.weight.dtype)).float()

    def _relative_pose(
        self,
        raw: Tensor | None,
        pose_raw: Tensor,
        seen: MotionInput,
        motion: MotionState,
        wanted: frozenset[str],
    ) -> dict[str, Tensor]:
        """Predict the motion since the previous frame, fit it to the flow, compose it."""
        with torch.autocast(pose_raw.device.type, enabled=False):
            raw_pose, raw_sigma, log_focal, log_scale = pose_raw.tensor_split((7, 13, 14), dim=-1)
            intrinsics = _corrected_intrinsics(log_focal, seen)
            found: dict[str, Tensor] = {'focal_px': intrinsics[:, 0]}
            relative = _motion_from_raw(raw_pose, seen)
            if self.by_depth:
                guess, depth_seen = _guess_from_raw(raw, log_scale, relative, raw_sigma, seen)
                relative, depth = self._explain(guess, seen, intrinsics)
                found |= {
                    'T_previous_camera_prior': guess.T_previous_camera,
                    'motion_sigma': guess.motion_sigma,
                    'depth_seen': depth_seen,
                    'depth_prior': guess.depth,
                    'depth_sigma': guess.depth_sigma,
                    'flow_weight': guess.flow_weight,
                    'points_camera': _points_from_depth(depth.log_depth.exp(), intrinsics),
                    'confidence_camera': confidence_from_raw(
                        raw[..., 1].clamp(max=MAX_LOG_CONFIDENCE)
                    ),
                }
                if self.config.depth_memory:
                    found |= depth.state_fields()
            identity = torch.eye(4, device=relative.device).expand_as(relative)
            relative = where_stream(seen.has_flow, relative, identity)
            found['T_previous_camera'] = relative
            if wanted & {'camera_pose', 'T_world_camera', 'points_world', 'confidence_world'}:
                found['T_world_camera'] = self.world_pose(motion, relative).float()
                found['camera_pose'] = pose_from_matrix(found['T_world_camera'])
            return found

    @torch.no_grad()
    def _explain(
        self, guess: Guess, seen: MotionInput, intrinsics: Tensor
    ) -> tuple[Tensor, DepthMemory]:
        """
        Let the solver fit motion and depth to the flow; where there is none the guess stays.

        No gradient goes through the solver: each part of the guess is trained to be right, and
        to know how far it is off, which is all that the solver assumes of it.
        """
        kept = DepthMemory(guess.depth.log(), guess.depth_sigma.square())
        if not (self.config.motion_solver_steps and bool(seen.has_flow.any())):
            return guess.T_previous_camera, kept
        solution = self.solver.solve(guess, seen.flow, intrinsics, seen.depth)
        choose = partial(where_stream, seen.has_flow)
        return solution.T_previous_camera, DepthMemory(*map(choose, solution.depth, kept))

    def _world_points(
        self,
        found: dict[str, Tensor],
        levels: tuple[Tensor, ...],
        decoded: Decoded,
        positions: Positions,
        finer: list[Tensor],
        encoded: Encoded,
    ) -> dict[str, Tensor]:
        """By the world head where there is one; else camera points moved by the pose."""
        if self.world_head is None:
            pose = found['T_world_camera'][:, None, None]
            points = (pose[..., :3, :3] @ found['points_camera'][..., None])[..., 0]
            points = points + pose[..., :3, 3]
            return {'points_world': points, 'confidence_world': found['confidence_camera']}
        tokens = decoded.image_tokens
        for block in self.world_blocks:
            tokens = block(tokens, decoded.pose_token, positions)
        levels = (*levels[:-1], tokens.to(levels[0].dtype))
        raw = self.world_head(levels, finer, encoded.grid).float()
        return {
            'points_world': points_from_raw(raw[..., :3]),
            'confidence_world': confidence_from_raw(raw[..., 3]),
        }


def _motion_from_raw(raw: Tensor, seen: MotionInput) -> Tensor:
    """Return what the pose head says of the motion: all of it, or what epipolar geometry lacks."""
    rest = torch.zeros_like(raw)
    rest[:, 3] = 1.0  # real part of the quaternion
    if seen.epipolar is None:
        return matrix_from_pose(pose_from_raw(rest + MOTION_SCALE * raw))
    # There is little to correct where the flow is explained as it is.
    doubt = seen.epipolar.doubt[:, None]
    return matrix_from_pose(pose_from_raw(rest + MOTION_SCALE * doubt * raw))


def _corrected_intrinsics(log_focal: Tensor, seen: MotionInput) -> Tensor:
    """Keep a focal length that was given, correct one that was guessed; [B, 4]."""
    factor = torch.where(seen.intrinsics_known[:, None], 0.0, log_focal).exp()
    focal, centre = seen.intrinsics.split((2, 2), dim=-1)
    return torch.cat((focal * factor, centre), dim=-1)


def _guess_from_raw(
    raw: Tensor, log_scale: Tensor, relative: Tensor, raw_sigma: Tensor, seen: MotionInput
) -> tuple[Guess, Tensor]:
    """
    Return what the solver starts from, and the depth that this image alone tells, m.

    :param raw: of the dense head, [B, H, W, 4 or more].
    :param log_scale: of all depth, [B, 1], or [B, 0] without ``global_scale``.
    :param relative: what the pose head says of the motion, [B, 4, 4].
    :param raw_sigma: of the motion, [B, 6].
    """
    log_depth = (raw[..., 0] + log_scale.sum(dim=-1)[:, None, None]).clamp(
        -MAX_LOG_DEPTH, MAX_LOG_DEPTH
    ) + math.log(NOMINAL_DEPTH_M)
    depth, depth_sigma = _fused_depth(log_depth, raw, seen)
    trust = _flow_weight_from_raw(raw[..., 3], seen)
    if seen.epipolar is not None:
        length = seen.epipolar.shift_length(depth.detach(), trust.detach())
        relative = relative @ seen.epipolar.pose(length)
    sigma = raw_sigma.new_tensor(NOMINAL_MOTION_SIGMA) * raw_sigma.clamp(-4, 4).exp()
    return Guess(relative, sigma, depth, depth_sigma, trust), log_depth.exp()


def _fused_depth(log_depth: Tensor, raw: Tensor, seen: MotionInput) -> tuple[Tensor, Tensor]:
    """
    Return the depth before the solver and the spread of its logarithm, [B, H, W] each.

    A mean of what is seen anew (``log_depth``), remembered and triangulated: each counts by its
    variance, as far as the network (which sees the variances too) does not say otherwise.
    """
    anew = DepthMemory(log_depth, torch.full_like(log_depth, NOMINAL_DEPTH_SIGMA**2))
    others = [depth for depth in (seen.depth, seen.triangulated) if depth is not None]
    depths = torch.stack([anew.log_depth] + [other.log_depth for other in others])
    precisions = torch.stack(
        [anew.variance.reciprocal()]
        + [other.variance.reciprocal() * seen.has_flow[:, None, None] for other in others]
    )
    says = [torch.zeros_like(log_depth)]
    says += [raw[..., 4 + index].clamp(-8, 8) for index in range(len(others))]
    weights = precisions * torch.stack(says).exp()
    depth = (weights * depths).sum(0) / weights.sum(0)
    spread = precisions.sum(0).rsqrt() * raw[..., 2].clamp(-2, 2).exp()
    return depth.exp(), spread.clamp(*DEPTH_SIGMA_LIMITS)


def _flow_weight_from_raw(raw: Tensor, seen: MotionInput) -> Tensor:
    """
    Return the trust in the flow.

    What lies beside its epipolar line starts with less of it, and where the way back errs the
    network has no say.
    """
    if seen.epipolar is None:
        return torch.sigmoid(raw)
    raw = raw - 2 * seen.epipolar.off_line.clamp(min=SURE_OFF_LINE_PX).log()
    return torch.sigmoid(raw) * seen.epipolar.trust


def _points_from_depth(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Place each pixel along its ray: [B, H, W] to [B, H, W, 3]."""
    rays = pixel_rays(intrinsics, *depth.shape[-2:]).permute(0, 2, 3, 1)
    return torch.cat((rays, torch.ones_like(rays[..., :1])), dim=-1) * depth[..., None]
