# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Edges take the place of the network's motion where there are few corners."""

from dataclasses import fields
from itertools import pairwise

import box_scene
import cv2
import numpy as np
import pytest

from mem3r_ros.geometry import invert, rotation_angle, so3_exp
from mem3r_ros.odometry.config import RefinementConfig
from mem3r_ros.odometry.edge_image import NO_EDGE, EdgeImage
from mem3r_ros.odometry.edge_search import EdgeSearch
from mem3r_ros.odometry.edge_window import EdgeWindow
from mem3r_ros.odometry.frame_input import FrameInput
from mem3r_ros.odometry.pinhole import DepthImage
from mem3r_ros.odometry.window import SlidingWindow
from mem3r_ros.tracker.snapshot import pack, unpack

NUM_FRAMES = 8


def step_at(x_px, width=80, height=60):
    """Return an image that is dark left of a vertical edge, and bright right of it."""
    fine = np.where((np.arange(width * 10) + 0.5) / 10 - 0.5 < x_px, 60.0, 180.0)
    return np.rint(np.tile(fine.reshape(width, 10).mean(axis=1), (height, 1))).astype(np.uint8)


@pytest.fixture(scope='module')
def box():
    """Return poses, images and depths of the plain box."""
    poses = box_scene.orbit(NUM_FRAMES)
    images, depths = zip(*map(box_scene.render, poses), strict=True)
    return poses, images, depths


def steps_with_errors(poses, seed=0):
    """Return the motions between frames as a bad network gives them: degrees off, 30 % short."""
    random, steps = np.random.default_rng(seed), []
    for first, second in pairwise(poses):
        T = invert(first) @ second
        T[:3, 3] *= 0.7
        T[:3, :3] = so3_exp(random.normal(0.0, 0.02, 3)) @ T[:3, :3]
        steps.append(T)
    return [None, *steps]


def frame_of(index, box, step, depth_factor=1.0):
    _, images, depths = box
    depth = DepthImage(depths[index] * depth_factor, box_scene.CAMERA)
    return FrameInput(index, images[index], box_scene.CAMERA, step, depth)


def followed(box, edges=None, steps=None, depth_factors=None):
    """Return the motions by edges, None for frames without."""
    edges = edges or EdgeWindow(is_needed=True)
    steps = steps or steps_with_errors(box[0])
    found = []
    for index, step in enumerate(steps):
        factor = 1.0 if depth_factors is None else depth_factors[index]
        frame = frame_of(index, box, np.eye(4) if step is None else step, factor)
        motion = edges.follow(frame, frame.grey, frame.camera, 0.0, RefinementConfig())
        found.append(motion)
    return found


def turn_errors(motions, poses):
    true = [invert(a) @ b for a, b in pairwise(poses)]
    return np.degrees(
        [rotation_angle(T[:3, :3].T @ t[:3, :3]) for T, t in zip(motions, true, strict=True)]
    )


@pytest.mark.parametrize('x_px', [40.0, 40.3, 40.5])
def test_an_edge_is_found_between_pixels(x_px):
    pixels, normals = EdgeImage.of(step_at(x_px)).points(500)
    assert len(pixels) > 40
    # The edge is half a pixel before the first bright one.
    assert np.abs(pixels[:, 0] - x_px).max() < 0.25
    np.testing.assert_allclose(normals, np.tile([1.0, 0.0], (len(pixels), 1)), atol=0.05)


def search_in(*images, most_px=8):
    return EdgeSearch(
        np.stack([image.direction for image in images]),
        np.stack([image.offset for image in images]),
        most_px,
    )


def test_an_edge_is_searched_along_its_normal_and_only_in_its_direction():
    search, frame = search_in(EdgeImage.of(step_at(40.0))), np.zeros(3, int)
    start = np.array([[34.0, 30.0], [46.0, 30.0], [20.0, 30.0]])
    right = np.tile([1.0, 0.0], (3, 1))
    rows, found, _ = search.nearest(frame, start, right, 8)
    assert rows.tolist() == [0, 1]  # the third one is too far away
    np.testing.assert_allclose(found, [[40.0, 30.0]] * 2, atol=0.25)
    assert not len(search.nearest(frame, start, -right, 8)[0])  # from bright to dark: another edge


def test_each_point_is_searched_in_its_own_image():
    search = search_in(EdgeImage.of(step_at(40.0)), EdgeImage.of(step_at(44.0)))
    start, right = np.full((2, 2), (41.0, 30.0)), np.tile([1.0, 0.0], (2, 1))
    rows, found, _ = search.nearest(np.array([1, 0]), start, right, 8)
    assert rows.tolist() == [0, 1]
    np.testing.assert_allclose(found[:, 0], [44.0, 40.0], atol=0.25)


def test_a_search_ends_at_the_border_of_the_image():
    search = search_in(*[EdgeImage.of(step_at(76.0))] * 2)
    # The pixels before the first one in memory are those of the other border, a row earlier.
    start = np.array([[1.0, 30.0], [1.0, 0.0], [1.0, 59.0]])
    normals = np.array([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]])
    for frame in (0, 1):
        assert not len(search.nearest(np.full(3, frame), start, normals, 8)[0])


def test_an_image_without_contrast_has_no_edges():
    image = EdgeImage.of(np.full((60, 80), 128, np.uint8))
    assert (image.offset == NO_EDGE).all()
    assert len(image.points(100)[0]) == 0


