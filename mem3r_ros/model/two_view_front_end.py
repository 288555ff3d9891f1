# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Two-view geometry around the network, for the small presets.

Before the encoder it adds channels to the image (flow, rays, remembered depth, epipolar geometry).
After the heads it fuses their depth and motion with the same measurements, by bundle adjustment of
two frames. It has no parameters of its own.
"""

# B streams, H x W pixels

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
import math
from typing import Any

import torch
from torch import Tensor

from mem3r_ros.model.config import TwoViewConfig
from mem3r_ros.model.dense_heads import confidence_from_raw, pose_from_raw
from mem3r_ros.model.frame import FrameInput, Prediction, TwoViewPrediction
from mem3r_ros.model.state import where_stream
from mem3r_ros.se3 import matrix_from_pose_wxyz, orthonormalise, pose_wxyz_from_matrix
from mem3r_ros.two_view.bundle_adjustment import BundleAdjustment, Prior
from mem3r_ros.two_view.constants import constant
from mem3r_ros.two_view.observation import (
    Observation,
    observe,
    searched_flow,
    with_epipolar,
)
from mem3r_ros.two_view.optical_flow import enlarged, gray_from_image
from mem3r_ros.two_view.pixels import viewing_rays
from mem3r_ros.two_view.stream_memory import (
    MAX_LOG_DEPTH,
    NOMINAL_DEPTH_M,
    DepthMemory,
    MotionState,
)

POSE_CHANNELS = 14  # of the pose head: motion 7, its spread 6, log focal length correction 1
DENSE_CHANNELS = 4  # of the dense head: log depth, confidence, log spread, flow weight
NOMINAL_DEPTH_SIGMA = 0.3  # standard deviation of the log depth of one image, before training
DEPTH_SIGMA_LIMITS = (0.03, 1.0)  # of the prior log depth
NOMINAL_MOTION_SIGMA = (0.05,) * 3 + (0.01,) * 3  # m, rad, before training
MOTION_SCALE = 0.1  # of the output of the pose head: motion between frames is small
ON_LINE_PX = 0.3  # flow nearer to its epipolar line keeps its full weight
BLIND_FLOW_WEIGHT = 0.05  # mean weight of the flow of a frame, below which it shows no motion
MAX_LOG_CONFIDENCE = 7.0  # confidences above a thousand are not distinguished


class TwoViewFrontEnd:
    """Observes a frame, resolves the outputs of the heads, remembers the frame."""

    def __init__(self, config: TwoViewConfig) -> None:
        """Create the bundle adjustment; count the channels of the heads."""
        self.config = config
        self.adjustment = BundleAdjustment(config.motion_solver_steps)
        self.pose_channels = POSE_CHANNELS + config.global_scale
        self.dense_channels = DENSE_CHANNELS + config.depth_memory + config.epipolar_input

    def initial(self, batch_size: int, size: tuple[int, int], device: torch.device) -> MotionState:
        """Return the memory of new streams; ``size`` is height and width of the images, px."""
        scale, with_depth = self.config.flow_scale, self.config.depth_memory
        return MotionState.empty(batch_size, size, device, scale, with_depth)

    def with_flow(self, frame: FrameInput, memory: MotionState) -> FrameInput:
        """
        Return the frame with every input that :meth:`observe` would compute on the host.

        :param memory: before the frame.
        """
        if frame.flow is not None and (self.config.flow_scale == 1 or frame.fine_gray is not None):
            return frame
        gray, fine, flow = gray_from_image(frame.image), frame.fine_gray, frame.flow
        if fine is None:
            fine = enlarged(gray, self.config.flow_scale)
        if flow is None:
            flow = searched_flow(gray, fine, self._of_size(memory, gray.shape[1:]))
        return replace(frame, flow=flow, fine_gray=fine)

    def observe(self, frame: FrameInput, memory: MotionState) -> Observation:
        """
        Measure flow and depth of a frame against the previous one.

        :param memory: before the frame; for another image size there is no previous frame.
        """
        observation = observe(
            frame.image,
            self._of_size(memory, frame.image.shape[-2:]),
            frame.flow,
            frame.intrinsics,
            frame.fine_gray,
            self.config.flow_scale,
        )
        if not self.config.epipolar_input:
            return observation
        return with_epipolar(observation)

    def resolve(self, raw: Tensor, pose_raw: Tensor, seen: Observation) -> dict[str, Any]:
        """
        Turn the outputs of the heads into poses and depth.

        :param raw: of the dense head, [B, H, W, :attr:`dense_channels`].
        :param pose_raw: of the pose head, [B, :attr:`pose_channels`].
        :return: fields of :class:`Prediction`.
        """
        with torch.autocast(pose_raw.device.type, enabled=False):
            raw_pose, raw_sigma, log_focal, log_scale = pose_raw.tensor_split((7, 13, 14), dim=-1)
            intrinsics = _corrected_intrinsics(log_focal, seen)
            prior, single_image_depth = self._prior_from_raw(
                raw, log_scale, raw_pose, raw_sigma, seen
            )
            relative, depth = self._adjusted(prior, seen, intrinsics)
            identity = torch.eye(4, device=relative.device).expand_as(relative)
            relative = where_stream(seen.has_flow, relative, identity)
            pose = orthonormalise(seen.T_world_previous @ relative.double())
            rays = viewing_rays(intrinsics, *raw.shape[1:3])
            return {
                'T_previous_camera': relative,
                'T_world_camera': pose.float(),
                'camera_pose': pose_wxyz_from_matrix(pose.float()),
                'focal_px': intrinsics[:, 0],
                'points_camera': rays * depth.log_depth.exp()[..., None],
                'confidence_camera': confidence_from_raw(
                    raw[..., 1].clamp(max=MAX_LOG_CONFIDENCE)
                ),
                'two_view': TwoViewPrediction(prior, single_image_depth, depth, pose),
            }

    def remember(
        self, memory: MotionState, seen: Observation, prediction: Prediction, update: Tensor
    ) -> MotionState:
        """
        Return the memory after a frame.

        :param memory: before the frame.
        :param update: which streams remember the frame, bool [B].
        """
        _, _, depth, pose = prediction.two_view
        frame = MotionState(
            T_world_camera=pose,
            previous_gray=seen.gray,
            previous_flow=seen.flow,
            has_previous=torch.ones_like(update),
            log_depth=depth.log_depth,
            depth_variance=depth.variance,
            previous_fine=seen.fine,
        )
        before = self._of_size(memory, seen.gray.shape[1:]).tensors()
        return MotionState(
            **{name: where_stream(update, getattr(frame, name), before[name]) for name in before}
        )

    def _of_size(self, memory: MotionState, size: Sequence[int]) -> MotionState:
        """Return the memory for images of a size; for another size only the pose is kept."""
        height, width = size
        if memory.image_size == (width, height):
            return memory
        pose = memory.T_world_camera
        empty = self.initial(len(pose), (height, width), pose.device)
        return replace(empty, T_world_camera=pose)

    def _prior_from_raw(
        self,
        raw: Tensor,
        log_scale: Tensor,
        raw_pose: Tensor,
        raw_sigma: Tensor,
        seen: Observation,
    ) -> tuple[Prior, Tensor]:
        """
        Return the prior of the bundle adjustment and the depth of this image alone, m.

        :param raw: of the dense head, [B, H, W, 4 or more].
        :param log_scale: factor of all depth, [B, 1], or [B, 0] without ``global_scale``.
        :param raw_pose: of the motion, [B, 7].
        :param raw_sigma: of the motion, [B, 6].
        """
        log_depth = (raw[..., 0] + log_scale.sum(dim=-1)[:, None, None]).clamp(
            -MAX_LOG_DEPTH, MAX_LOG_DEPTH
        ) + math.log(NOMINAL_DEPTH_M)
        depth, depth_sigma = _fused_depth(log_depth, raw, seen)
        flow_weight = _flow_weight_from_raw(raw[..., 3], seen)
        motion = self._motion(raw_pose, depth.detach(), flow_weight.detach(), seen)
        sigma = constant(NOMINAL_MOTION_SIGMA, raw_sigma) * raw_sigma.clamp(-4, 4).exp()
        return Prior(motion, sigma, depth, depth_sigma, flow_weight), log_depth.exp()

    def _motion(
        self, raw_pose: Tensor, depth: Tensor, flow_weight: Tensor, seen: Observation
    ) -> Tensor:
        """Return the motion of the pose head, or of the flow with the head's correction."""
        if seen.epipolar is None:
            return _motion_from_raw(raw_pose, 1.0)
        # Where the epipolar geometry explains the flow there is little to correct.
        part = seen.epipolar.mean_residual
        by_flow = seen.epipolar.pose(seen.epipolar.translation_length(depth, flow_weight))
        if self.config.blind_motion:
            is_blind = flow_weight.mean(dim=(1, 2)) < BLIND_FLOW_WEIGHT
            part = torch.where(is_blind, 1.0, part)
            by_flow = where_stream(
                is_blind, torch.eye(4, device=by_flow.device).expand_as(by_flow), by_flow
            )
        return _motion_from_raw(raw_pose, part[:, None]) @ by_flow

    @torch.no_grad()
    def _adjusted(
        self, prior: Prior, seen: Observation, intrinsics: Tensor
    ) -> tuple[Tensor, DepthMemory]:
        """
        Adjust motion and depth to the flow; a stream without flow keeps its prior.

        No gradient passes the adjustment. Training makes each measurement and its standard
        deviation accurate, which is all that the adjustment assumes.
        """
        kept = DepthMemory(prior.depth.log(), prior.depth_sigma.square())
        if not self.config.motion_solver_steps:
            return prior.T_previous_camera, kept
        solution = self.adjustment.solve(prior, seen.flow, intrinsics, seen.depth)
        choose = partial(where_stream, seen.has_flow)
        return solution.T_previous_camera, DepthMemory(*map(choose, solution.depth, kept))


