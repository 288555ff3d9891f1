# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Depth fused over images of a scene whose depth is known exactly."""

import copy
from dataclasses import fields
from functools import lru_cache

import cv2
from layered_scene import LayeredScene, sideways
import numpy as np
import pytest

from mem3r_ros.geometry import invert, se3_exp
from mem3r_ros.odometry.depth_fusion import (
    DepthFusion,
    DepthFusionConfig,
    resampled_log_depth,
)
from mem3r_ros.odometry.depth_map import DepthMap
from mem3r_ros.odometry.edge_smoothing import spread_by_edges

CONFIG = DepthFusionConfig()


def foggy(depth, factor=1.0):
    """Return depth as a coarse network predicts it: no edges, and the scale off by a factor."""
    return np.log(cv2.GaussianBlur(depth * np.float32(factor), (0, 0), 20))


def run(scene, poses, fusion=None, network=foggy, plate_m=lambda index: 0.0, is_still=False):
    """Fuse the images at these poses; return the last result, its true depth and the fusion."""
    fusion = fusion or DepthFusion()
    for index, T in enumerate(poses):
        grey, depth = scene.view(T, plate_m(index))
        fusion.move(invert(poses[index - 1]) @ T if index else None, 1.0)
        result = fusion.fuse(grey, scene.camera, network(depth), is_still, CONFIG)
    return result, depth, fusion


@lru_cache(maxsize=1)
def _sideways_run():
    return run(LayeredScene(), sideways(12))


def sideways_run():
    """Return the result of a camera that moved to the side; computed once."""
    result, depth, fusion = _sideways_run()
    return result, depth, copy.copy(fusion)


def abs_rel(depth, truth, where=None):
    error = np.abs(depth - truth) / truth
    return float(error.mean() if where is None else error[where].mean())


