# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Frozen dataclasses as configuration: each default is defined once, with its help and limits.

The same dotted names serve YAML files, the command line and ROS parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
from dataclasses import MISSING, Field, field, fields, is_dataclass
import math
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import dataclass_transform

from mem3r_ros.errors import UserError
from mem3r_ros.files import write_text
from mem3r_ros.names import nearest_name
from mem3r_ros.text_files import read_yaml

ConfigType = TypeVar('ConfigType')


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple | None = None,
    unit: str = '',
    dynamic: bool = False,
) -> Any:
    """
    Declare one field of a configuration.

    :param default: value unless the user sets another one.
    :param help: description for parameter tables.
    :param low: smallest allowed value (each element of a tuple).
    :param high: largest allowed value.
    :param choices: the only allowed values.
    :param unit: SI unit or 'px', 'frames' and the like.
    :param dynamic: whether it can change while a stream runs.
    """
    metadata = {
        'help': help,
        'low': low,
        'high': high,
        'choices': choices,
        'unit': unit,
        'dynamic': dynamic,
    }
    return field(default=default, metadata=metadata)


def section(config: type) -> Any:
    """Nest another configuration under the name of the field."""
    return field(default_factory=config, metadata={'help': (config.__doc__ or '').strip()})


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(config_type: type[ConfigType]) -> type[ConfigType]:
    """
    Define a class of settings: a frozen dataclass that validates its values.

    The limits of each ``setting`` are checked first. Then the method ``check``, if the class has
    one, may refuse inconsistent values.

    :raises UserError: on construction, if a value is refused.
    """
    config_type.__post_init__ = _check_all
    return dataclasses.dataclass(frozen=True, kw_only=True, slots=True)(config_type)


def _check_all(config: Any) -> None:
    _check_limits(config)
    check = getattr(config, 'check', None)
    if check is not None:
        check()


def _check_limits(config: Any) -> None:
    for item in fields(config):
        if is_dataclass(getattr(config, item.name)):
            continue
        if isinstance(item.default_factory, type) and is_dataclass(item.default_factory):
            inner = fields(item.default_factory)[0].name
            raise UserError(
                f'{type(config).__name__}.{item.name} is {getattr(config, item.name)!r}; it is a '
                f'group of settings: give its names values, such as {item.name}.{inner}'
            )
        value = _normalise(item, getattr(config, item.name))
        object.__setattr__(config, item.name, value)
        _check(type(config).__name__, item, value)


def _normalise(item: Field, value: Any) -> Any:
    """Convert lists to tuples, and integers to floats if the default has floats."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_float, value)) if _holds_floats(item.default) else tuple(value)
    return _float(value) if isinstance(item.default, float) else value


def _holds_floats(default: Any) -> bool:
    return isinstance(default, tuple) and {type(entry) for entry in default} == {float}


def _float(value: Any) -> Any:
    """Convert an integer to a float; other types are checked later."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # refused because it is not finite


def _check(owner: str, item: Field, value: Any) -> None:
    limits = item.metadata
    default = item.default
    if default is not MISSING and default is not None and not isinstance(value, type(default)):
        raise UserError(
            f'{owner}.{item.name} is {value!r}; it must be of type {type(default).__name__}'
        )
    if _holds_floats(default) and not all(isinstance(entry, float) for entry in value):
        raise UserError(f'{owner}.{item.name} is {value!r}; it must hold numbers')
    choices = limits.get('choices')
    if choices is not None and value not in choices:
        raise UserError(
            f'{owner}.{item.name} is {value!r}; choose one of {", ".join(map(str, choices))}'
            f'{nearest_name(str(value), map(str, choices))}'
        )
    for entry in value if isinstance(value, tuple) else (value,):
        if isinstance(entry, bool) or not isinstance(entry, (int, float)):
            continue
        if not math.isfinite(entry):
            raise UserError(f'{owner}.{item.name} is {value}; it must be finite')
        low, high = limits.get('low'), limits.get('high')
        if low is not None and not entry >= low:
            raise UserError(f'{owner}.{item.name} is {value}; it must be at least {low}')
        if high is not None and not entry <= high:
            raise UserError(f'{owner}.{item.name} is {value}; it must be at most {high}')


def to_dict(config: Any) -> dict[str, Any]:
    """Return the configuration as nested plain containers (tuples become lists)."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, (tuple, list)):
            return [plain(entry) for entry in value]
        return value

    return plain(dataclasses.asdict(config))


def from_dict(config_type: type[ConfigType], values: Mapping[str, Any]) -> ConfigType:
    """
    Build a configuration from nested plain containers; missing values keep their defaults.

    :raises UserError: a name is unknown or a value is refused.
    """
    known = {item.name: item for item in fields(config_type)}
    unknown = sorted(map(str, set(values) - set(known)))
    if unknown:
        raise UserError(
            f'{config_type.__name__} has no setting {", ".join(map(repr, unknown))}; '
            f'it has {", ".join(sorted(known))}'
            f'{"".join(nearest_name(name, known) for name in unknown)}'
        )
    chosen: dict[str, Any] = {}
    for name, value in values.items():
        factory = known[name].default_factory
        if isinstance(value, Mapping) and isinstance(factory, type) and is_dataclass(factory):
            value = from_dict(factory, value)
        chosen[name] = value
    return config_type(**chosen)


def flatten(config: Any, prefix: str = '') -> Iterator[tuple[str, Any, Field]]:
    """Yield ``(dotted name, value, field)`` of every setting, nested ones included."""
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from flatten(value, f'{prefix}{item.name}.')
        else:
            yield prefix + item.name, value, item


def replace_path(config: ConfigType, path: str, value: Any) -> ConfigType:
    """
    Return a copy with the setting of the dotted name ``path`` replaced.

    :raises UserError: the name is unknown or the value is refused.
    """
    head, _, rest = path.partition('.')
    if not is_dataclass(config):
        raise UserError(f'{path!r} is inside a list or a plain value; change that as a whole')
    if head not in {item.name for item in fields(config)}:
        names = [name for name, _, _ in flatten(config)]
        raise UserError(
            f'{type(config).__name__} has no setting {path!r}{nearest_name(path, names)}'
        )
    if rest:
        value = replace_path(getattr(config, head), rest, value)
    return dataclasses.replace(config, **{head: value})


def load_yaml(config_type: type[ConfigType], path: str | Path) -> ConfigType:
    """
    Read a configuration from a YAML file.

    :raises UserError: the file is missing, is not YAML, or holds a refused value.
    """
    return from_dict(config_type, read_yaml(path))


def dump_yaml(config: Any, path: str | Path) -> None:
    """Write the configuration as YAML, in the order of its fields."""
    import yaml

    text = yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None)
    write_text(path, text)
