# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Decoders of image and state tokens with cross-attention (CUT3R, arXiv 2501.12387, equation 2).

Each block attends to the other side's tokens of the layer before, so both sides run in parallel.
"""

# B streams, S state tokens, N image tokens, E encoder width, C decoder width

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.layers import AttentionObserver, DecoderBlock, start_at_unit_gain
from mem3r_ros.model.positions import Positions


class Decoded(NamedTuple):
    """Output of both decoders."""

    pose_token: Tensor  # [B, 1, C] posterior, after the last norm
    image_tokens: Tensor  # [B, N, C] after the last norm
    levels: tuple[Tensor, Tensor]  # [B, N, C] image tokens after 1/2 and 3/4 of the blocks
    candidate: Tensor  # [B, S, C] proposed state, after the last norm


class DualDecoder(nn.Module):
    """Two stacks of decoder blocks that attend to each other."""

    def __init__(self, config: ModelConfig) -> None:
        """Create both stacks and the projections into them."""
        super().__init__()
        width, ratio, eps = config.dec_embed_dim, config.mlp_ratio, config.norm_eps
        self.image_embed = nn.Linear(config.enc_embed_dim, width)
        self.state_embed = nn.Linear(config.enc_embed_dim, width)
        self.image_blocks = nn.ModuleList(
            DecoderBlock(width, config.dec_num_heads, ratio, eps) for _ in range(config.dec_depth)
        )
        self.state_blocks = nn.ModuleList(
            DecoderBlock(width, config.state_dec_num_heads, ratio, eps)
            for _ in range(config.dec_depth)
        )
        self.image_norm = nn.LayerNorm(width, eps=eps)
        self.state_norm = nn.LayerNorm(width, eps=eps)
        start_at_unit_gain(self)
        # The dense heads take the image tokens after this many blocks.
        self._level_depths = (config.dec_depth * 2 // 4, config.dec_depth * 3 // 4)

    def forward(
        self,
        prior_pose_token: Tensor,
        features: Tensor,
        state: Tensor,
        image_positions: Positions,
        state_positions: Positions | None,
        observer: AttentionObserver | None = None,
    ) -> Decoded:
        """
        Decode one frame.

        :param prior_pose_token: [B, 1, C], read from the camera memory.
        :param features: image tokens of the encoder, [B, N, E].
        :param state: state tokens, [B, S, C].
        :param observer: receives queries and keys of the attention from state to image.
        """
        image = torch.cat((prior_pose_token, self.image_embed(features)), dim=1)
        levels = {0: image}
        for depth, (image_block, state_block) in enumerate(
            zip(self.image_blocks, self.state_blocks, strict=True), start=1
        ):
            image, state = (
                image_block(image, state, image_positions, state_positions),
                state_block(state, image, state_positions, image_positions, observer),
            )
            levels[depth] = image
        image, state = self.image_norm(image), self.state_norm(state)
        half, three_quarters = (levels[depth][:, 1:] for depth in self._level_depths)
        return Decoded(image[:, :1], image[:, 1:], (half, three_quarters), state)
