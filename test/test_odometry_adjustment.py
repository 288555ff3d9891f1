# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Bundle adjustment on synthetic scenes with exact answers."""

from dataclasses import replace
import re
import runpy
import sys

import numpy as np
import pytest

from mem3r_ros.geometry import invert, matrix, rotation_angle, se3_exp, so3_exp, transform_points
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.normal_equations import Residuals, State, Structure, System
from mem3r_ros.odometry.pinhole import project, rays_of
from mem3r_ros.odometry.problem import MotionFactors, Problem

CAMERA = np.array([500.0, 500.0, 320.0, 240.0])
NUM_FRAMES, NUM_LANDMARKS = 8, 120


def true_poses():
    return np.stack(
        [
            matrix(so3_exp(np.array([0.0, 0.02, 0.01]) * i), np.array([0.1, 0.01, 0.05]) * i)
            for i in range(NUM_FRAMES)
        ]
    )


def scene(pixel_noise=0.0, seed=0):
    """Return the true poses, the true inverse depths, and a problem that starts beside them."""
    random = np.random.default_rng(seed)
    poses = true_poses()
    anchor = np.sort(random.integers(0, NUM_FRAMES - 2, NUM_LANDMARKS))
    measured = random.uniform([40, 40], [600, 440], (NUM_LANDMARKS, 2))
    inverse_depth = 1.0 / random.uniform(2.0, 8.0, NUM_LANDMARKS)
    rays = rays_of(measured, CAMERA)
    landmark, frame, pixels = [], [], []
    for n in range(NUM_LANDMARKS):
        point = transform_points(poses[anchor[n]], (rays[n] / inverse_depth[n])[None])
        for f in range(anchor[n] + 1, NUM_FRAMES):
            landmark.append(n)
            frame.append(f)
            pixels.append(project(transform_points(invert(poses[f]), point), CAMERA)[0])
    pixels = np.array(pixels) + random.normal(0, 1, (len(pixels), 2)) * pixel_noise
    measured = measured + random.normal(0, 1, measured.shape) * pixel_noise
    start = poses.copy()
    for f in range(2, NUM_FRAMES):
        start[f] = se3_exp(random.normal(0, 0.02, 6)) @ poses[f]
    guess = inverse_depth * np.exp(random.normal(0, 0.2, NUM_LANDMARKS))
    problem = Problem(
        T_window_camera=start,
        is_fixed=np.arange(NUM_FRAMES) < 2,  # two poses fix the scale
        anchor=anchor,
        anchor_pixels=measured,
        guess_pixels=measured,
        inverse_depth=guess,
        prior_inverse_depth=guess,
        prior_sigma=5.0 * guess,
        landmark=np.array(landmark),
        frame=np.array(frame),
        pixels=pixels,
        camera=CAMERA,
        pixel_sigma=0.5,
        max_iterations=30,
    )
    return poses, inverse_depth, problem


def position_error(poses, truth):
    return np.linalg.norm(poses[:, :3, 3] - truth[:, :3, 3], axis=1).max()


def test_exact_observations_give_the_exact_answer():
    truth, inverse_depth, problem = scene()

    solution = adjust(problem)

    assert solution.has_converged
    assert position_error(solution.T_window_camera, truth) < 1e-3
    assert np.abs(solution.inverse_depth / inverse_depth - 1).max() < 0.01


def test_observations_along_normals_give_the_exact_answer():
    truth, _, problem = scene()
    random = np.random.default_rng(1)
    angle = random.uniform(0.0, 2.0 * np.pi, len(problem.pixels))
    normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # Where on its edge a point is seen does not count.
    along = random.normal(0.0, 20.0, (len(angle), 1)) * normals[:, ::-1] * (-1.0, 1.0)
    edges = replace(
        problem, pixels=problem.pixels + along, normals=normals, max_iterations=30, focal_sigma=0.0
    )
    solution = adjust(edges)
    assert position_error(solution.T_window_camera, truth) < 1e-3
    points = adjust(replace(edges, normals=None))
    assert position_error(points.T_window_camera, truth) > 1e-2


def test_one_in_ten_wrong_observations_changes_little():
    truth, _, problem = scene(0.3)
    pixels = problem.pixels.copy()
    wrong = np.arange(len(pixels)) % 10 == 0
    pixels[wrong] += np.random.default_rng(1).uniform(-60, 60, (wrong.sum(), 2))

    clean = adjust(problem)
    robust = adjust(replace(problem, pixels=pixels))

    assert position_error(robust.T_window_camera, truth) < 0.01
    assert position_error(clean.T_window_camera, truth) < 0.006
    assert np.median(robust.error_px[wrong]) > 10.0


