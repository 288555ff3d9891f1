# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Errors of paths and depth agree with hand-made cases and with evo."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import UserError
from mem3r_ros.evaluation import (
    DepthMeter,
    depth_error,
    timing_summary,
    trajectory_error,
)
from mem3r_ros.evaluation.depth_error import true_depth_at
from mem3r_ros.evaluation.tables import depth_rows, length, trajectory_rows
from mem3r_ros.model import ModelConfig
from mem3r_ros.tracker.config import InputConfig
from mem3r_ros.tracker.image_preparation import Preparation
from mem3r_ros.trajectory import Trajectory


def helix(num_poses=40, period_ns=100_000_000):
    """Return a path that turns and climbs."""
    angle = np.linspace(0, 4, num_poses)
    poses = np.tile(np.eye(4), (num_poses, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler('zx', np.stack([angle, 0.2 * angle], 1)).as_matrix()
    poses[:, :3, 3] = np.stack([np.cos(angle), np.sin(angle), 0.3 * angle], 1)
    return Trajectory(np.arange(num_poses) * period_ns, poses)


def moved(path, scale=1.0):
    """Return the same path seen from another origin, in other metres."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec([0.3, -0.8, 1.9]).as_matrix()
    T[:3, 3] = 4.0, -2.0, 7.0
    poses = path.poses.copy()
    poses[:, :3, 3] *= scale
    return Trajectory(path.stamps_ns, T @ poses)


def noisy(path, sigma_m=0.02):
    poses = path.poses.copy()
    poses[:, :3, 3] += np.random.default_rng(3).normal(0, sigma_m, (len(path), 3))
    return Trajectory(path.stamps_ns, poses)


def test_a_perfect_path_in_another_frame_and_scale_has_no_error_but_that_of_scale():
    error = trajectory_error(moved(helix(), scale=1.25), helix())

    assert error.ate_sim3_rmse_m < 1e-9
    assert error.rpe_translation_m < 1e-9 and error.rpe_rotation_deg < 1e-5
    assert error.scale == pytest.approx(0.8)
    assert error.scale_error_percent == pytest.approx(25.0)
    assert error.ate_se3_rmse_m > 0.1 and error.rpe_translation_metric_m > 0.01
    assert error.num_poses == 40


def test_the_errors_equal_those_of_evo():
    from evo.core import metrics
    from evo.core.trajectory import PoseTrajectory3D

    truth, estimate = helix(), noisy(moved(helix(), 1.3))
    evo_truth = PoseTrajectory3D(poses_se3=list(truth.poses), timestamps=truth.stamps_ns * 1e-9)
    evo_path = PoseTrajectory3D(poses_se3=list(estimate.poses), timestamps=truth.stamps_ns * 1e-9)
    evo_path.align(evo_truth, correct_scale=True)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((evo_truth, evo_path))

    error = trajectory_error(estimate, truth)

    assert error.ate_sim3_rmse_m == pytest.approx(ape.get_statistic(metrics.StatisticsType.rmse))


def test_the_error_with_aligned_first_poses_equals_that_of_evo():
    from evo.core import metrics
    from evo.core.trajectory import PoseTrajectory3D

    truth, estimate = helix(), noisy(moved(helix(), 1.3))
    evo_truth = PoseTrajectory3D(poses_se3=list(truth.poses), timestamps=truth.stamps_ns * 1e-9)
    evo_path = PoseTrajectory3D(poses_se3=list(estimate.poses), timestamps=truth.stamps_ns * 1e-9)
    evo_path.align_origin(evo_truth)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((evo_truth, evo_path))

    error = trajectory_error(estimate, truth)

    assert error.ate_first_rmse_m == pytest.approx(ape.get_statistic(metrics.StatisticsType.rmse))


def test_truth_is_interpolated_to_the_stamps_of_the_estimate():
    dense, sparse = helix(400, 10_000_000), helix(400, 10_000_000)
    estimate = sparse.select(np.arange(0, 400, 10))
    shifted = Trajectory(dense.stamps_ns[::2], dense.poses[::2])

    assert trajectory_error(estimate, shifted).ate_se3_rmse_m < 1e-3


def test_the_stand_still_baseline_is_the_spread_of_the_path():
    truth = helix()
    spread_m = np.sqrt(((truth.positions - truth.positions.mean(0)) ** 2).sum(1).mean())
    steps_m = np.linalg.norm(np.diff(truth.positions, axis=0), axis=1)

    still = trajectory_error(truth, truth).stand_still

    assert still.ate_rmse_m == pytest.approx(spread_m)
    assert still.rpe_translation_m == pytest.approx(np.sqrt((steps_m**2).mean()))
    assert still.rpe_rotation_deg > 5.0


def test_the_constant_velocity_baseline_is_exact_on_a_straight_drive():
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[:, 2, 3] = np.arange(10)
    straight = Trajectory(np.arange(10) * 100_000_000, poses)

    error = trajectory_error(straight, straight)

    assert error.constant_velocity.ate_rmse_m < 1e-9
    assert error.constant_velocity.rpe_translation_m < 1e-9
    assert error.ate_sim3_rmse_m < 1e-9


def test_an_estimate_that_never_moves_is_as_bad_as_standing_still():
    frozen = Trajectory(helix().stamps_ns, np.tile(np.eye(4), (40, 1, 1)))

    error = trajectory_error(frozen, helix())

    assert error.ate_sim3_rmse_m == pytest.approx(error.stand_still.ate_rmse_m)
    assert trajectory_rows(error)[-1][:2] == ('scale error', 'unknown')


def test_the_scale_error_is_unknown_if_the_truth_never_moves():
    still = Trajectory(helix().stamps_ns, np.tile(np.eye(4), (40, 1, 1)))

    assert np.isnan(trajectory_error(helix(), still).scale_error_percent)


def test_paths_of_different_times_cannot_be_compared():
    later = Trajectory(helix().stamps_ns + 10**12, helix().poses)

    with pytest.raises(UserError, match='only 0 of 40 poses have a true pose within 50 ms'):
        trajectory_error(later, helix())


def test_depth_error_of_a_hand_made_case():
    true_m = np.full((8, 8), 2.0, np.float32)
    predicted_m = true_m.copy()
    predicted_m[:, 4:] = 3.0

    error = depth_error(predicted_m, true_m, align=None)

    assert error.abs_rel == pytest.approx(0.25)
    assert error.delta1_percent == pytest.approx(50.0)
    assert error.rmse_m == pytest.approx(np.sqrt(0.5))
    assert error.scale == 1.0 and error.constant_abs_rel == 0.0


@pytest.mark.parametrize('align', ['median', 'scale'])
def test_alignment_removes_a_wrong_scale(align):
    true_m = np.random.default_rng(0).uniform(1, 5, (3, 8, 8)).astype(np.float32)

    error = depth_error(0.5 * true_m, true_m, align)

    assert error.abs_rel < 1e-6 and error.scale == pytest.approx(2.0)
    assert error.num_frames == 3
    assert error.constant_abs_rel > 0.2


def test_invalid_pixels_are_left_out():
    true_m = np.full((8, 8), 2.0, np.float32)
    predicted_m = true_m.copy()
    predicted_m[0], predicted_m[1], true_m[2] = np.nan, np.inf, np.nan

    assert depth_error(predicted_m, true_m, None).abs_rel == 0.0


def test_depth_without_any_valid_pixel_is_a_user_error():
    with pytest.raises(UserError, match='no frame has depth where the true depth is known'):
        depth_error(np.full((8, 8), np.nan), np.ones((8, 8)))
    assert DepthMeter().result() is None


def test_an_unknown_alignment_is_refused():
    with pytest.raises(UserError, match="align is 'mean'; choose median, scale or None"):
        DepthMeter('mean')


def test_true_depth_is_sampled_at_the_pixels_of_the_cropped_and_resized_camera():
    true_m = np.arange(40 * 60, dtype=np.float32).reshape(40, 60)
    camera = Intrinsics(50.0, 50.0, 29.5, 19.5, 60, 40)
    small = camera.cropped(10, 5, 40, 30).resized(20, 15)

    looked_up = true_depth_at(true_m, camera, small)

    assert looked_up.shape == (15, 20)
    np.testing.assert_allclose(looked_up, true_m[5:35, 10:50][::2, ::2], atol=61.0)
    assert np.isnan(true_depth_at(true_m, camera, camera.cropped(-5, 0, 60, 40))[:, :5]).all()


@pytest.mark.parametrize('size', [(1280, 720), (1241, 376), (480, 640), (640, 480)])
@pytest.mark.parametrize('preset', ['mem3r-tiny', 'cut3r-512-dpt'])
def test_without_calibration_true_depth_is_sampled_at_the_pixels_of_the_network(preset, size):
    pixels = Preparation(ModelConfig.preset(preset)).plan(*size, InputConfig())
    middle = (pixels.width - 1) / 2, (pixels.height - 1) / 2
    estimated = Intrinsics(300.0, 300.0, *middle, pixels.width, pixels.height)
    columns = np.tile(np.arange(size[0], dtype=np.float32), (size[1], 1))

    looked_up = true_depth_at(columns, pixels.source_camera(estimated), estimated)

    zoom = size[0] / pixels.resized_width
    seen = (np.arange(pixels.width) + 0.5 + pixels.left) * zoom - 0.5
    assert np.abs(looked_up - seen).max() <= 0.5 + 1e-6


def test_timing_is_summarised_by_percentiles():
    summary = timing_summary([10.0] * 99 + [1000.0])

    assert summary.p50_ms == summary.p90_ms == 10.0
    assert summary.max_ms == 1000.0 and summary.count == 100
    assert summary.rate_hz == pytest.approx(1000.0 / 19.9)
    assert timing_summary([]) is None


@pytest.mark.parametrize(
    ('metres', 'text'), [(0.0004, '0.4 mm'), (0.123, '12.3 cm'), (4.0, '4.00 m')]
)
def test_lengths_have_a_unit_that_fits_their_size(metres, text):
    assert length(metres) == text


def test_tables_have_a_row_for_each_number():
    path_rows = trajectory_rows(trajectory_error(moved(helix(), 1.25), helix()))
    rows = depth_rows(depth_error(np.ones((8, 8)), np.full((8, 8), 2.0)))

    assert path_rows[-1][1] == '+25.0 %'
    assert rows[0][0] == 'AbsRel (median-aligned)'
