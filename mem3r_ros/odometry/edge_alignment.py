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

from collections.abc import Iterable, Sequence

import numpy as np

from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.edge_image import EdgeImage
from mem3r_ros.odometry.pinhole import project, rays_of
from mem3r_ros.odometry.problem import MotionFactors, Problem, Solution

_REACH_FRAMES = 3  # before and after its own in which an edge is searched
_TANGENT_PX = 3.0  # length of the piece of an edge that shows its direction in another image
_LEAST_FOUND = 40  # edges in the newest frame
_LEAST_LENGTH_PX = 1e-6
# How far an edge is searched, px, and iterations until it is searched again.
_LOCATE = ((24, 3), (8, 3))
_ADJUST = ((8, 2), (4, 2))
# Standard deviation of an edge, px, and its growth with the distance of the search.
_SIGMA_PX, _SIGMA_SHARE = 0.5, 0.15


class EdgeAlignment:
    """Landmarks on the edges of some frames."""

    def __init__(
        self,
        images: Sequence[EdgeImage],
        camera: np.ndarray,
        anchor: np.ndarray,
        points: tuple[np.ndarray, np.ndarray],
        depths: tuple[np.ndarray, np.ndarray, np.ndarray],
        motions: MotionFactors,
    ) -> None:
        """
        Take the frames of a window in their order.

        :param images: of the frames, M.
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
        return self._fitted(poses, np.arange(last + 1) < last, _LOCATE, [last])

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
        targets: Iterable[int],
    ) -> Solution | None:
        """Search the edges in some frames and fit the free poses, level by level."""
        solution = None
        for reach_px, iterations in levels:
            found = [self._found_in(frame, poses, reach_px) for frame in targets]
            landmark, frame, pixels, normals = map(np.concatenate, zip(*found, strict=True))
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

    def _found_in(self, frame: int, poses: np.ndarray, reach_px: int) -> tuple[np.ndarray, ...]:
        """Return landmarks that a frame sees [O], the frame [O], pixels and normals [O, 2]."""
        distance = np.abs(self._anchor - frame)
        rows = np.flatnonzero((distance > 0) & (distance <= _REACH_FRAMES))
        image = self._images[frame]
        at = self._projected(self._rays, rows, poses, frame)
        tangent = self._projected(self._rays_beside, rows, poses, frame) - at
        length = np.linalg.norm(tangent, axis=1)
        with np.errstate(invalid='ignore'):
            is_inside = ((at > -0.5) & (at < np.array(image.offset.shape[::-1]) - 0.5)).all(axis=1)
            usable = np.flatnonzero(is_inside & (length > _LEAST_LENGTH_PX))
        normals = tangent[usable, ::-1] / length[usable, None] * (1.0, -1.0)
        seen, pixels, normals = image.nearest(at[usable], normals, reach_px)
        rows = rows[usable[seen]]
        return rows, np.full(len(rows), frame), pixels, normals

    def _projected(
        self, rays: np.ndarray, rows: np.ndarray, poses: np.ndarray, frame: int
    ) -> np.ndarray:
        """Return where rays of the landmarks' anchors are seen at their depths, [P, 2] px."""
        anchor, T = poses[self._anchor[rows]], poses[frame]
        turned = np.einsum('nij,nj->ni', anchor[:, :3, :3], rays[rows])
        offset = anchor[:, :3, 3] - T[:3, 3]
        return project(
            (turned + self.inverse_depth[rows, None] * offset) @ T[:3, :3], self._camera
        )
