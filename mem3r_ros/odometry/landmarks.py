# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The landmarks of the window: inverse depth in the keyframe in which each was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
import math

import numpy as np

from mem3r_ros.odometry.patch_alignment import STORED, patches_at
from mem3r_ros.odometry.pinhole import project, rays_of

# N landmarks, K frames of the window


def _empty(*shape: int) -> np.ndarray:
    return field(default_factory=lambda: np.zeros((0, *shape)))


@dataclass(slots=True)
class Landmarks:
    """One row a landmark; all lengths in the scale of the window."""

    anchor: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # [N] frame
    measured: np.ndarray = _empty(2)  # [N, 2] px, where its anchor saw it
    adjusted: np.ndarray = _empty(2)  # [N, 2] px, where the adjustment puts it in its anchor
    inverse_depth: np.ndarray = _empty()  # [N] in the anchor
    variance: np.ndarray = _empty()  # [N] of the inverse depth
    prior: np.ndarray = _empty()  # [N] inverse depth before any observation but the anchor's
    prior_sigma: np.ndarray = _empty()  # [N]
    parallax: np.ndarray = _empty()  # [N] rad, largest angle between two rays to it
    patch: np.ndarray = field(  # [N, S, S] around it in its anchor
        default_factory=lambda: np.zeros((0, STORED, STORED), np.float32)
    )
    is_tracked: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # [N] in the newest
    seen: np.ndarray = _empty(0, 2)  # [N, K, 2] px in each frame; NaN where not

    def __len__(self) -> int:
        """Return the number of landmarks."""
        return len(self.anchor)

    @property
    def usual_depth(self) -> float:
        """Median depth of the tracked landmarks in their anchors; infinite without any."""
        depth = 1.0 / self.inverse_depth[self.is_tracked]
        return float(np.median(depth)) if len(depth) else math.inf

    def keep(self, rows: np.ndarray) -> None:
        """Keep some of the rows [N] bool."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name)[rows])

    def add(
        self, grey: np.ndarray, pixels: np.ndarray, inverse_depth: np.ndarray, sigma: np.ndarray
    ) -> None:
        """Add corners found in the newest frame: [P, 2] px, inverse depths [P], sigmas [P]."""
        num_new, num_frames = len(pixels), self.seen.shape[1]
        seen = np.full((num_new, num_frames, 2), np.nan)
        seen[:, -1] = pixels
        rows = {
            'anchor': np.full(num_new, num_frames - 1, np.int64),
            'measured': pixels,
            'adjusted': pixels,
            'inverse_depth': inverse_depth,
            'variance': sigma**2,
            'prior': inverse_depth,
            'prior_sigma': sigma,
            'parallax': np.zeros(num_new),
            'patch': patches_at(grey, pixels),
            'is_tracked': np.ones(num_new, bool),
            'seen': seen,
        }
        for name, values in rows.items():
            setattr(self, name, np.concatenate([getattr(self, name), values]))

    def add_frame(self) -> None:
        """Append a frame that has not seen any landmark yet."""
        unseen = np.full((len(self), 1, 2), np.nan)
        self.seen = np.concatenate([self.seen, unseen], axis=1)

    def track_only(self, rows: np.ndarray, outliers: Sequence[int] | np.ndarray) -> None:
        """Track only these landmarks of the newest frame, indices [P], without the outliers."""
        self.is_tracked = np.zeros(len(self), bool)
        self.is_tracked[rows] = True
        self.is_tracked[np.asarray(outliers, int)] = False
        self.seen[~self.is_tracked, -1] = np.nan

    def points_in(
        self, T_window_camera: np.ndarray, poses: np.ndarray, camera: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """
        Return landmarks in a camera, times their inverse depth: stable for far ones.

        :param poses: of the frames of the window, [K, 4, 4].
        :param camera: fx, fy, cx, cy.
        :param rows: which landmarks, indices [P].
        :return: [P, 3].
        """
        anchor = poses[self.anchor[rows]]
        turned = np.einsum('nij,nj->ni', anchor[:, :3, :3], rays_of(self.adjusted[rows], camera))
        offset = anchor[:, :3, 3] - T_window_camera[:3, 3]
        return (turned + self.inverse_depth[rows, None] * offset) @ T_window_camera[:3, :3]

    def warps_to(
        self, T_window_camera: np.ndarray, poses: np.ndarray, camera: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Return how small shifts in the anchor show in a camera, [P, 2, 2]; NaN behind it."""
        here = project(self.points_in(T_window_camera, poses, camera, rows), camera)
        anchor, columns = poses[self.anchor[rows]], []
        for axis in (0, 1):
            # A step of one focal length of the anchor's image plane is one of its pixels.
            turned = anchor[:, :3, axis] @ T_window_camera[:3, :3] / camera[axis]
            points = self.points_in(T_window_camera, poses, camera, rows) + turned
            columns.append(project(points, camera) - here)
        return np.stack(columns, axis=2)

    def depth_in(
        self, T_window_camera: np.ndarray, poses: np.ndarray, camera: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Return depths along the optical axis of a camera, [P]; negative behind it."""
        points = self.points_in(T_window_camera, poses, camera, rows)
        return points[:, 2] / self.inverse_depth[rows]

    def note_parallax(self, poses: np.ndarray, camera: np.ndarray) -> None:
        """Update the parallax of the landmarks that the newest frame sees."""
        rows = np.flatnonzero(self.is_tracked)
        anchor = poses[self.anchor[rows], :3, :3]
        first = np.einsum('nij,nj->ni', anchor, rays_of(self.adjusted[rows], camera))
        second = rays_of(self.seen[rows, -1], camera) @ poses[-1, :3, :3].T
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        angle = np.arccos(np.clip((first * second).sum(axis=1) / lengths, -1.0, 1.0))
        self.parallax[rows] = np.maximum(self.parallax[rows], angle)

    def drop_first_frame(
        self,
        poses: np.ndarray,
        camera: np.ndarray,
        greys: Sequence[np.ndarray],
        established: np.ndarray,
        sigma: float,
    ) -> None:
        """
        Forget the oldest frame; the next one that saw a landmark becomes its anchor.

        :param poses: of all frames, the oldest included, [K, 4, 4].
        :param greys: images of all frames, K times [H, W].
        :param established: [N] landmarks that keep their depth: it carries the scale.
        :param sigma: relative standard deviation of the depth that they keep.
        """
        is_seen = np.isfinite(self.seen[:, 1:, 0])
        is_orphan = self.anchor == 0
        gone = is_orphan & ~is_seen.any(axis=1)
        heirs = np.flatnonzero(is_orphan & ~gone)
        frame = 1 + is_seen[heirs].argmax(axis=1)
        for new_anchor in np.unique(frame):
            rows = heirs[frame == new_anchor]
            points = self.points_in(poses[new_anchor], poses, camera, rows)
            ahead = points[:, 2] > 1e-6
            gone[rows[~ahead]] = True
            rows, points = rows[ahead], points[ahead]
            self._move_anchor(rows, int(new_anchor), points, camera, established[rows], sigma)
            self.patch[rows] = patches_at(greys[new_anchor], self.measured[rows])
        self.keep(~gone)
        self.anchor = self.anchor - 1
        self.seen = self.seen[:, 1:]

    def _move_anchor(
        self,
        rows: np.ndarray,
        anchor: int,
        points: np.ndarray,
        camera: np.ndarray,
        established: np.ndarray,
        sigma: float,
    ) -> None:
        inverse_depth = self.inverse_depth[rows] / points[:, 2]
        spread = np.sqrt(self.variance[rows]) / self.inverse_depth[rows]
        relative = np.where(established, sigma, self.prior_sigma[rows] / self.prior[rows])
        self.anchor[rows] = anchor
        self.measured[rows] = self.seen[rows, anchor]
        self.adjusted[rows] = project(points, camera)
        self.inverse_depth[rows] = self.prior[rows] = inverse_depth
        self.prior_sigma[rows] = relative * inverse_depth
        self.variance[rows] = (spread * inverse_depth) ** 2

    def rescale(self, factor: float) -> None:
        """Multiply all lengths."""
        for name in ('inverse_depth', 'prior', 'prior_sigma'):
            setattr(self, name, getattr(self, name) / factor)
        self.variance = self.variance / factor**2
