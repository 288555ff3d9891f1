# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Transformer layers: attention with rotary positions, MLP, blocks.

Blocks are those of a pre-norm ViT; decoder blocks attend to themselves, then to the other
stream, then apply the MLP.
"""

# B streams, N tokens, M tokens of the other stream, C width, H heads, D head width

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from mem3r_ros.model.positions import Positions


def rotate(tokens: Tensor, positions: Positions | None) -> Tensor:
    """
    Rotate queries or keys by their positions, in float32.

    :param tokens: [B, H, N, D]; the first half of D rotates with the row, the second with the
        column, and element j of a half is paired with element j + D/4.
    :return: [B, H, N, D] in the dtype of ``tokens``.
    """
    if positions is None:
        return tokens
    own, partner = positions.table(tokens.shape[-1])
    exact = tokens.float()
    swapped = exact.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)
    # Not addcmul: a fused product rounds differently from the reference (see Positions).
    return (exact * own).add_(swapped.mul_(partner)).to(tokens.dtype)


def rotate_neighbours(tokens: Tensor, positions: Positions | None) -> Tensor:
    """
    Rotate as :func:`rotate` does, in heads in the order of :func:`pair_neighbours`.

    One product of complex numbers, in place of five operations; it rounds differently.

    :param tokens: float32 [B, H, N, D].
    """
    if positions is None:
        return tokens
    pairs = torch.view_as_complex(tokens.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * positions.turns(tokens.shape[-1])).flatten(-2)


def pair_neighbours(head_dim: int) -> Tensor:
    """Return an order of the elements of a head that puts those of a rotated pair side by side."""
    return torch.arange(head_dim).view(2, 2, -1).transpose(1, 2).flatten()


def _split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    return tokens.unflatten(-1, (num_heads, -1)).transpose(1, 2)  # [B, H, N, D]


def _merge_heads(tokens: Tensor) -> Tensor:
    return tokens.transpose(1, 2).flatten(2)


def _round_to_half(tokens: Tensor) -> Tensor:
    return tokens.half().to(tokens.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """
    Mix values by scaled dot products of queries and keys.

    :param query: [B, H, N, D].
    :param key: [B, H, M, D].
    :param value: [B, H, M, D].
    :return: [B, H, N, D].
    """
    if not (torch.is_grad_enabled() and query.requires_grad and query.device.type == 'cpu'):
        return F.scaled_dot_product_attention(query, key, value)
    # The fused kernel's backward pass costs twice the plain products on a CPU (200 tokens).
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return logits.softmax(dim=-1).to(value.dtype) @ value


def attend_bfloat16(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """
    Mix values as :func:`attend` does, with both products in bfloat16.

    Faster than the fused kernel on a processor that multiplies bfloat16 (768 tokens). Each thread
    keeps the weights of one head, [N, M], which fit in a processor's cache; those of all do not.
    """
    scaled = query * query.shape[-1] ** -0.5
    query, key, value = (
        part.to(torch.bfloat16, memory_format=torch.contiguous_format).flatten(0, 1)
        for part in (scaled, key, value)
    )
    mixed, key = torch.empty_like(query), key.transpose(-1, -2)
    heads_at_once = torch.get_num_threads()
    for first in range(0, len(query), heads_at_once):
        heads = slice(first, first + heads_at_once)
        mixed[heads] = (query[heads] @ key[heads]).softmax(dim=-1) @ value[heads]
    return mixed.unflatten(0, scaled.shape[:2]).to(scaled.dtype)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden_dim: int, out_dim: int | None = None) -> None:
        """Map ``dim`` to ``out_dim`` (default: ``dim``) through ``hidden_dim``."""
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim if out_dim is None else out_dim)
        self.tokens_at_once = 0  # 0 = all; fewer keep the hidden values in the processor's cache

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [..., C] to [..., out_dim]."""
        if 0 < self.tokens_at_once < tokens.shape[-2]:
            parts = tokens.split(self.tokens_at_once, dim=-2)
            return torch.cat([self._map(part) for part in parts], dim=-2)
        return self._map(tokens)

    def _map(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


def start_at_unit_gain(module: nn.Module) -> None:
    """
    Initialise weights so that signals keep their variance from layer to layer; biases are zero.

    With PyTorch's default each convolution shrinks the signal relative to its bias. After four
    convolutions all tokens are nearly equal, and attention cannot distinguish them.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity='relu')
        elif isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
        if isinstance(part, (nn.Conv2d, nn.Linear)) and part.bias is not None:
            nn.init.zeros_(part.bias)


class SelfAttention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, num_heads: int, round_float16: bool = False) -> None:
        """
        Create the layer.

        :param round_float16: round q and k to float16 before and after the rotation, as the
            reference image encoder does; it acts on float32 only.
        """
        super().__init__()
        self.num_heads = num_heads
        self.round_float16 = round_float16
        self.in_bfloat16 = False  # the products of tokens, see model.speedups
        self.rotate = rotate
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, positions: Positions | None) -> Tensor:
        """Map [B, N, C] to [B, N, C]."""
        query, key, value = (
            _split_heads(part, self.num_heads) for part in self.qkv(tokens).chunk(3, dim=-1)
        )
        if self.round_float16 and tokens.dtype == torch.float32:
            query = _round_to_half(rotate(_round_to_half(query), positions))
            key = _round_to_half(rotate(_round_to_half(key), positions))
        else:
            query, key = self.rotate(query, positions), self.rotate(key, positions)
        mix = attend_bfloat16 if self.in_bfloat16 else attend
        return self.proj(_merge_heads(mix(query, key, value)))


def use_neighbours(attention: SelfAttention | CrossAttention) -> None:
    """
    Put the two elements of each rotated pair side by side, in queries and keys alike.

    Their products stay the same. The layers get new float32 weights.
    """
    if isinstance(attention, SelfAttention):
        layers, num_parts = [attention.qkv], 2  # of three: not the values
    else:
        layers, num_parts = [attention.query, attention.key], 1
    width = attention.proj.in_features
    order = pair_neighbours(width // attention.num_heads)
    rows = torch.arange(num_parts * width).view(-1, len(order))[:, order].flatten()
    for layer in layers:
        rows = torch.cat((rows, torch.arange(len(rows), len(layer.weight))))
        for name in ('weight', 'bias'):
            values = getattr(layer, name)
            setattr(layer, name, nn.Parameter(values.detach()[rows], values.requires_grad))
    attention.rotate = rotate_neighbours


class AttentionObserver(Protocol):
    """Receives queries and keys of the cross-attention from state to image."""

    def add(self, query: Tensor, key: Tensor) -> None:
        """Take rotated queries [B, H, N, D] and keys [B, H, M, D] of one layer."""


class CrossAttention(nn.Module):
    """Multi-head attention from one stream to the other."""

    def __init__(self, dim: int, num_heads: int) -> None:
        """Create the four projections of width ``dim``."""
        super().__init__()
        self.num_heads = num_heads
        self.in_bfloat16 = False  # the products of tokens, see model.speedups
        self.rotate = rotate
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self,
        tokens: Tensor,
        other: Tensor,
        positions: Positions | None,
        other_positions: Positions | None,
        observer: AttentionObserver | None = None,
    ) -> Tensor:
        """Map tokens [B, N, C], attending to ``other`` [B, M, C], to [B, N, C]."""
        if other.shape[1] == 1 and observer is None:
            # The softmax over a single key is 1 for every query, so the result is its value.
            return self.proj(self.value(other)).expand(-1, tokens.shape[1], -1)
        query = self.rotate(_split_heads(self.query(tokens), self.num_heads), positions)
        key = self.rotate(_split_heads(self.key(other), self.num_heads), other_positions)
        value = _split_heads(self.value(other), self.num_heads)
        if observer is not None:
            observer.add(query, key)
        mix = attend_bfloat16 if self.in_bfloat16 else attend
        return self.proj(_merge_heads(mix(query, key, value)))


def add_to(tokens: Tensor, change: Tensor) -> Tensor:
    """
    Return the sum, in the memory of ``change`` where that is possible.

    :param change: a new result of a layer, which nobody else needs.
    """
    is_expanded = 0 in change.stride()
    if torch.is_grad_enabled() or is_expanded or change.dtype != tokens.dtype:
        return tokens + change
    return change.add_(tokens)


class EncoderBlock(nn.Module):
    """Self-attention, then MLP."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, eps: float, round_float16: bool = False
    ) -> None:
        """Create one pre-norm block of width ``dim``."""
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attention = SelfAttention(dim, num_heads, round_float16)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Tensor, positions: Positions | None) -> Tensor:
        """Map [B, N, C] to [B, N, C]."""
        tokens = add_to(tokens, self.attention(self.norm1(tokens), positions))
        return add_to(tokens, self.mlp(self.norm2(tokens)))


