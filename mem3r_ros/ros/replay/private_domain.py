# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A private ROS domain, so a replay and a running robot do not receive each other's messages."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
import random
import tempfile

from mem3r_ros.errors import UserError
from mem3r_ros.ros.graph_checks import PROFILE_VARIABLES
from mem3r_ros.ros.package_files import share_file

# Domain 0 is the default; ports of domains above 101 may overlap those of outgoing connections.
_FIRST, _LAST = 20, 59


def claim_domain() -> int:
    """
    Take a domain that no other replay on this machine uses; the end of the process frees it.

    :raises UserError: all are in use.
    """
    domains = list(range(_FIRST, _LAST + 1))
    random.shuffle(domains)
    for domain in domains:
        path = Path(tempfile.gettempdir(), f'mem3r_ros_domain_{domain}.lock')
        try:
            lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        return domain
    raise UserError(f'all ROS domains from {_FIRST} to {_LAST} are in use; choose with --domain')


def enter_domain(domain: int) -> None:
    """
    Set the domain of this process and its children, limited to this machine.

    Call it before rclpy starts. A Fast DDS profile that the user has set is kept.

    :param domain: ROS_DOMAIN_ID.
    """
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    os.environ.pop('ROS_LOCALHOST_ONLY', None)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if not any(os.environ.get(name) for name in PROFILE_VARIABLES):
        for name in PROFILE_VARIABLES:
            os.environ[name] = str(share_file('config/fastdds.xml'))
