# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Blind frames in training clips, and the network without usable flow."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys

import numpy as np
import pytest
import tiny_networks
import torch

from mem3r_ros.model import ModelConfig, build_model
from mem3r_ros.training.batch import Clip, collate
from mem3r_ros.training.batch_loader import clip_flow
from mem3r_ros.training.blind_frames import KINDS, blind_runs, blinded, with_blind_frames

FRAMES = 12


def sliding_clip(num_frames: int = FRAMES) -> Clip:
    """Return a picture that moves by two pixels a frame; the pose counts the frames."""
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (24, 40, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    images = [picture[16:80, 2 * n + 20 : 2 * n + 116] for n in range(num_frames)]
    poses = np.tile(np.eye(4, dtype=np.float32), (num_frames, 1, 1))
    poses[:, 0, 3] = np.arange(num_frames)
    return Clip(
        image=np.stack(images),
        depth_m=np.full((num_frames, 64, 96), 2.0, np.float32),
        T_world_camera=poses,
        intrinsics=np.array([80, 80, 47.5, 31.5], np.float32),
        moving=np.zeros((num_frames, 64, 96), bool),
        fine_gray=np.stack(
            [np.kron(image[..., 0], np.ones((2, 2), np.uint8)) for image in images]
        ),
    )


def test_the_share_of_blind_frames_is_kept_and_the_first_frame_sees():
    rng = np.random.default_rng(0)
    runs = np.array([blind_runs(rng, 16, 0.2) for _ in range(2000)])

    assert not runs[:, 0].any()
    assert 0.1 < runs.mean() < 0.2
    assert (runs[:, 1:] & runs[:, :-1]).any()  # some last longer than one frame


@pytest.mark.parametrize('kind', KINDS[:-1])
def test_a_blind_frame_shows_little_and_keeps_its_depth_and_pose(kind):
    clip = sliding_clip()
    blind = np.arange(FRAMES) == 5

    found = blinded(clip, blind, kind, np.random.default_rng(1))

    assert (found.image[~blind] == clip.image[~blind]).all()
    assert (found.fine_gray[~blind] == clip.fine_gray[~blind]).all()
    for images in (found.image, found.fine_gray):
        seen = images[5].astype(float)
        inner = seen[
            seen.shape[0] // 4 : -seen.shape[0] // 4, seen.shape[1] // 4 : -seen.shape[1] // 4
        ]
        assert inner.reshape(-1, *inner.shape[2:]).std(axis=0).max() < 40
    assert found.depth_m is clip.depth_m
    assert found.T_world_camera is clip.T_world_camera
    flow_error = clip_flow(found)[5, 2]
    assert np.median(flow_error) > 2 * np.median(clip_flow(clip)[5, 2]) or kind == 'occluded'


def test_dropped_frames_are_left_out_and_the_clip_keeps_its_length():
    clip, steps = sliding_clip(FRAMES + 4), []
    for seed in range(60):
        found = with_blind_frames(clip, FRAMES, 0.3, [seed])
        assert len(found.image) == len(found.fine_gray) == FRAMES
        steps.append(np.diff(found.T_world_camera[:, 0, 3]))

    longest = np.max(steps, axis=1)
    assert (longest == 1).any()  # another kind of blindness
    assert (longest > 1).any()
    assert np.min(steps) == 1


def test_equal_seeds_give_equal_blind_frames():
    first, again = (with_blind_frames(sliding_clip(), FRAMES, 0.5, [7, 3]) for _ in range(2))

    assert (first.image == again.image).all()


@pytest.mark.parametrize('is_on', [False, True])
def test_without_usable_flow_the_pose_head_gives_the_motion(is_on):
    two_view = dataclasses.replace(ModelConfig.preset('mem3r-tiny').two_view, blind_motion=is_on)
    torch.manual_seed(0)
    model = build_model(dataclasses.replace(tiny_networks.SMALL, two_view=two_view)).eval()
    with torch.no_grad():
        model.predictor.pose_head.fc2.bias[0] = 4.0  # 0.4 m to the right
        model.predictor.camera_head.last_layer.bias[3] = 8.0
    first = tiny_networks.image(1)
    no_flow = torch.zeros(1, 3, *first.shape[-2:])
    no_flow[:, 2] = 30.0  # forward-backward error, px

    with torch.inference_mode():
        _, state = model.step(tiny_networks.frame(1), model.initial_state(1))
        blind, _ = model.step(tiny_networks.frame(2, image=first, flow=no_flow), state)
        sees, _ = model.step(tiny_networks.frame(2, image=first, flow=0 * no_flow), state)

    moved = [float(p.two_view.prior.T_previous_camera[0, 0, 3]) for p in (blind, sees)]
    assert moved[1] < 0.1  # the flow shows no motion
    assert (moved[0] > 0.3) is is_on


def benchmark(repository_dir):
    """Return the module of the benchmark of blind frames."""
    path = repository_dir / 'benchmarks' / 'blind_frames.py'
    spec = importlib.util.spec_from_file_location('blind_frames_benchmark', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_measures_the_motion_over_the_blind_frames_in_units_of_the_warm_up(
    repository_dir,
):
    module = benchmark(repository_dir)
    length = module.WARM_UP + 3
    poses = torch.eye(4).repeat(length, 1, 1, 1)
    poses[:, 0, 0, 3] = 0.2 * torch.arange(length)  # to the right, 0.2 m a frame
    batch = collate([sliding_clip(length)], None, [True])
    batch = dataclasses.replace(batch, T_world_camera=poses)
    half = poses[: module.WARM_UP].double().clone()
    half[..., 0, 3] /= 2  # the network believes half of the length

    moving = module.constant_velocity(batch, list(half))
    still = module.errors(batch, list(half), torch.eye(4).double()[None], None)

    assert moving.translation == pytest.approx(0.0, abs=1e-6)
    assert still.translation == pytest.approx(1.0)
    assert moving.rotation_deg == pytest.approx(0.0, abs=1e-3)
