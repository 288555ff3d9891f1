# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Pose of one frame from landmarks with uncertain depth, by reweighted least squares.

The uncertainty of each landmark, in its anchor pixel and its inverse depth, is projected into the
frame and added to that of the observation. So six unknowns are left. It is what the adjustment
(:mod:`adjustment`) finds where one frame is free, for a fraction of its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mem3r_ros.odometry.manifold import hats, moved_poses, rotation_vectors
from mem3r_ros.odometry.motion_prior import MotionPrior
from mem3r_ros.odometry.normal_equations import CAUCHY_DEPTH, CAUCHY_MOTION, CAUCHY_PIXEL

# N landmarks

_MAX_STEPS = 20
_MIN_DEPTH = 1e-6  # of a homogeneous point
_CONVERGED = 1e-3  # of a step, in standard deviations of the pose


@dataclass(frozen=True, slots=True)
class SeenLandmarks:
    """Landmarks that the frame sees."""

    R_anchor: np.ndarray  # [3, 3, N] of T_window_anchor
    t_anchor: np.ndarray  # [3, N]
    anchor_pixels: np.ndarray  # [2, N]
    inverse_depth: np.ndarray  # [N] in the anchor
    sigma: np.ndarray  # [N] of the inverse depth
    pixels: np.ndarray  # [2, N] in the frame


class FittedPose(NamedTuple):
    """The most likely pose, and how sure it is."""

    T_window_camera: np.ndarray  # [4, 4]
    covariance: np.ndarray  # [6, 6] left perturbation, window's axes
    error_px: np.ndarray  # [N] what the uncertainty of the landmark leaves; infinite behind


def fit_pose(
    landmarks: SeenLandmarks,
    camera: np.ndarray,
    pixel_sigma: float,
    start: np.ndarray,
    T_window_last: np.ndarray,
    motion: MotionPrior,
) -> FittedPose:
    """
    Fit the pose of a frame.

    :param camera: fx, fy, cx, cy.
    :param start: first guess of T_window_camera.
    :param T_window_last: frame in which ``motion`` starts.
    :raises numpy.linalg.LinAlgError: the equations are singular or not finite.
    """
    fit, T = _Fit(landmarks, camera, pixel_sigma), start
    motion_information = motion.information()
    for _ in range(_MAX_STEPS):
        information, gradient = fit.linearised(T)
        _add_motion(information, gradient, T, T_window_last, motion.T, motion_information)
        step = -np.linalg.solve(information, gradient)
        if not np.isfinite(step).all():
            raise np.linalg.LinAlgError('the step is not finite')
        T = moved_poses(step[None], T[None])[0]
        if step @ information @ step < _CONVERGED**2:
            break
    return FittedPose(T, np.linalg.inv(information), fit.error_px(T))


def _add_motion(
    information: np.ndarray,
    gradient: np.ndarray,
    T: np.ndarray,
    T_window_last: np.ndarray,
    motion: np.ndarray,
    own: np.ndarray,
) -> None:
    """Add a motion [4, 4] with its own information [6, 6] to the normal equations."""
    R_t = T_window_last[:3, :3].T
    jacobian = np.zeros((6, 6))
    jacobian[:3, :3] = jacobian[3:, 3:] = R_t
    jacobian[:3, 3:] = -R_t @ hats(T[None, :3, 3])[0]
    shift = R_t @ (T[:3, 3] - T_window_last[:3, 3]) - motion[:3, 3]
    turn = rotation_vectors((R_t @ T[:3, :3] @ motion[:3, :3].T)[None])[0]
    residual = np.concatenate([shift, turn])
    weighted = jacobian.T @ own / (1.0 + residual @ own @ residual / CAUCHY_MOTION**2)
    information += weighted @ jacobian
    gradient += weighted @ residual