class DecoderBlock(nn.Module):
    """Self-attention, attention to the other stream, then MLP."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, eps: float) -> None:
        """Create one pre-norm block of width ``dim``."""
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attention = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.norm_other = nn.LayerNorm(dim, eps=eps)
        self.cross_attention = CrossAttention(dim, num_heads)
        self.norm3 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(
        self,
        tokens: Tensor,
        other: Tensor,
        positions: Positions | None = None,
        other_positions: Positions | None = None,
        observer: AttentionObserver | None = None,
    ) -> Tensor:
        """Map tokens [B, N, C], attending to ``other`` [B, M, C], to [B, N, C]."""
        tokens = add_to(tokens, self.attention(self.norm1(tokens), positions))
        seen = self.cross_attention(
            self.norm2(tokens), self.norm_other(other), positions, other_positions, observer
        )
        tokens = add_to(tokens, seen)
        return add_to(tokens, self.mlp(self.norm3(tokens)))


class ModulatedNorm(nn.Module):
    """LayerNorm whose shift and scale come from the pose token (adaLN, arXiv 2212.09748)."""

    def __init__(self, dim: int, eps: float) -> None:
        """Create the norm, with an affine part of its own, and its modulation."""
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.modulation = nn.Linear(dim, 2 * dim)

    def forward(self, tokens: Tensor, pose_token: Tensor) -> Tensor:
        """Map tokens [B, N, C], given the pose token [B, 1, C], to [B, N, C]."""
        shift, scale = self.modulation(F.silu(pose_token)).chunk(2, dim=-1)
        return self.norm(tokens) * (1 + scale) + shift


class ModulatedBlock(nn.Module):
    """Encoder block whose norms are modulated by the pose token."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, eps: float) -> None:
        """Create one block of width ``dim``."""
        super().__init__()
        self.norm1 = ModulatedNorm(dim, eps)
        self.attention = SelfAttention(dim, num_heads)
        self.norm2 = ModulatedNorm(dim, eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Tensor, pose_token: Tensor, positions: Positions) -> Tensor:
        """Map tokens [B, N, C], given the pose token [B, 1, C], to [B, N, C]."""
        tokens = tokens + self.attention(self.norm1(tokens, pose_token), positions)
        return tokens + self.mlp(self.norm2(tokens, pose_token))
