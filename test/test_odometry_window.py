# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The sliding window on rendered images, with a network whose errors are known."""

from dataclasses import fields, replace

import cv2
import numpy as np
from oracle import Scene
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, rotation_angle, se3_exp
from mem3r_ros.odometry import (
    DepthImage,
    FrameInput,
    RefinementConfig,
    SlidingWindow,
    corner_search,
)
from mem3r_ros.odometry import window as window_module
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.agreement import network_fits_better
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.network_start import Correction, corrected_by_network
from mem3r_ros.odometry.pinhole import project, rays_of
from mem3r_ros.odometry.problem import MotionFactors
from mem3r_ros.odometry.scale_carriers import log_depth_ratio, onto_published
from mem3r_ros.worlds import WorldConfig, render_clip

WORLD = WorldConfig(world='room', path='handheld', moving_share=0.0, motion_blur_share=0.0)
CONFIG = RefinementConfig()


@pytest.fixture(scope='module')
def scene():
    """Return 24 rendered images of a hand-held camera in a room, 2 cm and 0.6 degrees a frame."""
    clip = render_clip(2, 24, (320, 240), WORLD)
    camera = Intrinsics(*(float(value) for value in clip.intrinsics), 320, 240)
    return Scene(
        clip.image.numpy(), clip.depth_m.numpy(), clip.T_world_camera.double().numpy(), camera
    )


def frames(scene, pose_noise=0.0, scale=lambda index: 1.0, seed=0):
    """Return what a network with these errors gives the window, frame by frame."""
    random = np.random.default_rng(seed)
    for index in range(len(scene)):
        T = None
        if index:
            T = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
            T = T @ se3_exp(random.normal(0, 1, 6) * pose_noise)
            T[:3, 3] *= scale(index)
        depth = (scene.depth[index] * scale(index)).astype(np.float32)
        grey = cv2.cvtColor(scene.images[index], cv2.COLOR_RGB2GRAY)
        yield FrameInput(
            stamp_ns=index * 100_000_000,
            grey=grey,
            camera=scene.camera,
            T_previous_camera=T,
            depth=DepthImage(depth[::4, ::4], scene.camera.resized(80, 60)),
        )


def run(window, inputs):
    """Return the estimates of all frames but the first."""
    return [window.process(frame, CONFIG) for frame in inputs][1:]


def errors(estimates, scene):
    """Return the mean error of position, m, and rotation, rad, a frame."""
    wrong = [
        invert(estimate.T_previous_camera)
        @ invert(scene.T_world_camera[index])
        @ scene.T_world_camera[index + 1]
        for index, estimate in enumerate(estimates)
    ]
    position = np.mean([np.linalg.norm(T[:3, 3]) for T in wrong])
    return position, np.mean([rotation_angle(T[:3, :3]) for T in wrong])


def test_a_noisy_network_is_corrected(scene):
    position, rotation = errors(run(SlidingWindow(), frames(scene, 0.02)), scene)

    # The noise alone is 0.032 m and 0.032 rad a frame.
    assert position < 0.008
    assert rotation < 0.003


def test_scale_does_not_climb_with_the_network(scene):
    estimates = run(SlidingWindow(), frames(scene, scale=lambda index: 1.04**index))

    steps = np.array([np.linalg.norm(e.T_previous_camera[:3, 3]) for e in estimates])
    true = np.array(
        [
            np.linalg.norm((invert(a) @ b)[:3, 3])
            for a, b in zip(scene.T_world_camera, scene.T_world_camera[1:])
        ]
    )
    early, late = (
        steps[part].sum() / true[part].sum() for part in (slice(3, 10), slice(-8, None))
    )
    assert 1 / 1.15 < late / early < 1.15  # the network's own: 1.8


def test_the_scale_is_the_mean_of_the_first_keyframes_and_the_path_has_no_step(scene):
    def scale(index):
        return 2.5 if index < 4 else 1.0 + 0.06 * (index % 5)

    estimates = run(SlidingWindow(), frames(scene, scale=scale))

    keys = [index + 1 for index, e in enumerate(estimates) if e.is_keyframe]
    expected = np.exp(np.mean([np.log(scale(index)) for index in keys[:3]]))
    steps = np.array([np.linalg.norm(e.T_previous_camera[:3, 3]) for e in estimates])
    true = np.array(
        [
            np.linalg.norm((invert(a) @ b)[:3, 3])
            for a, b in zip(scene.T_world_camera, scene.T_world_camera[1:])
        ]
    )
    assert steps[-8:].sum() / true[-8:].sum() == pytest.approx(expected, rel=0.15)
    assert (steps / true < 3.0).all()
    assert (steps / true > 0.6).all()


