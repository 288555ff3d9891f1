# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What kinds of world are rendered, how the camera moves in them, and how often."""

from __future__ import annotations

from mem3r_ros.config import section, setting, settings
from mem3r_ros.errors import UserError

WORLD_KINDS = ('room', 'desk', 'corridor', 'hall', 'street', 'yard', 'abstract')
PATH_KINDS = ('handheld', 'orbit', 'rotate', 'walk', 'drive', 'drone')


@settings
class WorldWeights:
    """How often each kind of world is drawn, relative to the others."""

    room: float = setting(0.28, 'furnished room', low=0.0)
    desk: float = setting(0.22, 'table full of small things, seen from near', low=0.0)
    corridor: float = setting(0.1, 'corridor with doors', low=0.0)
    hall: float = setting(0.1, 'large hall with pillars and crates', low=0.0)
    street: float = setting(0.15, 'street with facades, cars and trees', low=0.0)
    yard: float = setting(0.07, 'open ground with houses and trees', low=0.0)
    abstract: float = setting(0.08, 'bodies floating in space', low=0.0)

    def check(self) -> None:
        """Check the limits."""
        if sum(getattr(self, kind) for kind in WORLD_KINDS) <= 0:
            raise UserError('all weights of worlds are 0; make at least one of them positive')


@settings
class WorldConfig:
    """Seed and mixture of the rendered worlds; the same values give the same clips anywhere."""

    seed: int = setting(0, 'worlds of another seed share nothing with these', low=0)
    world: str = setting('mixture', 'kind of every world', choices=('mixture', *WORLD_KINDS))
    path: str = setting('mixture', 'kind of every path', choices=('mixture', *PATH_KINDS))
    weights: WorldWeights = section(WorldWeights)
    speed_factor: float = setting(
        1.0, 'factor on how far the camera moves and turns between two frames', low=0.0
    )
    moving_share: float = setting(
        0.25, 'share of the worlds in which things move', low=0.0, high=1.0
    )
    grey_share: float = setting(0.12, 'share of the clips without colour', low=0.0, high=1.0)
    motion_blur_share: float = setting(
        0.2, 'share of the clips whose frames are exposed for long', low=0.0, high=1.0
    )
    rolling_share: float = setting(
        0.12, 'share of the clips whose rows are read one after the other', low=0.0, high=1.0
    )
    auto_exposure: bool = setting(True, 'whether the camera exposes its first frame for mid-grey')
    drift: float = setting(
        1.0, 'factor on the drift of exposure and white balance; 0 = none', low=0.0
    )
    noise: float = setting(1.0, 'factor on the noise of the camera; 0 = none', low=0.0)
    textures_per_kind: int = setting(
        24, 'how many pictures of each kind of surface there are', low=1
    )
