# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The published pose: a chain of increments, so it never jumps (REP 105).

Without a measurement the last velocity continues for a bounded time, then the pose is held. The
next measurement in the same segment gives the true motion of that time. The difference to the
published pose decays over about half a second instead of causing a jump, and the covariance that
the time without measurement added is removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mem3r_ros.geometry import (
    T_FLU_OPTICAL,
    adjoint,
    compose_covariance,
    invert,
    orthonormalise,
    se3_exp,
    se3_log,
)
from mem3r_ros.tracker.uncertainty import coasting_covariance, limited

_TWIST_WINDOW_NS = 150_000_000
_TWIST_FRAMES = 5
_CORRECTION_S = 0.5  # time constant
_COASTING_TWIST = np.diag([1.0] * 3 + [1.0] * 3)  # covariance, m^2/s^2 and rad^2/s^2
_UNKNOWN_TWIST = np.diag([100.0] * 3 + [10.0] * 3)
_HELD_TWIST = np.eye(6) * 1e-4


class Motion(NamedTuple):
    """Pose and velocity of the camera, with their covariances."""

    T_odom_camera: np.ndarray  # [4, 4]
    covariance: np.ndarray  # [6, 6] about the axes of odom
    twist: np.ndarray  # [6] in the camera frame, linear first, m/s and rad/s
    twist_covariance: np.ndarray  # [6, 6] in the camera frame


