# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Draws the textures and colours of surfaces, and the light of a scene."""

from __future__ import annotations

from copy import copy

import numpy as np

from mem3r_ros.worlds.paths import log_uniform
from mem3r_ros.worlds.scene import Light, Skin
from mem3r_ros.worlds.textures import PAINTERS, texture_number

ODDITY = 0.06  # share of surfaces with a texture of any kind
PLAIN_SHARE = 0.85  # share of the surfaces of a plain world that have one colour
_ANYTHING = tuple(kind for kind in PAINTERS if kind != 'clouds')


class Painter:
    """Makes the skins of one scene; objects of a kind share a few textures."""

    def __init__(
        self, rng: np.random.Generator, textures_per_kind: int, *, is_plain: bool = False
    ) -> None:
        """
        Draw the colourfulness and variety of the scene.

        :param is_plain: whether most surfaces have one plain colour.
        """
        self._rng, self._is_plain = rng, is_plain
        shared = int(rng.integers(2, 6))
        self._chosen = {kind: rng.integers(0, textures_per_kind, shared) for kind in PAINTERS}
        self._vivid = rng.uniform(0.02, 0.15)

    def on(self, rng: np.random.Generator) -> Painter:
        """Return a painter of the same scene that draws from another generator."""
        other = copy(self)
        other._rng = rng
        return other

    def number(self, kind: str) -> int:
        """Return the number of a texture of a kind of surface."""
        if self._rng.random() < ODDITY:
            kind = str(self._rng.choice(_ANYTHING))
        if self._is_plain and kind != 'clouds' and self._rng.random() < PLAIN_SHARE:
            kind = 'plastic'
        return texture_number(kind, int(self._rng.choice(self._chosen[kind])))

    def skin(
        self,
        kind: str,
        period_m: float = 0.0,
        *,
        fit: bool = False,
        gloss: float = 0.0,
        glow: float = 0.0,
        tint: np.ndarray | None = None,
    ) -> Skin:
        """
        Return a skin of one material.

        :param kind: a key of textures.PAINTERS.
        :param period_m: period of the texture.
        :param fit: stretch the texture once over each face instead.
        :param gloss: largest strength of the lamp's reflection; a random share of it is used.
        :param glow: light of its own.
        :param tint: factor on the colours; drawn if None.
        """
        rng = self._rng
        if tint is None:
            tint = (1 + self._vivid * rng.normal(0, 1, 3)) * rng.uniform(0.65, 1.15)
        period = np.zeros(7) if fit else np.full(7, period_m * log_uniform(rng, 0.6, 1.6))
        textures = np.full(7, self.number(kind))
        shine = gloss * rng.random() if rng.random() < 0.6 else 0.0
        return Skin(textures, np.clip(tint, 0.1, 1.4), period, rng.random((7, 2)), shine, glow)

    def faced(self, front: Skin, body: Skin, faces: tuple[int, ...]) -> Skin:
        """Return the skin of a body with a second material on some faces."""
        chosen = np.isin(np.arange(7), faces)
        return Skin(
            np.where(chosen, front.textures, body.textures), front.gain,
            np.where(chosen, front.period_m, body.period_m), body.shift, front.gloss, front.glow,
        )  # fmt: skip

    def anything(self, size_m: float) -> Skin:
        """Return a skin of a random material for a small object."""
        rng = self._rng
        kind = str(rng.choice(
            ['poster', 'photograph', 'fabric', 'pattern', 'plastic', 'wood', 'screen', 'tiles'],
            p=[0.2, 0.16, 0.12, 0.1, 0.27, 0.07, 0.03, 0.05],
        ))  # fmt: skip
        return self.skin(
            kind, size_m * log_uniform(rng, 0.7, 2.0), fit=rng.random() < 0.5, gloss=0.8
        )


def indoor_light(rng: np.random.Generator, lamp_at: np.ndarray, distance_m: float) -> Light:
    """
    Draw the light of a room.

    :param lamp_at: position of the lamp, m, [3].
    :param distance_m: typical distance from the lamp to the surfaces.
    """
    ambient = rng.uniform(0.35, 0.95)
    return Light(
        ambient=ambient,
        upward=rng.uniform(0.0, 0.3),
        sun=rng.uniform(0.0, 0.35),
        towards_sun=_direction(rng, 0.5),
        lamp=(1.1 - ambient) * rng.uniform(0.3, 2.0) * distance_m**2,
        lamp_at=lamp_at,
    )


def outdoor_light(rng: np.random.Generator, painter: Painter) -> Light:
    """Draw daylight."""
    sunny = rng.random() < 0.6
    blue = np.array([rng.uniform(60, 150), rng.uniform(110, 190), rng.uniform(170, 250)])
    grey = np.full(3, rng.uniform(130, 250)) + rng.normal(0, 6, 3)
    above = blue if sunny else grey
    horizon = 0.4 * above + 0.6 * np.array([225, 228, 232]) * rng.uniform(0.75, 1.08)
    return Light(
        ambient=rng.uniform(0.3, 0.6) if sunny else rng.uniform(0.6, 1.0),
        upward=rng.uniform(0.1, 0.35),
        sun=rng.uniform(0.5, 1.1) if sunny else rng.uniform(0.0, 0.15),
        towards_sun=_direction(rng, rng.uniform(0.2, 1.5)),
        lamp=0.0,
        lamp_at=np.array([0.0, 0.0, 1e4]),
        fog_m=log_uniform(rng, 150, 3000),
        sky=np.stack([horizon, above]),
        clouds=painter.number('clouds'),
    )


def _direction(rng: np.random.Generator, rise: float) -> np.ndarray:
    """Return a unit vector into the upper half space, [3]."""
    angle = rng.uniform(0, 2 * np.pi)
    vector = np.array([np.cos(angle), np.sin(angle), rise])
    return vector / np.linalg.norm(vector)
