# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Procedural textures, each defined by a number.

Noise with a power-law spectrum and occluding shapes with power-law sizes ("dead leaves") are the
two classic models of natural image statistics. Wood, bricks, print, books, screens and facades
represent man-made surfaces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from torch import Tensor

from mem3r_ros.worlds.mipmaps import SIDE, pack

Rng = np.random.Generator
Colour = np.ndarray  # RGB in 0 .. 255, float [3]
Picture = np.ndarray  # RGB in 0 .. 255, float [SIDE, SIDE, 3]


def noise(rng: Rng, exponent: float, channels: int = 1, stretch: float = 1.0) -> np.ndarray:
    """
    Return periodic noise whose amplitude falls as 1 / frequency**exponent.

    :param stretch: ratio of the grain size along rows to that across rows.
    :return: zero mean, unit variance, [SIDE, SIDE, channels].
    """
    fy = np.fft.fftfreq(SIDE)[:, None]
    fx = np.fft.rfftfreq(SIDE)[None] * stretch
    radius = np.sqrt(fx * fx + fy * fy)
    radius[0, 0] = 1.0
    amplitude = (radius**-exponent).astype(np.float32)
    amplitude[0, 0] = 0.0
    white = rng.standard_normal((channels, SIDE, SIDE), dtype=np.float32)
    grains = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(SIDE, SIDE))
    grains /= grains.std(axis=(1, 2), keepdims=True) + 1e-9
    return grains.transpose(1, 2, 0).astype(np.float32)


def colour(rng: Rng, low: float = 5, high: float = 250, saturation: float = 0.35) -> Colour:
    """Return a colour between two brightnesses; most are greyish, some are vivid."""
    value = low + (high - low) * rng.beta(1.3, 1.2)
    chroma = rng.normal(0, 1, 3) * saturation * rng.uniform(0, 1) ** 1.5 * 140
    return np.clip(value + chroma - chroma.mean(), 3, 252)


def flat(shade: Colour) -> Picture:
    """Return an image of one colour to draw on."""
    return np.ascontiguousarray(np.broadcast_to(shade, (SIDE, SIDE, 3)), dtype=np.float32)


def grain(rng: Rng, picture: Picture, low: float, high: float) -> Picture:
    """Add noise with a standard deviation between two levels."""
    uneven = noise(rng, rng.uniform(0.4, 1.3))
    return picture + rng.uniform(low, high) * uneven


def mixed(rng: Rng, exponent: float, contrast: float, stretch: float = 1.0) -> Picture:
    """Return noise between two random colours."""
    weight = 0.5 + contrast * noise(rng, exponent, 1, stretch)
    first, second = colour(rng), colour(rng)
    return first + (second - first) * weight


def fill(picture: Picture, corners: np.ndarray, shade: Colour) -> None:
    """Fill a convex polygon [N, 2]; drawn to a sixteenth of a texel."""
    points = np.round(corners * 16).astype(np.int32)
    cv2.fillConvexPoly(picture, points, [float(c) for c in shade], cv2.LINE_AA, 4)


def leaves(rng: Rng, picture: Picture, count: int, smallest: float, largest: float) -> None:
    """Draw shapes with power-law sizes onto an image; later ones occlude earlier ones."""
    palette = [colour(rng, 5, 250, 0.6) for _ in range(int(rng.integers(3, 12)))]
    round_share, own_shade = rng.random(), rng.uniform(0, 25)
    radii = np.minimum(
        smallest / np.sqrt(rng.uniform((smallest / largest) ** 2, 1, count)), largest
    )
    corner_counts = rng.integers(3, 6, count)
    for radius, corner_count in zip(radii, corner_counts, strict=True):
        shade = palette[int(rng.integers(len(palette)))] + rng.normal(0, own_shade)
        centre = rng.uniform(0, SIDE, 2)
        if rng.random() < round_share:
            turns = np.linspace(0, 2 * np.pi, 15)[:-1]
        else:
            turns = np.linspace(0, 2 * np.pi, corner_count + 1)[:-1] + rng.uniform(0, 6)
        outline = np.stack([np.cos(turns), rng.uniform(0.3, 1.0) * np.sin(turns)], axis=1)
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        outline = centre + radius * outline @ turn
        for shift_x in (-SIDE, 0, SIDE):  # so that the texture is periodic
            for shift_y in (-SIDE, 0, SIDE):
                x, y = centre[0] + shift_x, centre[1] + shift_y
                if -radius < x < SIDE + radius and -radius < y < SIDE + radius:
                    fill(picture, outline + [shift_x, shift_y], shade)