def _motion_from_raw(raw: Tensor, part: Tensor | float) -> Tensor:
    """Return the relative pose of the pose head; ``part`` [B, 1] is its weight, 0 to 1."""
    identity = torch.zeros_like(raw)
    identity[:, 3] = 1.0  # real part of the quaternion
    return matrix_from_pose_wxyz(pose_from_raw(identity + MOTION_SCALE * part * raw))


def _corrected_intrinsics(log_focal: Tensor, seen: Observation) -> Tensor:
    """Correct the focal length unless it is known, [B, 4]."""
    factor = torch.where(seen.intrinsics_known[:, None], 0.0, log_focal).exp()
    focal, centre = seen.intrinsics.split((2, 2), dim=-1)
    return torch.cat((focal * factor, centre), dim=-1)


def _fused_depth(log_depth: Tensor, raw: Tensor, seen: Observation) -> tuple[Tensor, Tensor]:
    """
    Return the fused depth and the standard deviation of its logarithm, [B, H, W] each.

    A weighted mean of single-image, remembered and triangulated depth. The weights are inverse
    variances, which the network corrects per pixel.
    """
    single = DepthMemory(log_depth, torch.full_like(log_depth, NOMINAL_DEPTH_SIGMA**2))
    others = [depth for depth in (seen.depth, seen.triangulated) if depth is not None]
    depths = torch.stack([single.log_depth] + [other.log_depth for other in others])
    precisions = torch.stack(
        [single.variance.reciprocal()]
        + [other.variance.reciprocal() * seen.has_flow[:, None, None] for other in others]
    )
    corrections = [torch.zeros_like(log_depth)]
    corrections += [raw[..., 4 + index].clamp(-8, 8) for index in range(len(others))]
    weights = precisions * torch.stack(corrections).exp()
    depth = (weights * depths).sum(0) / weights.sum(0)
    sigma = precisions.sum(0).rsqrt() * raw[..., 2].clamp(-2, 2).exp()
    return depth.exp(), sigma.clamp(*DEPTH_SIGMA_LIMITS)


def _flow_weight_from_raw(raw: Tensor, seen: Observation) -> Tensor:
    """Return the weight of the flow; flow off its epipolar line or inconsistent gets less."""
    if seen.epipolar is None:
        return torch.sigmoid(raw)
    raw = raw - 2 * seen.epipolar.line_distance.clamp(min=ON_LINE_PX).log()
    return torch.sigmoid(raw) * seen.epipolar.weight
