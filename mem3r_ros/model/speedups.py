# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Faster arithmetic for a network that predicts on a CPU; each lever is independent."""

from __future__ import annotations

from dataclasses import dataclass
import logging
import time

import torch
from torch import nn

from mem3r_ros.model.bfloat16 import convert_camera_memory
from mem3r_ros.model.dense_heads import DptHead
from mem3r_ros.model.int8 import (
    PLACES,
    Int8Linear,
    convert_linear_layers,
    has_int8,
    large_linear_layers,
)
from mem3r_ros.model.layers import CrossAttention, Mlp, SelfAttention, use_neighbours
from mem3r_ros.model.network import Mem3R
from mem3r_ros.model.processor import multiplies_bfloat16

logger = logging.getLogger(__name__)

LARGE_NETWORK = 50_000_000  # weights; matrix products do not dominate smaller networks
_WORTH_IT = 1.3  # times faster than float32, for a loss of accuracy
_PROBE_TOKENS = 256
_TOKENS_AT_ONCE = 256  # of an MLP in int8: 14 % faster than 768 at once (1024 to 4096 wide)
_PROBE_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class SpeedUps:
    """Which levers to use; none of them keeps the results of float32 bit by bit."""

    int8_linear: bool = False  # large linear layers in int8, see model.int8
    channels_last: bool = False  # dense heads with the channels of a pixel side by side
    rotated_pairs: bool = False  # rotary positions by one complex product, see model.layers
    bfloat16_heads: bool = False  # dense heads in bfloat16
    bfloat16_attention: bool = False  # products of tokens in bfloat16, in the places of int8
    bfloat16_memory: bool = False  # linear layers of CUT3R's camera memory in bfloat16

    @classmethod
    def float32(cls, model: Mem3R) -> SpeedUps:
        """
        Return the levers of ``dtype: float32``, which change nothing but the rounding.

        A large network hardly gains by fewer operations, and would need its weights twice.
        """
        return cls(channels_last=True, rotated_pairs=not is_large(model))

    @classmethod
    def int8(cls, model: Mem3R) -> SpeedUps:
        """
        Return the levers of ``dtype: int8`` for a network on this processor.

        Two-view geometry takes depth and motion as measurements, so its heads keep float32.
        """
        half = multiplies_bfloat16() and model.front_end is None
        return cls(
            int8_linear=True,
            channels_last=True,
            bfloat16_heads=half,
            bfloat16_attention=half,
            bfloat16_memory=half,
        )

    def apply(self, model: Mem3R) -> Mem3R:
        """
        Change a float32 network in place.

        :raises UserError: int8 is asked for and does not run here.
        """
        if self.bfloat16_attention or self.rotated_pairs:
            for attention in _attention_layers(model):
                if self.bfloat16_attention or not getattr(attention, 'round_float16', False):
                    use_neighbours(attention)
        if self.int8_linear:
            count = convert_linear_layers(model)
            logger.info('%d linear layers compute in int8', count)
            for part in model.modules():
                if isinstance(part, Mlp) and isinstance(part.fc1, Int8Linear):
                    part.tokens_at_once = _TOKENS_AT_ONCE
        if self.bfloat16_memory:
            convert_camera_memory(model.pose_memory)
        for attention in _attention_layers(model):
            attention.in_bfloat16 |= self.bfloat16_attention
            if isinstance(attention, SelfAttention) and (
                self.int8_linear or attention.in_bfloat16
            ):
                attention.round_float16 = False  # finer than the error of these levers
        for head in _dense_heads(model):
            if self.bfloat16_heads:
                head.bfloat16()
                head.last_layer.float()  # rounding here would appear in the depth
            if self.channels_last:
                head.to(memory_format=torch.channels_last)
        return model


def _dense_heads(model: Mem3R) -> list[nn.Module]:
    return [part for part in model.modules() if isinstance(part, DptHead)]


def _attention_layers(model: Mem3R) -> list[SelfAttention | CrossAttention]:
    """Return the attention of encoders, decoders and world head; not that of the memory."""
    return [
        part
        for path, part in model.named_modules()
        if path.startswith(PLACES) and isinstance(part, SelfAttention | CrossAttention)
    ]


def arithmetic_of(model: Mem3R) -> str:
    """Return the dtype setting that a network computes with: ``int8`` or that of its weights."""
    if any(isinstance(part, Int8Linear) for part in model.modules()):
        return 'int8'
    return str(model.dtype).removeprefix('torch.')


def measured_int8_gain(model: nn.Module) -> float:
    """Return how many times faster int8 multiplies the largest layer; 0 without such a layer."""
    layers = [layer for _, _, layer in large_linear_layers(model)]
    if not layers:
        return 0.0
    layer = max(layers, key=lambda layer: layer.weight.numel())
    candidates: tuple[nn.Module, nn.Module] = (layer, Int8Linear(layer))
    tokens = torch.rand(_PROBE_TOKENS, layer.in_features) - 0.5
    spent_s: list[list[float]] = [[], []]
    with torch.inference_mode():
        # In turn, so that other programs affect both equally; the first round warms up.
        for _ in range(_PROBE_ROUNDS + 1):
            for candidate, times in zip(candidates, spent_s, strict=True):
                start = time.perf_counter()
                candidate(tokens)
                times.append(time.perf_counter() - start)
    exact_s, int8_s = (min(times[1:]) for times in spent_s)
    return exact_s / int8_s


def is_large(model: nn.Module) -> bool:
    """Return whether matrix products dominate a step of this network."""
    return sum(weight.numel() for weight in model.parameters()) >= LARGE_NETWORK


def choose_cpu_dtype(model: Mem3R) -> str:
    """Return ``int8`` for a large network that gains by it on this processor, else ``float32``."""
    if not (is_large(model) and has_int8()):
        return 'float32'
    gain = measured_int8_gain(model)
    chosen = 'int8' if gain >= _WORTH_IT else 'float32'
    logger.info('dtype auto: %s, as int8 multiplies %.1f times as fast here', chosen, gain)
    return chosen


def choose_gpu_dtype(model: Mem3R) -> torch.dtype:
    """Return the dtype of a network on a GPU: half precision if the network is large."""
    if not is_large(model):
        return torch.float32
    # Emulated bfloat16 is slower than float16.
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    chosen = torch.bfloat16 if has_bfloat16 else torch.float16
    logger.info('dtype auto: %s', str(chosen).removeprefix('torch.'))
    return chosen
