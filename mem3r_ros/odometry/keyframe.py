# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A keyframe of the sliding window, as other stages read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mem3r_ros.camera import Intrinsics

# H, W image of the camera; h, w depth of the network; N landmarks


@dataclass(frozen=True, slots=True)
class Keyframe:
    """
    One keyframe: its image, its adjusted pose, and what is known of its depth.

    All lengths are metres in the scale of the window at the time of the call; an adjustment
    replaces the keyframe by one with the same ``index`` and other numbers.
    """

    index: int  # counts all keyframes of the stream; never used twice
    stamp_ns: int
    grey: np.ndarray  # [H, W] uint8, rectified
    camera: Intrinsics  # of ``grey``, without distortion
    T_window_camera: np.ndarray  # [4, 4] float64; the window's frame is the same for all keyframes
    pixels: np.ndarray  # [N, 2] float64, landmarks seen in this keyframe, px of ``grey``
    inverse_depth: np.ndarray  # [N] float64, 1/m along the optical axis of this keyframe
    inverse_depth_variance: np.ndarray  # [N] float64, 1/m^2
    network_depth: np.ndarray | None = None  # [h, w] float32 m, NaN where there is none
    network_camera: Intrinsics | None = None  # of ``network_depth``
    network_log_variance: np.ndarray | None = None  # [h, w] float32, of the log depth
