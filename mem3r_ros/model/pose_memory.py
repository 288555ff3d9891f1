# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Camera memory: predicts the pose token of a frame from those of earlier frames.

:class:`LocalMemory` is CUT3R's (arXiv 2501.12387): slots that two small decoders read and write.
:class:`TrackingMemory` is Mem3R's (arXiv 2604.07279): an MLP whose weights are the memory, trained
by one step of gradient ascent on each frame (test-time training, arXiv 2407.04620). Both map the
pooled image token to a prior pose token before the decoder, and learn from the posterior pose
token after it.
"""

# B streams, E encoder width, C decoder width, M slots, H heads, D head width

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.layers import DecoderBlock


class SlotReadOut(NamedTuple):
    """The read-out of the slots, kept for the update of the same frame."""

    prior: Tensor  # [B, 1, C] prior pose token
    query: Tensor  # [B, 1, C]


class LocalMemory(nn.Module):
    """CUT3R's pose memory: M slots of width 2C (key part, value part)."""

    def __init__(self, config: ModelConfig) -> None:
        """Create the initial slots, the query and the read and write blocks."""
        super().__init__()
        width = 2 * config.dec_embed_dim
        self.slots = nn.Parameter(torch.randn(1, config.local_mem_size, width) * 0.2)
        self.masked_value = nn.Parameter(torch.randn(1, 1, config.dec_embed_dim) * 0.2)
        self.query = nn.Linear(config.enc_embed_dim, config.dec_embed_dim)
        self.write_blocks, self.read_blocks = (
            nn.ModuleList(
                DecoderBlock(width, config.dec_num_heads, config.mlp_ratio, config.norm_eps)
                for _ in range(config.retriever_depth)
            )
            for _ in range(2)
        )

    def initial(self, batch_size: int) -> Tensor:
        """Return the slots before the first frame, [B, M, 2C]."""
        return self.slots.float().expand(batch_size, -1, -1).clone()

    def read(self, pooled: Tensor, slots: Tensor) -> SlotReadOut:
        """
        Predict the pose token of a frame from the slots.

        :param pooled: mean image token, [B, E].
        :param slots: [B, M, 2C].
        """
        query = self.query(pooled)[:, None]
        entry = torch.cat((query, self.masked_value.expand_as(query)), dim=-1)
        slots = slots.to(query.dtype)
        for block in self.read_blocks:
            entry = block(entry, slots)
        return SlotReadOut(entry[..., query.shape[-1] :], query)

    def update(self, slots: Tensor, read: SlotReadOut, posterior: Tensor) -> Tensor:
        """
        Store the decoder's pose token under the query.

        :param slots: before the frame, [B, M, 2C].
        :param posterior: pose token after the decoder, [B, 1, C].
        :return: slots after the frame, float32 [B, M, 2C].
        """
        entry = torch.cat((read.query, posterior), dim=-1)
        written = slots.to(entry.dtype)
        for block in self.write_blocks:
            written = block(written, entry)
        return written.float()


class FastReadOut(NamedTuple):
    """The read-out of the fast weights, kept for the update of the same frame."""

    prior: Tensor  # [B, 1, C] prior pose token
    query: Tensor  # [B, H, D] unit length
    gate_input: Tensor  # [B, H, D] a = W1 q
    linear: Tensor  # [B, H, D] b = W3 q
    hidden: Tensor  # [B, H, D] u = SiLU(a) * b
    inverse_rms: Tensor | float  # [B, H, 1] of y = W2 u; 1 without the norm
    normed: Tensor  # [B, H, D] n = y / rms(y)
    learning_rate: Tensor  # [B, H, 3]
    keep: Tensor  # [B, H], alpha


