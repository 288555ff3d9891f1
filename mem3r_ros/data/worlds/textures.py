# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Procedural textures with the statistics of photographs, and their mip-mapped lookup.

Noise with a power-law spectrum and occluding shapes of power-law sizes ("dead leaves") are the two
classic models of natural image statistics; text-like rows, bricks, books and stripes stand for
what people make. Every texture repeats without end and depends on its number alone.
"""

from __future__ import annotations

from functools import lru_cache
import math

import cv2
import numpy as np
import torch
from torch import Tensor

SIDE = 256  # texels along one side of a texture at its finest level
NUM_LEVELS = 9
LEVEL_OFFSETS = tuple(
    sum((SIDE >> finer) ** 2 for finer in range(level)) for level in range(NUM_LEVELS)
)
TEXELS = LEVEL_OFFSETS[-1] + 1  # of all levels of one texture


def _spectral_noise(rng: np.random.Generator, exponent: float, channels: int = 1) -> np.ndarray:
    """Return periodic noise with amplitude 1 / f**exponent, zero mean, unit variance."""
    fy = np.fft.fftfreq(SIDE)[:, None]
    fx = np.fft.rfftfreq(SIDE)[None]
    radius = np.sqrt(fx * fx + fy * fy)
    radius[0, 0] = 1.0
    amplitude = radius**-exponent
    amplitude[0, 0] = 0.0
    white = rng.standard_normal((channels, SIDE, SIDE), dtype=np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(SIDE, SIDE))
    noise /= noise.std(axis=(1, 2), keepdims=True) + 1e-9
    return noise.transpose(1, 2, 0).astype(np.float32)


def _colour(rng: np.random.Generator, saturation: float = 0.35) -> np.ndarray:
    """Return one RGB colour in [0, 255]; most are greyish, some are vivid."""
    value = 255 * rng.beta(1.6, 1.3)
    chroma = rng.normal(0, 1, 3) * saturation * rng.uniform(0, 1) ** 1.5 * 110
    return np.clip(value + chroma - chroma.mean(), 5, 252)


def _blend(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return low + (high - low) * weight


def _noise(rng: np.random.Generator) -> np.ndarray:
    exponent = rng.uniform(0.7, 1.6)
    weight = 0.5 + 0.25 * rng.uniform(0.3, 1.6) * _spectral_noise(rng, exponent)
    if rng.random() < 0.4:  # bands of equal value have sharp borders, like marble or camouflage
        steps = int(rng.integers(2, 6))
        weight = 0.7 * np.round(weight * steps) / steps + 0.3 * weight
    image = _blend(_colour(rng), _colour(rng), weight)
    return image + rng.uniform(0, 14) * _spectral_noise(rng, exponent, 3)


def _plain(rng: np.random.Generator) -> np.ndarray:
    image = np.broadcast_to(_colour(rng, 0.2), (SIDE, SIDE, 3))
    return image + rng.uniform(1.0, 7.0) * _spectral_noise(rng, rng.uniform(0.3, 1.3))


def _shapes(rng: np.random.Generator) -> np.ndarray:
    image = np.ascontiguousarray(np.broadcast_to(_colour(rng), (SIDE, SIDE, 3)), np.float32)
    count = int(rng.integers(60, 260))
    radii = np.clip(4.0 / np.sqrt(rng.uniform(0.002, 1.0, count)), 3, 80)
    palette = [_colour(rng, 0.6) for _ in range(int(rng.integers(3, 14)))]
    round_share = rng.random()
    for radius in np.sort(radii)[::-1] if rng.random() < 0.6 else radii:
        colour = tuple(float(c) for c in palette[int(rng.integers(len(palette)))])
        centre = rng.integers(0, SIDE, 2)
        size = (float(radius * 2), float(radius * rng.uniform(0.3, 2)))
        angle = float(rng.uniform(0, 180))
        is_round = rng.random() < round_share
        for shift_x in (-SIDE, 0, SIDE):
            for shift_y in (-SIDE, 0, SIDE):
                x, y = float(centre[0] + shift_x), float(centre[1] + shift_y)
                if not (-90 < x < SIDE + 90 and -90 < y < SIDE + 90):
                    continue
                if is_round:
                    cv2.ellipse(image, ((x, y), size, angle), colour, -1, cv2.LINE_AA)
                else:
                    corners = cv2.boxPoints(((x, y), size, angle)).astype(np.int32)
                    cv2.fillConvexPoly(image, corners, colour, cv2.LINE_AA)
    return image + rng.uniform(2, 14) * _spectral_noise(rng, rng.uniform(0.4, 1.2))


def _checker(rng: np.random.Generator) -> np.ndarray:
    cells = 2 ** int(rng.integers(1, 5))
    y, x = np.mgrid[0:SIDE, 0:SIDE] * (cells / SIDE)
    parity = (np.floor(x) + np.floor(y)) % 2
    image = _blend(_colour(rng), _colour(rng), parity[..., None])
    return image + rng.uniform(2, 16) * _spectral_noise(rng, rng.uniform(0.5, 1.3))


def _stripes(rng: np.random.Generator) -> np.ndarray:
    image = np.empty((SIDE, SIDE, 3), np.float32)
    palette = [_colour(rng, 0.5) for _ in range(int(rng.integers(2, 6)))]
    position = 0
    while position < SIDE:
        width = int(rng.integers(3, 48))
        image[:, position : position + width] = palette[int(rng.integers(len(palette)))]
        position += width
    if rng.random() < 0.4:
        image = 0.5 * image + 0.5 * image.transpose(1, 0, 2)
    image = image if rng.random() < 0.5 else image.transpose(1, 0, 2)
    return image + rng.uniform(2, 12) * _spectral_noise(rng, rng.uniform(0.5, 1.3))


def _bricks(rng: np.random.Generator) -> np.ndarray:
    rows = 2 ** int(rng.integers(2, 5))
    columns = 2 ** int(rng.integers(1, 4))
    height, width = SIDE // rows, SIDE // columns
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    x = (x + (y // height % 2) * (width // 2) * int(rng.integers(2))) % SIDE
    joint = (x % width < 2 + SIDE // 128) | (y % height < 2 + SIDE // 128)
    tone = rng.normal(0, rng.uniform(2, 25), (rows, columns))[y // height, x // width]
    image = _colour(rng) + tone[..., None]
    image = np.where(joint[..., None], _colour(rng, 0.1), image)
    return image + rng.uniform(3, 14) * _spectral_noise(rng, rng.uniform(0.4, 1.2))


def _poster(rng: np.random.Generator) -> np.ndarray:
    image = _shapes(rng) if rng.random() < 0.4 else _plain(rng)
    image = np.ascontiguousarray(image, np.float32)
    ink = tuple(float(c) for c in _colour(rng, 0.5))
    y = 12
    while y < SIDE - 4:
        scale = int(rng.choice([1, 2, 3, 5, 8], p=[0.25, 0.3, 0.2, 0.15, 0.1]))
        x, indent = int(rng.integers(4, 60)), int(rng.integers(0, 80))
        while x + 6 * scale < SIDE - indent and y + 7 * scale < SIDE:
            glyph = np.kron(rng.random((7, 5)) < 0.5, np.ones((scale, scale), bool))
            if rng.random() < 0.85:  # else a blank between words
                image[y : y + 7 * scale, x : x + 5 * scale][glyph] = ink
            x += 6 * scale
        y += int(scale * rng.uniform(9, 14)) + 1
    if rng.random() < 0.5:
        cv2.rectangle(image, (0, 0), (SIDE - 1, SIDE - 1), ink, int(rng.integers(2, 12)))
    return image


def _books(rng: np.random.Generator) -> np.ndarray:
    image = np.full((SIDE, SIDE, 3), rng.uniform(10, 60), np.float32)
    shelves = int(rng.integers(1, 5))
    height = SIDE // shelves
    for shelf in range(shelves):
        bottom = (shelf + 1) * height - 3
        x = 0
        while x < SIDE:
            width = int(rng.integers(5, 24))
            top = bottom - int(height * rng.uniform(0.55, 0.95))
            colour = _colour(rng, 0.6)
            image[top:bottom, x : x + width - 1] = colour
            for _ in range(int(rng.integers(0, 4))):
                mark = int(rng.integers(top, bottom))
                image[mark : mark + int(rng.integers(1, 12)), x + 1 : x + width - 2] = _colour(rng)
            x += width
        image[bottom : bottom + 4] = _colour(rng, 0.2)
    return image + rng.uniform(1, 8) * _spectral_noise(rng, 0.8)


KINDS = (
    (_noise, 0.2), (_plain, 0.12), (_shapes, 0.25), (_checker, 0.06), (_stripes, 0.08),
    (_bricks, 0.09), (_poster, 0.12), (_books, 0.08),
)


@lru_cache(maxsize=1024)
def texture(number: int) -> Tensor:
    """
    Return one texture with all its mip levels.

    :param number: which texture; the same number gives the same picture.
    :return: packed RGB0 texels of all levels, int32 [TEXELS].
    """
    rng = np.random.default_rng((20260, number))
    weights = np.array([weight for _, weight in KINDS])
    kind = KINDS[int(rng.choice(len(KINDS), p=weights / weights.sum()))][0]
    image = np.clip(kind(rng), 0, 255).astype(np.float32)
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
    Look textures up, bilinear on the nearest mip level.

    :param atlas: textures one after the other, int32 [num * TEXELS].
    :param slot: which texture of the atlas, int64 [P].
    :param s: first texture coordinate in texels of the finest level, [P].
    :param t: second texture coordinate in texels of the finest level, [P].
    :param lod: log2 of the texels of the finest level that one pixel covers, [P].
    :return: colours in [0, 255], float32 [P, 3].
    """
    level = lod.add(0.5).clamp_(0, NUM_LEVELS - 1).to(torch.int32)
    scale = torch.exp2(-level.to(torch.float32))
    side = torch.bitwise_right_shift(torch.full_like(level, SIDE), level)
    s = s * scale - 0.5
    t = t * scale - 0.5
    column, row = torch.floor(s), torch.floor(t)
    fraction_s, fraction_t = (s - column)[:, None], (t - row)[:, None]
    wrap = side - 1
    left, top = column.to(torch.int32), row.to(torch.int32)
    right, bottom = (left + 1) & wrap, (top + 1) & wrap
    left, top = left & wrap, top & wrap
    offsets = torch.tensor(LEVEL_OFFSETS, dtype=torch.int32, device=s.device)
    base = slot * TEXELS + offsets[level]
    top, bottom = base + top * side, base + bottom * side

    def fetch(index: Tensor) -> Tensor:
        return atlas[index].view(torch.uint8).view(-1, 4).to(torch.float32)

    upper = torch.lerp(fetch(top + left), fetch(top + right), fraction_s)
    lower = torch.lerp(fetch(bottom + left), fetch(bottom + right), fraction_s)
    return torch.lerp(upper, lower, fraction_t)[:, :3]


def texels_per_metre(extent_m: float) -> float:
    """Return the density at which one texture spans a length."""
    return SIDE / math.fabs(extent_m)
