# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Bundle adjustment over a few keyframes: their poses and the depths of their common corners.

Gauss-Newton with Huber weights on pixels; predicted depths and motions are priors. Each depth is
one scalar, so the Schur complement reduces the normal equations to the poses (Triggs et al. 1999).
The oldest pose is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import hat, matrix, so3_exp, so3_log

# M frames, N corners, O observations

_STEPS = 5
_HUBER = 1.5  # standard deviations of a pixel
_MIN_DEPTH = 1e-3


@dataclass(frozen=True, slots=True)
class Bundle:
    """Observations and priors."""

    T_window_camera: np.ndarray  # [M, 4, 4] initial poses
    log_depth: np.ndarray  # [N] initial values, log m
    anchor: np.ndarray  # [N] frame that a corner was detected in
    rays: np.ndarray  # [N, 3] in the camera of the anchor, z = 1
    corner: np.ndarray  # [O] observed corner, in increasing order
    frame: np.ndarray  # [O] observing frame, never its anchor
    pixels: np.ndarray  # [O, 2] observed position
    prior_depth: np.ndarray  # [N] log m
    prior_sigma: np.ndarray  # [N]
    T_motion: np.ndarray  # [M, 4, 4] prior motion from the frame before; the first is unused
    information: np.ndarray  # [M, 6, 6] of the prior motions


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The most likely poses and depths."""

    T_window_camera: np.ndarray  # [M, 4, 4]
    log_depth: np.ndarray  # [N]
    error_px: np.ndarray  # [O] residual


def adjust(bundle: Bundle, camera: Intrinsics, pixel_noise: float) -> Adjusted:
    """
    Estimate poses and depths jointly.

    :param camera: of all frames.
    :param pixel_noise: standard deviation of a tracked corner, px.
    :raises numpy.linalg.LinAlgError: the problem is degenerate.
    """
    poses, log_depth = bundle.T_window_camera.copy(), bundle.log_depth.copy()
    for _ in range(_STEPS):
        system = _System(bundle, camera, pixel_noise, poses, log_depth)
        step, depth_step = system.solve()
        log_depth = log_depth + depth_step.clip(-0.5, 0.5)
        for index in range(1, len(poses)):
            move = step[6 * (index - 1) : 6 * index]
            T = poses[index]
            poses[index] = matrix(so3_exp(move[3:]) @ T[:3, :3], T[:3, 3] + move[:3])
    system = _System(bundle, camera, pixel_noise, poses, log_depth)
    return Adjusted(poses, log_depth, system.error_px)


class _System:
    """Normal equations at one estimate; steps of poses apply on the left, in window axes."""

    def __init__(
        self,
        bundle: Bundle,
        camera: Intrinsics,
        pixel_noise: float,
        poses: np.ndarray,
        log_depth: np.ndarray,
    ) -> None:
        num_frames, num_corners = len(poses), len(log_depth)
        by_pose, by_depth, residual = self._observe(bundle, camera, pixel_noise, poses, log_depth)
        weight = self._weight
        normal = np.zeros((6 * num_frames, 6 * num_frames))
        gradient = np.zeros(6 * num_frames)
        coupling = np.zeros((num_corners, 6 * num_frames))
        weighted = by_pose * weight[:, None, None]
        pulled = np.einsum('okp,ok->op', weighted, by_depth)
        anchors = bundle.anchor[bundle.corner]
        # An observation involves two poses only, so the sums are over pairs of frames.
        for pair in np.unique(anchors * num_frames + bundle.frame):
            first, second = divmod(int(pair), num_frames)
            chosen = (anchors == first) & (bundle.frame == second)
            places = np.r_[6 * first : 6 * first + 6, 6 * second : 6 * second + 6]
            rows, weighted_rows = by_pose[chosen], weighted[chosen]
            rows, weighted_rows = rows.reshape(-1, 12), weighted_rows.reshape(-1, 12)
            normal[np.ix_(places, places)] += weighted_rows.T @ rows
            gradient[places] += weighted_rows.T @ residual[chosen].ravel()
            coupling[np.ix_(bundle.corner[chosen], places)] += pulled[chosen]
        self._add_motions(bundle, poses, normal, gradient)
        self._depth_normal = np.bincount(
            bundle.corner, weight * (by_depth**2).sum(axis=1), num_corners
        )
        self._depth_gradient = np.bincount(
            bundle.corner, weight * (by_depth * residual).sum(axis=1), num_corners
        )
        information = bundle.prior_sigma**-2.0
        self._depth_normal += information
        self._depth_gradient += information * (log_depth - bundle.prior_depth)
        # The first pose is fixed.
        self._normal, self._gradient = normal[6:, 6:], gradient[6:]
        self._coupling = coupling[:, 6:]
        self._shrunk = self._coupling / self._depth_normal[:, None]

    def _observe(
        self,
        bundle: Bundle,
        camera: Intrinsics,
        pixel_noise: float,
        poses: np.ndarray,
        log_depth: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return derivatives by both poses [O, 2, 12] and depth [O, 2], and residuals [O, 2]."""
        focal = np.array([camera.fx, camera.fy])
        anchor = poses[bundle.anchor]
        turned = np.einsum('nij,nj->ni', anchor[:, :3, :3], bundle.rays)
        turned *= np.exp(log_depth)[:, None]
        turned, start = turned[bundle.corner], anchor[bundle.corner, :3, 3]
        R = poses[bundle.frame, :3, :3]
        offset = turned + start - poses[bundle.frame, :3, 3]
        x, y, z = np.einsum('oji,oj->io', R, offset)
        is_ahead = z > _MIN_DEPTH
        z = np.maximum(z, _MIN_DEPTH)
        u, v = x / z, y / z
        seen = np.column_stack([u, v]) * focal + (camera.cx, camera.cy)
        residual = seen - bundle.pixels
        error = np.linalg.norm(residual, axis=1)
        self.error_px = np.where(is_ahead, error, np.inf)
        self._weight = np.minimum(1.0, _HUBER * pixel_noise / np.maximum(error, 1e-9))
        self._weight = self._weight / pixel_noise**2 * is_ahead

        by_point = np.zeros((len(x), 2, 3))
        by_point[:, 0, 0] = by_point[:, 1, 1] = 1.0
        by_point[:, 0, 2], by_point[:, 1, 2] = -u, -v
        by_point *= (focal / z[:, None])[:, :, None]
        by_point = by_point @ np.swapaxes(R, 1, 2)  # by the point in window axes
        by_pose = np.concatenate(
            [
                by_point,
                np.cross(turned[:, None], by_point),
                -by_point,
                -np.cross(offset[:, None], by_point),
            ],
            axis=2,
        )
        return by_pose, np.einsum('oij,oj->oi', by_point, turned), residual

    @staticmethod
    def _add_motions(
        bundle: Bundle, poses: np.ndarray, normal: np.ndarray, gradient: np.ndarray
    ) -> None:
        """Add the priors of the motion from each frame to the next."""
        for index in range(1, len(poses)):
            before, after = poses[index - 1], poses[index]
            R = before[:3, :3]
            moved = after[:3, 3] - before[:3, 3]
            motion = bundle.T_motion[index]
            wrong = np.concatenate(
                [
                    R.T @ moved - motion[:3, 3],
                    so3_log(R.T @ after[:3, :3] @ motion[:3, :3].T),
                ]
            )
            jacobian = np.zeros((6, 12))
            jacobian[:3, :3], jacobian[:3, 3:6] = -R.T, R.T @ hat(moved)
            jacobian[3:, 3:6] = -R.T
            jacobian[:3, 6:9] = jacobian[3:, 9:] = R.T
            part = slice(6 * (index - 1), 6 * (index + 1))
            weighted = jacobian.T @ bundle.information[index]
            normal[part, part] += weighted @ jacobian
            gradient[part] += weighted @ wrong

    def solve(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the step of the free poses [6 (M - 1)] and of the log depths [N]."""
        normal = self._normal - self._coupling.T @ self._shrunk
        gradient = self._gradient - self._shrunk.T @ self._depth_gradient
        step = np.linalg.solve(normal, -gradient)
        return step, -(self._depth_gradient + self._coupling @ step) / self._depth_normal
