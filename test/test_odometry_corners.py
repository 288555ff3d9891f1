# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Corners: found evenly, tracked forward and backward, aligned with their patches."""

import cv2
import numpy as np
import pytest

from mem3r_ros.odometry import corner_search
from mem3r_ros.odometry.corner_tracks import MAX_WIDTH, new_corners, track, working_image
from mem3r_ros.odometry.landmarks import Landmarks
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


def test_weak_corners_as_on_a_plain_floor_are_left_out():
    random = np.random.default_rng(0)
    floor = cv2.GaussianBlur(random.normal(128.0, 40.0, (240, 320)), (0, 0), 6)
    noisy = np.round(floor + random.normal(0.0, 1.0, floor.shape)).astype(np.uint8)
    floor_with_a_box = noisy.copy()
    floor_with_a_box[80:160, 100:220] = 30

    assert len(new_corners(noisy, np.zeros((0, 2)), 100, None)) == 0
    found = new_corners(floor_with_a_box, np.zeros((0, 2)), 100, None)
    at_box = [[100, 80], [219, 80], [100, 159], [219, 159]]
    assert len(found) >= 4
    for corner in at_box:
        assert np.linalg.norm(found - corner, axis=1).min() < 3.0


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


def chessboard_moved(shift_px: tuple[int, int]) -> np.ndarray:
    """Return a chessboard on a table with a fine texture, moved by x and y."""
    image = cv2.resize(texture(), (400, 240))
    squares = np.indices((12, 13)).sum(axis=0) % 2 * 200 + 20
    image[30:210, 100:300] = np.kron(squares, np.ones((16, 16)))[:180, :200]
    return np.roll(image, shift_px, axis=(1, 0))[:, 40:360].copy()


def moved_by(shift_px: tuple[float, float], depth: float, camera: np.ndarray) -> np.ndarray:
    """Return the pose of a camera in front of a plane whose image moves by a shift."""
    T = np.eye(4)
    T[:2, 3] = -np.array(shift_px) * depth / camera[:2]
    return T


def landmarks_of(image: np.ndarray, depth: float) -> Landmarks:
    landmarks = Landmarks()
    landmarks.add_frame()
    pixels = new_corners(image, np.zeros((0, 2)), 200, None)
    landmarks.add(image, pixels, np.full(len(pixels), 1 / depth), np.full(len(pixels), 0.05))
    return landmarks


def find_corners(images, network_px, last_motion_px, usual_error_px):
    """Return where corners started, and how far those found have moved, [N, 2] px."""
    camera, depth = np.array([300.0, 300.0, 160.0, 120.0]), 2.0
    landmarks = landmarks_of(images[0], depth)
    start = landmarks.seen[:, -1].copy()
    expected = tuple(moved_by(shift, depth, camera) for shift in (network_px, last_motion_px))
    found = corner_search.find(
        landmarks, np.eye(4)[None], camera, images, expected, usual_error_px, start, 0.5
    )
    rows = found.rows[found.is_rigid]
    return start, found.pixels[found.is_rigid] - start[rows]


def test_a_repeated_texture_does_not_lead_the_corners_to_their_neighbours():
    images = chessboard_moved((0, 0)), chessboard_moved((24, 6))

    # Squares of 16 px repeat every 32 px: the network is wrong by one period.
    start, moved = find_corners(images, (24.0, 38.0), (23.0, 6.0), usual_error_px=50.0)

    assert len(moved) > 0.8 * len(start)
    error = np.abs(moved - (24.0, 6.0)).max(axis=1)
    assert (error < 0.5).mean() > 0.95


def test_where_nothing_but_a_repeated_texture_is_seen_the_last_motion_comes_first():
    squares = np.indices((24, 28)).sum(axis=0) % 2 * 200 + 20
    board = np.kron(squares, np.ones((16, 16))).astype(np.uint8)
    images = board[40:280, 60:380].copy(), board[34:274, 36:356].copy()

    _, moved = find_corners(images, (24.0, 38.0), (21.0, 8.0), usual_error_px=3.0)

    error = np.abs(moved - (24.0, 6.0)).max(axis=1)
    assert (error < 0.5).mean() > 0.95


# An equal expectation, and one that is wrong as usual.
@pytest.mark.parametrize('last_motion_px', [(24.0, 7.0), (-20.0, 0.0)])
def test_a_search_that_finds_most_corners_is_not_repeated(monkeypatch, last_motion_px):
    images, searches = (chessboard_moved((0, 0)), chessboard_moved((24, 6))), []
    track = corner_search.track
    monkeypatch.setattr(corner_search, 'track', lambda *all: (searches.append(1), track(*all))[1])

    start, moved = find_corners(images, (24.0, 6.0), last_motion_px, usual_error_px=20.0)

    assert len(moved) > 0.8 * len(start)
    assert len(searches) == 1


def test_the_error_of_an_expected_motion_is_in_pixels():
    camera, depth = np.array([300.0, 300.0, 160.0, 120.0]), 2.0
    landmarks = landmarks_of(chessboard_moved((0, 0)), depth)
    poses = np.eye(4)[None]

    error = corner_search.error_px(landmarks, poses, camera, moved_by((5.0, 2.0), depth, camera))

    assert error == pytest.approx(5.0, abs=1e-6)
