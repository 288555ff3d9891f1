# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What carries the scale of a window over its end, and the frame of the window over an adjustment.

A monocular window has no scale of its own. Landmarks with parallax keep their depth. A new
landmark gets the network's depth times the ratio of both depths in the newest keyframe. While the
window still holds its first keyframe, an adjustment keeps the size of the published path.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np

from mem3r_ros.geometry import invert, so3_exp
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.manifold import rotation_vectors
from mem3r_ros.odometry.pinhole import DepthImage, rays_of

MIN_PARALLAX_RAD = np.radians(1.0)  # from here on a depth is established
ESTABLISHED_SIGMA = 0.005  # relative spread of an established depth that leaves the window
_MIN_LANDMARKS = 10
_LAST_COUNTS = 15  # landmarks whose weight the last ratio of depths has
_MAX_RESCALE = 2.0  # of one adjustment
_STEP_RATIOS = 10  # keyframe steps that are compared with the network's
_LEAST_SPREAD = 1e-9  # of keyframe positions


@dataclass(frozen=True, slots=True)
class Similarity:
    """A change of the window's frame: p' = scale R p + t."""

    R: np.ndarray  # [3, 3]
    t: np.ndarray  # [3]
    scale: float

    def apply(self, poses: np.ndarray) -> np.ndarray:
        """Return poses [K, 4, 4] in the new frame."""
        moved = poses.copy()
        moved[:, :3, 3] = self.scale * poses[:, :3, 3] @ self.R.T + self.t
        moved[:, :3, :3] = self.R @ poses[:, :3, :3]
        return moved


UNCHANGED = Similarity(np.eye(3), np.zeros(3), 1.0)


def with_newest_step(
    log_ratios: list[float], poses: np.ndarray, network_path: float
) -> list[float]:
    """
    Return the logs of the last keyframe steps over the network's, with that of the newest one.

    :param poses: of the frames of the window, [K, 4, 4].
    :param network_path: of the newest step, in units of the network.
    """
    step = float(np.linalg.norm((invert(poses[-2]) @ poses[-1])[:3, 3]))
    if min(step, network_path) <= 0.0:
        return log_ratios
    return [*log_ratios, math.log(step / network_path)][-_STEP_RATIOS:]


def established(landmarks: Landmarks) -> np.ndarray:
    """Return which landmarks have a depth of their own, not the network's, [N] bool."""
    return landmarks.parallax > MIN_PARALLAX_RAD


def log_depth_ratio(
    landmarks: Landmarks,
    chosen: np.ndarray,
    poses: np.ndarray,
    camera: np.ndarray,
    image: DepthImage,
    last: float | None = None,
) -> float | None:
    """
    Compare the depth of landmarks with the network's in the newest frame.

    In a fast turn few landmarks are left, and blur makes their depths wrong. The network's own
    scale changes slowly, so the last ratio counts there too.

    :param chosen: which landmarks, all seen in it, [N] bool.
    :param last: log of the last ratio; None: it does not count.
    :return: log of the ratio; None with too few of them.
    """
    rows = np.flatnonzero(chosen)
    if len(rows) < _MIN_LANDMARKS:
        return None
    depth = landmarks.depth_in(poses[-1], poses, camera, rows)
    predicted, is_sure = image.along(rays_of(landmarks.seen[rows, -1], camera))
    usable = is_sure & (depth > 0)
    if usable.sum() < _MIN_LANDMARKS:
        return None
    measured = float(np.median(np.log(depth[usable] / predicted[usable])))
    if last is None:
        return measured
    return last + (measured - last) * len(rows) / (len(rows) + _LAST_COUNTS)


def onto_published(poses: np.ndarray, published: np.ndarray, with_scale: bool) -> Similarity:
    """
    Return the change of frame that lays adjusted keyframes onto the published ones.

    :param poses: adjusted, [K, 4, 4].
    :param published: as they were published, [K, 4, 4].
    :param with_scale: keep the size of the published path too.
    """
    turns = rotation_vectors(published[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1))
    R = so3_exp(turns.mean(axis=0))
    target, source = published[:, :3, 3], poses[:, :3, 3] @ R.T
    scale = 1.0
    if with_scale:
        size, own_size = (
            float(((path - path.mean(axis=0)) ** 2).sum()) for path in (target, source)
        )
        # Least squares would shrink a path whose shape has changed, keyframe by keyframe.
        if min(size, own_size) > _LEAST_SPREAD:
            scale = math.sqrt(size / own_size)
            scale = min(max(scale, 1.0 / _MAX_RESCALE), _MAX_RESCALE)
    return Similarity(R, target.mean(axis=0) - scale * source.mean(axis=0), scale)
