# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Trajectory errors ATE and RPE, computed by evo (Sturm et al. 2012; Umeyama 1991).

Two baselines use no images: a camera that stands still, and one with the best constant velocity. A
method that does not beat them has not estimated the motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.errors import UserError
from mem3r_ros.geometry import invert, weighted_procrustes
from mem3r_ros.trajectory import Trajectory

# Poses are compared at the stamps of the estimate, if a true pose is at most this far in time.
MAX_GAP_NS = 50_000_000
_MIN_SPREAD_M = 1e-6  # spread of the positions of a path that counts as moving


@dataclass(frozen=True, slots=True)
class Alignment:
    """Alignment of an estimate to the truth: p_truth = scale R p_estimate + t."""

    T_truth_estimate: np.ndarray  # [4, 4] rigid
    scale: float

    def apply(self, poses: np.ndarray) -> np.ndarray:
        """Return poses [N, 4, 4] of the estimate in the frame of the truth."""
        scaled = poses.copy()
        scaled[:, :3, 3] *= self.scale
        return self.T_truth_estimate @ scaled


@dataclass(frozen=True, slots=True)
class PathError:
    """The three errors by which paths are compared."""

    ate_rmse_m: float
    rpe_translation_m: float
    rpe_rotation_deg: float


@dataclass(frozen=True, slots=True)
class TrajectoryError:
    """
    Errors of one trajectory.

    RPE is the root mean square over pairs of consecutive frames. Its translation is computed after
    the scale of the Sim(3) alignment, as usual for monocular odometry.
    """

    num_poses: int
    path_length_m: float
    ate_sim3_rmse_m: float  # best rotation, translation and scale
    ate_se3_rmse_m: float  # best rotation and translation, metres as published
    ate_first_rmse_m: float  # the first pose laid on the true one, metres as published
    rpe_translation_m: float
    rpe_translation_metric_m: float  # metres as published
    rpe_rotation_deg: float
    scale: float  # factor from the size of the estimate to that of the truth
    scale_error_percent: float  # excess size of the estimate; NaN if one of them never moved
    stand_still: PathError
    constant_velocity: PathError


def trajectory_error(
    estimate: Trajectory, truth: Trajectory, max_gap_ns: int = MAX_GAP_NS
) -> TrajectoryError:
    """
    Compute the errors of an estimated path.

    :param estimate: T_odom_camera over time.
    :param truth: T_world_camera over time, any world; interpolated to the estimate's stamps.
    :param max_gap_ns: poses farther in time from any true pose are left out.
    :return: the errors.
    :raises UserError: fewer than three poses have a true pose at their time.
    """
    estimate, truth = matched(estimate, truth, max_gap_ns)
    sim3, se3 = align(estimate, truth, True), align(estimate, truth, False)
    scaled = estimate.poses.copy()
    scaled[:, :3, 3] *= sim3.scale
    rpe_translation_m, rpe_rotation_deg = _rpe(scaled, truth)
    return TrajectoryError(
        num_poses=len(truth),
        path_length_m=truth.length_m,
        ate_sim3_rmse_m=_ate(sim3.apply(estimate.poses), truth),
        ate_se3_rmse_m=_ate(se3.apply(estimate.poses), truth),
        ate_first_rmse_m=_ate(align_first(estimate, truth).apply(estimate.poses), truth),
        rpe_translation_m=rpe_translation_m,
        rpe_translation_metric_m=_rpe(estimate.poses, truth)[0],
        rpe_rotation_deg=rpe_rotation_deg,
        scale=sim3.scale,
        scale_error_percent=_scale_error_percent(estimate, truth, sim3.scale),
        stand_still=_baseline(_stand_still(truth), truth),
        constant_velocity=_baseline(_constant_velocity(truth), truth),
    )


