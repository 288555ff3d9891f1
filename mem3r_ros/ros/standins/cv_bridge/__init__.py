# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Image messages as OpenCV arrays and back, in place of ROS's cv_bridge where that is missing."""

from cv_bridge.core import CvBridge, CvBridgeError, getCvType

__all__ = ['CvBridge', 'CvBridgeError', 'getCvType']
