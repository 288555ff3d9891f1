# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Large linear layers in 8-bit integers, for processors with VNNI or AMX.

Weights have one scale per output channel and are converted once. Activations have one scale per
token, taken from the token itself in each step (dynamic quantisation with vector-wise scales,
LLM.int8(), arXiv 2208.07339, section 2.1). A token of one stream therefore does not change the
resolution of another stream, and a value that is not finite stays in its token.

Only the attention and MLP layers of image encoder, decoders and world head change. Camera memory,
state gate and pose head keep float32, because their results accumulate over frames.
"""

# N tokens, I inputs, O outputs

from __future__ import annotations

from collections.abc import Iterator
import warnings

import torch
from torch import Tensor, nn

from mem3r_ros.errors import UserError
from mem3r_ros.model.layers import CrossAttention, Mlp, SelfAttention
from mem3r_ros.model.processor import multiplies_int8

MIN_WEIGHTS = 256 * 256  # smaller layers lose more to the conversion than they gain
_ENGINE = 'onednn'
PLACES = ('image_encoder.', 'ray_encoder.', 'decoder.', 'predictor.world_blocks.')
_PARENTS = (SelfAttention, CrossAttention, Mlp)
_LARGEST = 127
_SMALLEST_SCALE = 1e-30  # of a token of zeros


class Int8Linear(nn.Module):
    """A linear layer with int8 weights; inputs and outputs are float32."""

    def __init__(self, layer: nn.Linear) -> None:
        """Convert the weights of a float32 layer."""
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=_SMALLEST_SCALE) / _LARGEST
        zero = torch.zeros(len(scale), dtype=torch.int64)
        with warnings.catch_warnings():
            # torch announces the end of int8 tensors; until then only they can be packed.
            warnings.simplefilter('ignore')
            quantised = torch.quantize_per_channel(weight, scale.double(), zero, 0, torch.qint8)
        # The engine is chosen when weights are packed; packed weights keep it.
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = _ENGINE
        try:
            self._packed = torch.ops.quantized.linear_prepack(quantised, None)
        finally:
            torch.backends.quantized.engine = before
        self.bias = None if layer.bias is None else layer.bias.detach().float().clone()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [..., I] to [..., O]."""
        # Two passes that write nothing are faster than the magnitude of each value.
        largest, smallest = tokens.amax(dim=-1, keepdim=True), tokens.amin(dim=-1, keepdim=True)
        scale = torch.maximum(largest, smallest.neg_()).clamp_(min=_SMALLEST_SCALE)
        result = torch.ops.quantized.linear_dynamic(tokens / scale, self._packed)
        if self.bias is None:
            return result.mul_(scale)
        return torch.addcmul(self.bias, result, scale, out=result)


def has_int8() -> bool:
    """Return whether int8 layers run here: in the processor's hardware and in this torch."""
    has_operator = hasattr(torch.ops.quantized, 'linear_dynamic')
    return (
        multiplies_int8()
        and has_operator
        and _ENGINE in torch.backends.quantized.supported_engines
    )


def large_linear_layers(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Yield parent, name in it, and layer, of every layer that int8 may replace."""
    for path, parent in model.named_modules():
        if not (
            path.startswith(PLACES) and isinstance(parent, SelfAttention | CrossAttention | Mlp)
        ):
            continue
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Linear) and layer.weight.numel() >= MIN_WEIGHTS:
                yield parent, name, layer


def convert_linear_layers(model: nn.Module) -> int:
    """
    Replace the large linear layers of a float32 network, which can then only predict.

    :return: the number of layers replaced.
    :raises UserError: the processor or this torch does not compute in int8.
    """
    if not has_int8():
        raise UserError(
            'int8 needs a processor with VNNI or AMX and a torch with oneDNN; set dtype to '
            'float32 or auto'
        )
    found = list(large_linear_layers(model))
    for parent, name, layer in found:
        setattr(parent, name, Int8Linear(layer))
    return len(found)
