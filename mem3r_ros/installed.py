# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which Python packages are missing, and the command that installs each; imports none of them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
import os
import sys

from mem3r_ros.errors import UserError

# Name of the import -> name for pip.
PIP_NAMES = {
    'torch': 'torch',
    'numpy': 'numpy',
    'scipy': 'scipy',
    'cv2': 'opencv-python-headless',
    'safetensors': 'safetensors',
    'yaml': 'PyYAML',
    'psutil': 'psutil',
    'typing_extensions': 'typing-extensions',
    'rosbags': 'rosbags',
    'evo': 'evo',
    'matplotlib': 'matplotlib',
    'plyfile': 'plyfile',
    'jinja2': 'Jinja2',
    'rich': 'rich',
    'tensorboard': 'tensorboard',
}
# A ROS distribution has its own; pip's would hide them, and the distribution's cv_bridge with
# another OpenCV or numpy does not load.
_APT_NAMES = {'cv2': 'python3-opencv', 'numpy': 'python3-numpy', 'scipy': 'python3-scipy'}
# Without these neither the node nor a command that tracks can start.
TRACKING = (
    'torch',
    'numpy',
    'scipy',
    'cv2',
    'safetensors',
    'yaml',
    'psutil',
    'typing_extensions',
)
# Needed by some commands only: bags, reports and scores.
REPORTING = ('rosbags', 'evo', 'matplotlib', 'plyfile', 'jinja2', 'rich')
ROS = ('rclpy', 'sensor_msgs', 'nav_msgs', 'diagnostic_msgs', 'tf2_msgs', 'lifecycle_msgs')


def missing(names: Iterable[str]) -> list[str]:
    """Return those top-level modules that are not installed, in the given order."""
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def install_command(name: str) -> str:
    """
    Return the command that installs a module.

    :param name: name of the import.
    """
    if name in _APT_NAMES and os.environ.get('ROS_DISTRO'):
        return f'sudo apt-get install {_APT_NAMES[name]}'
    if name in ROS or name.endswith('_msgs'):
        return 'source /opt/ros/DISTRIBUTION/setup.bash (or, without a distribution, make env)'
    return f'python3 -m pip install {PIP_NAMES.get(name, name)}'


def missing_sentence(user: str, name: str) -> str:
    """
    Return the sentence for a module that is missing.

    :param user: who needs it, as in 'mem3r doctor'.
    :param name: name of the import.
    """
    return (
        f'{user} needs the Python package {name!r}, which is not installed for '
        f'{sys.executable}: {install_command(name)}'
    )


def sentence_of(user: str, error: ImportError) -> str | None:
    """
    Return the sentence for a failed import; None if the module is one of this project.

    :param user: who needs it.
    :param error: of the import.
    """
    name = (error.name or '').partition('.')[0]
    if name in ('', 'mem3r_ros'):
        return None
    if isinstance(error, ModuleNotFoundError) and not _is_installed(name):
        return missing_sentence(user, name)
    return f'{user} cannot load {name!r} ({error}): install it again: {install_command(name)}'


def require(user: str, names: Iterable[str]) -> None:
    """
    Check that modules are installed before any of them is imported.

    :param user: who needs them.
    :param names: names of the imports.
    :raises UserError: some are missing; the message has one sentence for each.
    """
    if absent := missing(names):
        raise UserError('; '.join(missing_sentence(user, name) for name in absent))
