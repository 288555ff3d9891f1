# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Packed textures with mip levels, and their lookup."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# P pixels

SIDE = 256  # texels along one side of a texture at its finest level
NUM_LEVELS = 9
LEVEL_OFFSETS = tuple(
    sum((SIDE >> finer) ** 2 for finer in range(level)) for level in range(NUM_LEVELS)
)
TEXELS = LEVEL_OFFSETS[-1] + 1  # of all levels of one texture


def pack(image: np.ndarray) -> Tensor:
    """
    Return an image and its mip levels as packed texels.

    :param image: RGB in 0 .. 255, float [SIDE, SIDE, 3].
    :return: RGB0 of all levels, int32 [TEXELS].
    """
    image = np.clip(image, 0, 255).astype(np.float32)
    levels = []
    for level in range(NUM_LEVELS):
        packed = np.zeros((*image.shape[:2], 4), np.uint8)
        packed[..., :3] = np.round(image)
        levels.append(packed.reshape(-1, 4))
        side = SIDE >> (level + 1)
        if side:
            image = image.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))
    return torch.from_numpy(np.concatenate(levels)).view(torch.int32).reshape(-1)


def sample(atlas: Tensor, slot: Tensor, s: Tensor, t: Tensor, lod: Tensor) -> Tensor:
    """
    Sample textures, bilinear on the nearest mip level, periodically.

    :param atlas: textures one after the other, int32 [num * TEXELS].
    :param slot: index of the texture in the atlas, int32 [P].
    :param s: first texture coordinate in texels of the finest level, [P].
    :param t: second texture coordinate in texels of the finest level, [P].
    :param lod: log2 of the texels of the finest level that one pixel covers, [P].
    :return: colours in 0 .. 255, float32 [3, P].
    """
    level = lod.add(0.5).clamp_(0, NUM_LEVELS - 1).to(torch.int32)
    scale = torch.exp2(-level.to(torch.float32))
    side = torch.bitwise_right_shift(torch.full_like(level, SIDE), level)
    s = (s * scale).sub_(0.5)
    t = (t * scale).sub_(0.5)
    left, top = torch.floor(s), torch.floor(t)
    fraction_s, fraction_t = s.sub_(left), t.sub_(top)
    wrap = side - 1
    left, top = left.to(torch.int32), top.to(torch.int32)
    right, bottom = (left + 1).bitwise_and_(wrap), (top + 1).bitwise_and_(wrap)
    left, top = left.bitwise_and_(wrap), top.bitwise_and_(wrap)
    offsets = torch.tensor(LEVEL_OFFSETS, dtype=torch.int32, device=s.device)
    base = offsets[level].add_(slot * TEXELS)
    top, bottom = top.mul_(side).add_(base), bottom.mul_(side).add_(base)

    # Four packed texels are mixed channel by channel: no copy into float vectors of four.
    corners = [
        atlas.index_select(0, row + column) for row in (top, bottom) for column in (left, right)
    ]
    channels = []
    for shift in (0, 8, 16):
        values = [
            torch.bitwise_and(torch.bitwise_right_shift(corner, shift), 255).to(torch.float32)
            for corner in corners
        ]
        upper = torch.lerp(values[0], values[1], fraction_s)
        lower = torch.lerp(values[2], values[3], fraction_s)
        channels.append(torch.lerp(upper, lower, fraction_t))
    return torch.stack(channels)