def test_stated_spread_of_depth_covers_the_error():
    ratios = []
    for seed in range(4):
        _, inverse_depth, problem = scene(0.5, seed)
        solution = adjust(problem)
        error = solution.inverse_depth - inverse_depth
        ratios.append(error / np.sqrt(solution.inverse_depth_variance))

    assert 0.6 < np.sqrt(np.mean(np.square(ratios))) < 1.5


def test_a_wrong_focal_length_is_found_with_its_spread():
    truth, _, problem = scene(0.1)
    wrong = CAMERA * (1.1, 1.1, 1.0, 1.0)
    problem = replace(problem, camera=wrong, focal_sigma=0.3)

    solution = adjust(problem)

    error = solution.log_focal + np.log(1.1)
    assert abs(error) < 0.01
    assert abs(error) < 4 * solution.log_focal_sigma + 0.002
    assert position_error(solution.T_window_camera, truth) < 0.02


def test_a_motion_factor_sets_the_scale_that_images_leave_open():
    truth, _, problem = scene()
    T = invert(truth[0]) @ truth[1]
    T[:3, 3] *= 2.0  # twice as far as the truth: everything doubles
    factors = MotionFactors(np.array([0]), np.array([1]), T[None], np.eye(6)[None] * 1e8)
    problem = replace(problem, is_fixed=np.arange(NUM_FRAMES) < 1, motions=factors)

    solution = adjust(replace(problem, prior_sigma=1e3 * problem.prior_inverse_depth))

    lengths = np.linalg.norm(solution.T_window_camera[1:, :3, 3], axis=1)
    expected = 2.0 * np.linalg.norm(truth[1:, :3, 3], axis=1)
    np.testing.assert_allclose(lengths, expected, rtol=0.02)


def test_without_observations_the_motions_are_followed():
    truth, _, problem = scene()
    nothing = np.zeros(0, np.int64)
    first = np.arange(NUM_FRAMES - 1)
    T = np.stack([invert(truth[i]) @ truth[i + 1] for i in first])
    information = np.stack([np.eye(6) * 1e4] * len(first))
    problem = replace(
        problem,
        landmark=nothing,
        frame=nothing,
        pixels=np.zeros((0, 2)),
        motions=MotionFactors(first, first + 1, T, information),
    )

    solution = adjust(problem)

    assert position_error(solution.T_window_camera, truth) < 1e-3
    assert rotation_angle(solution.T_window_camera[-1, :3, :3] @ truth[-1, :3, :3].T) < 1e-3


def test_the_gradient_is_the_derivative_of_the_cost():
    _, _, problem = scene(0.5)
    problem = replace(problem, focal_sigma=0.1, prior_log_focal=0.05)
    structure = Structure(problem)
    state = State(problem.T_window_camera, problem.guess_pixels + 0.3, problem.inverse_depth, 0.02)
    system = System(problem, structure, state, Residuals(problem, structure, state))

    def cost(poses, log_focal):
        moved = State(poses, state.anchor_pixels, state.inverse_depth, log_focal)
        return Residuals(problem, structure, moved).cost

    step = 1e-6
    for index in (0, 4, 8, 35):
        frame, axis = structure.free[index // 6], index % 6
        costs = []
        for sign in (-1, 1):
            poses = state.poses.copy()
            poses[frame] = se3_exp(sign * step * np.eye(6)[axis]) @ poses[frame]
            costs.append(cost(poses, state.log_focal))
        numeric = (costs[1] - costs[0]) / (2 * step)
        assert system.gradient[index] == pytest.approx(numeric, rel=1e-3, abs=1e-2)
    costs = [cost(state.poses, state.log_focal + sign * step) for sign in (-1, 1)]
    numeric = (costs[1] - costs[0]) / (2 * step)
    assert system.gradient[-1] == pytest.approx(numeric, rel=1e-3)


def test_the_same_problem_gives_the_same_bits():
    _, _, problem = scene(0.5)

    first, second = adjust(problem), adjust(problem)

    assert (first.T_window_camera == second.T_window_camera).all()
    assert (first.inverse_depth == second.inverse_depth).all()


def test_numbers_that_are_not_finite_are_refused():
    _, _, problem = scene()
    pixels = problem.pixels.copy()
    pixels[0] = np.nan

    with pytest.raises(np.linalg.LinAlgError):
        adjust(replace(problem, pixels=pixels))


def test_the_benchmark_of_solvers_prints_time_and_error(repository_dir, monkeypatch, capsys):
    path = repository_dir / 'benchmarks' / 'solvers.py'
    words = [str(path), '--keyframes', '6', '--landmarks', '60', '--rounds', '1']
    monkeypatch.setattr(sys, 'argv', words)

    runpy.run_path(str(path), run_name='__main__')

    row = re.search(r'numpy \(ours\) \| 0.0 \| ([0-9.]+) \| ([0-9.]+) \|', capsys.readouterr().out)
    assert float(row[1]) > 0
    assert float(row[2]) < 20
