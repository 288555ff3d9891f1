# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One frame before and after the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.odometry.pinhole import DepthImage


@dataclass(frozen=True, slots=True)
class FrameInput:
    """One frame for the window; lengths in units of the network."""

    stamp_ns: int
    grey: np.ndarray  # [H, W] uint8, rectified
    camera: Intrinsics  # of ``grey``
    T_previous_camera: np.ndarray | None  # by the network; None after a break
    depth: DepthImage | None = None  # None: no keyframe can be made of this frame
    ignore: np.ndarray | None = None  # [H, W] bool, pixels without corners
    is_calibrated: bool = True  # False: the focal length of ``camera`` is a guess
    # After a break: whether the camera can only be where the window has been.
    is_near: bool = True
    is_scale_held: bool = False  # metres were measured in the present scale of the window


@dataclass(frozen=True, slots=True)
class WindowEstimate:
    """What the window says of one frame."""

    T_previous_camera: np.ndarray  # since the previous frame, in the scale of the window
    covariance: np.ndarray | None  # [6, 6] translation, rotation, in the previous camera's axes;
    # None where the motion is the network's
    num_tracked: int  # corners found again
    num_inliers: int  # of these, in agreement with the pose
    is_keyframe: bool
    reason: str = ''  # why the motion is the network's, or less certain than usual
