# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Channel-wise gate of the mapping memory (Mem3R, arXiv 2604.07279)."""

# B streams, S state tokens, C state width, E encoder width

from __future__ import annotations

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from mem3r_ros.model.config import ModelConfig


class StateGate(nn.Module):
    """Predict how much of the candidate each channel of each state token takes."""

    def __init__(self, config: ModelConfig) -> None:
        """Create the MLP over [state token ; mean image token]; the gate starts nearly open."""
        super().__init__()
        self.fc1 = nn.Linear(config.dec_embed_dim + config.enc_embed_dim, config.state_gate_dim)
        self.fc2 = nn.Linear(config.state_gate_dim, config.dec_embed_dim)
        self._bias = config.state_gate_bias
        self.reset_output()

    @torch.no_grad()
    def reset_output(self) -> None:
        """Make the gate a constant, nearly open."""
        nn.init.zeros_(self.fc2.weight)
        nn.init.constant_(self.fc2.bias, self._bias)

    def forward(self, state: Tensor, pooled: Tensor) -> Tensor:
        """
        Compute the gate of one frame.

        :param state: state tokens before the frame, [B, S, C].
        :param pooled: mean image token, [B, E].
        :return: in (0, 1), float32 [B, S, C].
        """
        width = state.shape[-1]
        # fc1 without building the concatenation: the image part is equal for all tokens.
        state_part, image_part = self.fc1.weight.split((width, pooled.shape[-1]), dim=1)
        hidden = F.linear(state.to(state_part.dtype), state_part, self.fc1.bias)
        hidden = hidden + F.linear(pooled.to(image_part.dtype), image_part)[:, None]
        return torch.sigmoid(self.fc2(F.gelu(hidden)).float())
