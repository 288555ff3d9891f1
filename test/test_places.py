# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Places are recognised where the camera returns, never elsewhere, and drift is corrected."""

from dataclasses import replace
import time

import numpy as np
import pytest
from revisited import (
    CONFIG,
    FRAME_NS,
    drifting,
    path_error,
    remembered,
    rendered_walk,
    wrong_recognitions,
)

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import invert, matrix, se3_exp, so3_exp
from mem3r_ros.places import Correction, PlaceMap, PlacesConfig, Sighting
from mem3r_ros.places.features import find_features
from mem3r_ros.places.graph import Edge, Place, PlaceGraph
from mem3r_ros.places.odometry_sigma import seen_sigma
from mem3r_ros.places.pose_graph import Edges, Poses, optimised
from mem3r_ros.places.recognition import Recognition, is_possible
from mem3r_ros.places.record import packed, unpacked
from mem3r_ros.places.selection import Choice, Selection
from mem3r_ros.places.sighting import Features
from mem3r_ros.places.similarity import Placed, change_between, inverse_of
from mem3r_ros.places.verification import verify
from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.revisits import revisit_world


@pytest.mark.parametrize(('route', 'index', 'num_frames'), [('loop', 1, 300), ('loop', 2, 300)])
def test_a_loop_corrects_the_drift_of_the_whole_path(route, index, num_frames):
    walk = rendered_walk(route, index, num_frames, stride=3)
    odom, scale = drifting(walk)

    places = remembered(walk, odom, scale)

    in_map = places.correction().path(walk.stamps_ns, odom)
    assert places.num_recognised and not places.has_look_alikes
    assert not wrong_recognitions(places, walk, scale)
    assert path_error(in_map, walk.T_world_camera) < 0.4 * path_error(odom, walk.T_world_camera)


def test_a_way_there_and_back_is_recognised_where_the_view_returns():
    walk = rendered_walk('there_and_back', 0, 300, stride=3)
    odom, scale = drifting(walk)

    places = remembered(walk, odom, scale)

    in_map = places.correction().path(walk.stamps_ns, odom)
    assert places.num_recognised >= 3
    assert not wrong_recognitions(places, walk, scale)
    assert path_error(in_map, walk.T_world_camera) < 0.4 * path_error(odom, walk.T_world_camera)


@pytest.mark.parametrize('index', range(2))
def test_a_corridor_that_repeats_itself_is_not_recognised(index):
    walk = rendered_walk('alike', index, 160, stride=4)
    odom, scale = drifting(walk)

    places = remembered(walk, odom, scale)

    assert places.num_recognised == 0
    np.testing.assert_allclose(places.correction().path(walk.stamps_ns, odom), odom, atol=1e-9)


def test_after_a_break_a_corridor_that_repeats_itself_is_not_recognised_either():
    walk = rendered_walk('alike', 0, 160, stride=4)
    odom, scale = drifting(walk)

    places = remembered(walk, odom, scale, breaks=(24,))

    assert places.has_look_alikes
    assert places.num_recognised == 0


def test_a_camera_set_down_in_a_known_place_is_located():
    walk = rendered_walk('loop', 1, 300, stride=3)
    odom, scale = drifting(walk, 0.0)
    # Odometry starts anew elsewhere when the camera comes back to the start of the loop.
    first = 84
    moved = odom.copy()
    moved[first:] = se3_exp(np.array([5.0, 3.0, 0.0, 0.0, 0.0, 1.0])) @ odom[first:]

    lost = remembered(_part(walk, first + 3), moved, scale, breaks=(first,)).correction()
    places = remembered(walk, moved, scale, breaks=(first,)).correction()

    assert not lost.is_located and lost.covariance[0, 0] > 100.0
    assert places.is_located and places.covariance[0, 0] < 0.1
    found = places.pose(moved[-1])
    assert np.linalg.norm(found[:3, 3] - odom[-1, :3, 3]) < 0.1
    assert np.linalg.norm(found[:3, 3] - moved[-1, :3, 3]) > 3.0


@pytest.mark.parametrize(
    ('blind_s', 'is_cut', 'needed'),
    [(0.1, False, None), (0.1, True, None), (8.0, False, 5), (np.inf, False, 5)],
    ids=['a dark image', 'another scene', 'eight seconds', 'a restart'],
)
def test_after_a_break_a_far_place_needs_time_to_come_there_and_more_keyframes(
    blind_s, is_cut, needed
):
    places = PlaceMap()
    for step in range(24):
        places.process(_wall(0.25 * step, 10 * step, 0), CONFIG)
    recognised = []
    for step in range(8):  # the view of the wall from 1 m on, although odometry is at 6 m
        sighting = _wall(1.0 + 0.25 * step, 240 + 10 * step, 1, 6.0 + 0.25 * step)
        places.process(replace(sighting, blind_s=0.0 if step else blind_s, is_cut=is_cut), CONFIG)
        recognised.append(places.num_recognised > 0)

    assert any(recognised) == (needed is not None)
    assert needed is None or recognised.index(True) == needed - 1


