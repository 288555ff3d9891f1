# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Pose refinement: corners of a keyframe, lifted by the predicted depth, are followed and fitted.

Sparse flow (Lucas and Kanade 1981, pyramids by Bouguet) from the keyframe to the new image, PnP
with RANSAC on its predicted depth, and fusion with the network's pose by both covariances. It
works at up to 640 px, where the network sees far less.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, matrix, orthonormalise, so3_exp, so3_log
from mem3r_ros.tracker.config import RefinementConfig
from mem3r_ros.tracker.corners import grid_corners

WIDTH = 640  # px at most
_CELLS_ACROSS = 20
_MIN_INLIERS = 25
_MIN_SHARE = 0.5  # of the followed corners; below, the fit is not believed
_NEW_KEY_SHARE = 0.6  # of the keyframe's corners still followed; below, a new keyframe is taken
_MAX_PARALLAX = 0.12  # of the image width; beyond, a new keyframe is taken
_BACKWARD_PX = 1.0
_REPROJECTION_PX = 2.0


@dataclass(slots=True)
class RefinementMemory:
    """The keyframe."""

    grey: np.ndarray | None = None  # [H, W] uint8
    corners: np.ndarray | None = None  # [N, 1, 2] float32
    points: np.ndarray | None = None  # [N, 3] float64, m, keyframe's camera frame
    T_key_last: np.ndarray = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True, slots=True)
class Motion:
    """A measured motion with its covariance, whose errors are seen in ``last``."""

    T_last_camera: np.ndarray  # [4, 4], m
    covariance: np.ndarray  # [6, 6]


@dataclass(frozen=True, slots=True)
class DepthView:
    """Predicted depth and the camera it is seen by."""

    depth_m: np.ndarray  # [h, w], NaN where there is none or where it is to be ignored
    camera: Intrinsics


