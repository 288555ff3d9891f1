# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Names in parameters to quality-of-service profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.qos import QoSProfile

# AUTO is resolved by the one who asks; the other names are the usual ones of ROS drivers.
QOS_NAMES = ('AUTO', 'SYSTEM_DEFAULT', 'DEFAULT', 'SENSOR_DATA', 'KEEP_ALL', 'LATCHED')


def qos_profile(name: str, automatic: str = 'DEFAULT') -> QoSProfile:
    """
    Return the profile of a name.

    :param name: one of ``QOS_NAMES``.
    :param automatic: the name that AUTO stands for.
    :return: SYSTEM_DEFAULT: as the middleware likes; DEFAULT: reliable, last 10; SENSOR_DATA:
        best effort, last one; KEEP_ALL: reliable, nothing is overwritten before it was taken;
        LATCHED: reliable, the last one also for those who come later.
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
        # A robot wants the newest picture; a longer queue would only age in it.
        'SENSOR_DATA': QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
        'KEEP_ALL': QoSProfile(
            history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE
        ),
        'LATCHED': QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    }
    return profiles[automatic if name == 'AUTO' else name]
