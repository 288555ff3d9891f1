# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The part of sensor_msgs_py that mem3r_ros uses."""