def test_estimates_state_a_spread_that_covers_their_error(scene):
    normalised = []
    for index, estimate in enumerate(run(SlidingWindow(), frames(scene, 0.01))):
        true = invert(scene.T_world_camera[index]) @ scene.T_world_camera[index + 1]
        error = (estimate.T_previous_camera - true)[:3, 3]
        normalised.append(error @ np.linalg.solve(estimate.covariance[:3, :3], error) / 3)

    assert np.median(normalised) < 4.0


def test_without_corners_the_motion_is_the_networks_and_the_reason_is_named(scene):
    blank = [replace(frame, grey=np.full((240, 320), 120, np.uint8)) for frame in frames(scene)]

    estimates = run(SlidingWindow(), blank)

    position, rotation = errors(estimates, scene)
    assert position < 1e-6
    assert rotation < 1e-6
    assert all('corners' in estimate.reason for estimate in estimates)
    assert all(estimate.covariance is None for estimate in estimates)


def test_pure_rotation_gives_no_translation(scene):
    canvas = cv2.resize(scene.images[0], (1280, 960), interpolation=cv2.INTER_CUBIC)
    camera, K = scene.camera, scene.camera.K
    images, poses = [], []
    wide = np.array([[K[0, 0], 0, 640.0], [0, K[1, 1], 480.0], [0, 0, 1.0]])
    for index in range(12):
        T = se3_exp(np.array([0, 0, 0, 0.0, 0.02 * index, 0.0]))
        H = K @ T[:3, :3].T @ np.linalg.inv(wide)
        images.append(cv2.warpPerspective(canvas, H, (camera.width, camera.height)))
        poses.append(T)
    depth = np.full((12, camera.height, camera.width), 3.0, np.float32)
    turning = replace(scene, images=np.stack(images), depth=depth, T_world_camera=np.stack(poses))

    position, rotation = errors(run(SlidingWindow(), frames(turning, 0.003)), turning)

    assert position < 0.01
    assert rotation < 0.002


def test_memory_stays_bounded(scene):
    window, sizes = SlidingWindow(), []
    inputs = list(frames(scene))
    window.process(inputs[0], CONFIG)
    for turn in range(6):
        # There and back again, so that the path never ends.
        for index in range(1, len(inputs)):
            at, before = (index, index - 1) if turn % 2 == 0 else (-1 - index, -index)
            T = invert(scene.T_world_camera[before]) @ scene.T_world_camera[at]
            window.process(replace(inputs[at], T_previous_camera=T), CONFIG)
        sizes.append((len(window.landmarks), len(window.keyframes), len(window.log_step_ratios)))

    assert max(size[0] for size in sizes[1:]) < 10 * CONFIG.num_corners
    assert all(size[1] <= CONFIG.num_keyframes for size in sizes)
    assert all(size[2] <= 10 for size in sizes)


def test_equal_frames_give_equal_bits(scene):
    first = run(SlidingWindow(), frames(scene, 0.01))
    second = run(SlidingWindow(), frames(scene, 0.01))

    for a, b in zip(first, second):
        assert (a.T_previous_camera == b.T_previous_camera).all()


def test_an_adjustment_that_fails_leaves_the_window_going(scene, monkeypatch):
    def singular(problem, *_):
        raise np.linalg.LinAlgError('singular')

    monkeypatch.setattr('mem3r_ros.odometry.window.adjusted', singular)

    position, _ = errors(run(SlidingWindow(), frames(scene)), scene)

    assert position < 0.01


def test_an_adjustment_that_moves_far_is_discarded(scene, monkeypatch):
    def wild(problem, *_):
        solution = adjust(problem)
        poses = solution.T_window_camera.copy()
        poses[-1, :3, 3] += 0.7
        return replace(solution, T_window_camera=poses)

    monkeypatch.setattr('mem3r_ros.odometry.window.adjusted', wild)

    position, _ = errors(run(SlidingWindow(), frames(scene)), scene)

    assert position < 0.01