class TrackingMemory(nn.Module):
    """
    Mem3R's fast-weight MLP, read before and trained after each frame.

    All of it runs in float32, because updates are a thousandth of the weights.
    """

    EPSILON = 1e-12

    def __init__(self, config: ModelConfig) -> None:
        """Create the slow weights and the initial fast weights W_0."""
        super().__init__()
        width, heads = config.dec_embed_dim, config.fast_num_heads
        self.num_heads = heads
        self.decay_limit = config.fast_decay_limit
        self.query_norm = config.fast_query_norm
        self.output_norm = config.fast_output_norm
        self.detach_posterior = config.fast_detach_posterior
        head_dim = width // heads
        self.query = nn.Linear(config.enc_embed_dim, width)
        # Order of the matrices: W1 (gate), W2 (output), W3 (linear). The scale is 1/sqrt(D): 1/8
        # for the published D = 64.
        self.initial_weights = nn.Parameter(
            torch.randn(3, heads, head_dim, head_dim) / math.sqrt(head_dim)
        )
        self.output = nn.Linear(width, width)
        self.learning_rate = nn.Linear(width, 3 * heads)
        self.decay = nn.Linear(width, heads)
        self._initial_rate = config.fast_learning_rate
        self.reset_slow_weights()

    @torch.no_grad()
    def reset_slow_weights(self) -> None:
        """Initialise an identity output, a constant small learning rate and half the decay."""
        nn.init.eye_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        nn.init.zeros_(self.learning_rate.weight)
        # softplus(c) = rate; expm1 keeps it exact for small rates.
        nn.init.constant_(self.learning_rate.bias, math.log(math.expm1(self._initial_rate)))
        nn.init.zeros_(self.decay.weight)
        nn.init.zeros_(self.decay.bias)

    def initial(self, batch_size: int) -> Tensor:
        """Return W_0 for each stream, float32 [B, 3, H, D, D]."""
        return self.initial_weights.float().expand(batch_size, -1, -1, -1, -1).clone()

    def read(self, pooled: Tensor, weights: Tensor) -> FastReadOut:
        """
        Predict the pose token of a frame from the fast weights (Mem3R, read equation).

        :param pooled: mean image token, [B, E].
        :param weights: fast weights, float32 [B, 3, H, D, D].
        """
        with _float32(pooled):
            return self._read(pooled, weights)

    def _read(self, pooled: Tensor, weights: Tensor) -> FastReadOut:
        z = _linear_float32(self.query, pooled)
        query = self._unit_query(z)
        w1, w2, w3 = weights.unbind(1)
        a, b = _apply(w1, query), _apply(w3, query)
        u = F.silu(a) * b
        y = _apply(w2, u)
        mean_square = y.square().mean(-1, keepdim=True)
        inverse_rms = torch.rsqrt(mean_square + self.EPSILON) if self.output_norm else 1.0
        normed = y * inverse_rms
        prior = _linear_float32(self.output, normed.flatten(1))
        rates = F.softplus(_linear_float32(self.learning_rate, z))
        keep = 1 - self.decay_limit * torch.sigmoid(_linear_float32(self.decay, z))
        return FastReadOut(
            prior=prior[:, None],
            query=query,
            gate_input=a,
            linear=b,
            hidden=u,
            inverse_rms=inverse_rms,
            normed=normed,
            learning_rate=rates.unflatten(-1, (self.num_heads, 3)),
            keep=keep,
        )

    def _unit_query(self, z: Tensor) -> Tensor:
        heads = (self.num_heads, -1)
        if self.query_norm == 'token':
            return F.normalize(z, dim=-1, eps=self.EPSILON).unflatten(-1, heads)
        return F.normalize(z.unflatten(-1, heads), dim=-1, eps=self.EPSILON)

    def update(self, weights: Tensor, read: FastReadOut, posterior: Tensor) -> Tensor:
        """
        Train the read-out towards the pose token of the decoder (Mem3R, test-time update).

        W_i <- alpha_h W_i + eta_{h,i} dL/dW_i with L = <prior, posterior>, in closed form, so that
        training can differentiate through it.

        :param weights: fast weights before the frame, [B, 3, H, D, D].
        :param posterior: pose token after the decoder, [B, 1, C].
        :return: fast weights after the frame, [B, 3, H, D, D].
        """
        rate = read.learning_rate.transpose(1, 2)[..., None, None]  # [B, 3, H, 1, 1]
        keep = read.keep[:, None, :, None, None]
        with _float32(weights):
            return keep * weights + rate * self.gradient(weights, read, posterior)

    def gradient(self, weights: Tensor, read: FastReadOut, posterior: Tensor) -> Tensor:
        """Return dL/dW for L = <prior, posterior>, [B, 3, H, D, D]."""
        posterior = posterior.detach() if self.detach_posterior else posterior
        target = posterior.float()[:, 0] @ self.output.weight.float()
        v = target.unflatten(-1, (self.num_heads, -1))
        n = read.normed
        dy = v
        if self.output_norm:
            dy = (v - n * (n * v).mean(-1, keepdim=True)) * read.inverse_rms
        du = _apply(weights[:, 1].transpose(-1, -2), dy)
        sigmoid = torch.sigmoid(read.gate_input)
        silu_slope = sigmoid * (1 + read.gate_input * (1 - sigmoid))
        d_gate = du * read.linear * silu_slope
        d_linear = du * F.silu(read.gate_input)
        return torch.stack(
            (_outer(d_gate, read.query), _outer(dy, read.hidden), _outer(d_linear, read.query)),
            dim=1,
        )


ReadOut = SlotReadOut | FastReadOut


def pose_memory(config: ModelConfig) -> LocalMemory | TrackingMemory:
    """Return the camera memory that the configuration names."""
    return {'local': LocalMemory, 'fast_weights': TrackingMemory}[config.pose_memory](config)


def _float32(tensor: Tensor) -> torch.autocast:
    """Disable autocast: updates of the fast weights are below the resolution of bfloat16."""
    return torch.autocast(tensor.device.type, enabled=False)


def _linear_float32(layer: nn.Linear, value: Tensor) -> Tensor:
    return F.linear(value.float(), layer.weight.float(), layer.bias.float())


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply [B, H, D, D] by [B, H, D]."""
    return (matrices @ vectors[..., None])[..., 0]


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return left[..., :, None] * right[..., None, :]
