# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Finds the files that are installed with the package: config, launch, rviz."""

from __future__ import annotations

from pathlib import Path
import sys

from mem3r_ros.errors import UserError


def share_file(name: str) -> Path:
    """
    Return the path of a file in a checkout, a ROS workspace or a pip installation.

    :param name: as in ``config/fastdds.xml``.
    :raises UserError: the file is not found.
    """
    places = [Path(__file__).resolve().parents[2]]
    try:
        from ament_index_python.packages import get_package_share_directory

        places.append(Path(get_package_share_directory('mem3r_ros')))
    except (ImportError, LookupError, OSError):
        pass  # no ROS, or no sourced workspace with this package
    places.append(Path(sys.prefix, 'share', 'mem3r_ros'))
    for place in places:
        if (place / name).is_file():
            return place / name
    looked = ', '.join(map(str, places))
    raise UserError(f'{name} is not installed; searched in {looked}; reinstall mem3r_ros')


def missing_package(package: str, user: str) -> str:
    """
    Return one sentence if a ROS package is not installed, else ''.

    :param package: name of the package.
    :param user: what needs it.
    """
    try:
        from ament_index_python.packages import get_package_prefix

        get_package_prefix(package)
    except (ImportError, LookupError, OSError):
        name = package.replace('_', '-')
        return (
            f'{user} needs the ROS package {package}, which is not installed: '
            f'sudo apt-get install ros-$ROS_DISTRO-{name}'
        )
    return ''
