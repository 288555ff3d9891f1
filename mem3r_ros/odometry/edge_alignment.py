# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The adjustment of poses and depths by edges, which are searched again as the poses get better.

An image shows on which line the point of an edge lies, not where on it. Three images and more
fix both the motion and the depth of edges of different directions (Klein and Murray 2008; Tarrio
and Pedre 2015). So each observation of an edge counts along its normal only.
"""

# M frames, N landmarks on edges, O observations

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.edge_search import EdgeSearch
from mem3r_ros.odometry.pinhole import project, rays_of
from mem3r_ros.odometry.problem import MotionFactors, Problem, Solution

_REACH_FRAMES = 3  # before and after its own in which an edge is searched
_TANGENT_PX = 3.0  # length of the piece of an edge that shows its direction in another image
_LEAST_FOUND = 40  # edges in the newest frame
_LEAST_LENGTH_PX = 1e-6
# How far an edge is searched, px, and iterations until it is searched again.
_LOCATE = ((24, 3), (8, 3))
_ADJUST = ((8, 2), (4, 2))
FARTHEST_PX = max(reach_px for reach_px, _ in (*_LOCATE, *_ADJUST))
# Standard deviation of an edge, px, and its growth with the distance of the search.
_SIGMA_PX, _SIGMA_SHARE = 0.5, 0.15


class EdgeAlignment:
    """Landmarks on the edges of some frames."""

    def __init__(
        self,
        images: EdgeSearch,
        camera: np.ndarray,
        anchor: np.ndarray,
        points: tuple[np.ndarray, np.ndarray],
        depths: tuple[np.ndarray, np.ndarray, np.ndarray],
        motions: MotionFactors,
    ) -> None:
        """
        Take the frames of a window in their order.

        :param images: of the frames, M, prepared for ``FARTHEST_PX``.
        :param camera: fx, fy, cx, cy of all images.
        :param anchor: frame of each landmark, indices [N].
        :param points: where it lies on an edge of this frame, px, and the edge's normal, [N, 2].
        :param depths: inverse depths now, by the network, and the spread of these, [N] each.
        :param motions: by the network, between neighbours.
        """
        self._images, self._camera, self._motions = images, camera, motions
        self._anchor, self._pixels = anchor, points[0]
        tangents = points[1][:, ::-1] * (-1.0, 1.0)
        self._rays = rays_of(self._pixels, camera)
        self._rays_beside = rays_of(self._pixels + _TANGENT_PX * tangents, camera)
        self.inverse_depth, self._prior, self._prior_sigma = depths

    def located(self, poses: np.ndarray) -> Solution | None:
        """
        Find the pose of the last frame among the others, which are held.

        :param poses: of all frames, [M, 4, 4].
        :return: None where too few edges are found again.
        """
        last = len(poses) - 1
        return self._fitted(poses, np.arange(last + 1) < last, _LOCATE, np.array([last]))

    def adjusted(self, poses: np.ndarray) -> Solution | None:
        """
        Adjust all poses but the first two, whose distance carries the scale, and the depths.

        :param poses: of all frames, [M, 4, 4].
        :return: None where too few edges are found again.
        """
        frames = np.arange(len(poses))
        return self._fitted(poses, frames < min(2, len(poses) - 1), _ADJUST, frames)

    def _fitted(
        self,
        poses: np.ndarray,
        is_fixed: np.ndarray,
        levels: Iterable[tuple[int, int]],
        targets: np.ndarray,
    ) -> Solution | None:
        """Search the edges in some frames and fit the free poses, level by level."""
        solution = None
        for reach_px, iterations in levels:
            landmark, frame, pixels, normals = self._found_in(targets, poses, reach_px)
            if (frame == len(poses) - 1).sum() < _LEAST_FOUND:
                return None
            rows, landmark = np.unique(landmark, return_inverse=True)
            solution = adjust(
                Problem(
                    T_window_camera=poses,
                    is_fixed=is_fixed,
                    anchor=self._anchor[rows],
                    anchor_pixels=self._pixels[rows],
                    guess_pixels=self._pixels[rows],
                    inverse_depth=self.inverse_depth[rows],
                    prior_inverse_depth=self._prior[rows],
                    prior_sigma=self._prior_sigma[rows],
                    landmark=landmark,
                    frame=frame,
                    pixels=pixels,
                    normals=normals,
                    camera=self._camera,
                    pixel_sigma=_SIGMA_PX + _SIGMA_SHARE * reach_px,
                    motions=self._motions,
                    max_iterations=iterations,
                )
            )
            poses = solution.T_window_camera
            self.inverse_depth = self.inverse_depth.copy()
            self.inverse_depth[rows] = solution.inverse_depth
        return solution

    def _found_in(
        self, frames: np.ndarray, poses: np.ndarray, reach_px: int
    ) -> tuple[np.ndarray, ...]:
        """Return landmark and frame of each observation, [O], and pixels and normals, [O, 2]."""
        distance = np.abs(self._anchor - frames[:, None])
        at = self._projected(self._rays, poses, frames)
        tangent = self._projected(self._rays_beside, poses, frames) - at
        length = np.linalg.norm(tangent, axis=2)
        with np.errstate(invalid='ignore'):
            usable = ((at > -0.5) & (at < np.array(self._images.size) - 0.5)).all(axis=2)
            usable &= length > _LEAST_LENGTH_PX
        usable &= (distance > 0) & (distance <= _REACH_FRAMES)
        which, landmark = np.nonzero(usable)
        frame = frames[which]
        normals = tangent[usable][:, ::-1] / length[usable][:, None] * (1.0, -1.0)
        seen, pixels, normals = self._images.nearest(frame, at[usable], normals, reach_px)
        return landmark[seen], frame[seen], pixels, normals

    def _projected(self, rays: np.ndarray, poses: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Return where frames [G] see rays [N, 3] of the anchors at their depths, [G, N, 2] px."""
        R, t, rho = poses[:, :3, :3], poses[:, :3, 3], self.inverse_depth[:, None]
        in_window = np.einsum('nij,nj->ni', R[self._anchor], rays) + rho * t[self._anchor]
        return project((in_window - rho * t[frames][:, None]) @ R[frames], self._camera)
