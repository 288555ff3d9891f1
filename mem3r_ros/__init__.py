# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Streaming Mem3R odometry and depth for ROS 2; importing it needs neither ROS nor a GPU."""

__version__ = '0.1.0'
