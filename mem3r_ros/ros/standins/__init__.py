# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for ROS packages that pip lacks; see README.md. Import them by their ROS names."""
