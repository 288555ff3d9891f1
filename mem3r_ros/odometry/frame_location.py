# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pose of one frame among landmarks whose depths are uncertain, with a motion as a prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mem3r_ros.geometry import hat, orthonormalise
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.motion_prior import MotionPrior
from mem3r_ros.odometry.pinhole import project
from mem3r_ros.odometry.pose_fit import SeenLandmarks, fit_pose
from mem3r_ros.odometry.robust_geometry import pose_from_points

MIN_LANDMARKS = 8
_ENOUGH = 25  # landmarks with parallax; fewer: all take part in the scale
_UNKNOWN = 100.0  # relative spread of a depth that is not to count
_OUTLIER = 3.5  # standard deviations of a pixel
_START_SIGMAS = 3.0  # of a start: residuals count up to about this many pixel sigmas
_POOR_START = 1.0  # mean cost of a start above which consensus is sought


@dataclass(frozen=True, slots=True)
class Location:
    """Where a frame is."""

    T_window_camera: np.ndarray  # [4, 4]
    covariance: np.ndarray  # [6, 6], left perturbation, window's axes
    outliers: np.ndarray  # rows of landmarks that do not fit
    num_inliers: int

    def seen_from(self, T_window_previous: np.ndarray) -> np.ndarray:
        """Return the covariance of the motion from another camera, in its axes, [6, 6]."""
        # A left perturbation moves the camera by v + w x t: bring it to the camera's place.
        shift = np.eye(6)
        shift[:3, 3:] = -hat(self.T_window_camera[:3, 3])
        turned = np.kron(np.eye(2), T_window_previous[:3, :3].T) @ shift
        return turned @ self.covariance @ turned.T


def locate(
    landmarks: Landmarks,
    poses: np.ndarray,
    camera: np.ndarray,
    rows: np.ndarray,
    pixels: np.ndarray,
    motion: MotionPrior,
    starts: Sequence[np.ndarray],
    has_parallax: np.ndarray,
    pixel_sigma: float,
) -> Location | None:
    """
    Locate a frame.

    :param poses: of the keyframes, [K, 4, 4]; they are held.
    :param rows: landmarks that the frame sees, indices [P].
    :param pixels: where, [P, 2].
    :param motion: by the network since the last keyframe, in the scale of the window.
    :param starts: first guesses of T_window_camera.
    :param has_parallax: [P] landmarks whose depth is established.
    :return: None with fewer than ``MIN_LANDMARKS`` or without a solution.
    """
    if len(rows) < MIN_LANDMARKS:
        return None
    start = _best_start(landmarks, poses, camera, rows, pixels, starts, has_parallax, pixel_sigma)
    sigma = np.sqrt(landmarks.variance[rows])
    if has_parallax.sum() >= _ENOUGH:
        # A common error of predicted depths would pull the scale to the network's.
        sigma = np.where(has_parallax, sigma, _UNKNOWN * landmarks.inverse_depth[rows])
    anchor = poses[landmarks.anchor[rows]]
    seen = SeenLandmarks(
        R_anchor=anchor[:, :3, :3].transpose(1, 2, 0),
        t_anchor=anchor[:, :3, 3].T,
        anchor_pixels=landmarks.measured[rows].T,
        inverse_depth=landmarks.inverse_depth[rows],
        sigma=sigma,
        pixels=pixels.T,
    )
    try:
        found = fit_pose(seen, camera, pixel_sigma, start, poses[-1], motion)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(found.T_window_camera).all():
        return None
    is_wrong = found.error_px > _OUTLIER * pixel_sigma
    return Location(
        orthonormalise(found.T_window_camera),
        found.covariance,
        rows[is_wrong],
        int((~is_wrong).sum()),
    )


def _best_start(
    landmarks: Landmarks,
    poses: np.ndarray,
    camera: np.ndarray,
    rows: np.ndarray,
    pixels: np.ndarray,
    starts: Sequence[np.ndarray],
    has_parallax: np.ndarray,
    pixel_sigma: float,
) -> np.ndarray:
    """Return the start with the least robust reprojection error, by consensus if need be."""

    def cost(T: np.ndarray) -> float:
        points = landmarks.points_in(T, poses, camera, rows)
        error = ((project(points, camera) - pixels) ** 2).sum(axis=1)
        error = np.where(np.isfinite(error), error, 1e6)
        return float(np.log1p(error / (_START_SIGMAS * pixel_sigma) ** 2).mean())

    candidates = list(starts)
    if min(map(cost, candidates)) > _POOR_START:
        chosen = has_parallax if has_parallax.sum() >= _ENOUGH else np.ones(len(rows), bool)
        points = landmarks.points_in(np.eye(4), poses, camera, rows[chosen])
        points = points / landmarks.inverse_depth[rows[chosen], None]
        found = pose_from_points(points, pixels[chosen], camera, 4.0 * pixel_sigma)
        if found is not None:
            candidates.append(found)
    return min(candidates, key=cost)
