# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Saves the fields of all stages as plain named values, and restores them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.files import write_bytes
from mem3r_ros.text_files import parse_json

VERSION = 3
_FORMAT = 'mem3r_ros stream'


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stream at one moment; later frames do not change it."""

    values: dict[str, Any]
    tensors: dict[str, Tensor]


def pack(stages: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """
    Return the fields of dataclasses of plain values and arrays.

    :param stages: one dataclass per stage.
    :return: JSON-ready values and tensors, both named ``stage.field``; tensors are copies.
    """
    values: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for name, stage, item in _packed_fields(stages):
        value = getattr(stage, item.name)
        if isinstance(value, np.ndarray):
            tensors[name] = torch.from_numpy(np.array(value, order='C'))
        elif isinstance(value, tuple):
            values[name] = {'tuple': list(value)}
        else:
            values[name] = value
    return json.loads(json.dumps(values)), tensors


def unpack(
    stages: Mapping[str, Any], values: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """
    Set the fields of the stages to packed values.

    A stage that the snapshot does not know at all, because it was added later, keeps its values;
    so does a field whose metadata say ``is_added``.

    :raises UserError: a field is missing.
    """
    stored = {name.split('.')[0] for name in (*values, *tensors)}
    known = {name: stage for name, stage in stages.items() if name in stored}
    for name, stage, item in _packed_fields(known):
        if name in tensors:
            value = tensors[name].cpu().numpy().copy()
        elif name not in values:
            if item.metadata.get('is_added'):
                continue
            raise UserError(f'the snapshot lacks {name}; it was made by another version')
        elif isinstance(values[name], dict) and set(values[name]) == {'tuple'}:
            value = _tuple(values[name]['tuple'])
        else:
            # A copy, so that one snapshot can be restored more than once.
            value = json.loads(json.dumps(values[name]))
        setattr(stage, item.name, value)


def _tuple(entries: Any) -> Any:
    """Return a list as a tuple; what is none is left for the check of types."""
    return tuple(entries) if isinstance(entries, list) else entries


def _packed_fields(stages: Mapping[str, Any]) -> Iterator[tuple[str, Any, Field]]:
    """Yield the stored name, the stage and the field of everything that is saved."""
    for prefix, stage in stages.items():
        for item in fields(stage):
            if item.metadata.get('is_packed', True):
                yield f'{prefix}.{item.name}', stage, item


def write_snapshot(path: str | Path, snapshot: Snapshot) -> None:
    """
    Write a snapshot as one safetensors file, atomically.

    :raises UserError: the file cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    metadata = {'format': _FORMAT, 'version': str(VERSION), 'values': json.dumps(snapshot.values)}
    tensors = {name: tensor.contiguous() for name, tensor in snapshot.tensors.items()}
    content = save(tensors, metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot write the snapshot {path}: {error.strerror}') from error
    write_bytes(path, content)


def read_snapshot(path: str | Path) -> Snapshot:
    """
    Read a snapshot.

    :raises UserError: the file is missing, is not a snapshot, or is of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), 'pt') as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f'cannot read the snapshot {path}: {error}') from error
    if metadata.get('format') != _FORMAT:
        raise UserError(f'{path} is not a snapshot of a stream')
    if metadata.get('version') != str(VERSION):
        raise UserError(
            f'{path} is a snapshot of version {metadata.get("version")}; this program reads '
            f'version {VERSION}: start a new stream'
        )
    values = parse_json(metadata.get('values', ''), f'the values of {path}')
    if not isinstance(values, dict):
        raise UserError(f'{path} holds no values; it is damaged: start a new stream')
    return Snapshot(values, tensors)
