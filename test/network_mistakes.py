# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Mistakes that an implementer of CUT3R and TTT3R makes easily, to be made on purpose.

Each function takes pytest's ``monkeypatch`` and a loaded network, and makes one mistake. A parity
test is worth what it rejects: see test_parity.py and test_recording.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pytest import MonkeyPatch
import torch
from torch import nn
import torch.nn.functional as F

from mem3r_ros.model import Mem3R, dense_heads, layers, output_heads
from mem3r_ros.model import decoder as decoder_module
from mem3r_ros.model.positions import Positions, PositionTables
from mem3r_ros.model.update_rules import AttentionMean

Mistake = Callable[[MonkeyPatch, Mem3R], None]


def _modules(model: Mem3R, kind: type) -> list:
    return [module for module in model.modules() if isinstance(module, kind)]


def pose_token_at_the_origin(patch: MonkeyPatch, model: Mem3R) -> None:
    """Place the pose token at (0, 0); it belongs at (-1, -1)."""
    patch.setattr(torch, 'full_like', lambda like, value: torch.zeros_like(like))


def odd_width_of_the_state_grid(patch: MonkeyPatch, model: Mem3R) -> None:
    """Place state tokens on a square of odd width; the reference rounds it up to even."""

    def make_state(self: PositionTables, device: torch.device) -> Positions:
        index = torch.arange(self._state_size, device=device)
        width = int(self._state_size**0.5)
        width -= 1 - width % 2
        return Positions(torch.stack((index // width, index % width), dim=1), self._base)

    patch.setattr(PositionTables, '_make_state', make_state)


def interleaved_rotary_pairs(patch: MonkeyPatch, model: Mem3R) -> None:
    """Pair neighbouring elements in the rotation; the reference pairs j with j + D/4."""
    original = layers.rotate

    def rotate(tokens: torch.Tensor, positions: Positions | None) -> torch.Tensor:
        halves = tokens.unflatten(-1, (2, -1, 2)).transpose(-1, -2).flatten(-3)
        turned = original(halves, positions)
        return turned.unflatten(-1, (2, 2, -1)).transpose(-1, -2).flatten(-3)

    patch.setattr(layers, 'rotate', rotate)


def no_float16_rounding(patch: MonkeyPatch, model: Mem3R) -> None:
    """Leave q and k of the image encoder in float32."""
    for block in model.image_encoder.blocks:
        patch.setattr(block.attention, 'round_float16', False)


def float16_rounding_after_the_rotation_only(patch: MonkeyPatch, model: Mem3R) -> None:
    """Round q and k once; the reference also rounds them before the rotation."""
    original, calls = layers._round_to_half, []

    def round_every_second(tokens: torch.Tensor) -> torch.Tensor:
        calls.append(0)
        return tokens if len(calls) % 2 else original(tokens)

    patch.setattr(layers, '_round_to_half', round_every_second)


def float16_rounding_before_the_rotation_only(patch: MonkeyPatch, model: Mem3R) -> None:
    """Round q and k once; the reference also rounds them after the rotation."""
    original, calls = layers._round_to_half, []

    def round_every_second(tokens: torch.Tensor) -> torch.Tensor:
        calls.append(0)
        return original(tokens) if len(calls) % 2 else tokens

    patch.setattr(layers, '_round_to_half', round_every_second)


def float16_rounding_in_the_decoder_too(patch: MonkeyPatch, model: Mem3R) -> None:
    """Round q and k in the decoders' self-attention as well."""
    for block in (*model.decoder.image_blocks, *model.decoder.state_blocks):
        patch.setattr(block.attention, 'round_float16', True)


def bfloat16_in_place_of_float16(patch: MonkeyPatch, model: Mem3R) -> None:
    """Round q and k of the image encoder to bfloat16."""
    patch.setattr(layers, '_round_to_half', lambda tokens: tokens.bfloat16().to(tokens.dtype))


def tanh_gelu(patch: MonkeyPatch, model: Mem3R) -> None:
    """Approximate the GELU by a tanh."""

    def forward(self: layers.Mlp, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(tokens), approximate='tanh'))

    patch.setattr(layers.Mlp, 'forward', forward)


def norm_epsilon_of_pytorch(patch: MonkeyPatch, model: Mem3R) -> None:
    """Use 1e-5 in every LayerNorm; the reference uses 1e-6."""
    for norm in _modules(model, nn.LayerNorm):
        patch.setattr(norm, 'eps', 1e-5)


def no_norm_of_the_state(patch: MonkeyPatch, model: Mem3R) -> None:
    """Store the candidate state without its last norm."""
    patch.setattr(model.decoder, 'state_norm', nn.Identity())


def no_norm_of_the_image_tokens(patch: MonkeyPatch, model: Mem3R) -> None:
    """Pass image tokens to the heads without their last norm."""
    patch.setattr(model.decoder, 'image_norm', nn.Identity())


def streams_in_turn(patch: MonkeyPatch, model: Mem3R) -> None:
    """Let the state read the image tokens of the same layer; it reads the layer before."""

    def forward(self, prior, features, state, image_positions, state_positions, observer=None):
        image = torch.cat((prior, self.image_embed(features)), dim=1)
        levels = {0: image}
        for depth, (image_block, state_block) in enumerate(
            zip(self.image_blocks, self.state_blocks, strict=True), start=1
        ):
            image = image_block(image, state, image_positions, state_positions)
            state = state_block(state, image, state_positions, image_positions, observer)
            levels[depth] = image
        image, state = self.image_norm(image), self.state_norm(state)
        half, three_quarters = (levels[depth][:, 1:] for depth in self._level_depths)
        return decoder_module.Decoded(image[:, :1], image[:, 1:], (half, three_quarters), state)

    patch.setattr(decoder_module.DualDecoder, 'forward', forward)


def heads_of_the_image_side_for_the_state(patch: MonkeyPatch, model: Mem3R) -> None:
    """Split the state's attention into as many heads as the image's."""
    for block in model.decoder.state_blocks:
        for attention in (block.attention, block.cross_attention):
            patch.setattr(attention, 'num_heads', model.config.dec_num_heads)


def heads_of_the_state_side_for_the_memory(patch: MonkeyPatch, model: Mem3R) -> None:
    """Split the camera memory's attention into as many heads as the state's."""
    for block in (*model.pose_memory.read_blocks, *model.pose_memory.write_blocks):
        for attention in (block.attention, block.cross_attention):
            patch.setattr(attention, 'num_heads', model.config.state_dec_num_heads)


def earlier_levels_for_the_dense_heads(patch: MonkeyPatch, model: Mem3R) -> None:
    """Take the tokens one block too early."""
    depths = tuple(depth - 1 for depth in model.decoder._level_depths)
    patch.setattr(model.decoder, '_level_depths', depths)


def scale_before_shift(patch: MonkeyPatch, model: Mem3R) -> None:
    """Take the scale from the first half of the modulation; the shift comes first."""

    def forward(self, tokens, pose_token):
        scale, shift = self.modulation(F.silu(pose_token)).chunk(2, dim=-1)
        return self.norm(tokens) * (1 + scale) + shift

    patch.setattr(layers.ModulatedNorm, 'forward', forward)


def pixel_centres_in_the_interpolation(patch: MonkeyPatch, model: Mem3R) -> None:
    """Interpolate with align_corners=False."""
    original = F.interpolate

    def interpolate(features, **options):
        return original(features, **{**options, 'align_corners': False})

    patch.setattr(dense_heads.F, 'interpolate', interpolate)


def softmax_in_the_gate(patch: MonkeyPatch, model: Mem3R) -> None:
    """Average attention weights in place of the raw logits."""

    def add(self, query, key):
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        mean = weights.mean(dim=(1, 3))
        self._sum = mean if self._sum is None else self._sum + mean
        self._layers += 1

    patch.setattr(AttentionMean, 'add', add)


def gate_without_the_pose_key(patch: MonkeyPatch, model: Mem3R) -> None:
    """Average the logits over image tokens only."""
    original = AttentionMean.add
    patch.setattr(AttentionMean, 'add', lambda self, q, k: original(self, q, k[:, :, 1:]))


def gate_of_the_last_layer(patch: MonkeyPatch, model: Mem3R) -> None:
    """Take the gate from the last layer's logits only."""
    original = AttentionMean.add

    def add(self, query, key):
        self._sum, self._layers = None, 0
        original(self, query, key)

    patch.setattr(AttentionMean, 'add', add)


def other_pose_token_after_a_reset(patch: MonkeyPatch, model: Mem3R) -> None:
    """Read the pose token of a new segment from the memory, or the other way round."""
    turned = not model.config.pose_token_after_reset
    patch.setattr(model, 'config', replace(model.config, pose_token_after_reset=turned))


def memory_read_in_the_first_frame(patch: MonkeyPatch, model: Mem3R) -> None:
    """Read the first pose token from the memory; it is learned."""
    patch.setattr(model, '_prior_pose_token', lambda read, state, dtype: read.prior.to(dtype))


def linear_points(patch: MonkeyPatch, model: Mem3R) -> None:
    """Stretch points by exp in place of expm1."""

    def points_from_raw(raw, in_front=False):
        distance = raw.norm(dim=-1, keepdim=True)
        return raw / distance.clamp(min=1e-8) * torch.exp(distance)

    patch.setattr(output_heads, 'points_from_raw', points_from_raw)


MISTAKES: tuple[Mistake, ...] = (
    pose_token_at_the_origin,
    odd_width_of_the_state_grid,
    interleaved_rotary_pairs,
    no_float16_rounding,
    float16_rounding_after_the_rotation_only,
    float16_rounding_before_the_rotation_only,
    float16_rounding_in_the_decoder_too,
    bfloat16_in_place_of_float16,
    tanh_gelu,
    norm_epsilon_of_pytorch,
    no_norm_of_the_state,
    no_norm_of_the_image_tokens,
    streams_in_turn,
    heads_of_the_image_side_for_the_state,
    heads_of_the_state_side_for_the_memory,
    earlier_levels_for_the_dense_heads,
    scale_before_shift,
    pixel_centres_in_the_interpolation,
    softmax_in_the_gate,
    gate_without_the_pose_key,
    gate_of_the_last_layer,
    other_pose_token_after_a_reset,
    memory_read_in_the_first_frame,
    linear_points,
)
