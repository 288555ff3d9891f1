# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What kinds of world are rendered, and how often."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldConfig:
    """Seed and ranges of the rendered worlds; the same values give the same clips anywhere."""

    seed: int = 0
    num_textures: int = 160
    brightness_drift: float = 0.15
    noise: float = 2.0