def matched(
    estimate: Trajectory, truth: Trajectory, max_gap_ns: int = MAX_GAP_NS
) -> tuple[Trajectory, Trajectory]:
    """
    Return the poses of the estimate that have a true pose, and the truth at their stamps.

    :raises UserError: fewer than three poses are left, too few for an alignment.
    """
    poses, valid = truth.interpolate(estimate.stamps_ns, max_gap_ns)
    if valid.sum() < 3:
        raise UserError(
            f'only {int(valid.sum())} of {len(estimate)} poses have a true pose within '
            f'{max_gap_ns * 1e-6:g} ms; at least 3 are needed'
        )
    return estimate.select(valid), Trajectory(estimate.stamps_ns[valid], poses[valid])


def align(estimate: Trajectory, truth: Trajectory, with_scale: bool) -> Alignment:
    """
    Fit the motion between matched positions by least squares.

    :param estimate: poses at the same stamps as the truth.
    :param truth: the true poses.
    :param with_scale: Sim(3) instead of SE(3).
    :return: the alignment; for a straight path the rotation about the path is arbitrary.
    """
    T, scale = weighted_procrustes(
        estimate.positions, truth.positions, np.ones(len(truth)), with_scale
    )
    return Alignment(T, scale)


def align_first(estimate: Trajectory, truth: Trajectory) -> Alignment:
    """
    Lay the first pose of the estimate on the true one; nothing is fitted.

    :param estimate: poses at the same stamps as the truth.
    :param truth: the true poses.
    :return: the alignment, of scale 1.
    """
    return Alignment(truth.poses[0] @ invert(estimate.poses[0]), 1.0)


def _scale_error_percent(estimate: Trajectory, truth: Trajectory, scale: float) -> float:
    spreads_m = [path.positions.std(axis=0).max() for path in (estimate, truth)]
    if min(spreads_m) < _MIN_SPREAD_M or scale <= 0:
        return float('nan')
    return 100.0 * (1.0 / scale - 1.0)


def _ate(poses: np.ndarray, truth: Trajectory) -> float:
    from evo.core import metrics

    error = metrics.APE(metrics.PoseRelation.translation_part)
    error.process_data((_evo_path(truth.poses, truth), _evo_path(truth=truth, poses=poses)))
    return float(error.get_statistic(metrics.StatisticsType.rmse))


def _rpe(poses: np.ndarray, truth: Trajectory) -> tuple[float, float]:
    from evo.core import metrics

    results = []
    for relation in (
        metrics.PoseRelation.translation_part,
        metrics.PoseRelation.rotation_angle_deg,
    ):
        error = metrics.RPE(relation, delta=1, delta_unit=metrics.Unit.frames, all_pairs=True)
        error.process_data((_evo_path(truth.poses, truth), _evo_path(poses, truth)))
        results.append(float(error.get_statistic(metrics.StatisticsType.rmse)))
    return results[0], results[1]


def _evo_path(poses: np.ndarray, truth: Trajectory) -> object:
    from evo.core.trajectory import PoseTrajectory3D

    stamps_s = (truth.stamps_ns - truth.stamps_ns[0]) * 1e-9
    return PoseTrajectory3D(poses_se3=list(poses), timestamps=stamps_s)


def _baseline(poses: np.ndarray, truth: Trajectory) -> PathError:
    return PathError(_ate(poses, truth), *_rpe(poses, truth))


def _stand_still(truth: Trajectory) -> np.ndarray:
    """Return the best constant pose: the mean position."""
    poses = np.tile(truth.poses[0], (len(truth), 1, 1))
    poses[:, :3, 3] = truth.positions.mean(axis=0)
    return poses


def _constant_velocity(truth: Trajectory) -> np.ndarray:
    """Return the motion of constant velocity that fits the true positions best."""
    stamps_s = (truth.stamps_ns - truth.stamps_ns[0]) * 1e-9
    design = np.stack([np.ones_like(stamps_s), stamps_s], axis=1)
    coefficients = np.linalg.lstsq(design, truth.positions, rcond=None)[0]
    poses = np.tile(truth.poses[0], (len(truth), 1, 1))
    poses[:, :3, 3] = design @ coefficients
    return poses