def test_after_three_discarded_adjustments_the_window_starts_anew(scene, monkeypatch):
    window, left, lengths = SlidingWindow(), [3], []

    def wild(problem, *_):
        solution = adjust(problem)
        if not left[0]:
            return solution
        left[0] -= 1
        poses = solution.T_window_camera.copy()
        poses[-1, :3, 3] += 0.7
        return replace(solution, T_window_camera=poses)

    monkeypatch.setattr('mem3r_ros.odometry.window.adjusted', wild)
    estimates = []
    for frame in frames(scene):
        estimates.append(window.process(frame, CONFIG))
        lengths.append(len(window.keyframes))

    anew = [index for index in range(1, len(lengths)) if lengths[index] < lengths[index - 1]]
    assert len(anew) == 1
    assert lengths[anew[0]] == 1
    assert 'starts anew' in estimates[anew[0]].reason
    position, rotation = errors(estimates[1:], scene)
    assert position < 0.01
    assert rotation < 0.01


def test_keyframes_hold_landmarks_at_their_true_depth(scene):
    window = SlidingWindow()

    run(window, frames(scene, 0.005))

    keyframe = window.current_keyframes()[-3]
    at = np.rint(keyframe.pixels).astype(int)
    frame = round(keyframe.stamp_ns / 100_000_000)
    true = scene.depth[frame][at[:, 1].clip(0, 239), at[:, 0].clip(0, 319)]
    log_ratio = np.log(keyframe.inverse_depth * true)
    scale = np.nanmedian(log_ratio)  # set by the noisy first motions
    assert len(keyframe.pixels) > 50
    assert abs(scale) < 0.3
    assert np.nanmedian(np.abs(log_ratio - scale)) < 0.08
    assert keyframe.grey.shape == (240, 320)
    assert len({frame.index for frame in window.current_keyframes()}) == len(window.keyframes)


def test_another_image_size_starts_a_new_window(scene):
    window = SlidingWindow()
    inputs = list(frames(scene))
    for frame in inputs[:5]:
        window.process(frame, CONFIG)
    smaller = replace(
        inputs[5],
        grey=cv2.resize(inputs[5].grey, (160, 120)),
        camera=scene.camera.resized(160, 120),
    )

    assert window.process(smaller, CONFIG) is None
    assert len(window.keyframes) == 1


@pytest.mark.parametrize('scale', [0.6, 1.0, 1.7])
def test_adjusted_keyframes_are_laid_onto_the_published_ones(scale):
    random = np.random.default_rng(0)
    published = np.stack([se3_exp(random.normal(0, 0.3, 6)) for _ in range(6)])
    turn = se3_exp(np.array([0.5, -0.2, 0.3, 0.1, 0.2, -0.1]))
    poses = turn @ published
    poses[:, :3, 3] *= scale

    change = onto_published(poses, published, with_scale=True)

    np.testing.assert_allclose(change.apply(poses), published, atol=1e-9)
    assert change.scale == pytest.approx(1 / scale)


def test_a_path_that_was_adjusted_to_another_shape_keeps_its_size():
    # The first motions of a stream may point anywhere. If the corners then contradict them, the
    # path must not shrink: metres would be wrong by any factor.
    published = np.tile(np.eye(4), (5, 1, 1))
    published[:, 0, 3] = np.arange(5.0)
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, 1, 3] = 0.8 * np.arange(5.0)

    change = onto_published(poses, published, with_scale=True)

    assert change.scale == pytest.approx(1 / 0.8)


def test_a_published_path_without_length_gives_no_scale():
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, 1, 3] = np.arange(5.0)

    assert onto_published(poses, np.tile(np.eye(4), (5, 1, 1)), with_scale=True).scale == 1.0


def test_all_fields_of_the_window_are_plain_values_or_stages(scene):
    window = SlidingWindow()
    run(window, frames(scene))

    for item in fields(window):
        if item.metadata.get('is_packed', True):
            assert isinstance(getattr(window, item.name), (np.ndarray, bool, int, float, list))


