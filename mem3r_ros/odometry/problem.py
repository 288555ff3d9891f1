# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What an adjustment is given, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# M frames, N landmarks, O observations, F factors between frames


@dataclass(frozen=True, slots=True)
class MotionFactors:
    """Measured motions between pairs of frames."""

    first: np.ndarray  # [F] frame
    second: np.ndarray  # [F] frame
    T_first_second: np.ndarray  # [F, 4, 4]
    information: np.ndarray  # [F, 6, 6] translation, then rotation, in the axes of ``first``

    @classmethod
    def none(cls) -> MotionFactors:
        """Return no factor."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, np.zeros((0, 4, 4)), np.zeros((0, 6, 6)))


@dataclass(frozen=True, slots=True)
class Problem:
    """What was measured, and what was known before."""

    T_window_camera: np.ndarray  # [M, 4, 4] first guess
    is_fixed: np.ndarray  # [M] frames whose pose is held
    anchor: np.ndarray  # [N] frame in which a landmark was first seen
    anchor_pixels: np.ndarray  # [N, 2] where
    guess_pixels: np.ndarray  # [N, 2] first guess of where it should have been seen
    inverse_depth: np.ndarray  # [N] first guess, in the anchor
    prior_inverse_depth: np.ndarray  # [N]
    prior_sigma: np.ndarray  # [N] of the inverse depth
    landmark: np.ndarray  # [O] which landmark was seen
    frame: np.ndarray  # [O] in which frame, never its anchor
    pixels: np.ndarray  # [O, 2] where
    camera: np.ndarray  # [4] fx, fy, cx, cy
    pixel_sigma: float
    motions: MotionFactors = field(default_factory=MotionFactors.none)
    focal_sigma: float = 0.0  # of the log focal length around ``camera``; 0: known
    prior_log_focal: float = 0.0  # departure of the expected focal length from ``camera``
    normals: np.ndarray | None = None  # [O, 2] of edges: only errors along them count, and the
    # focal length is held; None: observations are points
    max_iterations: int = 8
    least_decrease: float = 1e-3  # relative, of the cost; an iteration with less is the last


@dataclass(frozen=True, slots=True)
class Solution:
    """The most likely values, and how sure they are."""

    T_window_camera: np.ndarray  # [M, 4, 4]
    anchor_pixels: np.ndarray  # [N, 2]
    inverse_depth: np.ndarray  # [N]
    inverse_depth_variance: np.ndarray  # [N]
    error_px: np.ndarray  # [O]; infinite behind the camera
    pose_covariance: np.ndarray  # [6, 6] of the last free frame, left perturbation, window's axes
    log_focal: float  # departure from ``Problem.camera``
    log_focal_sigma: float
    num_iterations: int
    has_converged: bool
    cost: float
    # Whether the observations do not fit the prior inverse depths, or which of them, [N] bool.
    contradicts_depth: bool | np.ndarray = False