@pytest.mark.parametrize(
    ('known_m', 'unseen_s', 'is_recognised'),
    [(None, 2.0, True), (None, 5.0, False), (0.4, 0.2, False), (8.0, 0.2, True)],
    ids=['one wall', 'one short wall', 'walls near each other', 'walls far apart'],
)
def test_a_view_after_a_break_is_recognised_unless_another_place_may_look_alike(
    known_m, unseen_s, is_recognised
):
    places = PlaceMap()
    for step in range(24):  # a quarter of a metre each tenth of a second
        places.process(_wall(0.25 * step, step, 0), CONFIG)
    for _ in range(3 if known_m else 0):
        places.look_alikes.note(known_m)
    for step in range(5):
        sighting = _wall(5.0 + 0.25 * step, 24 + step, 1, 5.5 + 0.25 * step)
        places.process(replace(sighting, blind_s=0.0 if step else unseen_s), CONFIG)

    assert (places.num_recognised > 0) == is_recognised


def test_a_snapshot_keeps_the_distances_between_places_that_look_alike():
    places = PlaceMap()
    for distance_m in (4.0, 3.5):
        places.look_alikes.note(distance_m)

    restored = unpacked(packed(places, stretch=0, path_m=0.0))

    assert restored.look_alikes == places.look_alikes


@pytest.mark.parametrize(
    ('sigmas', 'ambiguity', 'expected'),
    [(0.0, 0.9, True), (3.0, 0.2, True), (3.0, 0.6, False), (1.5, 0.98, False), (6.0, 0.0, False)],
)
def test_an_unlikely_motion_to_a_place_that_may_have_a_copy_is_refused(
    sigmas, ambiguity, expected
):
    strain = np.zeros((2, 7))
    strain[1, 4] = sigmas
    newest = Recognition(9, 2, None, Placed(np.eye(4), 0.0), ambiguity=ambiguity)

    assert is_possible(strain, newest) is expected


def test_after_a_break_a_near_place_is_recognised_as_usual():
    places = PlaceMap()
    for step in range(24):
        places.process(_wall(0.25 * step, step, 0), CONFIG)
    for step in range(3):
        sighting = _wall(5.0 + 0.25 * step, 24 + step, 1, 5.5 + 0.25 * step)
        places.process(replace(sighting, blind_s=0.0 if step else 0.4), CONFIG)

    assert places.num_recognised == 1


@pytest.mark.parametrize('blind_s', [1.0, 60.0])
def test_a_stretch_between_two_breaks_is_corrected_with_the_loop_around_it(blind_s):
    true = [matrix(so3_exp(np.array([0, 0, k * np.pi / 8])), np.array(
        [np.sin(k * np.pi / 8), 1 - np.cos(k * np.pi / 8), 0])) for k in range(17)]  # fmt: skip
    graph, T, away = PlaceGraph(), np.eye(4), matrix(np.eye(3), np.array([0.3, 0.2, 0.0]))
    for number in range(17):
        stretch = (number > 5) + (number > 10)
        step = invert(true[number - 1]) @ true[number] if number else np.eye(4)
        is_first = number in (6, 11)
        T = T @ step @ away if is_first else T @ step
        nothing = Features(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 32)), np.zeros(4), 0.01)
        placed = Placed(T, 0.0)
        gap_s = blind_s if is_first else 0.0
        graph.append(
            Place(number, number, stretch, 0.0, T, nothing, None, placed, np.eye(6), gap_s)
        )
    assert set(graph.parts().values()) == {0, 6, 11}
    sigma = np.array([0.001, 0.001, 0.01])
    graph.move_part(16, Placed(true[16], 0.0))
    graph.add_loops([Edge(0, 16, Placed(true[16], 0.0), sigma, is_loop=True)])

    before = np.linalg.norm(graph.places[8].placed.T_map_camera[:3, 3] - true[8][:3, 3])
    graph.optimise()

    after = np.linalg.norm(graph.places[8].placed.T_map_camera[:3, 3] - true[8][:3, 3])
    assert graph.parts()[8] == 6  # a break is no link
    assert (after < 0.8 * before) == (blind_s < 6.0)


