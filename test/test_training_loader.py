# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Batches, and the long clips from which they are cut."""

from __future__ import annotations

from collections import Counter
import dataclasses

import numpy as np
import pytest
from test_training_loop import PlaneSource, recipe
import torch

from mem3r_ros.geometry import ray_map
from mem3r_ros.training import batch_loader as loader
from mem3r_ros.training.batch import Batch
from mem3r_ros.training.batch_loader import BatchLoader, ClipOrder, clip_flow, make_clip, steps_of


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """Count the clips that are made, of flat walls."""
    asked = Counter()

    class CountedSource(PlaneSource):
        def clip(self, index, num_frames, size):
            asked[index] += 1
            return super().clip(index, num_frames, size)

    monkeypatch.setattr(loader, 'build_source', lambda source: CountedSource())
    monkeypatch.setattr(loader, '_sources', {})
    return asked


def batches(config, count: int, first: int = 0, rank: int = 0, world_size: int = 1) -> list[Batch]:
    def stage_of(number):
        return config.stages[0 if number < 11 else 1]

    source = BatchLoader(config, stage_of, first, rank, world_size)
    return [source.next()[1] for _ in range(count)]


def test_the_flow_of_a_section_depends_on_its_frames_alone():
    order = ClipOrder(
        source=recipe().sources[0], index=3, num_frames=8, size=(48, 32), flow_scale=1
    )
    whole = make_clip(order)

    for start, is_mirrored in ((0, False), (4, False), (0, True), (4, True)):
        clip, flow = whole.stretch(start, start + 4, is_mirrored)
        # The search of its second frame began from what moved before: nearly, not to the bit.
        np.testing.assert_allclose(flow, clip_flow(clip), atol=0.15)
        assert np.abs(flow[1:]).max() > 0.5


def test_flow_is_measured_at_the_flow_scale_of_the_network():
    order = ClipOrder(
        source=recipe().sources[0], index=3, num_frames=4, size=(48, 32), flow_scale=2
    )

    found = make_clip(order)

    fine = PlaneSource().clip(3, 4, (96, 64)).reduced(2)
    assert found.clip.image.shape == (4, 32, 48, 3)
    assert np.array_equal(found.clip.image, fine.image)
    assert np.array_equal(found.flow, clip_flow(fine))
    assert not np.array_equal(found.flow, clip_flow(dataclasses.replace(fine, fine_gray=None)))


def test_batches_of_a_group_share_their_clips_and_use_each_section_twice(made):
    config = recipe(groups_abreast=1)

    found = batches(config, 16)

    assert set(made.values()) == {1}
    # Four stretches of two frames and the same in a mirror; from batch 11 on another stage.
    assert len(made) == 2 * 4
    assert torch.equal(found[4].image[0], found[0].image[1].flip(-1))


def test_consecutive_batches_share_no_scene(made):
    config = recipe(groups_abreast=4)
    stage = dataclasses.replace(config.stages[0], batch_size=1)
    source = BatchLoader(dataclasses.replace(config, stages=(stage,)), lambda number: stage)

    depths = [float(source.next()[1].depth_m.max()) for _ in range(128)]

    assert all(len(set(depths[i : i + 4])) == 4 for i in range(125))
    # No clip is made twice, and each that was finished was seen as often as any other.
    steps = steps_of(stage)
    assert set(made.values()) == {1}
    assert len(made) == len(set(depths)) <= 128 // steps + 4
    assert max(Counter(depths).values()) == steps


def test_new_groups_begin_at_even_intervals(made):
    config = recipe(groups_abreast=4)
    stage = dataclasses.replace(config.stages[0], batch_size=1)
    source = BatchLoader(dataclasses.replace(config, stages=(stage,)), lambda number: stage)

    made_after = []
    for _ in range(68):
        source.next()
        made_after.append(len(made))

    assert made_after[3] == 4
    begun = np.flatnonzero(np.diff(made_after[3:]))
    assert set(np.diff(begun)) <= set(range(steps_of(stage) - 3, steps_of(stage) + 4))


def test_clips_are_released_after_their_last_batch():
    config = recipe(groups_abreast=3)
    source = BatchLoader(config, lambda number: config.stages[0 if number < 60 else 1])

    held = []
    for _ in range(120):
        source.next()
        held.append(len(source._groups))

    assert max(held) <= 3


@pytest.mark.parametrize('abreast', [1, 3])
def test_a_run_resumes_in_the_middle_of_a_group(abreast):
    config = recipe(groups_abreast=abreast)

    whole, rest = batches(config, 20), batches(config, 13, first=7)

    for one, other in zip(whole[7:], rest, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.flow, other.flow)
        assert one.is_focal_known == other.is_focal_known


def test_each_process_has_its_own_clips(made):
    config = recipe()

    for rank in range(4):
        batches(config, 10, rank=rank, world_size=4)

    assert set(made.values()) == {1}
    assert len(made) % 4 == 0


def test_a_network_without_flow_gets_none():
    config = recipe()

    _, batch = BatchLoader(config, lambda number: config.stages[0], flow_scale=0).next()

    assert batch.flow is None


def test_ray_frames_come_after_the_first_and_only_in_metric_clips():
    config = recipe()
    stage = dataclasses.replace(config.stages[1], ray_map_share=1.0)
    config = dataclasses.replace(config, stages=(stage,))
    feet = dataclasses.replace(
        config, sources=(dataclasses.replace(config.sources[0], is_metric=False),)
    )

    _, batch = BatchLoader(config, lambda number: stage).next()
    _, without_unit = BatchLoader(feet, lambda number: stage).next()

    assert batch.is_by_rays == (False, True, True, True)
    assert not any(without_unit.is_by_rays)


def test_the_rays_of_a_batch_follow_the_convention_of_ray_map():
    config = recipe()
    _, batch = BatchLoader(config, lambda number: config.stages[1]).next()
    poses = batch.T_world_camera.double().numpy()
    fx, fy, cx, cy = batch.intrinsics[1].tolist()
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    rays = batch.ray_map(3)

    expected = ray_map(poses[3, 1], poses[0, 1], K, 48, 32)
    np.testing.assert_allclose(rays[1].numpy(), expected, atol=1e-5)