@pytest.mark.parametrize(('num_corners', 'is_followed'), [(20, False), (60, True)])
def test_only_many_corners_turn_the_camera_against_network_and_last_motion(
    scene, monkeypatch, num_corners, is_followed
):
    find, roll = corner_search.find, np.radians(15.0)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    inputs, window, index = list(frames(scene)), SlidingWindow(), 8

    def rolled(*arguments):
        found = find(*arguments)
        centre = arguments[2][2:]
        pixels = centre + (found.pixels[:num_corners] - centre) @ turn.T
        return corner_search.Found(found.rows[:num_corners], pixels, found.is_rigid[:num_corners])

    run(window, inputs[:index])
    monkeypatch.setattr(corner_search, 'find', rolled)
    estimate = window.process(inputs[index], CONFIG)

    off = invert(inputs[index].T_previous_camera) @ estimate.T_previous_camera
    assert (np.degrees(rotation_angle(off[:3, :3])) > 10.0) == is_followed
    assert estimate.reason


@pytest.mark.parametrize('num_landmarks, part', [(15, 0.5), (150, 0.9)])
def test_few_landmarks_change_the_ratio_of_depths_less_than_many(num_landmarks, part):
    """As in a fast turn, which few landmarks survive, with depths that are wrong by blur."""
    random, grey = np.random.default_rng(0), np.zeros((240, 320), np.uint8)
    camera = np.array([250.0, 250.0, 160.0, 120.0])
    landmarks, pixels = Landmarks(), random.uniform(30, 210, (num_landmarks, 2))
    landmarks.add_frame()
    landmarks.add(grey, pixels, np.full(num_landmarks, 0.5), np.full(num_landmarks, 0.1))
    everywhere = DepthImage(np.ones((60, 80), np.float32), Intrinsics(62.5, 62.5, 40, 30, 80, 60))
    given = (landmarks, np.ones(num_landmarks, bool), np.eye(4)[None], camera, everywhere)

    assert log_depth_ratio(*given) == pytest.approx(np.log(2.0))
    assert log_depth_ratio(*given, 0.0) == pytest.approx(part * np.log(2.0), rel=0.02)


def test_a_contradicted_window_starts_anew_without_a_jump_and_keeps_its_scale(scene, monkeypatch):
    window, inputs = SlidingWindow(), list(frames(scene))
    before = run(window, inputs[:12])
    monkeypatch.setattr(
        window_module, 'corrected_by_network', lambda _, poses, *__: (poses, Correction.FAILED)
    )
    index = next(
        index
        for index in range(12, len(scene))
        if 'starts anew' in (estimate := window.process(inputs[index], CONFIG)).reason
    )
    monkeypatch.undo()

    after = [window.process(frame, CONFIG) for frame in inputs[index + 1 :]]

    np.testing.assert_allclose(
        estimate.T_previous_camera[:3, :3], inputs[index].T_previous_camera[:3, :3], atol=1e-6
    )
    assert estimate.covariance is None  # the motion is the network's
    assert not any(e.reason for e in after)
    ratios = [
        sum(np.linalg.norm(e.T_previous_camera[:3, 3]) for e in estimates)
        / sum(np.linalg.norm(f.T_previous_camera[:3, 3]) for f in part)
        for estimates, part in ((before[3:], inputs[4:12]), (after, inputs[index + 1 :]))
    ]
    assert ratios[1] / ratios[0] == pytest.approx(1.0, abs=0.15)


def test_a_corrected_window_states_the_reason_and_the_covariance_of_the_network(
    scene, monkeypatch
):
    window, inputs = SlidingWindow(), list(frames(scene))
    run(window, inputs[:12])
    monkeypatch.setattr(
        window_module, 'corrected_by_network', lambda _, poses, *__: (poses, Correction.DONE)
    )

    estimates = [window.process(frame, CONFIG) for frame in inputs[12:]]

    corrected = [e for e in estimates if 'corrected' in e.reason]
    assert corrected == [e for e in estimates if e.is_keyframe]
    assert corrected and all(e.covariance is None for e in corrected)
    assert not any(e.reason for e in estimates if not e.is_keyframe)


def two_views(T_key_camera, num_corners=60, noise_px=0.3):
    """Return corners in two images, [P, 2, 2] px, and the camera."""
    random = np.random.default_rng(0)
    camera = np.array([260.0, 260.0, 160.0, 120.0])
    first = random.uniform(20, 220, (num_corners, 2))
    points = rays_of(first, camera) * random.uniform(1.0, 5.0, num_corners)[:, None]
    T = invert(T_key_camera)
    second = project(points @ T[:3, :3].T + T[:3, 3], camera)
    seen = np.stack([first, second], axis=1)
    return seen + random.normal(0, noise_px, seen.shape), camera