def print_rows(rng: Rng, picture: Picture, box: tuple[int, int, int, int], ink: Colour) -> None:
    """Print rows of random glyphs into a box (left, top, right, bottom)."""
    left, y, right, bottom = box
    while y < bottom - 8:
        scale = int(rng.choice([1, 2, 3, 5, 8], p=[0.35, 0.3, 0.15, 0.12, 0.08]))
        x = left + int(rng.integers(0, 30))
        end = right - int(rng.integers(0, 60))
        while x + 6 * scale < end and y + 7 * scale < bottom:
            glyph = np.kron(rng.random((7, 5)) < 0.5, np.ones((scale, scale), bool))
            if rng.random() < 0.85:  # else a blank between words
                picture[y : y + 7 * scale, x : x + 5 * scale][glyph] = ink
            x += 6 * scale
        y += int(scale * rng.uniform(8, 13)) + 1


def wall(rng: Rng) -> Picture:
    """Paint plaster: nearly uniform, mostly bright."""
    base = colour(rng, 90, 245, 0.25 if rng.random() < 0.7 else 0.9)
    return flat(base) + rng.uniform(0.8, 5.0) * noise(rng, rng.uniform(0.3, 1.5))


def tiles(rng: Rng) -> Picture:
    """Paint bricks, tiles or panels with joints."""
    rows = 2 ** int(rng.integers(1, 5))
    columns = 2 ** int(rng.integers(1, 5))
    height, width = SIDE // rows, SIDE // columns
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    x = (x + (y // height % 2) * (width // 2) * int(rng.integers(2))) % SIDE
    gap = int(rng.integers(2, 6))
    joint = (x % width < gap) | (y % height < gap)
    tone = rng.normal(0, rng.uniform(1, 25), (rows, columns))[y // height, x // width]
    picture = np.where(
        joint[..., None], colour(rng, saturation=0.1), colour(rng, 30, 245) + tone[..., None]
    )
    return grain(rng, picture, 2, 12)


def wood(rng: Rng) -> Picture:
    """Paint planks."""
    base = np.array([1.0, rng.uniform(0.68, 0.88), rng.uniform(0.4, 0.75)])
    base = base * rng.uniform(60, 235)
    fibres = noise(rng, rng.uniform(0.7, 1.2), 1, rng.uniform(6, 20))
    clouds = noise(rng, 1.5, 1, 3.0)
    picture = base * (1 + rng.uniform(0.03, 0.14) * fibres + rng.uniform(0, 0.1) * clouds)
    planks = 2 ** int(rng.integers(0, 4))
    rows = np.arange(SIDE) * planks // SIDE
    picture = picture * (1 + rng.normal(0, 0.07, planks))[rows][:, None, None]
    if planks > 1:
        picture[:: SIDE // planks] *= 0.55
    return picture


def floor(rng: Rng) -> Picture:
    """Paint carpet, concrete or stone."""
    base = colour(rng, 25, 200, 0.25)
    speckle = noise(rng, rng.uniform(0.0, 0.8))
    stains = noise(rng, rng.uniform(1.2, 1.8))
    return flat(base) * (1 + rng.uniform(0.03, 0.2) * speckle + rng.uniform(0.02, 0.15) * stains)


def photograph(rng: Rng) -> Picture:
    """Paint an image like a photograph: layers of shapes, light and grain."""
    picture = np.ascontiguousarray(mixed(rng, rng.uniform(1.0, 1.6), 0.25), dtype=np.float32)
    leaves(rng, picture, int(rng.integers(20, 160)), rng.uniform(2, 7), rng.uniform(30, 100))
    light = 1 + rng.uniform(0.05, 0.3) * noise(rng, 1.6)
    return grain(rng, picture * light, 2, 14)


def poster(rng: Rng) -> Picture:
    """Paint a printed page: paper, rows of print, a picture."""
    paper = colour(rng, 120, 252, 0.2 if rng.random() < 0.6 else 1.2)
    picture = flat(paper)
    ink = colour(rng, 5, 90, 0.6) if rng.random() < 0.8 else colour(rng, 100, 250)
    print_rows(rng, picture, (8, int(rng.integers(6, 40)), SIDE - 8, SIDE - 8), ink)
    for _ in range(int(rng.integers(0, 3))):
        left, top = rng.integers(0, SIDE // 2, 2)
        right, bottom = np.minimum([left, top] + rng.integers(50, 200, 2), SIDE - 6)
        inset = photograph(rng) if rng.random() < 0.6 else flat(colour(rng, saturation=0.8))
        picture[top:bottom, left:right] = inset[top:bottom, left:right]
    if rng.random() < 0.4:
        edge = int(rng.integers(2, 12))
        cv2.rectangle(picture, (0, 0), (SIDE - 1, SIDE - 1), [float(c) for c in ink], edge)
    return grain(rng, picture, 0.5, 5)


def books(rng: Rng) -> Picture:
    """Paint shelves of books."""
    picture = flat(np.full(3, rng.uniform(8, 60)))
    shelves = int(rng.integers(1, 4))
    height = SIDE // shelves
    board = colour(rng, 40, 230, 0.3)
    for shelf in range(shelves):
        bottom, x = (shelf + 1) * height - 4, 0
        while x < SIDE:
            width = int(rng.integers(5, 26))
            top = bottom - int(height * rng.uniform(0.55, 0.95))
            picture[top:bottom, x : x + width - 1] = colour(rng, saturation=0.6)
            for _ in range(int(rng.integers(0, 4))):
                mark = int(rng.integers(top, bottom))
                picture[mark : mark + int(rng.integers(1, 12)), x + 1 : x + width - 2] = colour(
                    rng
                )
            x += width if rng.random() < 0.93 else width + int(rng.integers(8, 30))
        picture[bottom : bottom + 5] = board
    return grain(rng, picture, 1, 7)


def screen(rng: Rng) -> Picture:
    """Paint a display or a panel of keys in its frame."""
    picture = flat(colour(rng, 5, 70, 0.2))
    if rng.random() < 0.5:  # windows on a desktop
        picture[10:-10, 10:-10] = colour(rng, 10, 230, 0.8)
        for _ in range(int(rng.integers(0, 4))):
            left, top = rng.integers(12, 150, 2)
            right, bottom = np.minimum([left, top] + rng.integers(40, 150, 2), SIDE - 12)
            picture[top:bottom, left:right] = colour(rng, 60, 250, 0.3)
            print_rows(rng, picture, (left, top + 4, right, bottom), colour(rng, 5, 120))
    else:  # keys
        rows, columns = int(rng.integers(4, 8)), int(rng.integers(6, 18))
        y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE * [[[rows]], [[columns]]]
        key = (np.abs(y % 1 - 0.5) < 0.38) & (np.abs(x % 1 - 0.5) < 0.36)
        tone = rng.normal(0, 8, (rows, columns))[y.astype(int), x.astype(int)]
        picture = np.where(key[..., None], colour(rng, 15, 240, 0.1) + tone[..., None], picture)
    return grain(rng, picture, 0.5, 4)


def fabric(rng: Rng) -> Picture:
    """Paint cloth, marble or camouflage: noise between two colours, sometimes in bands."""
    picture = mixed(rng, rng.uniform(0.5, 1.6), rng.uniform(0.1, 0.35), rng.uniform(0.5, 2))
    if rng.random() < 0.3:
        step = rng.uniform(25, 70)
        picture = 0.7 * step * np.round(picture / step) + 0.3 * picture
    return grain(rng, picture, 0.5, 8)


def pattern(rng: Rng) -> Picture:
    """Paint checks, stripes or dots."""
    kind = rng.random()
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    if kind < 0.35:
        cells = 2 ** int(rng.integers(1, 5))
        weight = (np.floor(x * cells) + np.floor(y * cells)) % 2
    elif kind < 0.7:
        edges = np.sort(rng.uniform(0, 1, int(rng.integers(4, 30))))
        weight = rng.random(len(edges) + 1)[np.searchsorted(edges, x if kind < 0.55 else y)]
    else:
        cells = 2 ** int(rng.integers(2, 5))
        distance = np.hypot(x * cells % 1 - 0.5, y * cells % 1 - 0.5)
        weight = np.clip((rng.uniform(0.15, 0.45) - distance) * 12 + 0.5, 0, 1)
    first, second = colour(rng, saturation=0.6), colour(rng, saturation=0.6)
    return grain(rng, first + (second - first) * weight[..., None], 1, 10)


def plastic(rng: Rng) -> Picture:
    """Paint enamel, metal or plastic: one colour with little grain."""
    return flat(colour(rng, 8, 245, 1.0)) + rng.uniform(0.3, 2.5) * noise(rng, 1.2)


def facade(rng: Rng) -> Picture:
    """Paint a storey of a house with its windows."""
    base = colour(rng, 60, 245, 0.35)
    picture = grain(rng, flat(base), 1, 7)
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    height, width = SIDE / rows, SIDE / columns
    share, tall = rng.uniform(0.3, 0.75), rng.uniform(0.4, 0.75)
    glass, frame = colour(rng, 5, 120, 0.3), colour(rng, 60, 250, 0.2)
    for row in range(rows):
        for column in range(columns):
            left = int((column + 0.5 - share / 2) * width)
            right = int((column + 0.5 + share / 2) * width)
            top = int((row + 0.55 - tall / 2) * height)
            bottom = int((row + 0.55 + tall / 2) * height)
            picture[top - 3 : bottom + 5, left - 3 : right + 3] = frame
            picture[top:bottom, left:right] = glass * rng.uniform(0.5, 1.6)
            picture[top:bottom, (left + right) // 2 - 1 : (left + right) // 2 + 2] = frame
            if rng.random() < 0.3:  # blinds or curtains
                picture[top : (top + bottom) // 2, left:right] = colour(rng, 100, 245, 0.2)
    if rng.random() < 0.5:
        picture[int(rng.integers(0, 12)) :: SIDE // 2][:3] *= rng.uniform(0.6, 1.2)
    return grain(rng, picture, 1, 5)


def asphalt(rng: Rng) -> Picture:
    """Paint a road: fine grain, patches and cracks."""
    base = flat(colour(rng, 45, 150, 0.06))
    patches = np.round(noise(rng, 1.7) * 1.2) * rng.uniform(0, 0.08)
    cracks = np.abs(noise(rng, 1.3)) < rng.uniform(0.002, 0.03)
    picture = base * (1 + rng.uniform(0.05, 0.18) * noise(rng, 0.3) + patches)
    return np.where(cracks, picture * 0.6, picture)


def grass(rng: Rng) -> Picture:
    """Paint lawn, soil or gravel."""
    green = np.array([rng.uniform(0.6, 1.05), 1.0, rng.uniform(0.3, 0.8)]) * rng.uniform(50, 150)
    if rng.random() < 0.35:
        green = colour(rng, 60, 180, 0.15)
    blades = noise(rng, rng.uniform(0.0, 0.5))
    clumps = noise(rng, rng.uniform(0.9, 1.5))
    return flat(green) * (1 + rng.uniform(0.1, 0.3) * blades + rng.uniform(0.08, 0.25) * clumps)


def foliage(rng: Rng) -> Picture:
    """Paint leaves with light between them."""
    green = np.array([rng.uniform(0.5, 1.1), 1.0, rng.uniform(0.25, 0.7)]) * rng.uniform(40, 140)
    clumps = noise(rng, rng.uniform(0.8, 1.2))
    depth = np.tanh(rng.uniform(0.8, 2.0) * clumps)
    picture = flat(green) * np.clip(1 + 0.6 * depth + 0.2 * noise(rng, 0.2), 0.1, 2.4)
    return picture + rng.uniform(0, 25) * np.clip(noise(rng, 0.9, 3), 1.0, 2.5)


def clouds(rng: Rng) -> Picture:
    """Paint the clouds of the sky: black is blue sky, white is cloud."""
    cover = rng.uniform(-1.5, 1.2)
    weight = np.clip(0.5 + 0.45 * (noise(rng, rng.uniform(1.3, 1.7), 1, 2.0) + cover), 0, 1)
    return flat(np.full(3, 250.0)) * weight


PAINTERS: dict[str, Callable[[Rng], Picture]] = {
    painter.__name__: painter
    for painter in (
        wall, tiles, wood, floor, photograph, poster, books, screen, fabric, pattern, plastic,
        facade, asphalt, grass, foliage, clouds,
    )
}  # fmt: skip
_KINDS = tuple(PAINTERS)
_STRIDE = 1 << 20  # the numbers of a kind are consecutive; kinds do not overlap


def texture_number(kind: str, variant: int) -> int:
    """Return the number of a variant of a kind of surface."""
    return _KINDS.index(kind) * _STRIDE + variant


@lru_cache(maxsize=2048)
def texture(number: int) -> Tensor:
    """
    Return one texture with all its mip levels.

    :param number: from ``texture_number``; equal numbers give equal textures.
    :return: packed RGB0 texels of all levels, int32 [TEXELS].
    """
    kind = _KINDS[number // _STRIDE]
    return pack(PAINTERS[kind](np.random.default_rng((2026, number))))
