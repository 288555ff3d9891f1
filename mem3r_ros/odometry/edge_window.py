# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The last frames by their edges, where an image shows too few corners.

A plain object on a plain floor has few corners, and these are often wrong, but its outline is
clear. While corners are few, the motion by edges takes the place of the network's motion. The
network's depth and motion are the priors of the edges, as they are of corners.
"""

# F frames, P points on the edges of each, H x W image

from __future__ import annotations

from dataclasses import dataclass, field, fields
import math

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert
from mem3r_ros.odometry.config import RefinementConfig
from mem3r_ros.odometry.edge_alignment import FARTHEST_PX, EdgeAlignment
from mem3r_ros.odometry.edge_image import WIDTH, EdgeImage
from mem3r_ros.odometry.edge_search import EdgeSearch
from mem3r_ros.odometry.frame_input import FrameInput
from mem3r_ros.odometry.manifold import orthonormalised
from mem3r_ros.odometry.motion_prior import STILL, MotionPrior, informations
from mem3r_ros.odometry.pinhole import DepthImage, camera_array, project, rays_of
from mem3r_ros.odometry.problem import MotionFactors, Solution

_FEW = 30  # corners found again; with fewer, edges are needed
_ENOUGH = 60  # with more, they are not any longer
_NUM_FRAMES = 6
_NUM_POINTS = 200  # of a frame
_LEAST_FRAMES = 3  # that fix motion and depth
_NEAR_SIDE_PX = 1.5  # beside an edge, where the depth of the nearer surface is looked for
_LEAST_ACROSS = 0.05  # mean square of the normals across their main direction
_KEY_PX = 2.0  # parallax since the last frame that is kept
# Least spread of a motion by edges: a part of its length, and rad.
_POSITION_SHARE, _ROTATION_RAD = 0.1, 0.005
_INFLATION = 1.0


def _rows(*shape: int, dtype: type = np.float64) -> np.ndarray:
    return field(default_factory=lambda: np.zeros((0, *shape), dtype))


@dataclass(slots=True)
class EdgeWindow:
    """One row a frame, oldest first; all lengths in the scale that the window had at the start."""

    is_needed: bool = False
    is_kept: bool = True  # whether the newest frame stays when the next one comes
    log_depth_ratio: float = 0.0  # depth of the edges over that of the network
    direction: np.ndarray = _rows(0, 0, dtype=np.uint8)  # [F, H, W], see EdgeImage
    offset: np.ndarray = _rows(0, 0, dtype=np.int8)  # [F, H, W]
    poses: np.ndarray = _rows(4, 4)  # [F, 4, 4] T_first_camera
    motion: np.ndarray = _rows(4, 4)  # [F, 4, 4] by the network, from the frame before
    motion_variance: np.ndarray = _rows(2)  # [F, 2] of position and rotation
    pixels: np.ndarray = _rows(0, 2)  # [F, P, 2] px, NaN where there are fewer points
    normals: np.ndarray = _rows(0, 2)  # [F, P, 2]
    prior: np.ndarray = _rows(0)  # [F, P] inverse depth by the network
    inverse_depth: np.ndarray = _rows(0)  # [F, P] adjusted
    log_ratio: np.ndarray = _rows()  # [F] of the depth that ``prior`` was made with

    def begin(self, num_corners: int) -> None:
        """Forget all frames, and decide by the corners of the first image of a window."""
        self.clear()
        self.is_needed = num_corners < _ENOUGH

    def note_corners(self, num_found: int) -> None:
        """Decide by the number of corners that were found again whether edges are needed."""
        if num_found < _FEW:
            self.is_needed = True
        elif num_found > _ENOUGH and self.is_needed:
            self.clear()
            self.is_needed = False

    def clear(self) -> None:
        """Forget all frames."""
        fresh = EdgeWindow(is_needed=self.is_needed)
        for item in fields(fresh):
            setattr(self, item.name, getattr(fresh, item.name))

    def follow(
        self,
        frame: FrameInput,
        grey: np.ndarray,
        camera: Intrinsics,
        log_depth_ratio: float,
        config: RefinementConfig,
    ) -> MotionPrior | None:
        """
        Take one frame in if edges are needed.

        :param frame: with the network's motion; without its depth, the edges start anew.
        :param grey: its image, [H, W] uint8.
        :param camera: of ``grey``.
        :param log_depth_ratio: of the depth of the window over that of the network, at the start.
        :return: the motion by edges, in their scale; None: they give none.
        """
        if not self.is_needed:
            return None
        if frame.depth is None:
            self.clear()
            return None
        width = min(WIDTH, grey.shape[1])
        size = (width, round(grey.shape[0] * width / grey.shape[1]))
        image = EdgeImage.of(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
        points = image.points(_NUM_POINTS)
        if not _fix_motion(points[1]):
            self.clear()
            return None
        camera_px = camera_array(camera.resized(*size))
        if not self._can_continue(image):
            self.clear()
            self.log_depth_ratio = log_depth_ratio
            self._append(image, points, frame.depth, camera_px, np.eye(4), STILL)
            return None
        before, motion = self.poses[-1], MotionPrior.of(frame.T_previous_camera, config)
        motion = motion.scaled(math.exp(self.log_depth_ratio))
        if not self.is_kept:
            variances = map(float, self.motion_variance[-1])
            motion = MotionPrior(self.motion[-1], *variances).then(motion)
            self._keep(slice(0, -1))
        self._append(image, points, frame.depth, camera_px, self.poses[-1] @ motion.T, motion)
        solution = self._fitted(camera_px, config)
        if solution is None or len(self.poses) < _LEAST_FRAMES:
            return None
        return _with_spread(invert(before) @ self.poses[-1], solution)

    def _can_continue(self, image: EdgeImage) -> bool:
        # A restored state may have been made with other sizes.
        is_alike = self.offset.shape[1:] == image.offset.shape
        has_last = len(self.poses) > (0 if self.is_kept else 1)
        return is_alike and has_last and self.prior.shape[1] == _NUM_POINTS

    def _append(
        self,
        image: EdgeImage,
        points: tuple[np.ndarray, np.ndarray],
        depth: DepthImage,
        camera: np.ndarray,
        T: np.ndarray,
        motion: MotionPrior,
    ) -> None:
        if len(self.poses) == _NUM_FRAMES:
            self._keep(slice(1, None))
        pixels, normals = points
        # An outline belongs to the nearer surface.
        sides = [pixels + side * _NEAR_SIDE_PX * normals for side in (-1.0, 0.0, 1.0)]
        nearest = np.fmin.reduce([depth.along(rays_of(side, camera))[0] for side in sides])
        prior = 1.0 / (nearest * math.exp(self.log_depth_ratio))
        pixels[~np.isfinite(prior)] = np.nan
        missing = _NUM_POINTS - len(prior)
        row = {
            'direction': image.direction,
            'offset': image.offset,
            'poses': T,
            'motion': motion.T,
            'motion_variance': motion.variances,
            'pixels': np.pad(pixels, ((0, missing), (0, 0)), constant_values=np.nan),
            'normals': np.pad(normals, ((0, missing), (0, 0))),
            'prior': np.pad(prior, (0, missing), constant_values=np.nan),
            'inverse_depth': np.pad(prior, (0, missing), constant_values=np.nan),
            'log_ratio': np.array(self.log_depth_ratio),
        }
        for name, value in row.items():
            kept = getattr(self, name)
            setattr(self, name, np.concatenate([kept, value[None]]) if len(kept) else value[None])

    def _keep(self, frames: slice) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                setattr(self, item.name, value[frames])

    def _fitted(self, camera: np.ndarray, config: RefinementConfig) -> Solution | None:
        """Locate the newest frame, and adjust all if it stays; None where edges do not suffice."""
        anchor, point = np.nonzero(np.isfinite(self.pixels[..., 0]))
        prior = self.prior[anchor, point]
        num = len(self.poses) - 1
        alignment = EdgeAlignment(
            EdgeSearch(self.direction, self.offset, FARTHEST_PX),
            camera,
            anchor,
            (self.pixels[anchor, point], self.normals[anchor, point]),
            (self.inverse_depth[anchor, point], prior, config.depth_sigma * prior),
            MotionFactors(
                np.arange(num),
                np.arange(1, num + 1),
                self.motion[1:],
                informations(self.motion[1:], self.motion_variance[1:]),
            ),
        )
        self.is_kept = True
        try:
            solution = alignment.located(self.poses)
            if solution is None:
                return None
            self.poses = orthonormalised(solution.T_window_camera)
            self.is_kept = self._has_parallax(camera)
            if not self.is_kept:
                return solution
            solution = alignment.adjusted(self.poses)
            if solution is None:
                return None
            self.poses = orthonormalised(solution.T_window_camera)
        except np.linalg.LinAlgError:
            return None
        self.inverse_depth = self.inverse_depth.copy()
        self.inverse_depth[anchor, point] = alignment.inverse_depth
        if num >= 2:  # the depth of the frame before has been seen from both sides
            ratio = np.nanmedian(np.log(self.prior[-2] / self.inverse_depth[-2]))
            self.log_depth_ratio = float(self.log_ratio[-2] + ratio)
        return solution

    def _has_parallax(self, camera: np.ndarray) -> bool:
        """Return whether the newest frame shows new sides of the edges of the one before."""
        if len(self.poses) < 2:
            return True
        T = invert(self.poses[-1]) @ self.poses[-2]
        turned = rays_of(self.pixels[-2], camera) @ T[:3, :3].T
        moved = turned + self.inverse_depth[-2, :, None] * T[:3, 3]
        shift = np.linalg.norm(project(moved, camera) - project(turned, camera), axis=1)
        return not np.nanmedian(shift) < _KEY_PX


def _fix_motion(normals: np.ndarray) -> bool:
    """Return whether edges have different directions: parallel ones leave a motion open."""
    across = np.linalg.eigvalsh(normals.T @ normals)[0]
    return bool(across > _LEAST_ACROSS * len(normals))


def _with_spread(T: np.ndarray, solution: Solution) -> MotionPrior:
    """Return a motion with the spread that the edges leave."""
    step, covariance = float(np.linalg.norm(T[:3, 3])), _INFLATION * solution.pose_covariance
    position, rotation = np.trace(covariance[:3, :3]) / 3.0, np.trace(covariance[3:, 3:]) / 3.0
    position = max((_POSITION_SHARE * step) ** 2, position)
    return MotionPrior(T, position, max(_ROTATION_RAD**2, rotation), 'edges')
