# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The published pose: increments one after the other, so that it never jumps (REP 105).

Without sight the last velocity goes on for a bounded time, then the pose is held. When sight
returns within the same segment, what really happened meanwhile is known; the difference to the
pose already published is worked off over half a second or so instead of jumping. What the blind
stretch added to the covariance goes then: the measured path knows nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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


@dataclass(slots=True)
class OdometryMemory:
    """Where the camera is and how it got there."""

    T_odom_camera: np.ndarray = field(default_factory=lambda: np.array(T_FLU_OPTICAL))
    T_odom_measured: np.ndarray = field(default_factory=lambda: np.array(T_FLU_OPTICAL))
    covariance: np.ndarray = field(default_factory=lambda: np.eye(6) * 1e-12)  # measured path
    blind_covariance: np.ndarray = field(default_factory=lambda: np.zeros((6, 6)))  # coasting adds
    scale_drift: np.ndarray = field(default_factory=lambda: np.zeros(3))  # m per sigma of scale
    correction: np.ndarray = field(default_factory=lambda: np.zeros(6))  # still to be worked off
    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))  # newest measured
    published_twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    twist_covariance: np.ndarray = field(default_factory=_UNKNOWN_TWIST.copy)
    window_stamps: list[int] = field(default_factory=list)
    window_poses: np.ndarray = field(default_factory=lambda: np.empty((0, 4, 4)))
    stamp_ns: int | None = None
    coasted_s: float = 0.0