@dataclass(slots=True)
class Odometry:
    """Chains increments; starts at the origin of odom, the camera along its x axis."""

    T_odom_camera: np.ndarray = field(default_factory=lambda: np.array(T_FLU_OPTICAL))
    T_odom_measured: np.ndarray = field(default_factory=lambda: np.array(T_FLU_OPTICAL))
    covariance: np.ndarray = field(default_factory=lambda: np.eye(6) * 1e-12)  # measured path
    blind_covariance: np.ndarray = field(default_factory=lambda: np.zeros((6, 6)))  # of coasting
    scale_drift: np.ndarray = field(default_factory=lambda: np.zeros(3))  # m per sigma of scale
    correction: np.ndarray = field(default_factory=lambda: np.zeros(6))  # not applied yet
    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))  # newest measured
    published_twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    twist_covariance: np.ndarray = field(default_factory=_UNKNOWN_TWIST.copy)
    window_stamps: list[int] = field(default_factory=list)
    window_poses: np.ndarray = field(default_factory=lambda: np.empty((0, 4, 4)))
    stamp_ns: int | None = None
    coasted_s: float = 0.0

    @property
    def is_started(self) -> bool:
        """Whether there has been a frame."""
        return self.stamp_ns is not None

    def blind_s(self, stamp_ns: int) -> float:
        """Return the time from the last measured frame to a stamp; 0 before the first one."""
        return 0.0 if self.stamp_ns is None else self.coasted_s + (stamp_ns - self.stamp_ns) * 1e-9

    def start(self, stamp_ns: int) -> None:
        """Begin at the first frame, or continue from the present pose without a velocity."""
        # Nothing links the frames before and after: the covariance becomes the published one.
        self.covariance = self._published_covariance()
        self.blind_covariance = np.zeros((6, 6))
        self.T_odom_measured = self.T_odom_camera
        self.correction = np.zeros(6)
        self.coasted_s = 0.0
        self.twist = self.published_twist = np.zeros(6)
        self.twist_covariance = _UNKNOWN_TWIST.copy()
        self._restart_window(stamp_ns)

    def advance(
        self, T_last_camera: np.ndarray, covariance: np.ndarray, spread: float, stamp_ns: int
    ) -> None:
        """
        Move by a measured increment.

        :param T_last_camera: motion since the last measured frame, m.
        :param covariance: of the increment, [6, 6].
        :param spread: relative standard deviation of the scale.
        """
        duration_s = (stamp_ns - self.stamp_ns) * 1e-9
        step_odom = self.T_odom_measured[:3, :3] @ T_last_camera[:3, 3]
        self.covariance = compose_covariance(
            self.covariance, self.T_odom_measured, T_last_camera, covariance
        )
        self.blind_covariance = np.zeros((6, 6))
        self.scale_drift = self.scale_drift + spread * step_odom
        T_odom_measured = orthonormalise(self.T_odom_measured @ T_last_camera)
        blind_s = self.coasted_s
        if blind_s > 0.0:
            self._resume(T_odom_measured, duration_s)
        elif self.correction.any():
            self._correct(T_last_camera, duration_s)
        else:
            self.T_odom_camera = T_odom_measured
        self.T_odom_measured = T_odom_measured
        if blind_s > 0.0:
            elapsed_s = blind_s + duration_s
            self.twist = se3_log(T_last_camera) / elapsed_s
            self.published_twist = self.twist
            # The mean velocity since the last measurement; the present one is as uncertain as
            # when coasting.
            changed = coasting_covariance(*_speeds(self.twist), 0.0, 1.0)
            self.twist_covariance = covariance / elapsed_s**2 + changed
            self._restart_window(stamp_ns)
        else:
            self._measure_twist(stamp_ns, covariance)

    def hold(self, stamp_ns: int) -> None:
        """Hold the pose exactly; the twist is zero."""
        if self.coasted_s > 0.0:
            # The camera rests where it was last measured. The difference is applied when it moves.
            left = invert(self.T_odom_camera) @ self.T_odom_measured
            self.correction = se3_log(orthonormalise(left))
            self.coasted_s = 0.0
        self.blind_covariance = np.zeros((6, 6))
        self.twist = self.published_twist = np.zeros(6)
        self.twist_covariance = _HELD_TWIST.copy()
        self._restart_window(stamp_ns)

    def coast(self, stamp_ns: int, coast_s: float) -> None:
        """Continue the last velocity for ``coast_s``, then hold; the covariance grows."""
        if self.stamp_ns is None:
            self.start(stamp_ns)
            return
        before_s = self.coasted_s
        after_s = before_s + (stamp_ns - self.stamp_ns) * 1e-9
        moving_s = max(0.0, min(after_s, coast_s) - before_s)
        step = se3_exp(self.twist * moving_s)
        added = coasting_covariance(*_speeds(self.twist), before_s, after_s)
        published = compose_covariance(
            self.covariance + self.blind_covariance, self.T_odom_camera, step, added
        )
        self.blind_covariance = published - self.covariance
        self.T_odom_camera = orthonormalise(self.T_odom_camera @ step)
        is_moving = after_s <= coast_s
        self.published_twist = self.twist if is_moving else np.zeros(6)
        self.twist_covariance = (_COASTING_TWIST if is_moving else _UNKNOWN_TWIST).copy()
        self.coasted_s, self.stamp_ns = after_s, stamp_ns

    def published(self) -> Motion:
        """Return the motion to publish, as copies."""
        covariance = self._published_covariance()
        # An error of the scale is common to the whole path: fully correlated over all frames.
        covariance[:3, :3] += np.outer(self.scale_drift, self.scale_drift)
        return Motion(
            self.T_odom_camera.copy(),
            limited(covariance),
            self.published_twist.copy(),
            self.twist_covariance.copy(),
        )

    def _published_covariance(self) -> np.ndarray:
        """Return the covariance of the published pose without that of the scale, [6, 6]."""
        total = self.covariance + self.blind_covariance
        if self.correction.any():
            left = self.correction
            R = self.T_odom_camera[:3, :3]
            total[:3, :3] += np.outer(R @ left[:3], R @ left[:3])
            total[3:, 3:] += np.outer(R @ left[3:], R @ left[3:])
        return total

    def _resume(self, T_odom_measured: np.ndarray, duration_s: float) -> None:
        """Continue on the measured path after coasting, without a jump."""
        T_expected = self.T_odom_camera @ se3_exp(self.published_twist * duration_s)
        left = se3_log(orthonormalise(invert(T_expected) @ T_odom_measured))
        share = 1.0 - np.exp(-duration_s / _CORRECTION_S)
        self.T_odom_camera = orthonormalise(T_expected @ se3_exp(share * left))
        self.correction = (1.0 - share) * left
        self.coasted_s = 0.0

    def _correct(self, T_last_camera: np.ndarray, duration_s: float) -> None:
        """Move by an increment, and apply a part of the correction."""
        left = adjoint(invert(T_last_camera)) @ self.correction
        share = 1.0 - np.exp(-duration_s / _CORRECTION_S)
        if np.linalg.norm(left) < 1e-6:
            share = 1.0
        self.T_odom_camera = orthonormalise(
            self.T_odom_camera @ T_last_camera @ se3_exp(share * left)
        )
        self.correction = (1.0 - share) * left

    def _restart_window(self, stamp_ns: int) -> None:
        self.stamp_ns = stamp_ns
        self.window_stamps = [stamp_ns]
        self.window_poses = self.T_odom_camera[None].copy()

    def _measure_twist(self, stamp_ns: int, covariance: np.ndarray) -> None:
        self.stamp_ns = stamp_ns
        self.window_stamps.append(stamp_ns)
        self.window_poses = np.concatenate([self.window_poses, self.T_odom_camera[None]])
        first = max(0, len(self.window_stamps) - _TWIST_FRAMES)
        while (
            first < len(self.window_stamps) - 2
            and stamp_ns - self.window_stamps[first] > _TWIST_WINDOW_NS
        ):
            first += 1
        del self.window_stamps[:first]
        self.window_poses = self.window_poses[first:]
        if len(self.window_stamps) < 2:
            return
        motion = invert(self.window_poses[0]) @ self.window_poses[-1]
        duration_s = (stamp_ns - self.window_stamps[0]) * 1e-9
        self.twist = se3_log(orthonormalise(motion)) / duration_s
        self.published_twist = self.twist
        self.twist_covariance = covariance * (len(self.window_stamps) - 1) / duration_s**2


def _speeds(twist: np.ndarray) -> tuple[float, float]:
    """Return the speed in m/s and the turn rate in rad/s."""
    return float(np.linalg.norm(twist[:3])), float(np.linalg.norm(twist[3:]))