TRUE_MOTION = se3_exp(np.array([0.2, 0.0, 0.02, 0.0, 0.03, 0.0]))
WRONG_MOTION = se3_exp(np.array([-0.2, 0.0, 0.02, 0.0, 0.1, 0.0]))


@pytest.mark.parametrize(
    ('by_window', 'by_network', 'num_corners', 'expected'),
    [
        (WRONG_MOTION, TRUE_MOTION, 60, True),
        (TRUE_MOTION, WRONG_MOTION, 60, False),
        (WRONG_MOTION, WRONG_MOTION, 60, False),
        (WRONG_MOTION, TRUE_MOTION, 10, False),
    ],
    ids=['wrong window', 'wrong network', 'both wrong', 'few corners'],
)
def test_corners_of_two_images_judge_between_window_and_network(
    by_window, by_network, num_corners, expected
):
    seen, camera = two_views(TRUE_MOTION, num_corners)
    seen = np.concatenate([seen, np.full((5, 2, 2), np.nan)])  # corners that are not seen

    assert network_fits_better(seen, (by_window, by_network), camera, 0.5) == expected


@pytest.mark.parametrize('is_network_right', [True, False])
def test_landmarks_and_motions_that_blur_made_wrong_are_corrected_by_a_right_network(
    is_network_right,
):
    """As after blurred images: the last step and the landmarks found on it are wrong."""
    random = np.random.default_rng(0)
    camera, num_frames, num_points = np.array([260.0, 260.0, 160.0, 120.0]), 8, 240
    true = [np.eye(4)]
    for _ in range(num_frames - 1):
        true.append(true[-1] @ TRUE_MOTION)
    true = np.stack(true)
    anchor = np.repeat(np.arange(num_frames), num_points // num_frames)
    pixels = random.uniform(20, 220, (num_points, 2))
    depth = random.uniform(2.0, 5.0, num_points)
    points = rays_of(pixels, camera) * depth[:, None]
    points = np.einsum('nij,nj->ni', true[anchor, :3, :3], points) + true[anchor, :3, 3]
    seen = np.stack(
        [project((points - T[:3, 3]) @ T[:3, :3], camera) for T in true], axis=1
    ) + random.normal(0, 0.3, (num_points, num_frames, 2))
    seen[np.arange(num_frames) < anchor[:, None]] = np.nan
    seen[np.arange(num_frames) > anchor[:, None] + 3] = np.nan
    seen[(anchor < num_frames - 3)[:, None] & (np.arange(num_frames) >= num_frames - 2)] = np.nan
    wrong = true.copy()
    wrong[-1] = wrong[-2] @ WRONG_MOTION
    is_young = anchor >= num_frames - 2
    inverse_depth = np.where(is_young, random.uniform(0.2, 0.5, num_points), 1 / depth)
    sigma = np.where(is_young, 0.1, 0.002) * inverse_depth
    landmarks = Landmarks(
        anchor=anchor,
        measured=pixels,
        adjusted=pixels.copy(),
        inverse_depth=inverse_depth,
        variance=sigma**2,
        prior=inverse_depth.copy(),
        prior_sigma=sigma,
        parallax=np.full(num_points, 0.1),
        patch=np.zeros((num_points, 1, 1), np.float32),
        is_tracked=np.isfinite(seen[:, -1, 0]),
        seen=seen,
    )
    step = TRUE_MOTION if is_network_right else se3_exp(np.array([0, 0.3, 0, 0.2, 0, 0]))
    first = np.arange(num_frames - 1)
    motions = MotionFactors(
        first,
        first + 1,
        np.tile(step, (num_frames - 1, 1, 1)),
        np.tile(np.diag([1e2, 1e2, 1e2, 1e4, 1e4, 1e4]), (num_frames - 1, 1, 1)),
    )

    poses, correction = corrected_by_network(landmarks, wrong, camera, 0.5, motions)

    off = invert(true[-1]) @ poses[-1]
    if is_network_right:
        assert correction is Correction.DONE
        assert np.linalg.norm(off[:3, 3]) < 0.05  # 0.4 before
        assert np.degrees(rotation_angle(off[:3, :3])) < 0.5  # 4 before
        error = np.abs(landmarks.inverse_depth * depth - 1)
        assert np.median(error[is_young & landmarks.is_tracked]) < 0.1
    else:
        assert correction is Correction.NOT_NEEDED
        np.testing.assert_array_equal(poses, wrong)