class Odometry:
    """Chains increments to the pose in odom, with covariance and twist."""

    def __init__(self) -> None:
        """Stand at the origin of odom, the camera looking along its x axis."""
        self.memory = OdometryMemory()

    def start(self, stamp_ns: int) -> None:
        """Begin at the first frame, or go on from where the camera is taken to be."""
        memory = self.memory
        # Nothing will be measured against the path before: its doubt is that of the published.
        memory.covariance = self._published_covariance()
        memory.blind_covariance = np.zeros((6, 6))
        memory.T_odom_measured = memory.T_odom_camera
        memory.correction = np.zeros(6)
        memory.coasted_s = 0.0
        memory.twist = memory.published_twist = np.zeros(6)
        memory.twist_covariance = _UNKNOWN_TWIST.copy()
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
        memory = self.memory
        duration_s = (stamp_ns - memory.stamp_ns) * 1e-9
        step_odom = memory.T_odom_measured[:3, :3] @ T_last_camera[:3, 3]
        memory.covariance = compose_covariance(
            memory.covariance, memory.T_odom_measured, T_last_camera, covariance
        )
        memory.blind_covariance = np.zeros((6, 6))
        memory.scale_drift = memory.scale_drift + spread * step_odom
        T_odom_measured = orthonormalise(memory.T_odom_measured @ T_last_camera)
        blind_s = memory.coasted_s
        if blind_s > 0.0:
            self._resume(T_odom_measured, duration_s)
        elif memory.correction.any():
            self._work_off(T_last_camera, duration_s)
        else:
            memory.T_odom_camera = T_odom_measured
        memory.T_odom_measured = T_odom_measured
        if blind_s > 0.0:
            elapsed_s = blind_s + duration_s
            memory.twist = se3_log(T_last_camera) / elapsed_s
            memory.published_twist = memory.twist
            # The mean over the stretch; how fast it is now is as doubtful as when coasting.
            changed = coasting_covariance(*_speeds(memory.twist), 0.0, 1.0)
            memory.twist_covariance = covariance / elapsed_s**2 + changed
            self._restart_window(stamp_ns)
        else:
            self._measure_twist(stamp_ns, covariance)

    def hold(self, stamp_ns: int) -> None:
        """Stand: the pose stays what it is to the bit, the twist is zero."""
        memory = self.memory
        if memory.coasted_s > 0.0:
            # The camera turns out to stand where it was last measured; it will be worked off
            # when it moves.
            left = invert(memory.T_odom_camera) @ memory.T_odom_measured
            memory.correction = se3_log(orthonormalise(left))
            memory.coasted_s = 0.0
        memory.blind_covariance = np.zeros((6, 6))
        memory.twist = memory.published_twist = np.zeros(6)
        memory.twist_covariance = _HELD_TWIST.copy()
        self._restart_window(stamp_ns)

    def coast(self, stamp_ns: int, coast_s: float) -> None:
        """Go on blindly: by the last velocity for ``coast_s``, then stay; doubt grows."""
        memory = self.memory
        if memory.stamp_ns is None:
            self.start(stamp_ns)
            return
        before_s = memory.coasted_s
        after_s = before_s + (stamp_ns - memory.stamp_ns) * 1e-9
        moving_s = max(0.0, min(after_s, coast_s) - before_s)
        step = se3_exp(memory.twist * moving_s)
        doubt = coasting_covariance(*_speeds(memory.twist), before_s, after_s)
        published = compose_covariance(
            memory.covariance + memory.blind_covariance, memory.T_odom_camera, step, doubt
        )
        memory.blind_covariance = published - memory.covariance
        memory.T_odom_camera = orthonormalise(memory.T_odom_camera @ step)
        is_going = after_s <= coast_s
        memory.published_twist = memory.twist if is_going else np.zeros(6)
        memory.twist_covariance = (_COASTING_TWIST if is_going else _UNKNOWN_TWIST).copy()
        memory.coasted_s, memory.stamp_ns = after_s, stamp_ns

    @property
    def T_odom_camera(self) -> np.ndarray:
        """The published pose, a copy."""
        return self.memory.T_odom_camera.copy()

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the published pose about odom's axes, [6, 6]."""
        memory = self.memory
        total = self._published_covariance()
        # A wrong scale moves the whole path along: fully correlated from first frame to last.
        total[:3, :3] += np.outer(memory.scale_drift, memory.scale_drift)
        return limited(total)

    @property
    def twist(self) -> np.ndarray:
        """Velocity in the camera frame, linear first, m/s and rad/s, [6]."""
        return self.memory.published_twist.copy()

    @property
    def twist_covariance(self) -> np.ndarray:
        """Covariance of the twist in the camera frame, [6, 6]."""
        return self.memory.twist_covariance.copy()

    def _published_covariance(self) -> np.ndarray:
        """Return the covariance of the published pose but for the scale, [6, 6]."""
        memory = self.memory
        total = memory.covariance + memory.blind_covariance
        if memory.correction.any():
            left = memory.correction
            R = memory.T_odom_camera[:3, :3]
            total[:3, :3] += np.outer(R @ left[:3], R @ left[:3])
            total[3:, 3:] += np.outer(R @ left[3:], R @ left[3:])
        return total

    def _resume(self, T_odom_measured: np.ndarray, duration_s: float) -> None:
        """Meet the measured path again after a stretch without sight, without a jump."""
        memory = self.memory
        T_expected = memory.T_odom_camera @ se3_exp(memory.published_twist * duration_s)
        left = se3_log(orthonormalise(invert(T_expected) @ T_odom_measured))
        share = 1.0 - np.exp(-duration_s / _CORRECTION_S)
        memory.T_odom_camera = orthonormalise(T_expected @ se3_exp(share * left))
        memory.correction = (1.0 - share) * left
        memory.coasted_s = 0.0

    def _work_off(self, T_last_camera: np.ndarray, duration_s: float) -> None:
        memory = self.memory
        left = adjoint(invert(T_last_camera)) @ memory.correction
        share = 1.0 - np.exp(-duration_s / _CORRECTION_S)
        if np.linalg.norm(left) < 1e-6:
            share = 1.0
        memory.T_odom_camera = orthonormalise(
            memory.T_odom_camera @ T_last_camera @ se3_exp(share * left)
        )
        memory.correction = (1.0 - share) * left

    def _restart_window(self, stamp_ns: int) -> None:
        memory = self.memory
        memory.stamp_ns = stamp_ns
        memory.window_stamps = [stamp_ns]
        memory.window_poses = memory.T_odom_camera[None].copy()

    def _measure_twist(self, stamp_ns: int, covariance: np.ndarray) -> None:
        memory = self.memory
        memory.stamp_ns = stamp_ns
        memory.window_stamps.append(stamp_ns)
        memory.window_poses = np.concatenate([memory.window_poses, memory.T_odom_camera[None]])
        first = max(0, len(memory.window_stamps) - _TWIST_FRAMES)
        while (
            first < len(memory.window_stamps) - 2
            and stamp_ns - memory.window_stamps[first] > _TWIST_WINDOW_NS
        ):
            first += 1
        del memory.window_stamps[:first]
        memory.window_poses = memory.window_poses[first:]
        if len(memory.window_stamps) < 2:
            return
        motion = invert(memory.window_poses[0]) @ memory.window_poses[-1]
        duration_s = (stamp_ns - memory.window_stamps[0]) * 1e-9
        memory.twist = se3_log(orthonormalise(motion)) / duration_s
        memory.published_twist = memory.twist
        memory.twist_covariance = covariance * (len(memory.window_stamps) - 1) / duration_s**2


def _speeds(twist: np.ndarray) -> tuple[float, float]:
    """Return the speed in m/s and the turn rate in rad/s."""
    return float(np.linalg.norm(twist[:3])), float(np.linalg.norm(twist[3:]))
