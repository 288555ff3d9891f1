# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Corners: found evenly, tracked forward and backward, aligned with their patches."""

import cv2
import numpy as np
import pytest

from mem3r_ros.odometry.corner_tracks import MAX_WIDTH, new_corners, track, working_image
from mem3r_ros.odometry.patch_alignment import aligned, patches_at
from mem3r_ros.odometry.robust_geometry import epipolar_inliers, pose_from_points

SIZE = (320, 240)


def texture(seed=0):
    """Return a smooth random image."""
    random = np.random.default_rng(seed)
    image = cv2.GaussianBlur(random.uniform(0, 255, SIZE[::-1]).astype(np.float32), (0, 0), 2.0)
    return ((image - image.mean()) * 5 + 128).clip(0, 255).astype(np.uint8)


def warped(image, A, shift):
    """Return the image in which a pixel p of the first one is at A p + shift."""
    M = np.column_stack([A, shift])
    return cv2.warpAffine(image, M, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def test_a_grid_has_at_most_one_corner_a_cell_and_none_beside_a_tracked_one():
    image = texture()
    tracked = np.array([[100.0, 100.0], [200.0, 120.0]])

    corners = new_corners(image, tracked, 200, None)

    assert 80 < len(corners) <= 220
    distance = np.linalg.norm(corners[:, None] - tracked[None], axis=2)
    assert distance.min() > 5.0


def test_no_corner_is_found_where_pixels_are_ignored_or_where_there_is_nothing():
    ignore = np.zeros(SIZE[::-1], bool)
    ignore[:, :160] = True

    assert (new_corners(texture(), np.zeros((0, 2)), 200, ignore)[:, 0] > 155).all()
    assert not len(new_corners(np.full(SIZE[::-1], 90, np.uint8), np.zeros((0, 2)), 200, None))


def test_corners_are_tracked_from_a_wrong_expectation_too():
    image = texture()
    moved = warped(image, np.eye(2), [7.3, -4.6])
    corners = new_corners(image, np.zeros((0, 2)), 100, None)
    inside = ((corners > 30) & (corners < np.array(SIZE) - 30)).all(axis=1)
    corners = corners[inside]

    found, good = track(image, moved, corners, corners + [40.0, 30.0])

    assert good.mean() > 0.9
    error = np.linalg.norm(found[good] - corners[good] - [7.3, -4.6], axis=1)
    assert np.median(error) < 0.05


def test_wide_images_are_reduced_to_the_working_width():
    assert working_image(np.zeros((1000, 4000), np.uint8)).shape == (320, MAX_WIDTH)
    assert working_image(np.zeros((480, 640), np.uint8)).shape == (480, 640)


@pytest.mark.parametrize('gain', [1.0, 0.6])
def test_patches_are_found_again_through_a_warp_and_a_change_of_exposure(gain):
    image = texture()
    angle, scale = np.radians(8.0), 1.15
    A = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (warped(image, A, [-10.0, -20.0]) * gain + 20 * (1 - gain)).astype(np.uint8)
    corners = new_corners(image, np.zeros((0, 2)), 150, None)
    true = corners @ A.T + [-10.0, -20.0]
    inside = ((true > 30) & (true < np.array(SIZE) - 30)).all(axis=1)
    corners, true = corners[inside], true[inside]
    start = true + np.random.default_rng(1).uniform(-0.8, 0.8, true.shape)
    warps = np.broadcast_to(A, (len(true), 2, 2)).copy()

    found, is_sure = aligned(patches_at(image, corners), warps, moved, start)

    error = np.linalg.norm(found - true, axis=1)[is_sure]
    assert is_sure.mean() > 0.8
    assert np.median(error) < 0.08  # 0.6 px before


def test_a_patch_without_structure_or_of_another_place_is_not_trusted():
    image = texture()
    flat = np.full(SIZE[::-1], 120, np.uint8)
    corners = np.array([[100.0, 100.0], [150.0, 90.0], [200.0, 150.0]])
    warps = np.broadcast_to(np.eye(2), (3, 2, 2)).copy()

    assert not aligned(patches_at(flat, corners), warps, flat, corners)[1].any()
    assert not aligned(patches_at(image, corners), warps, texture(5), corners)[1].any()


def two_views(num_points=80, seed=0):
    random = np.random.default_rng(seed)
    camera = np.array([300.0, 300.0, 160.0, 120.0])
    points = random.uniform([-2, -1.5, 3], [2, 1.5, 7], (num_points, 3))
    T = np.eye(4)
    T[:3, 3] = [0.3, 0.05, 0.1]
    views = [points, points - T[:3, 3]]
    pixels = [v[:, :2] / v[:, 2:] * camera[:2] + camera[2:] for v in views]
    return points, T, pixels, camera


def test_correspondences_that_break_the_epipolar_geometry_are_found():
    _, _, (first, second), camera = two_views()
    second[:10] += np.random.default_rng(1).uniform(15, 30, (10, 2))

    inliers = epipolar_inliers(first, second, camera, 1.0)

    assert inliers[10:].mean() > 0.95
    assert inliers[:10].mean() < 0.3


def test_a_pose_is_found_among_wrong_points():
    points, T, (_, pixels), camera = two_views()
    pixels[:24] += 60.0

    found = pose_from_points(points, pixels, camera, 2.0)

    np.testing.assert_allclose(found, T, atol=1e-3)


def test_too_few_points_determine_nothing():
    points, _, (first, second), camera = two_views(6)

    assert epipolar_inliers(first, second, camera, 1.0) is None
    assert pose_from_points(points, second, camera, 2.0) is None
