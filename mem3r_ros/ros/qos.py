# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Quality-of-service profiles by the names that parameters use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.qos import QoSProfile

# The caller resolves AUTO; the other names are the usual ones of ROS drivers.
QOS_NAMES = ('AUTO', 'SYSTEM_DEFAULT', 'DEFAULT', 'SENSOR_DATA', 'KEEP_ALL', 'LATCHED')


def qos_profile(name: str, automatic: str = 'DEFAULT') -> QoSProfile:
    """
    Return the profile of a name.

    :param name: one of ``QOS_NAMES``.
    :param automatic: the name that AUTO stands for.
    :return: SYSTEM_DEFAULT: chosen by the middleware; DEFAULT: reliable, last 10; SENSOR_DATA:
        best effort, last one; KEEP_ALL: reliable, none is overwritten before it is taken;
        LATCHED: reliable, late subscribers get the last one.
    """
    from rclpy.qos import (
        DurabilityPolicy,
        HistoryPolicy,
        QoSProfile,
        ReliabilityPolicy,
        qos_profile_system_default,
    )

    profiles = {
        'SYSTEM_DEFAULT': qos_profile_system_default,
        'DEFAULT': QoSProfile(depth=10),
        # A robot needs the newest image; in a longer queue images only become older.
        'SENSOR_DATA': QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
        'KEEP_ALL': QoSProfile(
            history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE
        ),
        'LATCHED': QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    }
    return profiles[automatic if name == 'AUTO' else name]
