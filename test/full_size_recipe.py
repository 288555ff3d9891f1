# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Weights and images of full size from their names alone, as the recorded runs were made.

Every number is splitmix64 of its index, seeded by the SHA-256 of the tensor's name: nothing of
three gigabytes needs to be stored.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch

from mem3r_ros.model import Mem3R
from mem3r_ros.model.checkpoints.cut3r_names import cut3r_name

# Tensors whose values are the numbers themselves.
_PLAIN = {
    'pose_token',
    'masked_img_token',
    'masked_ray_map_token',
    'pose_retriever.masked_token',
    'pose_retriever.mem',
    'register_tokens.weight',
}
_BLOCK = 1 << 16  # numbers at a time: they stay in the processor's cache


def uniform(name: str, count: int) -> np.ndarray:
    """Return ``count`` float32 numbers in [-1, 1) that belong to a name."""
    seed = np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'little'))
    values = np.empty(count, np.float32)
    step = np.uint64(0x9E3779B97F4A7C15)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        z = np.arange(start + 1, stop + 1, dtype=np.uint64)
        z *= step
        z += seed
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z ^= z >> np.uint64(shift)
            z *= np.uint64(factor)
        z ^= z >> np.uint64(31)
        z >>= np.uint64(40)
        values[start:stop] = z.astype(np.float64) / 2**23 - 1
    return values


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor of one of CUT3R's parameter names."""
    values = torch.from_numpy(uniform(name, math.prod(shape))).reshape(shape)
    if name in _PLAIN:
        return values
    if len(shape) == 1:
        return 1 + 0.2 * values if name.endswith('.weight') else 0.1 * values
    scale = np.float32(np.sqrt(3 / (math.prod(shape) // shape[0])))
    if name.endswith('.head.4.weight'):
        scale *= np.float32(0.2)
    return values * float(scale)


def fill(model: Mem3R) -> None:
    """Give a network, built on the meta device, the weights of the recipe."""
    tensors = {
        name: weight(cut3r_name(name), tuple(tensor.shape))
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(tensors, assign=True)


def image(index: int, height: int, width: int) -> torch.Tensor:
    """Return one frame, [1, 3, H, W] in [-1, 1]."""
    noise = uniform(f'input/{index}', 3 * height * width).astype(np.float64)
    c, y, x = np.meshgrid(np.arange(3), np.arange(height), np.arange(width), indexing='ij')
    waves = np.sin(0.05 * x * (c + 1) + 0.03 * y * (index + 1) + c)
    pixels = 0.7 * waves + 0.3 * noise.reshape(3, height, width)
    return torch.from_numpy(pixels.clip(-1, 1).astype(np.float32))[None]
