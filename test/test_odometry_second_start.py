# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""An adjustment whose first guess is far off, as after wrong motions of the network."""

from dataclasses import replace

import numpy as np
import pytest

from mem3r_ros.geometry import invert, matrix, rotation_angle, so3_exp, transform_points
from mem3r_ros.odometry import second_start
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.pinhole import project, rays_of
from mem3r_ros.odometry.problem import Problem
from mem3r_ros.odometry.second_start import adjusted

CAMERA = np.array([500.0, 500.0, 320.0, 240.0])
NUM_FRAMES, NUM_LANDMARKS = 8, 150


def problem_of(guess, seen, predicted):
    """Return the adjustment of poses [M, 4, 4] with predicted inverse depths in the first one."""
    num_landmarks, num_frames = seen.shape[:2]
    landmark, frame = (
        axis.ravel()
        for axis in np.meshgrid(np.arange(num_landmarks), np.arange(1, num_frames), indexing='ij')
    )
    return Problem(
        T_window_camera=guess,
        is_fixed=np.arange(num_frames) < 1,
        anchor=np.zeros(num_landmarks, int),
        anchor_pixels=seen[:, 0],
        guess_pixels=seen[:, 0],
        inverse_depth=predicted,
        prior_inverse_depth=predicted,
        prior_sigma=0.4 * predicted,
        landmark=landmark,
        frame=frame,
        pixels=seen[landmark, frame],
        camera=CAMERA,
        pixel_sigma=0.5,
        max_iterations=6,
        least_decrease=1e-2,
    )


def drive(turn_rad, pixel_noise=0.3, seed=0):
    """Return a drive straight ahead whose first guess turns at each step, and what is seen."""
    random = np.random.default_rng(seed)
    indices = np.arange(NUM_FRAMES)
    steps = np.array([[0.0, 0.0, 1.0]]) * indices[:, None]
    pixels = random.uniform([120, 100], [520, 380], (NUM_LANDMARKS, 2))
    points = rays_of(pixels, CAMERA) * random.uniform(10.0, 60.0, NUM_LANDMARKS)[:, None]
    seen = np.stack(
        [
            project(transform_points(invert(matrix(np.eye(3), step)), points), CAMERA)
            for step in steps
        ],
        axis=1,
    )
    seen += random.normal(0.0, pixel_noise, seen.shape)
    turns = np.array([[0.0, turn_rad, 0.0]]) * indices[:, None]
    predicted = np.exp(random.normal(0.0, 0.3, NUM_LANDMARKS)) / 25.0
    guess = np.stack([matrix(so3_exp(w), t) for w, t in zip(turns, steps)])
    return problem_of(guess, seen, predicted), seen


def turn_deg(solution):
    return np.degrees(max(rotation_angle(T[:3, :3]) for T in solution.T_window_camera))


def test_a_window_whose_first_guess_turns_by_degrees_is_adjusted_from_the_observations():
    problem, seen = drive(turn_rad=0.3)

    assert turn_deg(adjust(problem)) > 10.0
    assert turn_deg(adjusted(problem, seen, 1.0)) < 0.1


def test_lengths_of_the_steps_stay_those_of_the_first_guess():
    problem, seen = drive(turn_rad=0.3)

    positions = adjusted(problem, seen, 1.0).T_window_camera[:, :3, 3]

    lengths = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert lengths == pytest.approx(np.full(NUM_FRAMES - 1, lengths[0]), rel=0.1)
    assert 0.5 < lengths[0] < 2.0


def test_a_good_fit_needs_no_second_start(monkeypatch):
    problem, seen = drive(turn_rad=0.02)
    monkeypatch.setattr(second_start, '_by_essential_matrices', None)

    assert turn_deg(adjusted(problem, seen, 1.0)) < 0.1


def test_of_two_poor_fits_the_first_one_stays_if_the_second_is_no_better():
    problem, seen = drive(turn_rad=0.0, pixel_noise=4.0)

    first, chosen = adjust(problem), adjusted(problem, seen, 1.0)

    assert first.cost > 0.8 * len(problem.landmark)
    assert (chosen.T_window_camera == first.T_window_camera).all()


