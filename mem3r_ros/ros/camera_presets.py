# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Presets of common camera drivers for the launch files: topics, frame, and how to start the driver.

The presets are ``config/cameras/*.yaml``; this module needs neither launch nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mem3r_ros.errors import UserError
from mem3r_ros.names import nearest_name
from mem3r_ros.ros.package_files import share_file
from mem3r_ros.text_files import read_yaml

_FOLDER = 'config/cameras'
_EXAMPLE = f'{_FOLDER}/realsense.yaml'


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The node of a camera driver."""

    package: str
    executable: str
    namespace: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraPreset:
    """What a camera publishes."""

    image: str = '/camera/image_raw'
    camera_info: str = '/camera/camera_info'
    optical_frame: str = ''  # frame_id of its images; '': unknown
    image_transport: str = ''  # '': as in params_file
    mount: str = ''  # '': as in params_file
    use_sim_time: bool = False
    driver: Driver | None = None  # None: the user starts the driver


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in share_file(_EXAMPLE).parent.glob('*.yaml'))


def read_preset(name: str) -> CameraPreset:
    """
    Return a preset.

    :param name: one of ``preset_names``, or a YAML file of the same form; '': the defaults.
    :raises UserError: there is no such preset, or a key of the file is unknown.
    """
    if not name:
        return CameraPreset()
    if not name.endswith('.yaml') and name not in preset_names():
        known = preset_names()
        raise UserError(
            f'no camera preset {name!r}{nearest_name(name, known)}; there are {", ".join(known)}, '
            'or give a YAML file'
        )
    path = Path(name) if name.endswith('.yaml') else share_file(f'{_FOLDER}/{name}.yaml')
    values = dict(read_yaml(path))
    driver = values.pop('driver', None)
    made = _made(CameraPreset, values, path)
    if driver is None:
        return made
    return _made(CameraPreset, values | {'driver': _made(Driver, driver, path)}, path)


def one_for_each(argument: str, text: str, names: list[str]) -> list[str]:
    """
    Return one value of a launch argument for each camera.

    :param argument: name of the launch argument.
    :param text: values separated by blanks: none, one for all cameras, or one for each.
    :param names: of the cameras.
    :raises UserError: the number of values fits neither.
    """
    values = text.split()
    if len(values) <= 1:
        return (values or ['']) * len(names)
    if len(values) != len(names):
        raise UserError(
            f'{argument} has {len(values)} values for {len(names)} cameras ({" ".join(names)}): '
            'give one for all cameras, or one for each'
        )
    return values


def _made(kind: type, values: Mapping[str, Any], path: Path) -> Any:
    known = [item.name for item in fields(kind)]
    for key in values:
        if key not in known:
            raise UserError(
                f'{path} has the key {key!r}{nearest_name(key, known)}; '
                f'the keys are {", ".join(known)}'
            )
    try:
        return kind(**values)
    except TypeError as error:
        raise UserError(f'{path}: {error}') from error