def test_memory_and_time_are_bounded_over_ten_thousand_frames():
    config = replace(CONFIG, max_places=40, num_features=50)
    places, selection = PlaceMap(), Selection()
    random = np.random.default_rng(0)
    canvas = random.integers(0, 255, (60, 3000), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    camera = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
    depth = np.full((120, 160), 2.0, np.float32)
    times = []
    for frame in range(10_000):
        # Back and forth along a wall.
        along = 20.0 * abs((frame / 2500) % 2 - 1)
        T = matrix(np.eye(3), np.array([along, 0.0, 0.0]))
        choice = selection.choose(frame * FRAME_NS, T, True)
        if choice is Choice.NONE:
            continue
        selection.take(choice, frame * FRAME_NS, T, 2.0)
        left = int(along * 50) * 2
        started_s = time.thread_time()
        places.process(
            Sighting(
                stamp_ns=frame * FRAME_NS,
                T_odom_camera=T,
                path_m=0.008 * frame,
                stretch=0,
                grey=np.ascontiguousarray(canvas[:, left : left + 160]),
                camera=camera,
                depth=depth,
                depth_camera=camera,
                landmark_rays=np.zeros((0, 2)),
                landmark_depth=np.zeros(0),
            ),
            config,
        )
        times.append(time.thread_time() - started_s)

    assert len(times) > 250
    assert len(places.graph) <= 40
    assert len(places.graph.edges) < 6 * 40
    assert len(places.history) <= 60 and len(places.recogniser.recent) <= 8
    assert np.median(times[-60:]) < 4 * np.median(times[60:120])


def test_the_places_that_are_kept_cover_the_whole_way():
    walk = rendered_walk('loop', 1, 300, stride=3)
    odom, scale = drifting(walk, 0.0)

    places = remembered(walk, odom, scale, replace(CONFIG, max_places=25))

    assert len(places.graph) == 25
    kept = np.stack([p.placed.T_map_camera[:3, 3] for p in places.graph.places.values()])
    gaps = np.linalg.norm(odom[:, None, :3, 3] - kept[None], axis=2).min(axis=1)
    assert gaps.max() < 3.0
    in_map = places.correction().path(walk.stamps_ns, odom)
    assert path_error(in_map, walk.T_world_camera) < 0.1


def test_optimisation_closes_a_square_and_its_scale():
    turn = so3_exp(np.array([0.0, 0.0, np.pi / 8]))
    true = [Placed(np.eye(4), 0.0)]
    for _ in range(16):
        true.append(true[-1].then(matrix(turn, np.array([1.0, 0.0, 0.0]))))
    drift = matrix(so3_exp(np.array([0.0, 0.0, 0.02])) @ turn, np.array([1.0, 0.01, 0.0]))
    found = [Placed(np.eye(4), 0.0)]
    for _ in range(16):
        found.append(found[-1].then(drift, 0.03))
    start = Poses(
        np.stack([p.T_map_camera[:3, :3] for p in found]),
        np.stack([p.T_map_camera[:3, 3] for p in found]),
        np.array([p.log_scale for p in found]),
    )
    edges = Edges(
        np.r_[np.arange(16), 0],
        np.r_[np.arange(1, 17), 16],
        np.stack([drift] * 16 + [np.eye(4)]),
        np.zeros(17),
        np.array([[0.02, 0.05, 0.05]] * 16 + [[0.001, 0.001, 0.001]]),
    )

    made = optimised(start, edges, np.arange(17) == 0)

    assert np.linalg.norm(made.position[16] - made.position[0]) < 0.02
    assert np.abs(made.log_scale).max() < 0.1
    distance = np.linalg.norm(
        made.position - np.stack([p.T_map_camera[:3, 3] for p in true]), axis=1
    )
    assert distance.max() < 0.5 < np.linalg.norm(start.position[16] - start.position[0])


def test_similarities_compose_and_invert():
    first = Placed(se3_exp(np.array([1.0, 2.0, 3.0, 0.3, 0.2, 0.1])), 0.4)
    T, log_scale = se3_exp(np.array([-1.0, 0.5, 0.2, 0.0, 1.0, 0.2])), -0.3
    second = first.then(T, log_scale)

    np.testing.assert_allclose(first.of(second.T_map_camera), T, atol=1e-12)
    back = inverse_of(Placed(T, log_scale))
    again = second.then(back.T_map_camera, back.log_scale)
    np.testing.assert_allclose(again.T_map_camera, first.T_map_camera, atol=1e-12)
    assert again.log_scale == pytest.approx(first.log_scale)
    moved = first.moved(change_between(first, second))
    np.testing.assert_allclose(moved.T_map_camera, second.T_map_camera, atol=1e-12)


def test_a_match_gives_the_pose_and_the_ratio_of_the_scales():
    walk = rendered_walk('loop', 1, 300, stride=3)
    first, second = (
        find_features(_sighting(walk, frame, factor), 400)
        for frame, factor in ((56, 1.0), (57, 1.5))
    )

    match = verify(second, first, 30)

    true = invert(walk.T_world_camera[56]) @ walk.T_world_camera[57]
    assert np.linalg.norm(match.T_place_query[:3, 3] - true[:3, 3]) < 3 * match.sigma_m
    assert match.sigma_m < 0.3
    assert match.log_scale == pytest.approx(np.log(1 / 1.5), abs=0.05)


def test_odometry_is_precise_where_both_views_have_features_in_common():
    walk = rendered_walk('loop', 1, 300, stride=3)
    first, second, stretched = (
        find_features(_sighting(walk, frame, factor), 400)
        for frame, factor in ((56, 1.0), (57, 1.0), (57, 2.0))
    )
    blank = replace(second, rays=second.rays[:0], depth=second.depth[:0],
                    descriptors=second.descriptors[:0])  # fmt: skip
    step, usual = invert(walk.T_world_camera[56]) @ walk.T_world_camera[57], first.usual_depth

    seen, unseen, grown = (
        seen_sigma(step, first, other, usual, 0.0) for other in (second, blank, stretched)
    )
    blind = seen_sigma(step, first, second, usual, 2.0)

    assert seen[0] < 0.02 and seen[1] < 0.05 * usual
    assert (unseen > [0.5, np.linalg.norm(step[:3, 3]), 0.2]).all()
    assert grown[2] > seen[2] + 0.5
    assert (blind > seen).all() and blind[0] > 1.0


def test_landmarks_correct_the_depth_of_features_near_them():
    walk = rendered_walk('loop', 1, 300, stride=3)
    wrong = _sighting(walk, 8, 1.6)
    y, x = np.mgrid[10:230:20, 10:310:20].reshape(2, -1)
    corrected = replace(
        wrong, landmark_rays=walk.camera.rays()[y, x, :2], landmark_depth=walk.depth[8, y, x]
    )
    true = find_features(_sighting(walk, 8, 1.0), 200).depth

    found = find_features(corrected, 200).depth

    assert np.median(np.abs(np.log(found / true))) < 0.05
    assert np.median(np.abs(np.log(find_features(wrong, 200).depth / true))) > 0.4


def test_an_image_without_corners_is_no_error():
    walk = rendered_walk('loop', 1, 300, stride=3)
    blank = replace(_sighting(walk, 8, 1.0), grey=np.full((240, 320), 90, np.uint8))
    places = PlaceMap()

    for _ in range(3):
        places.process(blank, CONFIG)

    assert len(places.graph) == 3 and places.num_recognised == 0


def test_before_the_first_place_map_and_odometry_are_the_same():
    T = se3_exp(np.array([1.0, 2.0, 3.0, 0.3, 0.2, 0.1]))

    correction = Correction()

    np.testing.assert_array_equal(correction.pose(T), T)
    np.testing.assert_array_equal(correction.path(np.array([1]), T[None]), T[None])


def test_an_unknown_route_is_refused():
    with pytest.raises(UserError, match='loop, there_and_back, alike'):
        revisit_world(0, 10, 'zigzag', WorldConfig())


def test_settings_of_places_are_checked():
    with pytest.raises(UserError, match='retrieval'):
        PlacesConfig(retrieval='guess')


def _wall(along_m, frame, stretch, odometry_m=None):
    """Return a keyframe in front of a wall 2 m away, at a distance along it."""
    random = np.random.default_rng(0)
    canvas = random.integers(0, 255, (60, 400), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    left, camera = int(along_m * 50) * 2, Intrinsics(200.0, 200.0, 79.5, 59.5, 160, 120)
    along_m = along_m if odometry_m is None else odometry_m
    return Sighting(
        stamp_ns=frame * FRAME_NS,
        T_odom_camera=matrix(np.eye(3), np.array([along_m, 0.0, 0.0])),
        path_m=0.25 * frame,
        stretch=stretch,
        grey=np.ascontiguousarray(canvas[:, left : left + 160]),
        camera=camera,
        depth=np.full((120, 160), 2.0, np.float32),
        depth_camera=camera,
        landmark_rays=np.zeros((0, 2)),
        landmark_depth=np.zeros(0),
    )


def _part(walk, num_frames):
    return replace(
        walk,
        grey=walk.grey[:num_frames],
        depth=walk.depth[:num_frames],
        T_world_camera=walk.T_world_camera[:num_frames],
    )


def _sighting(walk, frame, factor):
    return Sighting(
        stamp_ns=int(walk.stamps_ns[frame]),
        T_odom_camera=walk.T_world_camera[frame],
        path_m=0.0,
        stretch=0,
        grey=walk.grey[frame],
        camera=walk.camera,
        depth=walk.depth[frame] * np.float32(factor),
        depth_camera=walk.camera,
        landmark_rays=np.zeros((0, 2)),
        landmark_depth=np.zeros(0),
    )
