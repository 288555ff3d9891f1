# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Worlds beyond the ordinary range: sizes, fields of view, plain surfaces, exposure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mem3r_ros.worlds import WorldConfig, render_clip
from mem3r_ros.worlds.catalogue import draw_world
from mem3r_ros.worlds.config import WORLD_KINDS
from mem3r_ros.worlds.paths import HORIZON

WIDE = {'wide_share': 1.0, 'textures_per_kind': 2}


def heights(kind: str, count: int = 24) -> np.ndarray:
    worlds = [draw_world(index, 2, WorldConfig(world=kind, **WIDE)) for index in range(count)]
    return np.array([world.poses[0, 2, 3] for world in worlds])


def sharpness(clip) -> float:
    grey = clip.image.float().mean(-1)
    return float((grey[:, :, 1:] - grey[:, :, :-1]).abs().median())


def test_wide_worlds_reach_from_a_hand_to_a_street():
    nearest, farthest, fields = [], [], []
    for kind in WORLD_KINDS:
        for index in range(6):
            clip = render_clip(index, 1, (48, 32), WorldConfig(world=kind, **WIDE))
            depth = clip.depth_m[torch.isfinite(clip.depth_m)]
            nearest.append(float(depth.quantile(0.02)))
            farthest.append(float(depth.max()))
            fields.append(2 * np.degrees(np.arctan(24 / float(clip.intrinsics[0]))))

    assert np.quantile(nearest, 0.1) < 0.3
    assert max(farthest) > 80
    assert 38 < min(fields) < 50
    assert 100 < max(fields) < 122


@pytest.mark.parametrize(
    ('kind', 'low', 'high'), [('street', 0.5, 2.5), ('yard', 0.5, 4.0), ('room', 0.6, 1.8)]
)
def test_wide_worlds_are_seen_from_near_the_ground_and_from_above(kind, low, high):
    found = heights(kind)

    assert found.min() < low
    assert found.max() > high


def test_a_share_of_wide_and_plain_worlds_leaves_the_others_as_they_were():
    few = {'textures_per_kind': 2}
    same = 0
    for index in range(12):
        ordinary = render_clip(index, 1, (32, 24), WorldConfig(**few))
        mixed = render_clip(
            index, 1, (32, 24), WorldConfig(wide_share=0.4, plain_share=0.2, **few)
        )
        same += bool((ordinary.image == mixed.image).all())

    assert 2 <= same <= 10


@pytest.mark.parametrize('kind', WORLD_KINDS)
def test_the_camera_of_a_wide_world_is_never_inside_an_object(kind):
    for index in range(2):
        world = draw_world(index, HORIZON, WorldConfig(world=kind, **WIDE))
        arrays = world.scene.arrays()
        eyes = world.poses[:HORIZON, :3, 3]
        assert (eyes[:, 2] > 0.05).all()
        for body in np.flatnonzero(arrays['movers'][:-1] < 0):
            local = (eyes - arrays['centres'][body]) @ arrays['rotations'][body]
            inside = (local @ arrays['normals'][body].T <= arrays['offsets'][body]).all(axis=1)
            inside &= np.square(local * arrays['quadrics'][body]).sum(axis=1) <= 1
            assert not inside.any()


def test_plain_worlds_have_little_texture():
    def mean_sharpness(share: float) -> float:
        config = WorldConfig(
            world='room', noise=0.0, plain_share=share, grey_share=0.0, textures_per_kind=4
        )
        return float(np.mean([sharpness(render_clip(i, 1, (96, 72), config)) for i in range(8)]))

    assert mean_sharpness(1.0) < 0.7 * mean_sharpness(0.0)


def test_the_exposure_jumps_between_two_frames_of_a_clip():
    def largest_step(share: float) -> float:
        config = WorldConfig(
            world='room', path='handheld', exposure_jump_share=share, speed_factor=0.05
        )
        steps = []
        for index in range(4):
            brightness = render_clip(index, 24, (32, 24), config).image.float().mean((1, 2, 3))
            steps.append(float(brightness.log().diff().abs().max()))
        return max(steps)

    assert largest_step(0.0) < 0.1
    assert largest_step(1.0) > 0.25
