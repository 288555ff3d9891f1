# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Finds a directory for the log files of ROS where the home directory is missing or read-only."""

from __future__ import annotations

import os
from pathlib import Path
import tempfile

from mem3r_ros.errors import UserError

_REMEDY = 'set ROS_LOG_DIR, ROS_HOME or HOME to a writable directory'


def prepare_log_directory() -> str:
    """
    Set ROS_LOG_DIR to a temporary directory if rclpy could not create its log files.

    rclpy fails at its start in that case. Call this before ``rclpy.init``.

    :return: a warning, or '' if the default directory works.
    :raises UserError: the temporary directory cannot be written either.
    """
    wanted = _default_directory()
    if wanted is not None and _is_writable(wanted):
        return ''
    place = 'HOME is not set' if wanted is None else f'{wanted} is not writable'
    directory = Path(tempfile.gettempdir(), f'ros_log_{os.getuid()}')
    if not _is_writable(directory):
        raise UserError(f'no directory for log files: {place}; {_REMEDY}')
    os.environ['ROS_LOG_DIR'] = str(directory)
    return f'log files are written to {directory} because {place}; {_REMEDY}'


def _default_directory() -> Path | None:
    """Return the directory that rclpy would use; None if it needs HOME and HOME is not set."""
    home = os.environ.get('HOME')
    if directory := os.environ.get('ROS_LOG_DIR'):
        path = Path(directory)
    elif directory := os.environ.get('ROS_HOME'):
        path = Path(directory, 'log')
    else:
        path = Path('~', '.ros', 'log')
    if path.parts[:1] != ('~',):
        return path
    return Path(home, *path.parts[1:]) if home else None


def _is_writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False