def near_edge(depth):
    step = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0.5
    return cv2.dilate(step.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0


def test_moving_camera_makes_foggy_depth_sharp():
    result, depth, _ = sideways_run()
    network = np.exp(foggy(depth))
    edge = near_edge(depth)
    assert abs_rel(result.depth_m, depth) < 0.4 * abs_rel(network, depth)
    assert abs_rel(result.depth_m, depth, ~edge) < 0.03
    assert abs_rel(result.depth_m, depth, edge) < 0.6 * abs_rel(network, depth, edge)


def test_camera_that_moves_forward_is_served_as_well():
    poses = np.array([se3_exp(np.array([0, 0, 0.06 * index, 0, 0, 0])) for index in range(15)])
    result, depth, _ = run(LayeredScene(), poses)
    network = np.exp(foggy(depth))
    edge = near_edge(depth)
    assert abs_rel(result.depth_m, depth) < 0.6 * abs_rel(network, depth)
    assert abs_rel(result.depth_m, depth, ~edge) < 0.08


def test_depth_takes_the_scale_of_the_path():
    result, depth, fusion = run(
        LayeredScene(), sideways(15), network=lambda depth: foggy(depth, 1.3)
    )
    assert np.median(result.depth_m / depth) == pytest.approx(1.0, abs=0.03)
    assert np.exp(fusion.network_shift) == pytest.approx(1 / 1.3, abs=0.08)


def test_confidence_ranks_the_errors():
    result, depth, _ = sideways_run()
    error = np.abs(result.depth_m - depth) / depth
    order = np.argsort(result.confidence, axis=None)
    worst, best = np.array_split(error.ravel()[order], 2)
    assert worst.mean() > 3 * best.mean()
    assert (result.confidence > 1).all()


def test_camera_that_only_turns_gets_the_depth_of_the_network():
    poses = [se3_exp(np.array([0, 0, 0, 0, 0.02 * index, 0])) for index in range(12)]
    result, depth, _ = run(LayeredScene(), np.array(poses))
    np.testing.assert_allclose(result.depth_m, np.exp(foggy(depth)), rtol=0.02)
    assert not result.is_measured.any()


def test_plate_that_moves_by_itself_is_left_to_the_network():
    # Across the direction of the camera, which no depth explains.
    camera = np.array([se3_exp(np.array([0, 0.04 * i, 0, 0, 0, 0])) for i in range(12)])
    still, depth, _ = run(LayeredScene(), camera)
    moving, depth_moved, _ = run(LayeredScene(), camera, plate_m=lambda index: 0.05 * index)
    plate = cv2.erode((depth < 3).astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    plate_moved = cv2.erode((depth_moved < 3).astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    assert still.is_measured[plate].mean() > 0.9
    assert np.median(moving.confidence[plate_moved]) < np.median(still.confidence[plate])
    assert abs_rel(moving.depth_m, depth_moved, plate_moved) < 0.2
    assert abs_rel(moving.depth_m, depth_moved, depth_moved > 3) < 0.05


def test_blank_wall_does_not_break_anything():
    result, depth, _ = run(LayeredScene(wall_contrast=0.0), sideways(12))
    assert np.isfinite(result.depth_m).all()
    plate = depth < 3
    assert abs_rel(result.depth_m, depth, plate) < 0.03
    assert abs_rel(result.depth_m, depth, ~plate) < 0.3
    assert np.median(result.confidence[plate]) > 1.5 * np.median(result.confidence[~plate])


def test_standing_still_adds_no_confidence():
    scene, poses = LayeredScene(), sideways(12)
    _, _, fusion = sideways_run()
    before = fusion.precision.copy()
    grey, depth = scene.view(poses[-1])
    for _ in range(5):
        fusion.move(np.eye(4), 1.0)
        fusion.fuse(grey, scene.camera, foggy(depth), True, CONFIG)
    np.testing.assert_array_equal(fusion.precision, before)


def test_memory_does_not_grow():
    scene = LayeredScene()
    sizes = []
    for num_frames in (12, 16):
        _, _, fusion = run(scene, sideways(num_frames, 0.12))
        arrays = [getattr(fusion, item.name) for item in fields(fusion)]
        sizes.append(sum(a.nbytes for a in arrays if isinstance(a, np.ndarray)))
    assert sizes[0] == sizes[1]


def test_same_images_give_the_same_depth():
    first, _, _ = sideways_run()
    second, _, _ = run(LayeredScene(), sideways(12))
    np.testing.assert_array_equal(first.depth_m, second.depth_m)
    np.testing.assert_array_equal(first.confidence, second.confidence)


def test_other_metres_scale_map_and_path_together():
    scene, poses = LayeredScene(), sideways(12)
    _, _, fusion = sideways_run()
    fusion.move(np.eye(4), 2.0)
    grey, depth = scene.view(poses[-1])
    result = fusion.fuse(grey, scene.camera, foggy(depth, 2.0), False, CONFIG)
    assert np.median(result.depth_m / depth) == pytest.approx(2.0, abs=0.1)


def test_pixels_without_depth_stay_without():
    scene, poses = LayeredScene(), sideways(6)

    def masked(depth):
        log_depth = foggy(depth)
        log_depth[:, :80] = np.nan
        return log_depth

    result, _, _ = run(scene, poses, network=masked)
    assert np.isnan(result.depth_m[:, :80]).all()
    assert np.isfinite(result.depth_m[:, 80:]).all()


def test_frame_without_any_depth_is_survived():
    scene, poses = LayeredScene(), sideways(6)
    result, _, fusion = run(scene, poses, network=lambda depth: np.full_like(depth, np.nan))
    assert np.isnan(result.depth_m).all()
    grey, depth = scene.view(poses[-1])
    fusion.move(np.eye(4), 1.0)
    result = fusion.fuse(grey, scene.camera, foggy(depth), False, CONFIG)
    assert np.isfinite(result.depth_m).all()


def test_new_path_forgets_the_old_one():
    _, _, fusion = sideways_run()
    fusion.move(None, 1.0)
    assert len(fusion.images) == 0
    assert not fusion.precision.any()


def test_map_moves_as_its_pixels_do():
    scene = LayeredScene()
    poses = sideways(2, 0.1)
    (_, before), (_, after) = scene.view(poses[0]), scene.view(poses[1])
    known = DepthMap(np.log(before), np.full_like(before, 100.0))
    moved = known.moved(scene.camera, invert(poses[1]) @ poses[0])
    is_known = (moved.precision > 0) & ~near_edge(after)
    assert is_known.mean() > 0.8
    np.testing.assert_allclose(np.exp(moved.log_depth[is_known]), after[is_known], rtol=0.02)


def test_moved_map_shows_the_nearer_surface():
    camera = LayeredScene().camera
    log_depth = np.full((240, 320), np.log(4.0), np.float32)
    log_depth[:, 140:180] = np.log(1.0)
    known = DepthMap(log_depth, np.full_like(log_depth, 100.0))
    T = np.eye(4)
    T[0, 3] = 0.2  # the strip moves by 60 px, the wall by 15
    moved = known.moved(camera, T)
    assert np.median(np.exp(moved.log_depth[120, 204:236])) == pytest.approx(1.0)


def test_values_stop_at_an_edge_of_the_image():
    grey = np.full((80, 120), 60, np.uint8)
    grey[:, 60:] = 180
    values = np.where(grey > 100, 1.0, -1.0).astype(np.float32)
    weights = np.zeros_like(values)
    weights[::10, ::10] = 100.0
    smooth, _ = spread_by_edges(values, weights, grey, radius_px=20)
    inner = smooth[10:-10]
    assert inner[:, 25:57].max() < -0.7
    assert inner[:, 63:95].min() > 0.7


def test_nothing_known_spreads_nothing():
    grey = np.full((64, 64), 100, np.uint8)
    smooth, near = spread_by_edges(
        np.ones((64, 64), np.float32), np.zeros((64, 64), np.float32), grey
    )
    assert np.abs(smooth).max() < 1e-6
    assert near.max() < 0.01


def test_coarse_depth_is_resampled_by_rays():
    fine = LayeredScene().camera
    coarse = fine.resized(80, 60)
    depth = (1 + coarse.rays()[..., 0] ** 2).astype(np.float32)
    found = np.exp(resampled_log_depth(depth, coarse, fine))
    expected = 1 + fine.rays()[..., 0] ** 2
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], rtol=0.01)
    depth[:, :40] = np.nan
    found = resampled_log_depth(depth, coarse, fine)
    assert np.isnan(found[:, :156]).all()
    assert np.isfinite(found[:, 164:]).all()