def test_edges_correct_the_motion_of_a_network_that_is_off_by_degrees(box):
    poses, steps = box[0], steps_with_errors(box[0])
    by_edges = followed(box)
    assert by_edges[:2] == [None, None]  # two images fix nothing
    assert all(motion is not None for motion in by_edges[2:])
    mine = turn_errors([motion.T for motion in by_edges[2:]], poses[1:])
    network = turn_errors(steps[2:], poses[1:])
    assert np.median(mine) < 0.5 * np.median(network)


def test_edges_keep_their_scale_when_the_scale_of_the_network_changes(box):
    factors = np.linspace(1.0, 1.6, NUM_FRAMES)
    steps = steps_with_errors(box[0])
    lengths = [
        np.linalg.norm(motion.T[:3, 3])
        for motion in followed(box, steps=steps, depth_factors=factors)
        if motion is not None
    ]
    assert max(lengths[-3:]) < 1.3 * np.median(lengths[:3])


def test_memory_is_constant_and_few_frames_are_kept(box):
    edges = EdgeWindow(is_needed=True)
    followed(box, edges)
    assert len(edges.poses) == len(edges.direction) == len(edges.pixels) == 6


def test_images_without_edges_leave_the_motion_to_the_network(box):
    poses, images, depths = box
    blank = [np.full_like(image, 128) for image in images]
    assert followed((poses, blank, depths)) == [None] * NUM_FRAMES


def test_parallel_edges_leave_the_motion_to_the_network(box):
    poses, images, depths = box
    stripes = [np.where(np.arange(image.shape[0]) % 40 < 3, 200, 120) for image in images]
    stripes = [np.tile(rows[:, None], (1, 320)).astype(np.uint8) for rows in stripes]
    assert followed((poses, stripes, depths)) == [None] * NUM_FRAMES


def test_a_frame_without_depth_starts_the_edges_anew(box):
    edges = EdgeWindow(is_needed=True)
    followed(box, edges)
    images = box[1]
    frame = FrameInput(99, images[-1], box_scene.CAMERA, np.eye(4))
    assert edges.follow(frame, frame.grey, frame.camera, 0.0, RefinementConfig()) is None
    assert len(edges.poses) == 0


def test_edges_are_needed_only_while_corners_are_few(box):
    edges = EdgeWindow()
    edges.note_corners(200)
    assert followed(box, edges) == [None] * NUM_FRAMES and not len(edges.poses)
    edges.note_corners(12)
    assert edges.is_needed
    followed(box, edges)
    edges.note_corners(45)  # not enough yet: the edges go on
    assert edges.is_needed and len(edges.poses)
    edges.note_corners(120)
    assert not edges.is_needed and not len(edges.poses)


def test_the_reason_names_the_edges_where_corners_give_no_motion(box):
    blurred = [cv2.GaussianBlur(image, (0, 0), 2.0) for image in box[1]]  # edges stay
    window, reasons = SlidingWindow(), []
    for index, step in enumerate(steps_with_errors(box[0])):
        frame = frame_of(index, (box[0], blurred, box[2]), step)
        estimate = window.process(frame, RefinementConfig(num_corners=30))
        reasons.append('' if estimate is None else estimate.reason)
    assert "corners: the motion is the network's" in reasons[1]
    assert any('corners: the motion is by edges' in reason for reason in reasons[3:])


def test_a_window_with_few_corners_asks_for_depth_and_takes_the_edges_along(box):
    window = SlidingWindow()
    for index, step in enumerate(steps_with_errors(box[0])):
        window.process(frame_of(index, box, step), RefinementConfig())
    assert window.edges.is_needed and window.wants_depth
    assert len(window.edges.poses) == 6
    window.process(frame_of(0, box, None), RefinementConfig())  # after a break
    assert len(window.edges.poses) == 0


def test_an_image_of_another_size_starts_the_edges_anew(box):
    edges = EdgeWindow(is_needed=True)
    followed(box, edges)
    small = cv2.resize(box[1][0], (160, 120))
    camera = box_scene.CAMERA.resized(160, 120)
    frame = FrameInput(99, small, camera, np.eye(4), DepthImage(box[2][0], box_scene.CAMERA))
    assert edges.follow(frame, small, camera, 0.0, RefinementConfig()) is None
    assert edges.offset.shape == (1, 120, 160)


def test_saved_edges_go_on_as_if_they_had_not_been_saved(box):
    edges, restored = EdgeWindow(is_needed=True), EdgeWindow()
    followed(box, edges)
    values, tensors = pack({'window_edges': edges})
    unpack({'window_edges': restored}, values, tensors)
    assert {'window_edges.pixels', 'window_edges.direction', 'window_edges.offset'} <= set(tensors)
    frame = frame_of(0, box, np.eye(4))
    one, other = (
        window.follow(frame, frame.grey, frame.camera, 0.0, RefinementConfig())
        for window in (edges, restored)
    )
    np.testing.assert_array_equal(one.T, other.T)


def test_restored_edges_that_do_not_fit_are_started_anew(box):
    frame = frame_of(0, box, np.eye(4))
    for keep, is_kept in ((slice(0, 0), True), (slice(0, 1), False)):
        edges = EdgeWindow(is_needed=True)
        followed(box, edges)
        for item in fields(edges):
            if isinstance(value := getattr(edges, item.name), np.ndarray):
                setattr(edges, item.name, value[keep])
        edges.is_kept = is_kept
        assert edges.follow(frame, frame.grey, frame.camera, 0.0, RefinementConfig()) is None
        assert len(edges.poses) == 1
