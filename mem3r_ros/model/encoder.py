# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Encoders of images and ray maps (CUT3R, arXiv 2501.12387, sections 3.1 and 3.3)."""

# B streams, H x W pixels, N = H/p * W/p image tokens of patches p, E encoder width

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
import torch.nn.functional as F

from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.layers import EncoderBlock, start_at_unit_gain
from mem3r_ros.model.positions import Positions
from mem3r_ros.two_view.observation import Observation, num_channels


class Encoded(NamedTuple):
    """One frame after the encoder."""

    features: Tensor  # [B, N, E]
    pooled: Tensor  # [B, E] mean of the features
    finer: list[Tensor]  # features of the convolution stem, finest first
    grid: tuple[int, int]  # rows and columns of tokens
    observation: Observation | None  # of the two-view front end


class PatchStem(nn.Module):
    """Cut the image into patches and project each to a token."""

    def __init__(self, in_channels: int, dim: int, patch_size: int) -> None:
        """Create the projection of p x p x ``in_channels`` values to ``dim``."""
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch_size, patch_size)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map [B, in_channels, H, W] to tokens [B, E, H/p, W/p]; there are no finer features."""
        return self.proj(image), []


class ConvolutionStem(nn.Module):
    """
    Halve the image once per layer until one pixel is one token.

    Small transformers learn faster behind convolutions (arXiv 2106.14881), and the finer levels
    give the dense heads sharp edges. The mean of each patch is added to its token directly,
    because inputs such as flow are useful as averages.
    """

    def __init__(self, in_channels: int, dims: tuple[int, ...], dim: int) -> None:
        """Create one 3 x 3 layer of stride 2 for each of ``dims`` and a last one to ``dim``."""
        super().__init__()
        widths = (in_channels, *dims, dim)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.mean = nn.Conv2d(in_channels, dim, 1)
        self.patch_size = 2 ** len(self.layers)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map [B, in_channels, H, W] to tokens [B, E, H/p, W/p] and the finer features."""
        finer: list[Tensor] = []
        mean = self.mean(F.avg_pool2d(image, self.patch_size))
        for layer in self.layers[:-1]:
            image = F.gelu(layer(image))
            finer.append(image)
        return self.layers[-1](image) + mean, finer


class Encoder(nn.Module):
    """A stem and a stack of encoder blocks."""

    def __init__(
        self,
        config: ModelConfig,
        stem: nn.Module,
        depth: int,
        num_heads: int,
        round_float16: bool = False,
    ) -> None:
        """Create ``depth`` blocks behind ``stem``."""
        super().__init__()
        dim, ratio, eps = config.enc_embed_dim, config.mlp_ratio, config.norm_eps
        self.stem = stem
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, ratio, eps, round_float16) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=eps)
        start_at_unit_gain(self)

    def forward(self, image: Tensor, positions: Positions) -> tuple[Tensor, list[Tensor]]:
        """Map [B, in_channels, H, W] to tokens [B, N, E] and the stem's finer features."""
        patches, finer = self.stem(image)
        tokens = patches.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, positions)
        return self.norm(tokens), finer


def image_encoder(config: ModelConfig) -> Encoder:
    """Return the image encoder; the channels of a two-view front end come after RGB."""
    channels = 3
    if config.two_view is not None:
        channels += num_channels(config.two_view.depth_memory, config.two_view.epipolar_input)
    if config.stem == 'convolution':
        stem: nn.Module = ConvolutionStem(channels, config.stem_dims, config.enc_embed_dim)
    else:
        stem = PatchStem(channels, config.enc_embed_dim, config.patch_size)
    return Encoder(config, stem, config.enc_depth, config.enc_num_heads, config.round_qk_float16)


def ray_encoder(config: ModelConfig) -> Encoder:
    """Return the encoder of ray maps."""
    stem = PatchStem(6, config.enc_embed_dim, config.patch_size)
    return Encoder(config, stem, config.ray_enc_depth, config.ray_num_heads)