def test_a_second_start_that_cannot_be_solved_leaves_the_first_result(monkeypatch):
    problem, seen = drive(turn_rad=0.3)
    first = adjust(problem)

    def once(problem):
        if problem.T_window_camera is start:
            return first
        raise np.linalg.LinAlgError('singular')

    start = problem.T_window_camera
    monkeypatch.setattr(second_start, 'adjust', once)

    assert adjusted(problem, seen, 1.0) is first


def turning_drive(num_frames, num_far=110, num_near=40):
    """
    Return a drive round a bend, and what is seen of a road and far trees.

    The network sees a wall at 5 m in place of both, and takes the turn for a step sideways.
    """
    random, count = np.random.default_rng(0), num_far + num_near
    turn, poses = matrix(so3_exp(np.array([0.0, 0.045, 0.0])), np.array([0.05, 0.0, 1.0])), []
    for _ in range(num_frames):
        poses.append(poses[-1] @ turn if poses else np.eye(4))
    pixels = np.concatenate(
        [
            random.uniform([250, 180], [560, 240], (num_far, 2)),
            random.uniform([200, 280], [560, 420], (num_near, 2)),
        ]
    )
    depth = np.concatenate([random.uniform(60, 90, num_far), 800.0 / (pixels[num_far:, 1] - 230)])
    points = rays_of(pixels, CAMERA) * depth[:, None]
    seen = np.stack(
        [project(transform_points(invert(T), points), CAMERA) for T in poses], axis=1
    ) + random.normal(0.0, 0.3, (count, num_frames, 2))
    guess = [np.eye(4)]
    for _ in range(num_frames - 1):
        guess.append(guess[-1] @ matrix(np.eye(3), np.array([0.2, 0.0, 0.2])))
    predicted = np.full(count, 1 / 5.0) * np.exp(random.normal(0.0, 0.1, count))
    problem = problem_of(np.stack(guess), seen, predicted)
    return problem, seen, np.stack(poses), 1.0 / depth


def turn_errors_deg(solution, poses):
    return np.degrees(
        [rotation_angle((invert(a) @ b)[:3, :3]) for a, b in zip(solution.T_window_camera, poses)]
    )


def test_a_flat_wall_in_place_of_road_and_trees_does_not_outvote_the_observations():
    problem, seen, poses, inverse_depth = turning_drive(num_frames=4)

    assert turn_errors_deg(adjust(problem), poses).max() > 1.0
    solution = adjusted(problem, seen, 1.0)
    assert turn_errors_deg(solution, poses).max() < 0.2
    assert solution.contradicts_depth
    scale = np.median(solution.inverse_depth[-40:] / inverse_depth[-40:])
    assert solution.inverse_depth[-40:] / scale == pytest.approx(inverse_depth[-40:], rel=0.2)


def test_its_path_has_the_length_that_the_network_predicts():
    problem, seen, _, _ = turning_drive(num_frames=4)

    positions = adjusted(problem, seen, 1.0).T_window_camera[:, :3, 3]

    length = np.linalg.norm(np.diff(positions, axis=0), axis=1).sum()
    assert length == pytest.approx(3 * np.hypot(0.2, 0.2))


def test_depths_that_fit_the_observations_are_kept():
    problem, seen, poses, inverse_depth = turning_drive(num_frames=4)
    problem = replace(
        problem,
        T_window_camera=poses,
        inverse_depth=inverse_depth,
        prior_inverse_depth=inverse_depth,
        prior_sigma=0.4 * inverse_depth,
    )

    solution = adjusted(problem, seen, 1.0)

    assert not solution.contradicts_depth
    assert turn_errors_deg(solution, poses).max() < 0.2


def test_a_camera_that_stands_still_keeps_the_first_result():
    problem, seen, _, _ = turning_drive(num_frames=4)
    problem = replace(problem, T_window_camera=np.tile(np.eye(4), (4, 1, 1)))

    solution = adjusted(problem, seen, 1.0)

    assert np.isfinite(solution.T_window_camera).all()
    assert not solution.contradicts_depth
