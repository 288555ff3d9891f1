# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of the rendered worlds: kinds, camera paths and effects of the camera."""

from __future__ import annotations

from mem3r_ros.config import section, setting, settings
from mem3r_ros.errors import UserError

WORLD_KINDS = ('room', 'desk', 'corridor', 'hall', 'street', 'yard', 'abstract')
PATH_KINDS = ('handheld', 'orbit', 'rotate', 'walk', 'drive', 'drone')


@settings
class WorldWeights:
    """Relative frequency of each kind of world."""

    room: float = setting(0.28, 'furnished room', low=0.0)
    desk: float = setting(0.22, 'table with many small objects, close to the camera', low=0.0)
    corridor: float = setting(0.1, 'corridor with doors', low=0.0)
    hall: float = setting(0.1, 'large hall with pillars and crates', low=0.0)
    street: float = setting(0.15, 'street with facades, cars and trees', low=0.0)
    yard: float = setting(0.07, 'open ground with houses and trees', low=0.0)
    abstract: float = setting(0.08, 'floating bodies', low=0.0)

    def check(self) -> None:
        """Refuse weights that are all 0."""
        if sum(getattr(self, kind) for kind in WORLD_KINDS) <= 0:
            raise UserError('all weights of worlds are 0; make at least one of them positive')


@settings
class WorldConfig:
    """Seed and mixture of the rendered worlds; equal values give equal clips."""

    seed: int = setting(0, 'seed; different seeds give different worlds', low=0)
    world: str = setting('mixture', 'kind of all worlds', choices=('mixture', *WORLD_KINDS))
    path: str = setting('mixture', 'kind of all camera paths', choices=('mixture', *PATH_KINDS))
    weights: WorldWeights = section(WorldWeights)
    wide_share: float = setting(
        0.0,
        'share of the worlds beyond the ordinary range: objects from 0.15 m on, closets to '
        'hangars, cameras 0.15 to 40 m above the ground, fields of view of 40 to 120 degrees',
        low=0.0,
        high=1.0,
    )
    plain_share: float = setting(
        0.0, 'share of the worlds in which most surfaces have one plain colour', low=0.0, high=1.0
    )
    speed_factor: float = setting(
        1.0, 'factor on the motion of the camera between two frames', low=0.0
    )
    moving_share: float = setting(
        0.25, 'share of the worlds with moving objects', low=0.0, high=1.0
    )
    grey_share: float = setting(0.12, 'share of the clips in grey', low=0.0, high=1.0)
    motion_blur_share: float = setting(
        0.2, 'share of the clips with motion blur', low=0.0, high=1.0
    )
    rolling_share: float = setting(
        0.12, 'share of the clips with a rolling shutter', low=0.0, high=1.0
    )
    auto_exposure: bool = setting(True, 'expose the first frame for medium grey')
    drift: float = setting(
        1.0, 'factor on the drift of exposure and white balance; 0 = none', low=0.0
    )
    exposure_jump_share: float = setting(
        0.0, 'share of the clips with sudden changes of the exposure', low=0.0, high=1.0
    )
    noise: float = setting(1.0, 'factor on the noise of the camera; 0 = none', low=0.0)
    textures_per_kind: int = setting(24, 'number of textures for each kind of surface', low=1)
