# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Motion by poses from outside, such as those of wheels, an IMU or a motion capture system."""

from __future__ import annotations

import numpy as np

from mem3r_ros.geometry import invert


class OutsideMotion:
    """Keeps the outside pose of the last measured frame."""

    def __init__(self) -> None:
        """Start without a pose."""
        self._T_outside_last: np.ndarray | None = None

    def increment(self, T_outside_camera: np.ndarray | None) -> np.ndarray | None:
        """
        Return the motion since the last measured frame, m; None unless both have a pose.

        :param T_outside_camera: pose of the camera now, [4, 4]; None: unknown.
        """
        last, self._T_outside_last = self._T_outside_last, T_outside_camera
        if last is None or T_outside_camera is None:
            return None
        return invert(last) @ T_outside_camera
