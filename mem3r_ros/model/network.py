# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The network of the paper's figure: a frame and a state in, a prediction and the next state out.

Mem3R (arXiv 2604.07279) on CUT3R (arXiv 2501.12387)::

    image -> encoder -> F --+-- read camera memory ---> prior pose token
                            |                                |
    state S ----------------+--> dual decoder <--------------+
                                      |
             posterior pose token, image tokens, candidate state
               |                      |                |
      camera memory update          heads     gates: rule x channel-wise -> next S
"""

# B streams, H x W pixels, N image tokens, S state tokens, E encoder width, C decoder width

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mem3r_ros.errors import UserError
from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.decoder import Decoded, DualDecoder
from mem3r_ros.model.encoder import ConvolutionStem, Encoder, PatchStem
from mem3r_ros.model.epipolar import EPIPOLAR_CHANNELS, with_epipolar
from mem3r_ros.model.frame import PREDICTION_FIELDS, FrameInput, Prediction
from mem3r_ros.model.motion import (
    MEMORY_CHANNELS,
    MOTION_CHANNELS,
    DepthMemory,
    MotionInput,
    enlarged,
    motion_input,
    no_depth_memory,
    no_flow,
)
from mem3r_ros.model.output_heads import Predictor
from mem3r_ros.model.pose_memory import ReadOut, pose_memory
from mem3r_ros.model.positions import PositionTables
from mem3r_ros.model.state import MotionState, State, where_stream
from mem3r_ros.model.state_gate import StateGate
from mem3r_ros.model.state_update import all_finite, blend, rule_gate, telemetry
from mem3r_ros.model.update_rules import RuleInput, UpdateRule, update_rule


class Encoded(NamedTuple):
    """One frame after the encoder."""

    features: Tensor  # [B, N, E]
    pooled: Tensor  # [B, E] mean of the features
    finer: list[Tensor]  # features of the convolution stem, finest first
    grid: tuple[int, int]
    motion: MotionInput | None


class Mem3R(nn.Module):
    """A recurrent network over the frames of a camera; holds weights, never memory."""

    def __init__(self, config: ModelConfig) -> None:
        """Create the network; see :func:`mem3r_ros.model.build_model`."""
        super().__init__()
        self.config = config
        width = config.enc_embed_dim
        self.image_encoder = _image_encoder(config)
        self.ray_encoder, self.masked_image_token, self.masked_ray_token = None, None, None
        if config.ray_enc_depth:
            self.ray_encoder = _ray_encoder(config)
            self.masked_image_token = nn.Parameter(torch.randn(1, width) * 0.02)
            self.masked_ray_token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.register_tokens = nn.Parameter(torch.randn(config.state_size, width) * 0.02)
        self.pose_token = nn.Parameter(torch.randn(1, 1, config.dec_embed_dim) * 0.02)
        self.pose_memory = pose_memory(config)
        self.decoder = DualDecoder(config)
        self.state_gate = StateGate(config) if config.state_gate else None
        self.predictor = Predictor(config)
        self._positions = PositionTables(config.rope_base, config.state_size, config.state_pe)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pose_token.device

    @property
    def dtype(self) -> torch.dtype:
        """What the encoder and the decoder compute in."""
        return self.pose_token.dtype

    def initial_state(
        self, batch_size: int = 1, image_size: tuple[int, int] | None = None
    ) -> State:
        """
        Return the state of streams that have seen nothing.

        :param image_size: width and height of the frames to come (default: the configuration's);
            it shapes the remembered image of the presets with motion input.
        """
        tokens = self.decoder.state_embed(self.register_tokens).float()
        motion = None
        if self.config.motion_input:
            width, height = image_size or self.config.img_size
            gray = torch.zeros(batch_size, height, width, dtype=torch.uint8, device=self.device)
            motion = MotionState(
                T_world_camera=torch.eye(4, dtype=torch.float64, device=self.device).repeat(
                    batch_size, 1, 1
                ),
                previous_gray=gray,
                previous_fine=enlarged(gray, self.config.flow_scale),
                previous_flow=no_flow(gray),
                has_previous=torch.zeros(batch_size, dtype=torch.bool, device=self.device),
                **self._no_depth(gray),
            )
        return State(
            tokens=tokens.expand(batch_size, -1, -1).clone(),
            camera_memory=self.pose_memory.initial(batch_size),
            is_first=torch.ones(batch_size, dtype=torch.bool, device=self.device),
            motion=motion,
        )

    def _no_depth(self, gray: Tensor) -> dict[str, Tensor]:
        return no_depth_memory(gray).state_fields() if self.config.depth_memory else {}

    def step(
        self,
        frame: FrameInput,
        state: State,
        rule: UpdateRule | None = None,
        outputs: Collection[str] | None = None,
        *,
        masked_tokens: bool = False,
    ) -> tuple[Prediction, State]:
        """
        Advance each stream by one frame.

        :param frame: image, ray map or both, see :class:`FrameInput`.
        :param state: the streams before the frame; it stays usable.
        :param rule: how the state is updated (default: CUT3R's rule).
        :param outputs: names of the :class:`Prediction` fields that are wanted (default: all
            that this network has); heads that nobody asks for are not computed.
        :param masked_tokens: add the learned "no image" and "no ray map" tokens, as CUT3R's
            batch mode does on sequences that mix both (its streaming mode does not).
        :return: the prediction and the state after the frame.
        :raises UserError: shapes do not fit or an output is unknown.
        """
        wanted = self._check(frame, state, outputs, masked_tokens)
        rule = rule or update_rule('cut3r')
        observer = rule.observer() if rule.observer else None

        encoded = self._encode(frame, state, masked_tokens)
        read = self.pose_memory.read(encoded.pooled, state.camera_memory)
        decoded = self.decoder(
            self._prior_pose_token(read, state, encoded.features.dtype),
            encoded.features,
            state.tokens.to(encoded.features.dtype),
            self._positions.image(encoded.grid, self.device, with_pose=True),
            self._positions.state(self.device),
            observer,
        )
        positions = self._positions.image(encoded.grid, self.device)
        prediction = self.predictor(decoded, encoded, positions, state.motion, wanted)
        memory = self.pose_memory.update(state.camera_memory, read, decoded.pose_token)
        finite = all_finite(  # nothing else of a frame is remembered
            decoded.candidate,
            memory,
            decoded.pose_token,
            prediction.T_previous_camera,
            prediction.log_depth,
            prediction.depth_variance,
        )
        after, measure = self._remember(
            frame, state, encoded, decoded, read, memory, rule, observer, finite
        )
        if state.motion is not None:
            motion = self._next_motion(frame, state.motion, encoded.motion, prediction, finite)
            after = replace(after, motion=motion)
        if 'telemetry' in wanted:
            prediction = replace(prediction, telemetry=measure())
        return prediction, after

    def query(
        self, ray_map: Tensor, state: State, outputs: Collection[str] | None = None
    ) -> Prediction:
        """
        Ask what a camera would see, without changing the state (CUT3R's ray-map query).

        :param ray_map: origin and direction per pixel in the world frame, [B, H, W, 6].
        :raises UserError: this network has no ray-map encoder.
        """
        return self.step(FrameInput(ray_map=ray_map), state, outputs=outputs)[0]

    # The stages of a step, in order.

    def _check(
        self,
        frame: FrameInput,
        state: State,
        outputs: Collection[str] | None,
        masked_tokens: bool,
    ) -> frozenset[str]:
        frame.check(self.config.patch_size, state.batch_size, self.config.flow_scale)
        if self.ray_encoder is None and (frame.ray_map is not None or masked_tokens):
            raise UserError('this network has no ray-map encoder (ray_enc_depth is 0)')
        if frame.image is None and self.config.motion_input:
            raise UserError('this network needs an image in every frame (motion_input is on)')
        available = self.predictor.available
        if outputs is None:
            return available
        unknown = sorted(set(outputs) - set(PREDICTION_FIELDS))
        if unknown:
            raise UserError(
                f'unknown output {", ".join(unknown)}; choose of {", ".join(PREDICTION_FIELDS)}'
            )
        absent = sorted(set(outputs) - available)
        if absent:
            raise UserError(f'this network has no head for {", ".join(absent)}')
        return frozenset(outputs)

    def _encode(self, frame: FrameInput, state: State, masked_tokens: bool) -> Encoded:
        source = frame.image if frame.image is not None else frame.ray_map.permute(0, 3, 1, 2)
        grid = tuple(side // self.config.patch_size for side in source.shape[-2:])
        positions = self._positions.image(grid, self.device)
        motion, finer, features = None, [], 0
        if frame.image is not None:
            image = frame.image
            if state.motion is not None:
                motion = motion_input(frame, state.motion, self.config.flow_scale)
                if self.config.epipolar_input:
                    motion = with_epipolar(motion)
                image = torch.cat((image, motion.channels.to(image.dtype)), dim=1)
            features, finer = self.image_encoder(image.to(self.dtype), positions)
        elif masked_tokens:
            features = self.masked_image_token
        if frame.ray_map is not None:
            rays = frame.ray_map.permute(0, 3, 1, 2).to(self.dtype)
            features = features + self.ray_encoder(rays, positions)[0]
        elif masked_tokens:
            features = features + self.masked_ray_token
        return Encoded(features, features.mean(dim=1), finer, grid, motion)

    def _prior_pose_token(self, read: ReadOut, state: State, dtype: torch.dtype) -> Tensor:
        """Return what the memory expects, or the learned token that marks a new world."""
        learned = self.pose_token.to(read.prior.dtype).expand_as(read.prior)
        return where_stream(state.is_first, learned, read.prior).to(dtype)

    def _remember(
        self,
        frame: FrameInput,
        state: State,
        encoded: Encoded,
        decoded: Decoded,
        read: ReadOut,
        memory: Tensor,
        rule: UpdateRule,
        observer: object,
        finite: Tensor,
    ) -> tuple[State, Callable[[], dict[str, Tensor]]]:
        """Update both memories; the one place where old and new are blended."""
        candidate = decoded.candidate.float()
        update = frame.update_mask(state.tokens) & finite
        seen = RuleInput(
            candidate,
            encoded.features.float(),
            self.decoder.image_embed(encoded.pooled).float(),
            observer,
        )
        token_gate, rule_state = rule_gate(rule, seen, state, update)
        channel_gate = None
        if self.state_gate is not None:
            channel_gate = self.state_gate(state.tokens, encoded.pooled)
        blended = blend(state.tokens, candidate, channel_gate, token_gate)
        tokens = where_stream(update, blended, state.tokens)
        memory = where_stream(update, memory, state.camera_memory)
        # A frame that went wrong does not count as the segment's first.
        after = State(tokens, memory, state.is_first & ~finite, state.motion, rule_state)
        if frame.reset is not None and bool(frame.reset.any()):
            after = self._reset(after, frame.reset_mask(tokens))

        def measure() -> dict[str, Tensor]:
            return telemetry(state, tokens, memory, channel_gate, token_gate, read, decoded)

        return after, measure

    def _reset(self, state: State, reset: Tensor) -> State:
        """Start a new segment after this frame where ``reset`` is true."""
        fresh = self.initial_state(1, image_size=(1, 1))
        return replace(
            state,
            tokens=where_stream(reset, fresh.tokens, state.tokens),
            camera_memory=where_stream(reset, fresh.camera_memory, state.camera_memory),
            is_first=state.is_first | (reset & self.config.pose_token_after_reset),
            rule={
                key: where_stream(reset, torch.zeros_like(value), value)
                for key, value in state.rule.items()
            },
        )

    def _next_motion(
        self,
        frame: FrameInput,
        before: MotionState,
        seen: MotionInput,
        prediction: Prediction,
        finite: Tensor,
    ) -> MotionState:
        """Remember this frame's pose and image, or start anew after a reset."""
        pose = self.predictor.world_pose(before, prediction.T_previous_camera)
        update = frame.update_mask(pose) & finite
        reset = frame.reset_mask(pose)
        previous, has_previous, depth = before.previous_gray, before.has_previous, before.depth
        at_rest, flow, fine = no_flow(seen.gray), before.previous_flow, before.previous_fine
        if previous.shape != seen.gray.shape:
            previous, has_previous = torch.zeros_like(seen.gray), torch.zeros_like(has_previous)
            depth, flow, fine = None, at_rest, seen.fine
        if self.config.depth_memory:
            found = (prediction.log_depth, prediction.depth_variance)
            nothing = no_depth_memory(seen.gray)
            depth = DepthMemory(*map(partial(where_stream, update), found, depth or nothing))
            depth = DepthMemory(*map(partial(where_stream, reset), nothing, depth))
        pose = where_stream(update, pose, before.T_world_camera)
        identity = torch.eye(4, dtype=pose.dtype, device=pose.device)
        return MotionState(
            T_world_camera=where_stream(reset, identity.expand_as(pose), pose),
            previous_gray=where_stream(update, seen.gray, previous),
            previous_fine=None if fine is None else where_stream(update, seen.fine, fine),
            previous_flow=where_stream(reset, at_rest, where_stream(update, seen.flow, flow)),
            has_previous=(has_previous | update) & ~reset,
            **({} if depth is None else depth.state_fields()),
        )


def _image_encoder(config: ModelConfig) -> Encoder:
    channels = 3 + MOTION_CHANNELS * config.motion_input + MEMORY_CHANNELS * config.depth_memory
    channels += EPIPOLAR_CHANNELS * config.epipolar_input
    if config.stem == 'convolution':
        stem: nn.Module = ConvolutionStem(channels, config.stem_dims, config.enc_embed_dim)
    else:
        stem = PatchStem(channels, config.enc_embed_dim, config.patch_size)
    return Encoder(
        stem,
        config.enc_embed_dim,
        config.enc_depth,
        config.enc_num_heads,
        config.mlp_ratio,
        config.norm_eps,
        config.round_qk_float16,
    )


def _ray_encoder(config: ModelConfig) -> Encoder:
    return Encoder(
        PatchStem(6, config.enc_embed_dim, config.patch_size),
        config.enc_embed_dim,
        config.ray_enc_depth,
        config.ray_num_heads,
        config.mlp_ratio,
        config.norm_eps,
    )
