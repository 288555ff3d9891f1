# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Residuals and normal equations of the adjustment, landmarks eliminated by the Schur complement.

All poses are perturbed on the left, T <- exp(xi) T: an observation then depends on the difference
of the steps of its two frames alone, so one 2x6 block serves both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.geometry import hat, se3_exp, so3_log
from mem3r_ros.odometry.problem import MotionFactors, Problem

# M frames, N landmarks, O observations, F factors between frames, P pairs of frames

_MIN_DEPTH = 1e-6  # of a homogeneous point: behind it, an observation does not count
_LEAST_SHARE = 0.3  # of an inverse depth that one iteration leaves
_MAX_LOG_FOCAL_STEP = 0.2
# Standard deviations at which a residual has half its weight (Cauchy).
_CAUCHY_PIXEL = 2.0
_CAUCHY_DEPTH = 3.0
_CAUCHY_MOTION = 3.0
_BEHIND = 10.0  # standard deviations that a point behind the camera costs


@dataclass(frozen=True, slots=True)
class State:
    """The unknowns of an adjustment."""

    poses: np.ndarray  # [M, 4, 4]
    anchor_pixels: np.ndarray  # [N, 2]
    inverse_depth: np.ndarray  # [N]
    log_focal: float


class Structure:
    """Which frames are free, and which observations join the same pair of frames."""

    def __init__(self, problem: Problem) -> None:
        num_frames = len(problem.T_window_camera)
        free = np.flatnonzero(~problem.is_fixed)
        self.slot = np.full(num_frames, len(free))  # fixed frames share a slot that is cut off
        self.slot[free] = np.arange(len(free))
        self.free, self.num_free = free, len(free)
        anchor = problem.anchor[problem.landmark]
        pair = anchor * num_frames + problem.frame
        # Sorted by pair: the observations of a pair are a slice.
        self.order = np.argsort(pair, kind='stable')
        pairs, starts = np.unique(pair[self.order], return_index=True)
        self.slices = list(zip(starts, np.append(starts[1:], len(pair))))
        self.pair_anchor = self.slot[pairs // num_frames]
        self.pair_frame = self.slot[pairs % num_frames]
        self.landmark, self.frame = problem.landmark[self.order], problem.frame[self.order]
        self.pixels, self.anchor = problem.pixels[self.order], anchor[self.order]
        self.frame_slot, self.anchor_slot = self.slot[self.frame], self.slot[self.anchor]
        self.landmark_slot = self.slot[problem.anchor]

    def sum_by_landmark(self, values: np.ndarray, num_landmarks: int) -> np.ndarray:
        """Return the sums of the rows [O, K] of each landmark, [N, K]."""
        width = values.shape[1]
        index = self.landmark[:, None] * width + np.arange(width)
        sums = np.bincount(index.ravel(), values.ravel(), num_landmarks * width)
        # Without observations bincount returns integers.
        return sums.astype(np.float64, copy=False).reshape(num_landmarks, width)


class Residuals:
    """Residuals, weights and cost at one state."""

    def __init__(self, problem: Problem, structure: Structure, state: State) -> None:
        fx, fy, cx, cy = problem.camera
        self.focal = np.array([fx, fy]) * np.exp(state.log_focal)
        centre = np.array([cx, cy])
        self.rays = np.ones((len(problem.anchor), 3))
        self.rays[:, :2] = (state.anchor_pixels - centre) / self.focal
        R, t = state.poses[:, :3, :3], state.poses[:, :3, 3]
        anchor = problem.anchor
        turned = np.einsum('nij,nj->ni', R[anchor], self.rays)
        # Homogeneous point in the window, scaled by the inverse depth.
        q = (turned + state.inverse_depth[:, None] * t[anchor])[structure.landmark]
        self.q, self.rho = q, state.inverse_depth[structure.landmark]
        self.R = R[structure.frame]
        y = np.matmul((q - self.rho[:, None] * t[structure.frame])[:, None], self.R)[:, 0]
        self.is_ahead = y[:, 2] > _MIN_DEPTH
        self.z = np.where(self.is_ahead, y[:, 2], 1.0)
        self.uv = y[:, :2] / self.z[:, None]
        sigma = problem.pixel_sigma
        self.pixel = (self.uv * self.focal + centre - structure.pixels) / sigma
        self.pixel[~self.is_ahead] = 0.0
        squared = (self.pixel**2).sum(axis=1)
        self.weight = self.is_ahead / (1.0 + squared / _CAUCHY_PIXEL**2)
        self.error_px = np.where(self.is_ahead, np.sqrt(squared) * sigma, np.inf)
        lost = float((~self.is_ahead).sum()) * np.log1p((_BEHIND / _CAUCHY_PIXEL) ** 2)
        self.at_anchor = (state.anchor_pixels - problem.anchor_pixels) / sigma
        # In the logarithm: errors of predicted depth are factors, as often above 1 as below.
        log_depth = np.log(state.inverse_depth / problem.prior_inverse_depth)
        self.depth = log_depth * (problem.prior_inverse_depth / problem.prior_sigma)
        depth_squared = self.depth**2
        self.depth_weight = 1.0 / (1.0 + depth_squared / _CAUCHY_DEPTH**2)
        self.motion, self.motion_weight = _motion_residuals(problem.motions, state.poses)
        self.cost = 0.5 * (
            _CAUCHY_PIXEL**2 * (np.log1p(squared / _CAUCHY_PIXEL**2).sum() + lost)
            + (self.at_anchor**2).sum()
            + _CAUCHY_DEPTH**2 * np.log1p(depth_squared / _CAUCHY_DEPTH**2).sum()
            - _CAUCHY_MOTION**2 * np.log(self.motion_weight).sum()
        )
        if problem.focal_sigma > 0:
            departure = (state.log_focal - problem.prior_log_focal) / problem.focal_sigma
            self.cost += 0.5 * departure**2


def _motion_residuals(factors: MotionFactors, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals [F, 6] and Cauchy weights [F] of the motions."""
    residual, weight = np.zeros((len(factors.first), 6)), np.ones(len(factors.first))
    for index, (i, j) in enumerate(zip(factors.first, factors.second)):
        R, T = poses[i, :3, :3], factors.T_first_second[index]
        residual[index, :3] = R.T @ (poses[j, :3, 3] - poses[i, :3, 3]) - T[:3, 3]
        residual[index, 3:] = so3_log(R.T @ poses[j, :3, :3] @ T[:3, :3].T)
        squared = residual[index] @ factors.information[index] @ residual[index]
        weight[index] = 1.0 / (1.0 + squared / _CAUCHY_MOTION**2)
    return residual, weight


class System:
    """Normal equations at one state, landmarks eliminated on demand."""

    def __init__(
        self, problem: Problem, structure: Structure, state: State, residuals: Residuals
    ) -> None:
        self._problem, self._structure = problem, structure
        root = np.sqrt(residuals.weight)
        by_point = self._by_point(residuals, root)
        residual = residuals.pixel * root[:, None]
        by_pose = np.empty((len(root), 2, 6))  # of the frame; of the anchor: its negative
        by_pose[:, :, :3] = -residuals.rho[:, None, None] * by_point
        by_pose[:, :, 3:] = _cross(by_point, residuals.q)
        t = state.poses[:, :3, 3]
        offset = t[structure.anchor] - t[structure.frame]
        turned = np.matmul(by_point, state.poses[structure.anchor, :3, :3])
        by_landmark = np.empty((len(root), 2, 3))
        by_landmark[:, :, :2] = turned[:, :, :2] / residuals.focal
        by_landmark[:, :, 2] = np.matmul(by_point, offset[:, :, None])[:, :, 0]
        self._eliminate(by_pose, by_landmark, residual, state, residuals)
        if problem.focal_sigma > 0:
            along = np.matmul(turned[:, :, :2], -residuals.rays[structure.landmark, :2, None])
            by_focal = along[:, :, 0]
            by_focal += residuals.uv * residuals.focal / problem.pixel_sigma * root[:, None]
            self._add_focal(state, by_pose, by_landmark, by_focal, residual)

    def _by_point(self, residuals: Residuals, root: np.ndarray) -> np.ndarray:
        """Return the derivatives of weighted residuals by the point, window's axes, [O, 2, 3]."""
        scale = residuals.focal * (root / (residuals.z * self._problem.pixel_sigma))[:, None]
        axes = np.swapaxes(residuals.R, 1, 2)
        return (axes[:, :2] - residuals.uv[:, :, None] * axes[:, 2:]) * scale[:, :, None]

    def _eliminate(
        self,
        by_pose: np.ndarray,
        by_landmark: np.ndarray,
        residual: np.ndarray,
        state: State,
        residuals: Residuals,
    ) -> None:
        problem, structure = self._problem, self._structure
        num_landmarks, count = len(problem.anchor), structure.num_free + 1
        H, g = np.zeros((count, count, 6, 6)), np.zeros((count, 6))
        self._add_observations(H, g, by_pose, residual)
        self._add_motions(H, g, state, residuals)
        coupled = np.matmul(np.swapaxes(by_landmark, 1, 2), by_pose)  # [O, 3, 6]
        C = np.zeros((num_landmarks, count, 3, 6))
        C[structure.landmark, structure.frame_slot] = coupled
        at_anchor = structure.sum_by_landmark(coupled.reshape(-1, 18), num_landmarks)
        C[np.arange(num_landmarks), structure.landmark_slot] = -at_anchor.reshape(-1, 3, 6)
        self._C = C[:, :-1].transpose(0, 2, 1, 3).reshape(num_landmarks, 3, 6 * count - 6)
        self._H = H[:-1, :-1].transpose(0, 2, 1, 3).reshape(6 * count - 6, 6 * count - 6)
        self.gradient = g[:-1].ravel()
        own = np.concatenate([by_landmark, residual[:, :, None]], axis=2)
        own = np.matmul(np.swapaxes(by_landmark, 1, 2), own)  # [O, 3, 4]
        own = structure.sum_by_landmark(own.reshape(-1, 12), num_landmarks).reshape(-1, 3, 4)
        self._h, self._b = own[:, :, :3].copy(), own[:, :, 3].copy()
        by_inverse = problem.prior_inverse_depth / (problem.prior_sigma * state.inverse_depth)
        self._h[:, 2, 2] += residuals.depth_weight * by_inverse**2
        self._b[:, 2] += residuals.depth_weight * by_inverse * residuals.depth
        for axis in (0, 1):
            self._h[:, axis, axis] += problem.pixel_sigma**-2.0
        self._b[:, :2] += residuals.at_anchor / problem.pixel_sigma

    def _add_observations(
        self, H: np.ndarray, g: np.ndarray, by_pose: np.ndarray, residual: np.ndarray
    ) -> None:
        structure = self._structure
        rows = np.concatenate([by_pose, residual[:, :, None]], axis=2).reshape(-1, 7)
        sums = [
            rows[2 * start : 2 * end].T @ rows[2 * start : 2 * end]
            for start, end in structure.slices
        ]
        if sums:
            blocks = np.stack(sums)
            self._add_blocks(
                H,
                g,
                structure.pair_anchor,
                structure.pair_frame,
                blocks[:, :6, :6],
                blocks[:, :6, 6],
            )

    def _add_motions(
        self, H: np.ndarray, g: np.ndarray, state: State, residuals: Residuals
    ) -> None:
        factors, slot = self._problem.motions, self._structure.slot
        if not len(factors.first):
            return
        R_t = np.swapaxes(state.poses[factors.first, :3, :3], 1, 2)
        jacobian = np.zeros((len(R_t), 6, 6))
        jacobian[:, :3, :3], jacobian[:, 3:, 3:] = R_t, R_t
        moved = state.poses[factors.second, :3, 3]
        jacobian[:, :3, 3:] = np.stack([-R @ hat(t) for R, t in zip(R_t, moved)])
        weighted = np.swapaxes(jacobian, 1, 2) @ factors.information
        weighted *= residuals.motion_weight[:, None, None]
        gradients = np.einsum('fij,fj->fi', weighted, residuals.motion)
        self._add_blocks(
            H, g, slot[factors.first], slot[factors.second], weighted @ jacobian, gradients
        )

    @staticmethod
    def _add_blocks(
        H: np.ndarray,
        g: np.ndarray,
        first: np.ndarray,
        second: np.ndarray,
        blocks: np.ndarray,
        gradients: np.ndarray,
    ) -> None:
        """Add [P, 6, 6] and [P, 6] that depend on the difference of two frames' steps."""
        np.add.at(H, (second, second), blocks)
        np.add.at(H, (first, first), blocks)
        np.subtract.at(H, (first, second), blocks)
        np.subtract.at(H, (second, first), np.swapaxes(blocks, 1, 2))
        np.add.at(g, second, gradients)
        np.subtract.at(g, first, gradients)

    def _add_focal(
        self,
        state: State,
        by_pose: np.ndarray,
        by_landmark: np.ndarray,
        by_focal: np.ndarray,
        residual: np.ndarray,
    ) -> None:
        """Append the log focal length as one more unknown beside the poses."""
        problem, structure = self._problem, self._structure
        along = np.einsum('oki,ok->oi', by_pose, by_focal)
        border = np.zeros((structure.num_free + 1, 6))
        np.add.at(border, structure.frame_slot, along)
        np.subtract.at(border, structure.anchor_slot, along)
        border = border[:-1].ravel()
        information = problem.focal_sigma**-2.0
        own = (by_focal**2).sum() + information
        self._H = np.block([[self._H, border[:, None]], [border[None], np.array([[own]])]])
        pull = information * (state.log_focal - problem.prior_log_focal)
        self.gradient = np.append(self.gradient, (by_focal * residual).sum() + pull)
        coupled = np.einsum('oki,ok->oi', by_landmark, by_focal)
        coupled = structure.sum_by_landmark(coupled, len(problem.anchor))
        self._C = np.concatenate([self._C, coupled[:, :, None]], axis=2)

    def _shrink(self, damping: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return inverse landmark blocks, these times the coupling, and the reduced matrix."""
        h = self._h.copy()
        for axis in range(3):
            h[:, axis, axis] *= 1.0 + damping
        inverse = np.linalg.inv(h)
        shrunk = np.matmul(inverse, self._C)
        size = self._C.shape[2]
        S = self._H - self._C.reshape(-1, size).T @ shrunk.reshape(-1, size)
        S[np.diag_indices_from(S)] += damping * np.diagonal(self._H)
        return inverse, shrunk, S

    def step(self, state: State, damping: float) -> State:
        """Return the state after one damped step."""
        inverse, shrunk, S = self._shrink(damping)
        size = shrunk.shape[2]
        step = np.linalg.solve(S, shrunk.reshape(-1, size).T @ self._b.ravel() - self.gradient)
        if not np.isfinite(step).all():
            raise np.linalg.LinAlgError('the step is not finite')
        change = -np.matmul(inverse, self._b[:, :, None])[:, :, 0] - shrunk @ step
        rho = state.inverse_depth
        # Inverse depth stays positive.
        inverse_depth = np.maximum(rho + change[:, 2], _LEAST_SHARE * rho)
        poses = state.poses.copy()
        for slot, frame in enumerate(self._structure.free):
            poses[frame] = se3_exp(step[6 * slot : 6 * slot + 6]) @ poses[frame]
        log_focal = state.log_focal
        if self._problem.focal_sigma > 0:
            log_focal += float(np.clip(step[-1], -_MAX_LOG_FOCAL_STEP, _MAX_LOG_FOCAL_STEP))
        return State(poses, state.anchor_pixels + change[:, :2], inverse_depth, log_focal)

    def covariances(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return variances of the inverse depths [N], of the last free pose [6, 6], of log f."""
        own, shrunk, S = self._shrink(0.0)
        inverse = np.linalg.inv(S) if len(S) else S
        by_depth = shrunk[:, 2]
        variance = own[:, 2, 2] + ((by_depth @ inverse) * by_depth).sum(axis=1)
        last = 6 * (self._structure.num_free - 1)
        pose = inverse[last : last + 6, last : last + 6] if last >= 0 else np.zeros((6, 6))
        sigma = float(np.sqrt(inverse[-1, -1])) if self._problem.focal_sigma > 0 else 0.0
        return variance, pose, sigma


def _cross(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return rows [O, 2, 3] x vector [O, 3]; numpy's own is several times slower."""
    a, b, c = rows[..., 0], rows[..., 1], rows[..., 2]
    x, y, z = vector[:, None, 0], vector[:, None, 1], vector[:, None, 2]
    result = np.empty_like(rows)
    result[..., 0], result[..., 1], result[..., 2] = b * z - c * y, c * x - a * z, a * y - b * x
    return result
