# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The keyframes of the window: images, predicted depth, and the network's motion to each."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.odometry.keyframe import Keyframe
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.motion_prior import MotionPrior, informations
from mem3r_ros.odometry.pinhole import DepthImage, camera_array, project, rays_of
from mem3r_ros.odometry.problem import MotionFactors

_KEY_PX = 6.0  # motion since the last keyframe, rotation left aside, that makes a new one
_KEY_SHARE = 0.6  # of its corners still tracked; below, a new one is taken
_MIN_CORNERS = 25
_EXPECTED = 0.8  # part of that motion, and
_EXPECTED_SHARE = 0.7  # share of the corners, from which on a keyframe is expected

# K keyframes


@dataclass(slots=True)
class Keyframes:
    """One row a keyframe, oldest first; poses are kept by the window."""

    index: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # [K]
    stamp_ns: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # [K]
    published: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))  # [K, 4, 4]
    motion: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))  # from the one before
    motion_variance: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))  # of these
    grey: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint8))  # [K, H, W]
    depth: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    log_variance: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))

    def __len__(self) -> int:
        """Return the number of keyframes."""
        return len(self.index)

    def add(
        self,
        index: int,
        stamp_ns: int,
        T_window_camera: np.ndarray,
        motion: MotionPrior,
        grey: np.ndarray,
        image: DepthImage,
    ) -> None:
        """Append a keyframe; images of another size than before are not mixed."""
        variance = image.log_variance
        if variance is None:
            variance = np.full(image.depth.shape, np.nan, np.float32)
        row = {
            'index': np.array([index], np.int64),
            'stamp_ns': np.array([stamp_ns], np.int64),
            'published': T_window_camera[None],
            'motion': motion.T[None],
            'motion_variance': np.array([[motion.position_variance, motion.rotation_variance]]),
            'grey': grey[None],
            'depth': image.depth[None].astype(np.float32),
            'log_variance': variance[None].astype(np.float32),
        }
        for name, value in row.items():
            kept = getattr(self, name)
            setattr(self, name, np.concatenate([kept, value]) if len(kept) else value.copy())

    def drop_first(self) -> None:
        """Forget the oldest keyframe."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name)[1:])

    def motion_factors(self, newest: MotionPrior) -> MotionFactors:
        """
        Return the network's motions as factors between neighbours.

        :param newest: the motion to a frame after the last keyframe.
        """
        T = np.concatenate([self.motion[1:], newest.T[None]])
        variance = [[newest.position_variance, newest.rotation_variance]]
        first = np.arange(len(T))
        information = informations(T, np.concatenate([self.motion_variance[1:], variance]))
        return MotionFactors(first, first + 1, T, information)

    def rescale(self, factor: float) -> None:
        """Multiply all lengths but the published ones."""
        self.motion = self.motion.copy()
        self.motion[:, :3, 3] *= factor
        self.motion_variance = self.motion_variance * (factor**2, 1.0)


def is_key_due(
    landmarks: Landmarks, poses: np.ndarray, camera: np.ndarray, width_scale: float
) -> bool:
    """
    Return whether the newest frame has moved far enough to be a keyframe.

    :param poses: of all frames of the window, the newest last, [K, 4, 4].
    :param camera: fx, fy, cx, cy.
    :param width_scale: pixels of the image per pixel at the reference width.
    """
    last_key = landmarks.seen[:, -2]
    if _tracked_share(landmarks, last_key) < _KEY_SHARE:
        return True
    both = np.flatnonzero(landmarks.is_tracked & np.isfinite(last_key[:, 0]))
    moved = _motion_px(last_key[both], landmarks.seen[both, -1], poses[-2], poses[-1], camera)
    return moved > _KEY_PX * width_scale


def is_key_expected(
    landmarks: Landmarks,
    poses: np.ndarray,
    camera: np.ndarray,
    width_scale: float,
    T_window_next: np.ndarray,
    is_key: bool,
) -> bool:
    """
    Return whether a frame at an expected pose will probably be a keyframe.

    :param T_window_next: this pose.
    :param is_key: whether the newest frame is a keyframe.
    """
    key = -1 if is_key else -2
    last_key = landmarks.seen[:, key]
    if _tracked_share(landmarks, last_key) < _EXPECTED_SHARE:
        return True
    both = np.flatnonzero(landmarks.is_tracked & np.isfinite(last_key[:, 0]))
    points = landmarks.points_in(T_window_next, poses, camera, both)
    next_pixels = project(points, camera)
    moved = _motion_px(last_key[both], next_pixels, poses[key], T_window_next, camera)
    return moved > _EXPECTED * _KEY_PX * width_scale


def _tracked_share(landmarks: Landmarks, last_key: np.ndarray) -> float:
    """Return the share of the corners of a keyframe that are still tracked; few count as none."""
    was_seen = np.isfinite(last_key[:, 0])
    num_tracked = int((landmarks.is_tracked & was_seen).sum())
    return num_tracked / max(int(was_seen.sum()), 1) if num_tracked >= _MIN_CORNERS else 0.0


def _motion_px(
    first: np.ndarray,
    second: np.ndarray,
    T_first: np.ndarray,
    T_second: np.ndarray,
    camera: np.ndarray,
) -> float:
    """Return the median motion of pixels [N, 2] that the rotation of the camera leaves."""
    R = T_second[:3, :3].T @ T_first[:3, :3]
    turned = project(rays_of(first, camera) @ R.T, camera)
    return float(np.nanmedian(np.linalg.norm(turned - second, axis=1)))


def keyframe_at(
    position: int,
    keyframes: Keyframes,
    landmarks: Landmarks,
    poses: np.ndarray,
    camera: Intrinsics,
    depth_camera: Intrinsics,
    depth_scale: float,
) -> Keyframe:
    """
    Return one keyframe as other stages read it.

    :param position: among the keyframes.
    :param poses: of all frames of the window, [K, 4, 4].
    :param camera: of the images.
    :param depth_camera: of the predicted depths.
    :param depth_scale: depth of the window per predicted depth.
    """
    rows = np.flatnonzero(np.isfinite(landmarks.seen[:, position, 0]))
    points = landmarks.points_in(poses[position], poses, camera_array(camera), rows)
    rows, z = rows[points[:, 2] > 0], points[points[:, 2] > 0, 2]
    return Keyframe(
        index=int(keyframes.index[position]),
        stamp_ns=int(keyframes.stamp_ns[position]),
        grey=keyframes.grey[position],
        camera=camera,
        T_window_camera=poses[position].copy(),
        pixels=landmarks.seen[rows, position].copy(),
        inverse_depth=landmarks.inverse_depth[rows] / z,
        inverse_depth_variance=landmarks.variance[rows] / z**2,
        network_depth=keyframes.depth[position] * np.float32(depth_scale),
        network_camera=depth_camera,
        network_log_variance=keyframes.log_variance[position],
    )
