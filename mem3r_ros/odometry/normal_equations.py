# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Residuals and normal equations of the adjustment, landmarks eliminated by the Schur complement.

All poses are perturbed on the left, T <- exp(xi) T: an observation then depends on the difference
of the steps of its two frames alone, so one 2x6 block serves both.

Observations are kept on a grid of frames and landmarks, with weight 0 where there is none: numpy
multiplies whole rows of it faster than it gathers single observations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.odometry.block_roots import BlockRoots
from mem3r_ros.odometry.manifold import hats, moved_poses, rotation_vectors
from mem3r_ros.odometry.problem import MotionFactors, Problem

# M frames, G frames with observations, N landmarks (sorted by anchor), O observations,
# F factors between frames, U unknowns besides the landmarks, A residuals of an observation

_MIN_DEPTH = 1e-6  # of a homogeneous point: behind it, an observation does not count
_LEAST_SHARE = 0.3  # of an inverse depth that one iteration leaves
_MAX_LOG_FOCAL_STEP = 0.2
# Standard deviations at which a residual has half its weight (Cauchy).
CAUCHY_PIXEL = 2.0
CAUCHY_DEPTH = 3.0
CAUCHY_MOTION = 3.0
_BEHIND = 10.0  # standard deviations that a point behind the camera costs


@dataclass(frozen=True, slots=True)
class State:
    """The unknowns of an adjustment."""

    poses: np.ndarray  # [M, 4, 4]
    anchor_pixels: np.ndarray  # [N, 2] in the order of the problem
    inverse_depth: np.ndarray  # [N]
    log_focal: float


