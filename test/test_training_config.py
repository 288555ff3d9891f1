# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Recipes: settings, stages, and refused values."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mem3r_ros.config import from_dict, load_yaml, replace_path
from mem3r_ros.errors import UserError
from mem3r_ros.model import Mem3R, ModelConfig
from mem3r_ros.se3 import relative_poses
from mem3r_ros.training.batch import Clip, collate
from mem3r_ros.training.batch_loader import clip_flow, clip_index
from mem3r_ros.training.clip_sources import HELD_OUT_WORLDS
from mem3r_ros.training.config import TrainConfig, losses_of, parse_size, stage_at
from mem3r_ros.training.optimiser import check_prefixes, learning_rate

RECIPES = sorted((Path(__file__).parents[1] / 'recipes').glob('*.yaml'))


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_read(path):
    config = load_yaml(TrainConfig, path)

    assert config.stages
    assert config.minutes or config.steps


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_every_recipe_names_modules_that_its_model_has(path):
    config = load_yaml(TrainConfig, path)
    with torch.device('meta'):
        model = Mem3R(ModelConfig.preset(config.preset))

    check_prefixes(model, config.optimiser)


def test_stages_follow_each_other_by_their_shares():
    config = from_dict(
        TrainConfig, {'stages': [{'name': 'a', 'share': 1.0}, {'name': 'b', 'share': 3.0}]}
    )

    names = [stage_at(config, progress).name for progress in (0.0, 0.24, 0.25, 0.99, 1.0)]

    assert names == ['a', 'a', 'b', 'b', 'b']


def test_a_stage_changes_only_the_losses_it_names():
    config = from_dict(
        TrainConfig, {'losses': {'flow': 0.5, 'focal': 0.25}, 'stages': [{'losses': {'flow': 0}}]}
    )

    losses = losses_of(config, config.stages[0])

    assert (losses.flow, losses.focal) == (0.0, 0.25)


def test_a_misspelt_loss_of_a_stage_is_refused_at_once():
    with pytest.raises(UserError, match="no setting 'log_dept'"):
        from_dict(TrainConfig, {'stages': [{}, {'losses': {'log_dept': 1.0}}]})


def test_no_clip_is_drawn_twice_and_none_is_held_out():
    drawn = [
        clip_index(5, stage, group, slot, 3)
        for stage in range(3)
        for group in range(400)
        for slot in range(3)
    ]

    assert len(set(drawn)) == len(drawn)
    assert all(index < HELD_OUT_WORLDS for index in drawn)


def test_a_mirrored_and_reversed_clip_is_geometrically_consistent():
    """Its depth and poses carry each pixel to where its flow says."""
    width, height, step = 48, 32, 3
    wall = np.kron(np.random.default_rng(0).integers(0, 255, (8, 24)), np.ones((4, 4)))
    wall = cv2.GaussianBlur(wall.astype(np.uint8), (0, 0), 2)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = np.arange(3) * step * 2.0 / 40.0
    clip = Clip(
        image=np.stack([np.stack([wall[:, i * step :][:, :width]] * 3, -1) for i in range(3)]),
        depth_m=np.full((3, height, width), 2.0, np.float32),
        T_world_camera=poses,
        intrinsics=np.array([40.0, 40.0, 20.0, 15.5], np.float32),
        moving=np.zeros((3, height, width), bool),
    )

    second = clip.mirrored_backwards()

    batch = collate([second], [clip_flow(second)], [True])
    shift = relative_poses(batch.T_world_camera)[1, 0, 0, 3]
    assert np.array_equal(second.image[0], clip.image[2][:, ::-1])
    assert second.intrinsics[2] == width - 1 - 20.0
    assert float(batch.flow[1, 0, 0].median()) == pytest.approx(40 * float(shift) / 2, abs=0.3)


def test_a_reduced_clip_is_of_the_same_scene():
    """A slanted wall with a box before it: exact on the wall, nothing between wall and box."""
    x, y = np.meshgrid(np.arange(64.0), np.arange(32.0))
    wall = 1 / (0.2 + 0.001 * x + 0.002 * y)
    depth = np.where((x > 20) & (x < 41), 1.5, wall)
    depth[0, 0], depth[4, 5] = np.inf, np.nan
    image = np.random.default_rng(0).integers(0, 255, (1, 32, 64, 3), np.uint8)
    clip = Clip(
        image=image,
        depth_m=depth[None].astype(np.float32),
        T_world_camera=np.eye(4)[None],
        intrinsics=np.array([60.0, 62.0, 31.5, 15.5], np.float32),
        moving=(x > 50)[None],
    )

    half = clip.reduced(2)

    assert clip.reduced(1) is clip
    assert half.image.shape == (1, 16, 32, 3)
    assert np.array_equal(half.fine_gray[0], cv2.cvtColor(image[0], cv2.COLOR_RGB2GRAY))
    assert np.abs(half.image[0, 3, 4] - image[0, 6:8, 8:10].mean((0, 1))).max() <= 0.5
    np.testing.assert_allclose(half.intrinsics, [30, 31, 15.5, 7.5])
    # Pixel (x, y) of the half lies at (2 x + 0.5, 2 y + 0.5).
    exact = 1 / (0.2 + 0.001 * (2 * x + 0.5) + 0.002 * (2 * y + 0.5))[:16, :32]
    is_wall = (x[:16, :32] < 10) | (x[:16, :32] > 21)
    known = is_wall & np.isfinite(half.depth_m[0])
    known[0, 0] = known[2, 2] = False  # beside what is unknown
    np.testing.assert_allclose(half.depth_m[0][known], exact[known], rtol=1e-5)
    at_edges = half.depth_m[0][:, [10, 20]]
    assert (np.isclose(at_edges, 1.5) | (at_edges > 3)).all()
    assert np.isnan(half.depth_m).sum() <= 1


def test_a_setting_inside_a_list_is_a_user_error():
    with pytest.raises(UserError, match='inside a list'):
        replace_path(from_dict(TrainConfig, {}), 'stages.0.share', 2)


def test_the_rate_rises_then_falls():
    config = from_dict(TrainConfig, {'optimiser': {'warmup': 0.1}}).optimiser

    rates = [learning_rate(config, progress) for progress in (0.0, 0.05, 0.1, 0.5, 1.0)]

    assert rates[0] < rates[1] < rates[2] == config.learning_rate
    assert rates[2] > rates[3] > rates[4] == pytest.approx(0.02 * config.learning_rate)


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'stages': [{'sizes': ['128by96']}]}, 'WIDTHxHEIGHT'),
        ({'stages': [{'share': 0}]}, 'share'),
        ({'sources': [{'kind': 'sequence'}]}, 'path'),
        ({'sources': [{'kind': 'films'}]}, 'worlds'),
        ({'minutes': 0}, 'minutes'),
        ({'losses': {'chamfer': 1}}, 'chamfer'),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused_with_a_reason(values, reason):
    with pytest.raises(UserError, match=reason):
        from_dict(TrainConfig, values)


def test_sizes_are_width_times_height():
    assert parse_size('128x96') == (128, 96)
