# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Linear layers of CUT3R's camera memory in bfloat16, for processors that multiply it.

Inputs and weights are rounded; sums, results and everything between the layers stay float32, so
the slots keep their resolution. The fast weights of Mem3R never use it.
"""

# N tokens, I inputs, O outputs

from __future__ import annotations

from torch import Tensor, nn
import torch.nn.functional as F

from mem3r_ros.model.pose_memory import LocalMemory


class Bfloat16Linear(nn.Module):
    """A linear layer with bfloat16 weights; inputs and outputs are float32."""

    def __init__(self, layer: nn.Linear) -> None:
        """Convert the weights of a float32 layer."""
        super().__init__()
        self.register_buffer('weight', layer.weight.detach().bfloat16())
        self.register_buffer('bias', layer.bias.detach().float())

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [..., I] to [..., O]."""
        return F.linear(tokens.bfloat16(), self.weight).float() + self.bias


def convert_camera_memory(memory: nn.Module) -> int:
    """
    Replace the linear layers of CUT3R's slots, which can then only predict.

    :return: the number of layers replaced; 0 for fast weights.
    """
    if not isinstance(memory, LocalMemory):
        return 0
    found = [
        (parent, name, layer)
        for blocks in (memory.read_blocks, memory.write_blocks)
        for parent in blocks.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.Linear)
    ]
    for parent, name, layer in found:
        setattr(parent, name, Bfloat16Linear(layer))
    return len(found)