class _Fit:
    """Linearises the observations; keeps the robust weights from step to step."""

    def __init__(self, landmarks: SeenLandmarks, camera: np.ndarray, pixel_sigma: float) -> None:
        self._seen, self._focal, self._centre = landmarks, camera[:2, None], camera[2:, None]
        self._variance = pixel_sigma**2
        rays = (landmarks.anchor_pixels - self._centre) / self._focal
        R = landmarks.R_anchor
        # Homogeneous points, [3, N].
        self._q = R[:, 0] * rays[0] + R[:, 1] * rays[1] + R[:, 2]
        self._q += landmarks.inverse_depth * landmarks.t_anchor
        self._by_pixel = R[:, :2] / self._focal  # [3, 2, N] derivative of the points
        self._weight = np.ones(len(landmarks.sigma))
        self._depth_weight = np.ones(len(landmarks.sigma))

    def linearised(self, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the normal matrix [6, 6] and the gradient [6] by a left perturbation."""
        view = self._view(T)
        self._reweigh(view)
        inverse, scale = view.inverse_covariance(self._weight, self._depth_weight)
        by_point, rho = view.by_point, self._seen.inverse_depth
        qx, qy, qz = self._q
        J = np.empty((2, 6, len(rho)))
        np.multiply(by_point, -rho, out=J[:, :3])
        a, b, c = by_point[:, 0], by_point[:, 1], by_point[:, 2]
        J[:, 3], J[:, 4], J[:, 5] = b * qz - c * qy, c * qx - a * qz, a * qy - b * qx
        weighted = np.stack(
            [J[0] * inverse[0] + J[1] * inverse[1], J[0] * inverse[1] + J[1] * inverse[2]]
        )
        weighted *= scale
        information = weighted[0] @ J[0].T + weighted[1] @ J[1].T
        return information, weighted[0] @ view.residual[0] + weighted[1] @ view.residual[1]

    def error_px(self, T: np.ndarray) -> np.ndarray:
        """Return what is left of the residuals, [N] px."""
        view = self._view(T)
        self._reweigh(view)
        left = view.left(self._weight, self._depth_weight)[0]
        return np.where(view.is_ahead, np.sqrt((left**2).sum(axis=0)), np.inf)

    def _reweigh(self, view: _View) -> None:
        """Set the Cauchy weights of observations and depths."""
        left, depth = view.left(self._weight, self._depth_weight)
        squared = (left**2).sum(axis=0) / self._variance
        self._weight = 1.0 / (1.0 + squared / CAUCHY_PIXEL**2)
        self._depth_weight = 1.0 / (1.0 + depth**2 / CAUCHY_DEPTH**2)

    def _view(self, T: np.ndarray) -> _View:
        """Project the landmarks and their uncertainty into the frame."""
        seen, R, t = self._seen, T[:3, :3], T[:3, 3]
        y = R.T @ self._q - (R.T @ t)[:, None] * seen.inverse_depth
        is_ahead = y[2] > _MIN_DEPTH
        inverse_z = 1.0 / np.where(is_ahead, y[2], 1.0)
        uv = y[:2] * inverse_z
        by_point = R.T[:2, :, None] - uv[:, None] * R[:, 2, None]
        by_point *= (self._focal * inverse_z)[:, None]  # [2, 3, N]
        by_pixel = np.einsum('kin,ijn->kjn', by_point, self._by_pixel)
        by_depth = np.einsum('kin,in->kn', by_point, seen.t_anchor - t[:, None])
        return _View(
            is_ahead,
            (uv * self._focal + self._centre - seen.pixels) * is_ahead,
            by_point,
            by_pixel,
            by_depth * seen.sigma,
            self._variance,
        )


class _View(NamedTuple):
    """Residuals of one guess of the pose, and what the landmarks' uncertainty does to them."""

    is_ahead: np.ndarray  # [N] in front of the camera
    residual: np.ndarray  # [2, N] px
    by_point: np.ndarray  # [2, 3, N] by the homogeneous point
    by_pixel: np.ndarray  # [2, 2, N] by the pixel in the anchor
    by_depth: np.ndarray  # [2, N] by a standard deviation of the inverse depth
    variance: float  # of a pixel

    def inverse_covariance(
        self, weight: np.ndarray, depth_weight: np.ndarray
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
        """Return xx, xy, yy of the inverse covariance over a scale, and the scale, [N] each."""
        (a, b), (c, d), (u, v) = self.by_pixel[0], self.by_pixel[1], self.by_depth
        own = self.variance / weight
        xx = own + self.variance * (a * a + b * b) + u * u / depth_weight
        yy = own + self.variance * (c * c + d * d) + v * v / depth_weight
        xy = self.variance * (a * c + b * d) + u * v / depth_weight
        return (yy, -xy, xx), self.is_ahead / (xx * yy - xy * xy)

    def left(self, weight: np.ndarray, depth_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the landmarks leave of the residuals, px, and their depth steps, sigmas."""
        (xx, xy, yy), scale = self.inverse_covariance(weight, depth_weight)
        x, y = self.residual
        normal = np.stack([(xx * x + xy * y) * scale, (xy * x + yy * y) * scale])
        depth = (self.by_depth * normal).sum(axis=0) / depth_weight
        return normal * (self.variance / weight), depth