class Structure:
    """Which frames are free, and the observations on a grid."""

    def __init__(self, problem: Problem) -> None:
        num_frames, num_landmarks = len(problem.T_window_camera), len(problem.anchor)
        self.free = np.flatnonzero(~problem.is_fixed)
        self.has_focal = problem.focal_sigma > 0
        self.num_unknowns = 6 * len(self.free) + self.has_focal
        # The rows of a frame's unknowns; those of fixed frames are cut off at the end.
        first_row = np.full(num_frames, self.num_unknowns)
        first_row[self.free] = 6 * np.arange(len(self.free))
        self.rows = first_row[:, None] + np.arange(6)
        # Sorted by anchor: the landmarks of an anchor are a slice.
        self.order = np.argsort(problem.anchor, kind='stable')
        self.anchor = problem.anchor[self.order]
        anchors, starts = np.unique(self.anchor, return_index=True)
        ends = np.append(starts[1:], num_landmarks)
        self.slices = list(zip(anchors.tolist(), starts.tolist(), ends.tolist()))
        self.frames = np.unique(problem.frame)
        place = np.empty(num_landmarks, np.int64)
        place[self.order] = np.arange(num_landmarks)
        row = np.searchsorted(self.frames, problem.frame)
        self.cell = row * num_landmarks + place[problem.landmark]  # [O] of each observation
        grid = (len(self.frames), num_landmarks)
        self.is_seen = np.zeros(grid, bool)
        self.is_seen.ravel()[self.cell] = True
        self.pixels = self._on_grid(problem.pixels, grid)
        self.normals = None if problem.normals is None else self._on_grid(problem.normals, grid)
        self.anchor_pixels = problem.anchor_pixels[self.order].T.copy()
        self.prior = problem.prior_inverse_depth[self.order]
        self.prior_sigma = problem.prior_sigma[self.order]

    def _on_grid(self, values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        """Return values of observations [O, 2] as [2, G, N]."""
        result = np.zeros((2, *grid))
        result.reshape(2, -1)[:, self.cell] = values.T
        return result

    def of_problem(self, values: np.ndarray) -> np.ndarray:
        """Return values of landmarks [N, ...] in the order of the problem."""
        result = np.empty_like(values)
        result[self.order] = values
        return result


class Residuals:
    """Residuals, weights and cost at one state."""

    def __init__(self, problem: Problem, structure: Structure, state: State) -> None:
        self._structure, self._sigma = structure, problem.pixel_sigma
        fx, fy, cx, cy = problem.camera
        self.focal = np.array([fx, fy]) * np.exp(state.log_focal)
        at_anchor = state.anchor_pixels[structure.order].T
        self.rho = state.inverse_depth[structure.order]
        self.rays = (at_anchor - np.array([[cx], [cy]])) / self.focal[:, None]  # [2, N]
        R, t = state.poses[:, :3, :3], state.poses[:, :3, 3]
        self.R_anchor = R.transpose(1, 2, 0)[:, :, structure.anchor]  # [3, 3, N]
        self.t_anchor = t.T[:, structure.anchor]  # [3, N]
        # Homogeneous points in the window, scaled by the inverse depth, [3, N].
        self.q = self.R_anchor[:, 0] * self.rays[0] + self.R_anchor[:, 1] * self.rays[1]
        self.q += self.R_anchor[:, 2] + self.rho * self.t_anchor
        self._project(problem, R[structure.frames], t[structure.frames])
        self.at_anchor = (at_anchor - structure.anchor_pixels) / self._sigma
        # In the logarithm: errors of predicted depth are factors, as often above 1 as below.
        log_depth = np.log(self.rho / structure.prior)
        self.depth = log_depth * (structure.prior / structure.prior_sigma)
        depth_squared = self.depth * self.depth
        self.depth_weight = 1.0 / (1.0 + depth_squared / CAUCHY_DEPTH**2)
        self.motion, self.motion_weight = _motion_residuals(problem.motions, state.poses)
        self.cost += 0.5 * (
            (self.at_anchor**2).sum()
            - CAUCHY_DEPTH**2 * np.log(self.depth_weight).sum()
            - CAUCHY_MOTION**2 * np.log(self.motion_weight).sum()
        )
        if structure.has_focal:
            departure = (state.log_focal - problem.prior_log_focal) / problem.focal_sigma
            self.cost += 0.5 * departure**2

    def _project(self, problem: Problem, R: np.ndarray, t: np.ndarray) -> None:
        """Project all landmarks into the frames with observations, [G, 3, 3] and [G, 3]."""
        is_seen, sigma = self._structure.is_seen, self._sigma
        self.R, self.t = R, t
        to_camera = R.transpose(0, 2, 1)
        y = to_camera @ self.q - (to_camera @ t[:, :, None]) * self.rho  # [G, 3, N]
        is_ahead = is_seen & (y[:, 2] > _MIN_DEPTH)
        self.inverse_z = is_ahead / np.where(is_ahead, y[:, 2], 1.0)
        self.uv = y[:, :2].transpose(1, 0, 2) * self.inverse_z  # [2, G, N]
        scale, centre = self.focal / sigma, problem.camera[2:] / sigma
        self.pixel = self.uv * scale[:, None, None] + centre[:, None, None]
        self.pixel -= self._structure.pixels / sigma
        if self._structure.normals is not None:
            self.pixel = (self.pixel * self._structure.normals).sum(axis=0, keepdims=True)
        self.pixel[:, ~is_ahead] = 0.0
        self._is_ahead = is_ahead
        self._squared = (self.pixel * self.pixel).sum(axis=0)
        relative = 1.0 + self._squared * CAUCHY_PIXEL**-2.0
        self.weight = is_ahead / relative
        num_lost = int(is_seen.sum()) - int(is_ahead.sum())
        lost = num_lost * np.log1p((_BEHIND / CAUCHY_PIXEL) ** 2)
        self.cost = 0.5 * CAUCHY_PIXEL**2 * (float(np.log(relative).sum()) + lost)

    def error_px(self) -> np.ndarray:
        """Return the errors of the observations, infinite behind the camera, [O]."""
        error = np.where(self._is_ahead, np.sqrt(self._squared) * self._sigma, np.inf)
        return error.ravel()[self._structure.cell]


def _motion_residuals(factors: MotionFactors, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals [F, 6] and Cauchy weights [F] of the motions."""
    if not len(factors.first):
        return np.zeros((0, 6)), np.ones(0)
    first, second, T = poses[factors.first], poses[factors.second], factors.T_first_second
    R_t = first[:, :3, :3].transpose(0, 2, 1)
    shift = (R_t @ (second[:, :3, 3] - first[:, :3, 3])[:, :, None])[:, :, 0] - T[:, :3, 3]
    turn = rotation_vectors(R_t @ second[:, :3, :3] @ T[:, :3, :3].transpose(0, 2, 1))
    residual = np.concatenate([shift, turn], axis=1)
    squared = ((factors.information @ residual[:, :, None])[:, :, 0] * residual).sum(axis=1)
    return residual, 1.0 / (1.0 + squared / CAUCHY_MOTION**2)


class System:
    """Normal equations at one state, landmarks eliminated on demand."""

    def __init__(
        self, problem: Problem, structure: Structure, state: State, residuals: Residuals
    ) -> None:
        self._problem, self._structure = problem, structure
        root = np.sqrt(residuals.weight)
        by_pose, by_landmark = self._derivatives(residuals, root)
        self._sum_poses(by_pose, state, residuals)
        self._sum_landmarks(by_landmark, by_pose[:, :, 6], residuals)
        self._couple(by_pose, by_landmark)
        if structure.has_focal:
            self._add_focal(state, by_pose, by_landmark, residuals, root)

    def _derivatives(
        self, residuals: Residuals, root: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Return derivatives of the weighted residuals of each grid cell.

        :return: by the pose of the frame (by that of the anchor: its negative) with the weighted
            residual as seventh, [A, G, 7, N]; by the anchor's pixel and the inverse depth,
            [A, G, 3, N].
        """
        points = self._by_point(residuals, root)
        num_frames, num_landmarks = root.shape
        by_pose = np.empty((len(points), num_frames, 7, num_landmarks))
        by_landmark = np.empty((len(points), num_frames, 3, num_landmarks))
        offset = residuals.t_anchor - residuals.t[:, :, None]  # [G, 3, N]
        qx, qy, qz = residuals.q
        turned = residuals.R_anchor / np.append(residuals.focal, 1.0)[:, None]
        for axis, point in enumerate(points):
            rows = by_pose[axis]
            np.multiply(point, -residuals.rho, out=rows[:, :3])
            a, b, c = point[:, 0], point[:, 1], point[:, 2]
            rows[:, 3], rows[:, 4] = b * qz - c * qy, c * qx - a * qz
            rows[:, 5] = a * qy - b * qx
            np.multiply(residuals.pixel[axis], root, out=rows[:, 6])
            rows = by_landmark[axis]
            for column in (0, 1):
                rows[:, column] = a * turned[0, column] + b * turned[1, column]
                rows[:, column] += c * turned[2, column]
            rows[:, 2] = a * offset[:, 0] + b * offset[:, 1] + c * offset[:, 2]
        return by_pose, by_landmark

    def _by_point(self, residuals: Residuals, root: np.ndarray) -> list[np.ndarray]:
        """Return the derivatives of each weighted residual by the point, A times [G, 3, N]."""
        scale = root * residuals.inverse_z / self._problem.pixel_sigma
        R, points = residuals.R[:, :, :, None], []
        for axis in (0, 1):
            point = R[:, :, axis] - residuals.uv[axis][:, None] * R[:, :, 2]
            point *= (scale * residuals.focal[axis])[:, None]
            points.append(point)
        normals = self._structure.normals
        if normals is None:
            return points
        return [normals[0][:, None] * points[0] + normals[1][:, None] * points[1]]

    def _sum_poses(self, by_pose: np.ndarray, state: State, residuals: Residuals) -> None:
        """Sum what the observations and motions of each pair of frames say of their poses."""
        structure, num_frames = self._structure, len(state.poses)
        # Normal equations of the difference of the steps of two frames, gradient as seventh.
        pairs = np.zeros((num_frames, num_frames, 6, 7))
        for anchor, start, end in structure.slices:
            block = by_pose[..., start:end]
            sums = block @ block.transpose(0, 1, 3, 2)
            pairs[anchor, structure.frames] = sums.sum(axis=0)[:, :6]
        self._add_motions(pairs, state, residuals)
        H = -(pairs + pairs.transpose(1, 0, 2, 3))[..., :6]
        to_first, to_second = pairs.sum(axis=1), pairs.sum(axis=0)
        diagonal = np.arange(num_frames)
        H[diagonal, diagonal] += (to_first + to_second)[..., :6]
        free, size = structure.free, 6 * len(structure.free)
        H = H[free[:, None], free].transpose(0, 2, 1, 3).reshape(size, size)
        self._H = np.zeros((structure.num_unknowns, structure.num_unknowns))
        self._H[:size, :size] = H
        self.gradient = np.zeros(structure.num_unknowns)
        self.gradient[:size] = (to_second - to_first)[free, :, 6].ravel()

    def _add_motions(self, pairs: np.ndarray, state: State, residuals: Residuals) -> None:
        factors = self._problem.motions
        if not len(factors.first):
            return
        R_t = state.poses[factors.first, :3, :3].transpose(0, 2, 1)
        jacobian = np.zeros((len(R_t), 6, 6))
        jacobian[:, :3, :3], jacobian[:, 3:, 3:] = R_t, R_t
        jacobian[:, :3, 3:] = -R_t @ hats(state.poses[factors.second, :3, 3])
        weighted = jacobian.transpose(0, 2, 1) @ factors.information
        weighted *= residuals.motion_weight[:, None, None]
        sums = weighted @ np.concatenate([jacobian, residuals.motion[:, :, None]], axis=2)
        np.add.at(pairs, (factors.first, factors.second), sums)

    def _sum_landmarks(
        self, by_landmark: np.ndarray, residual: np.ndarray, residuals: Residuals
    ) -> None:
        """Sum what all observations and the prior say of each landmark."""
        structure, information = self._structure, self._problem.pixel_sigma**-2.0
        self._h = np.einsum('agin,agjn->ijn', by_landmark, by_landmark)  # [3, 3, N]
        self._b = np.einsum('agin,agn->in', by_landmark, residual)  # [3, N]
        by_inverse = structure.prior / (structure.prior_sigma * residuals.rho)
        self._h[2, 2] += residuals.depth_weight * by_inverse * by_inverse
        self._b[2] += residuals.depth_weight * by_inverse * residuals.depth
        self._h[0, 0] += information
        self._h[1, 1] += information
        self._b[:2] += residuals.at_anchor / self._problem.pixel_sigma

    def _couple(self, by_pose: np.ndarray, by_landmark: np.ndarray) -> None:
        """Set the normal equations between poses and landmarks, [U, 3, N]."""
        structure = self._structure
        coupled = by_pose[0, :, :6, None] * by_landmark[0, :, None]
        for axis in range(1, len(by_pose)):
            coupled += by_pose[axis, :, :6, None] * by_landmark[axis, :, None]  # [G, 6, 3, N]
        num_landmarks = coupled.shape[-1]
        C = np.zeros((structure.num_unknowns + 6, 3, num_landmarks))
        C[structure.rows[structure.frames].ravel()] = coupled.reshape(
            6 * len(coupled), 3, num_landmarks
        )
        at_anchor = coupled.sum(axis=0)
        for anchor, start, end in structure.slices:
            C[structure.rows[anchor], :, start:end] -= at_anchor[..., start:end]
        self._C = C[: structure.num_unknowns]

    def _add_focal(
        self,
        state: State,
        by_pose: np.ndarray,
        by_landmark: np.ndarray,
        residuals: Residuals,
        root: np.ndarray,
    ) -> None:
        """Fill in the log focal length, the last unknown."""
        problem, structure = self._problem, self._structure
        size = 6 * len(structure.free)
        # A ray of the anchor changes with the focal length as with a pixel.
        by_pixel = residuals.rays * residuals.focal[:, None]
        by_focal = -(by_landmark[:, :, :2] * by_pixel).sum(axis=2)  # [2, G, N]
        scale = residuals.focal[:, None, None] / problem.pixel_sigma
        by_focal += residuals.uv * scale * root
        border = np.zeros(structure.num_unknowns + 6)
        along = by_pose[:, :, :6] * by_focal[:, :, None]
        border[structure.rows[structure.frames]] = along.sum(axis=(0, 3))
        at_anchor = along.sum(axis=(0, 1))
        for anchor, start, end in structure.slices:
            border[structure.rows[anchor]] -= at_anchor[:, start:end].sum(axis=1)
        information = problem.focal_sigma**-2.0
        pull = information * (state.log_focal - problem.prior_log_focal)
        self._H[:size, size] = self._H[size, :size] = border[:size]
        self._H[size, size] = (by_focal * by_focal).sum() + information
        self.gradient[size] = (by_focal * by_pose[:, :, 6]).sum() + pull
        self._C[size] = (by_landmark * by_focal[:, :, None]).sum(axis=(0, 1))

    def _shrink(self, damping: float) -> tuple[BlockRoots, np.ndarray, np.ndarray]:
        """
        Eliminate the landmarks.

        :return: Cholesky factors L of the landmarks' blocks; L^-1 C, [U, 3 N]; reduced matrix.
        """
        roots = BlockRoots.of(self._h, damping)
        W = np.stack(roots.solve(*self._C.transpose(1, 0, 2)), axis=1)
        W = W.reshape(len(W), 3 * W.shape[-1])
        S = self._H - W @ W.T
        S[np.diag_indices_from(S)] += damping * np.diagonal(self._H)
        return roots, W, S

    def step(self, state: State, damping: float) -> State:
        """Return the state after one damped step."""
        structure = self._structure
        roots, W, S = self._shrink(damping)
        b = np.stack(roots.solve(*self._b))
        step = np.linalg.solve(S, W @ b.ravel() - self.gradient)
        if not np.isfinite(step).all():
            raise np.linalg.LinAlgError('the step is not finite')
        change = -np.stack(roots.solve_transposed(*(b + (step @ W).reshape(b.shape))), axis=1)
        change = structure.of_problem(change)
        rho = state.inverse_depth
        # Inverse depth stays positive.
        inverse_depth = np.maximum(rho + change[:, 2], _LEAST_SHARE * rho)
        poses, size = state.poses.copy(), 6 * len(structure.free)
        poses[structure.free] = moved_poses(step[:size].reshape(-1, 6), poses[structure.free])
        log_focal = state.log_focal
        if structure.has_focal:
            log_focal += float(np.clip(step[-1], -_MAX_LOG_FOCAL_STEP, _MAX_LOG_FOCAL_STEP))
        return State(poses, state.anchor_pixels + change[:, :2], inverse_depth, log_focal)

    def covariances(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return variances of the inverse depths [N], of the last free pose [6, 6], of log f."""
        structure = self._structure
        roots, W, S = self._shrink(0.0)
        inverse = np.linalg.inv(S) if len(S) else S
        own = 1.0 / roots.l22
        by_depth = W[:, 2 * len(own) :] * own
        variance = structure.of_problem(own * own + ((inverse @ by_depth) * by_depth).sum(axis=0))
        last = 6 * (len(structure.free) - 1)
        pose = inverse[last : last + 6, last : last + 6] if last >= 0 else np.zeros((6, 6))
        sigma = float(np.sqrt(inverse[-1, -1])) if structure.has_focal else 0.0
        return variance, pose, sigma