class Refinement:
    """Improves increments; without enough corners it leaves them as they are."""

    def __init__(self) -> None:
        """Start without a keyframe."""
        self.memory = RefinementMemory()

    def process(
        self,
        image: np.ndarray,
        camera: Intrinsics,
        motion: Motion | None,
        view: DepthView | None,
        config: RefinementConfig,
    ) -> Motion | None:
        """
        Fuse the network's motion with what the corners say; take a new keyframe if one is needed.

        :param image: the camera's image, [H, W, 3] uint8, rectified.
        :param camera: its camera.
        :param motion: the network's; None in a first frame.
        :param view: predicted depth; None if it was not computed.
        :return: the fused motion, or the network's own where corners are too few.
        """
        grey, camera = _working_image(image, camera)
        memory = self.memory
        if motion is None or (memory.grey is not None and memory.grey.shape != grey.shape):
            memory.grey = None
        if memory.grey is not None:
            motion = self._refined(grey, camera, motion, config)
        if self.wants_keyframe and view is not None:
            self._set_keyframe(grey, camera, view)
        return motion

    @property
    def wants_keyframe(self) -> bool:
        """Whether the next frame with depth shall become the keyframe."""
        return self.memory.grey is None

    def _refined(
        self, grey: np.ndarray, camera: Intrinsics, motion: Motion, config: RefinementConfig
    ) -> Motion:
        memory = self.memory
        T_camera_key = invert(memory.T_key_last @ motion.T_last_camera)
        fit = self._fit(grey, camera, T_camera_key, config)
        if fit is None:
            memory.grey = None
            return motion
        T_key_camera, covariance, is_worn = fit
        turn = np.kron(np.eye(2), memory.T_key_last[:3, :3].T)
        fitted = Motion(
            orthonormalise(invert(memory.T_key_last) @ T_key_camera), turn @ covariance @ turn.T
        )
        fused = fuse(motion, fitted)
        memory.T_key_last = orthonormalise(memory.T_key_last @ fused.T_last_camera)
        if is_worn:
            memory.grey = None
        return fused

    def _set_keyframe(self, grey: np.ndarray, camera: Intrinsics, view: DepthView) -> None:
        corners = grid_corners(grey, _CELLS_ACROSS, None)
        pixels = corners[:, 0].astype(np.float64)
        rays = np.column_stack(
            [
                (pixels[:, 0] - camera.cx) / camera.fx,
                (pixels[:, 1] - camera.cy) / camera.fy,
                np.ones(len(pixels)),
            ]
        )
        at = np.rint(view.camera.project(rays)).astype(int)
        height, width = view.depth_m.shape
        inside = (at >= 1).all(axis=1) & (at[:, 0] < width - 1) & (at[:, 1] < height - 1)
        x, y = at[inside].T
        depth = view.depth_m[y, x].astype(np.float64)
        # A corner on an edge of depth belongs to either side: leave it out.
        around = np.stack([view.depth_m[y + j, x + i] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        good = np.isfinite(around).all(axis=0) & (np.ptp(around, axis=0) < 0.15 * depth)
        if good.sum() >= _MIN_INLIERS:
            points = (rays[inside] * depth[:, None])[good]
            self.memory = RefinementMemory(grey, corners[inside][good], points, np.eye(4))

    def _fit(
        self,
        image: np.ndarray,
        camera: Intrinsics,
        T_camera_key: np.ndarray,
        config: RefinementConfig,
    ) -> tuple[np.ndarray, np.ndarray, bool] | None:
        """Return ``T_key_camera``, its covariance, and whether the keyframe is worn out."""
        memory = self.memory
        expected = camera.project(memory.points @ T_camera_key[:3, :3].T + T_camera_key[:3, 3])
        moved, kept = self._follow(image, expected)
        if kept.sum() < _MIN_INLIERS:
            return None
        points, pixels = memory.points[kept], moved[kept].astype(np.float64)
        rotation, translation = so3_log(T_camera_key[:3, :3]), T_camera_key[:3, 3]
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            points, pixels, camera.K, None, rotation[:, None].copy(), translation[:, None].copy(),
            useExtrinsicGuess=True, iterationsCount=60, reprojectionError=_REPROJECTION_PX,
            flags=cv2.SOLVEPNP_ITERATIVE,
        )  # fmt: skip
        enough = max(_MIN_INLIERS, _MIN_SHARE * kept.sum())
        if not found or inliers is None or len(inliers) < enough:
            return None
        points, pixels = points[inliers[:, 0]], pixels[inliers[:, 0]]
        rotation, translation = cv2.solvePnPRefineLM(
            points, pixels, camera.K, None, rotation, translation
        )
        T_camera_key = matrix(cv2.Rodrigues(rotation)[0], translation[:, 0])
        covariance = _fit_covariance(points, pixels, camera, T_camera_key, config)
        parallax = np.median(
            np.linalg.norm(pixels - memory.corners[kept, 0][inliers[:, 0]], axis=1)
        )
        is_worn = (
            len(inliers) < _NEW_KEY_SHARE * len(memory.corners)
            or parallax > _MAX_PARALLAX * camera.width
        )
        return invert(T_camera_key), covariance, is_worn

    def _follow(self, image: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the corners are now, [N, 2], and which of them can be trusted."""
        memory = self.memory
        options = {
            'winSize': (15, 15),
            'maxLevel': 3,
            'flags': cv2.OPTFLOW_USE_INITIAL_FLOW,
        }
        start = memory.corners
        guess = np.where(np.isfinite(expected), expected, start[:, 0]).astype(np.float32)[:, None]
        moved, found, _ = cv2.calcOpticalFlowPyrLK(
            memory.grey, image, start, guess.copy(), **options
        )
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(
            image, memory.grey, moved, start.copy(), **options
        )
        error = np.linalg.norm((back - start)[:, 0], axis=1)
        kept = (found.ravel() == 1) & (found_back.ravel() == 1) & (error < _BACKWARD_PX)
        return moved[:, 0], kept


def _working_image(image: np.ndarray, camera: Intrinsics) -> tuple[np.ndarray, Intrinsics]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.shape[1] > WIDTH:
        size = (WIDTH, round(grey.shape[0] * WIDTH / grey.shape[1]))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey, camera.resized(grey.shape[1], grey.shape[0])


def fuse(first: Motion, second: Motion) -> Motion:
    """Return the mean of two measured motions weighted by their information."""
    gain = first.covariance @ np.linalg.inv(first.covariance + second.covariance)
    T_first, T_second = first.T_last_camera, second.T_last_camera
    difference = np.concatenate(
        [T_second[:3, 3] - T_first[:3, 3], so3_log(T_second[:3, :3] @ T_first[:3, :3].T)]
    )
    step = gain @ difference
    fused = matrix(so3_exp(step[3:]) @ T_first[:3, :3], T_first[:3, 3] + step[:3])
    covariance = first.covariance - gain @ first.covariance
    return Motion(orthonormalise(fused), 0.5 * (covariance + covariance.T))


def _fit_covariance(
    points: np.ndarray,
    pixels: np.ndarray,
    camera: Intrinsics,
    T_camera_key: np.ndarray,
    config: RefinementConfig,
) -> np.ndarray:
    """Return the covariance of a fit in the key frame: pixel noise, and depth errors in common."""
    moved = points @ T_camera_key[:3, :3].T + T_camera_key[:3, 3]
    residual = camera.project(moved) - pixels
    x, y, z = moved.T
    rows = np.zeros((len(points), 2, 6))
    rows[:, 0, 0] = rows[:, 1, 1] = 1.0
    rows[:, 0, 2], rows[:, 1, 2] = -x / z, -y / z
    rows[:, :, :3] /= z[:, None, None]
    rows[:, 0, 3:] = np.column_stack([-x * y / z**2, 1 + x**2 / z**2, -y / z])
    rows[:, 1, 3:] = np.column_stack([-(1 + y**2 / z**2), x * y / z**2, x / z])
    rows *= np.array([camera.fx, camera.fy])[:, None]
    information = np.einsum('nki,nkj->ij', rows, rows)
    variance = max(float((residual**2).mean()), config.pixel_noise**2)
    covariance = variance * np.linalg.inv(information + 1e-9 * np.eye(6))
    R = invert(T_camera_key)[:3, :3]
    turn = np.kron(np.eye(2), R)
    covariance = turn @ covariance @ turn.T
    step = float(np.linalg.norm(T_camera_key[:3, 3]))
    covariance[:3, :3] += np.eye(3) * (config.depth_share * step) ** 2
    return covariance
