# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Coloured points and the bounded map."""

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.cloud import VoxelMap, edge_mask, select_points
from mem3r_ros.cloud_config import CloudConfig

CAMERA = Intrinsics(40.0, 40.0, 31.5, 23.5, 64, 48)


def step_scene():
    depth = np.full((48, 64), 2.0, np.float32)
    depth[:, 32:] = 4.0
    image = np.arange(48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    return depth, image


def test_points_project_back_to_their_pixels_with_their_colours():
    depth, image = step_scene()

    cloud = select_points(depth, CAMERA, image, config=CloudConfig(edge_ratio=0.0))

    pixels = np.rint(CAMERA.project(cloud.points.astype(float))).astype(int)
    assert len(cloud.points) == depth.size
    assert (image[pixels[:, 1], pixels[:, 0]] == cloud.colours).all()


def test_no_point_floats_between_a_surface_and_what_is_behind():
    depth, image = step_scene()
    depth[:, 32] = 3.0  # a smeared edge

    cloud = select_points(depth, CAMERA, image)

    assert set(np.unique(cloud.points[:, 2])) == {2.0, 4.0}
    assert edge_mask(depth, 0.1).sum() == 3 * 48


def test_invalid_far_near_and_uncertain_pixels_give_no_point():
    depth, image = step_scene()
    depth[0], depth[1], depth[2], depth[3] = np.nan, np.inf, 0.01, 500.0
    confidence = np.full_like(depth, 3.0)
    confidence[4] = 1.2
    config = CloudConfig(min_confidence=1.5, edge_ratio=0.0, stride=1)

    cloud = select_points(depth, CAMERA, image, confidence, config)

    assert len(cloud.points) == 64 * (48 - 5)
    assert (cloud.weights == 3.0).all()


def test_stride_thins_the_points():
    depth, image = step_scene()

    cloud = select_points(depth, CAMERA, image, config=CloudConfig(stride=4, edge_ratio=0.0))

    assert len(cloud.points) == 16 * 12


def test_map_keeps_the_confidence_weighted_mean_of_each_voxel():
    voxels = VoxelMap(voxel_size_m=1.0)
    voxels.add(np.array([[0.2, 0.5, 0.5]]), np.array([[0, 0, 0]], np.uint8), np.array([1.0]))
    voxels.add(np.array([[0.6, 0.5, 0.5]]), np.array([[200, 0, 0]], np.uint8), np.array([3.0]))

    assert len(voxels) == 1
    assert np.allclose(voxels.points(), [[0.5, 0.5, 0.5]])
    assert voxels.colours().tolist() == [[150, 0, 0]]


def test_map_never_outgrows_its_budget_and_follows_the_robot():
    voxels, random = VoxelMap(voxel_size_m=0.1, max_points=2000), np.random.default_rng(0)
    for step in range(400):
        points = random.uniform(0, 2, (500, 3)) + [0.1 * step, 0, 0]
        voxels.add(points, np.zeros((500, 3), np.uint8))
        if step % 50 == 0:
            assert len(voxels) <= 2000

    assert len(voxels) <= 2000
    assert voxels.points()[:, 0].max() > 35.0


def test_map_prefers_points_seen_often_when_it_is_full():
    voxels, random = VoxelMap(voxel_size_m=0.1, max_points=1000), np.random.default_rng(0)
    often = np.array([[50.05, 0.05, 0.05]])
    for _ in range(20):
        voxels.add(often, np.zeros((1, 3), np.uint8), np.array([5.0]))
    for _ in range(20):
        voxels.add(random.uniform(0, 10, (500, 3)), np.zeros((500, 3), np.uint8))

    assert len(voxels) <= 1000
    assert (np.abs(voxels.points() - often).max(axis=1) < 0.1).any()


def test_map_does_not_depend_on_how_points_are_bundled():
    random = np.random.default_rng(0)
    points, colours = random.uniform(0, 3, (6000, 3)), random.integers(0, 255, (6000, 3))
    whole, parts = VoxelMap(0.2, 50_000), VoxelMap(0.2, 50_000)
    whole.add(points, colours.astype(np.uint8))
    for index in range(0, 6000, 100):
        parts.add(points[index : index + 100], colours[index : index + 100].astype(np.uint8))

    assert np.allclose(whole.points(), parts.points(), atol=1e-6)
    assert (whole.colours() == parts.colours()).all()


def test_points_at_absurd_distances_do_not_break_the_map():
    voxels = VoxelMap(0.05)
    points = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [1e9, 0, 0], [1.0, 2.0, 3.0]])

    voxels.add(points, np.zeros((4, 3), np.uint8))

    assert np.allclose(voxels.points(), [[1.0, 2.0, 3.0]])


def test_lone_pixels_are_dropped_and_a_sloped_floor_is_kept():
    rows = np.arange(48)[:, None] * np.ones((1, 64))
    depth = (60.0 / (rows + 10.0)).astype(np.float32)  # a plane below the camera
    depth[20, 30] = 0.4  # one pixel of noise
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    image = np.zeros((48, 64, 3), np.uint8)

    config = CloudConfig(edge_ratio=0.0, min_neighbours=3)
    kept = select_points(depth, camera, image, config=config).points

    assert len(kept) == 48 * 64 - 1
    assert kept[:, 2].min() > 0.5
