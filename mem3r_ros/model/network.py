# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The network of the paper's figure: frame and state in, prediction and next state out.

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

import torch
from torch import Tensor, nn

from mem3r_ros.errors import UserError
from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.decoder import DualDecoder
from mem3r_ros.model.encoder import Encoded, image_encoder, ray_encoder
from mem3r_ros.model.frame import PREDICTION_FIELDS, FrameInput, Prediction
from mem3r_ros.model.output_heads import Predictor
from mem3r_ros.model.pose_memory import ReadOut, pose_memory
from mem3r_ros.model.positions import PositionTables
from mem3r_ros.model.state import State, where_stream
from mem3r_ros.model.state_gate import StateGate
from mem3r_ros.model.state_update import MemoryUpdate, all_finite, blend, rule_gate, telemetry
from mem3r_ros.model.two_view_front_end import TwoViewFrontEnd
from mem3r_ros.model.update_rules import RuleInput, UpdateRule, update_rule


class Mem3R(nn.Module):
    """Recurrent network over the frames of a camera; it holds weights, and no memory."""

    def __init__(self, config: ModelConfig) -> None:
        """Create the network; see :func:`mem3r_ros.model.build_model`."""
        super().__init__()
        self.config = config
        width = config.enc_embed_dim
        self.front_end = TwoViewFrontEnd(config.two_view) if config.two_view else None
        self.image_encoder = image_encoder(config)
        self.ray_encoder, self.masked_image_token, self.masked_ray_token = None, None, None
        if config.ray_enc_depth:
            self.ray_encoder = ray_encoder(config)
            self.masked_image_token = nn.Parameter(torch.randn(1, width) * 0.02)
            self.masked_ray_token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.register_tokens = nn.Parameter(torch.randn(config.state_size, width) * 0.02)
        self.pose_token = nn.Parameter(torch.randn(1, 1, config.dec_embed_dim) * 0.02)
        self.pose_memory = pose_memory(config)
        self.decoder = DualDecoder(config)
        self.state_gate = StateGate(config) if config.state_gate else None
        self.predictor = Predictor(config, self.front_end)
        self._positions = PositionTables(config.rope_base, config.state_size, config.state_pe)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.pose_token.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of encoder and decoder."""
        return self.pose_token.dtype

    def initial_state(
        self, batch_size: int = 1, image_size: tuple[int, int] | None = None
    ) -> State:
        """
        Return the state of new streams.

        :param image_size: width and height of the frames to come, px (default: that of the
            configuration).
        """
        tokens = self.decoder.state_embed(self.register_tokens).float()
        motion = None
        if self.front_end is not None:
            width, height = image_size or self.config.img_size
            motion = self.front_end.initial(batch_size, (height, width), self.device)
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
        into: State | None = None,
    ) -> tuple[Prediction, State]:
        """
        Advance each stream by one frame.

        :param frame: image, ray map or both, see :class:`FrameInput`.
        :param state: the streams before the frame; it stays usable.
        :param rule: how the state is updated (default: CUT3R's rule).
        :param outputs: names of the :class:`Prediction` fields that are wanted (default: all
            that this network has); other heads are not computed.
        :param masked_tokens: add the learned "no image" and "no ray map" tokens, as CUT3R's
            batch mode does on sequences that mix both (its streaming mode does not).
        :param into: memory for the two large tensors of the next state, which this state must not
            use (default: new memory); not for training.
        :return: the prediction and the state after the frame.
        :raises UserError: shapes do not fit or an output is unknown.
        """
        wanted = self.checked_outputs(frame, state, outputs, masked_tokens)
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
        prediction = self.predictor(decoded, encoded, positions, wanted)
        camera_memory = self.pose_memory.update(state.camera_memory, read, decoded.pose_token)
        finite = all_finite(
            decoded.candidate, decoded.pose_token, camera_memory, *prediction.recurrent
        )
        update = frame.update_mask(state.tokens) & finite
        seen = RuleInput(
            decoded.candidate.float(),
            encoded.features.float(),
            self.decoder.image_embed(encoded.pooled).float(),
            observer,
        )
        memories = self._update_memories(
            state, seen, encoded.pooled, camera_memory, rule, update, into
        )
        motion = state.motion
        if self.front_end is not None:
            motion = self.front_end.remember(motion, encoded.observation, prediction, update)
        # A frame that is not finite does not count as the first of its segment.
        is_first = state.is_first & ~finite
        after = State(memories.tokens, memories.camera_memory, is_first, motion, memories.rule)
        # A recorded step must not depend on values.
        if frame.reset is not None and (into is not None or _may_reset(frame.reset)):
            after = self._reset(after, frame.reset_mask(after.tokens))
        if 'image_token' in wanted:
            prediction = replace(prediction, image_token=encoded.pooled.float())
        if 'telemetry' in wanted:
            statistics = telemetry(state, memories, read, decoded)
            prediction = replace(prediction, telemetry=statistics)
        return prediction, after

    def query(
        self, ray_map: Tensor, state: State, outputs: Collection[str] | None = None
    ) -> Prediction:
        """
        Predict the view of a camera without changing the state (CUT3R's ray-map query).

        :param ray_map: origin and direction per pixel in the world frame, [B, H, W, 6].
        :raises UserError: this network has no ray-map encoder.
        """
        return self.step(FrameInput(ray_map=ray_map), state, outputs=outputs)[0]

    # The stages of a step, in order.

    def checked_outputs(
        self, frame: FrameInput, state: State, outputs: Collection[str] | None, masked_tokens: bool
    ) -> frozenset[str]:
        """
        Check the arguments of :meth:`step` and return the names of the outputs.

        :raises UserError: shapes do not fit or an output is unknown.
        """
        frame.check(self.config.patch_size, state.batch_size, self.config.flow_scale)
        if self.ray_encoder is None and (frame.ray_map is not None or masked_tokens):
            raise UserError('this network has no ray-map encoder (ray_enc_depth is 0)')
        if frame.image is None and state.motion is not None:
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
        observation, finer, features = None, [], 0
        if frame.image is not None:
            image = frame.image
            if self.front_end is not None:
                observation = self.front_end.observe(frame, state.motion)
                image = torch.cat((image, observation.channels.to(image.dtype)), dim=1)
            features, finer = self.image_encoder(image.to(self.dtype), positions)
        elif masked_tokens:
            features = self.masked_image_token
        if frame.ray_map is not None:
            rays = frame.ray_map.permute(0, 3, 1, 2).to(self.dtype)
            features = features + self.ray_encoder(rays, positions)[0]
        elif masked_tokens:
            features = features + self.masked_ray_token
        return Encoded(features, features.mean(dim=1), finer, grid, observation)

    def _prior_pose_token(self, read: ReadOut, state: State, dtype: torch.dtype) -> Tensor:
        """Return the prior of the camera memory; in a first frame, the learned token."""
        learned = self.pose_token.to(read.prior.dtype).expand_as(read.prior)
        return where_stream(state.is_first, learned, read.prior).to(dtype)

    def _update_memories(
        self,
        state: State,
        seen: RuleInput,
        pooled: Tensor,
        camera_memory: Tensor,
        rule: UpdateRule,
        update: Tensor,
        into: State | None,
    ) -> MemoryUpdate:
        """
        Blend the candidate into the mapping memory; take the new camera memory.

        :param pooled: mean image token, [B, E].
        :param update: which streams remember the frame, bool [B]; the others keep both memories.
        """
        token_gate, rule_state = rule_gate(rule, seen, state, update)
        channel_gate = None
        if self.state_gate is not None:
            channel_gate = self.state_gate(state.tokens, pooled)
        blended = blend(state.tokens, seen.candidate, channel_gate, token_gate)
        return MemoryUpdate(
            where_stream(update, blended, state.tokens, into and into.tokens),
            where_stream(update, camera_memory, state.camera_memory, into and into.camera_memory),
            rule_state,
            channel_gate,
            token_gate,
        )

    def _reset(self, state: State, reset: Tensor) -> State:
        """Start a new segment after this frame where ``reset`` is true."""
        fresh = self.initial_state(1, state.image_size).to_dict()
        fresh['is_first'] = state.is_first | self.config.pose_token_after_reset
        return State.from_dict(
            {
                name: where_stream(reset, fresh.get(name, torch.zeros_like(value)), value)
                for name, value in state.to_dict().items()
            }
        )


def _may_reset(reset: Tensor) -> bool:
    """Return whether a stream may start a new segment; on a GPU, asking would make it wait."""
    return reset.device.type != 'cpu' or bool(reset.any())
