# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Point clouds as arrays, in place of ROS's sensor_msgs_py where that is not installed."""
