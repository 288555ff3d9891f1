# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The network of the paper's figure: one frame and the stream's state in, a prediction and the next
state out.

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

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mem3r_ros.errors import UserError
from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.decoder import Decoded, DualDecoder
from mem3r_ros.model.encoder import ConvolutionStem, Encoder, PatchStem
from mem3r_ros.model.frame import PREDICTION_FIELDS, FrameInput, Prediction
from mem3r_ros.model.layers import Positions
from mem3r_ros.model.motion import MOTION_CHANNELS, MotionInput, motion_input
from mem3r_ros.model.pose_memory import LocalMemory, ReadOut, TrackingMemory
from mem3r_ros.model.predictor import Predictor
from mem3r_ros.model.state import MotionState, State, where_stream
from mem3r_ros.model.state_gate import StateGate
from mem3r_ros.model.update_rules import RuleInput, UpdateRule, update_rule

MAX_KNOWN_GRIDS = 8  # image sizes whose position tables are kept


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
        self.ray_encoder = _ray_encoder(config) if config.ray_enc_depth else None
        self.masked_image_token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.masked_ray_token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.register_tokens = nn.Parameter(torch.randn(config.state_size, width) * 0.02)
        self.pose_token = nn.Parameter(torch.randn(1, 1, config.dec_embed_dim) * 0.02)
        has_fast_weights = config.pose_memory == 'fast_weights'
        self.pose_memory = (TrackingMemory if has_fast_weights else LocalMemory)(config)
        self.decoder = DualDecoder(config)
        self.state_gate = StateGate(config) if config.state_gate else None
        self.predictor = Predictor(config)
        self._positions: dict[tuple, Positions | None] = {}

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
            motion = MotionState(
                T_world_camera=torch.eye(4, dtype=torch.float64, device=self.device).repeat(
                    batch_size, 1, 1
                ),
                previous_gray=torch.zeros(
                    batch_size, height, width, dtype=torch.uint8, device=self.device
                ),
                has_previous=torch.zeros(batch_size, dtype=torch.bool, device=self.device),
            )
        return State(
            tokens=tokens.expand(batch_size, -1, -1).clone(),
            camera_memory=self.pose_memory.initial(batch_size),
            is_first=torch.ones(batch_size, dtype=torch.bool, device=self.device),
            motion=motion,
        )

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
        wanted = self._check(frame, state, outputs)
        rule = rule or update_rule('cut3r')
        observer = rule.observer() if rule.observer else None

        encoded = self._encode(frame, state, masked_tokens)
        prior, read = self._read_pose_memory(encoded.pooled, state)
        decoded = self.decoder(
            prior,
            encoded.features,
            state.tokens.to(encoded.features.dtype),
            self._image_positions(encoded.grid, with_pose=True),
            self._state_positions(),
            observer,
        )
        prediction = self.predictor(
            decoded,
            encoded,
            self._image_positions(encoded.grid, with_pose=False),
            state.motion,
            wanted,
        )
        after, telemetry = self._remember(frame, state, encoded, decoded, read, rule, observer)
        if state.motion is not None:
            after = replace(after, motion=self._next_motion(frame, state, encoded, prediction))
        if 'telemetry' in wanted:
            prediction = replace(prediction, telemetry=telemetry())
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
        self, frame: FrameInput, state: State, outputs: Collection[str] | None
    ) -> frozenset[str]:
        frame.check(self.config.patch_size, state.batch_size)
        if frame.ray_map is not None and self.ray_encoder is None:
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
        positions = self._image_positions(grid, with_pose=False)
        motion, finer, features = None, [], 0
        if frame.image is not None:
            image = frame.image
            if state.motion is not None:
                motion = motion_input(
                    image,
                    frame.flow,
                    frame.intrinsics,
                    state.motion.previous_gray,
                    state.motion.has_previous,
                )
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

    def _read_pose_memory(
        self, pooled: Tensor, state: State
    ) -> tuple[Tensor, ReadOut | Tensor]:
        """Return the prior pose token [B, 1, C] and what the update needs again."""
        if isinstance(self.pose_memory, TrackingMemory):
            with _float32(pooled):
                read = self.pose_memory.read(pooled, state.camera_memory)
            prior = read.prior
        else:
            prior, read = self.pose_memory.read(pooled, state.camera_memory)
        learned = self.pose_token.to(prior.dtype).expand_as(prior)
        return where_stream(state.is_first, learned, prior).to(pooled.dtype), read

    def _remember(
        self,
        frame: FrameInput,
        state: State,
        encoded: Encoded,
        decoded: Decoded,
        read: ReadOut | Tensor,
        rule: UpdateRule,
        observer: object,
    ) -> tuple[State, object]:
        """Update both memories; the one place where old and new are blended."""
        candidate = decoded.candidate.float()
        update = frame.update_mask(state.tokens) & _all_finite(candidate, decoded.pose_token)
        reset = frame.reset_mask(state.tokens)
        with _float32(candidate):
            if isinstance(self.pose_memory, TrackingMemory):
                memory = self.pose_memory.update(
                    state.camera_memory, read, decoded.pose_token
                )
            else:
                memory = self.pose_memory.write(state.camera_memory, read, decoded.pose_token)
        seen = RuleInput(
            candidate,
            encoded.features.float(),
            self.decoder.image_embed(encoded.pooled).float(),
            observer,
        )
        token_gate, rule_state = self._rule_gate(rule, seen, state, update)
        channel_gate = None
        if self.state_gate is not None:
            channel_gate = self.state_gate(state.tokens, encoded.pooled)
        blended = blend(state.tokens, candidate, channel_gate, token_gate)
        tokens = where_stream(update, blended, state.tokens)
        memory = where_stream(update, memory, state.camera_memory)
        is_first = torch.zeros_like(state.is_first)
        after = State(tokens, memory, is_first, state.motion, rule_state)
        if frame.reset is not None:
            after = self._reset(after, reset, rule, seen)

        def telemetry() -> dict[str, Tensor]:
            return _telemetry(state, tokens, memory, channel_gate, token_gate, read, decoded)

        return after, telemetry

    def _rule_gate(
        self, rule: UpdateRule, seen: RuleInput, state: State, update: Tensor
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Ask the rule; a stream's first frame under it takes everything."""
        initial = rule.initial_state(seen)
        if initial:
            initial['started'] = torch.zeros_like(state.is_first)
        before = dict(state.rule)
        if {key: value.shape for key, value in before.items()} != {
            key: value.shape for key, value in initial.items()
        }:
            before = initial  # another rule, or another image size, until now
        first = state.is_first | ~before.get('started', torch.ones_like(state.is_first))
        gate, after = rule.gate(seen, {k: v for k, v in before.items() if k != 'started'})
        if initial:
            after = {**after, 'started': torch.ones_like(state.is_first)}
        after = {key: where_stream(update, after[key], before[key]) for key in initial}
        if gate is not None:
            gate = where_stream(first, torch.ones_like(gate), gate)
        return gate, after

    def _reset(self, state: State, reset: Tensor, rule: UpdateRule, seen: RuleInput) -> State:
        """Start a new segment after this frame where ``reset`` is true."""
        fresh = self.initial_state(1)
        initial_rule = rule.initial_state(seen)
        if initial_rule:
            initial_rule['started'] = torch.zeros_like(reset)
        return replace(
            state,
            tokens=where_stream(reset, fresh.tokens, state.tokens),
            camera_memory=where_stream(reset, fresh.camera_memory, state.camera_memory),
            is_first=reset & self.config.pose_token_after_reset,
            rule={
                key: where_stream(reset, initial_rule[key], value)
                for key, value in state.rule.items()
            },
        )

    def _next_motion(
        self, frame: FrameInput, state: State, encoded: Encoded, prediction: Prediction
    ) -> MotionState:
        """Remember this frame's pose and image, or start anew after a reset."""
        before, gray = state.motion, encoded.motion.gray
        pose = self.predictor.world_pose(before, prediction.T_previous_camera)
        update = frame.update_mask(state.tokens) & _all_finite(pose)
        reset = frame.reset_mask(state.tokens)
        previous = before.previous_gray
        if previous.shape != gray.shape:
            previous = torch.zeros_like(gray)
        pose = where_stream(update, pose, before.T_world_camera)
        identity = torch.eye(4, dtype=pose.dtype, device=pose.device)
        return MotionState(
            T_world_camera=where_stream(reset, identity.expand_as(pose), pose),
            previous_gray=where_stream(update, gray, previous),
            has_previous=(before.has_previous | update) & ~reset,
        )

    # Positions are made once per image size.

    def _image_positions(self, grid: tuple[int, int], with_pose: bool) -> Positions:
        key = (*grid, with_pose, self.device)
        if key not in self._positions:
            if len(self._positions) >= 2 * MAX_KNOWN_GRIDS:
                self._positions.clear()
            rows_columns = torch.cartesian_prod(
                torch.arange(grid[0], device=self.device),
                torch.arange(grid[1], device=self.device),
            )
            if with_pose:
                rows_columns = torch.cat((torch.full_like(rows_columns[:1], -1), rows_columns))
            self._positions[key] = Positions(rows_columns, self.config.rope_base)
        return self._positions[key]

    def _state_positions(self) -> Positions | None:
        """State tokens lie on a square of even width, or on the diagonal, or nowhere."""
        key = ('state', self.device)
        if key not in self._positions:
            count, kind = self.config.state_size, self.config.state_pe
            index = torch.arange(count, device=self.device)
            width = int(count**0.5)
            width += width % 2
            rows_columns = {
                '2d': lambda: torch.stack((index // width, index % width), dim=1),
                '1d': lambda: torch.stack((index, index), dim=1),
                'none': lambda: None,
            }[kind]()
            positions = None
            if rows_columns is not None:
                positions = Positions(rows_columns, self.config.rope_base)
            self._positions[key] = positions
        return self._positions[key]


def blend(
    previous: Tensor, candidate: Tensor, channel_gate: Tensor | None, token_gate: Tensor | None
) -> Tensor:
    """
    Mix the candidate into the state: G (z C + (1 - z) S) + (1 - G) S.

    The paper prints G as a factor of the whole sum, which would shrink the state; here what a
    gate does not take stays (choice).

    :param previous: S, [B, S, C].
    :param candidate: C, [B, S, C].
    :param channel_gate: Mem3R's z, [B, S, C], or None for 1.
    :param token_gate: the rule's G, [B, S, 1], or None for 1.
    """
    mixed = candidate
    if channel_gate is not None:
        mixed = channel_gate * candidate + (1 - channel_gate) * previous
    if token_gate is not None:
        mixed = token_gate * mixed + (1 - token_gate) * previous
    return mixed


def _telemetry(
    state: State,
    tokens: Tensor,
    memory: Tensor,
    channel_gate: Tensor | None,
    token_gate: Tensor | None,
    read: ReadOut | Tensor,
    decoded: Decoded,
) -> dict[str, Tensor]:
    """Return how the memories fare, each [B]."""
    ones = torch.ones_like(state.is_first, dtype=torch.float32)
    gate = ones
    for factor in (channel_gate, token_gate):
        if factor is not None:
            gate = gate * factor.mean(dim=(1, 2))
    values = {
        'gate_mean': gate,
        'state_change': (tokens - state.tokens).square().mean(dim=(1, 2)).sqrt(),
    }
    if isinstance(read, ReadOut):
        values['fast_weight_norm'] = memory.flatten(1).norm(dim=1)
        values['learning_rate_mean'] = read.learning_rate.mean(dim=(1, 2))
        values['tracking_cosine'] = torch.cosine_similarity(
            read.prior[:, 0].float(), decoded.pose_token[:, 0].float(), dim=-1
        )
    return values


def _all_finite(*tensors: Tensor) -> Tensor:
    """Say which streams hold only finite numbers, bool [B]."""
    finite = [tensor.flatten(1).isfinite().all(dim=1) for tensor in tensors]
    return torch.stack(finite).all(dim=0)


def _float32(tensor: Tensor) -> torch.autocast:
    """Leave autocast for a while: the memories are float32."""
    return torch.autocast(tensor.device.type, enabled=False)


def _image_encoder(config: ModelConfig) -> Encoder:
    channels = 3 + (MOTION_CHANNELS if config.motion_input else 0)
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
