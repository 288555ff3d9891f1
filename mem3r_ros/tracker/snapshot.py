# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the stages remember, as plain named values: a stream can be put away and resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.files import write_bytes

VERSION = 3
_FORMAT = 'mem3r_ros stream'


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole stream at one moment; later frames do not change it."""

    values: dict[str, Any]
    tensors: dict[str, Tensor]


def pack(memories: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """
    Take dataclasses of plain values and arrays apart.

    :param memories: one dataclass per stage.
    :return: JSON-ready values and tensors, both named ``stage.field``; tensors are copies.
    """
    values: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for stage, memory in memories.items():
        for item in fields(memory):
            name, value = f'{stage}.{item.name}', getattr(memory, item.name)
            if isinstance(value, np.ndarray):
                tensors[name] = torch.from_numpy(np.array(value, order='C'))
            elif isinstance(value, tuple):
                values[name] = {'tuple': list(value)}
            else:
                values[name] = value
    return json.loads(json.dumps(values)), tensors


def unpack(
    memories: Mapping[str, Any], values: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """
    Put dataclasses together again.

    :param memories: one dataclass per stage, for its type.
    :raises UserError: a field is missing.
    """
    restored = {}
    for stage, memory in memories.items():
        content = {}
        for item in fields(memory):
            name = f'{stage}.{item.name}'
            if name in tensors:
                content[item.name] = tensors[name].cpu().numpy().copy()
            elif name not in values:
                raise UserError(f'the snapshot lacks {name}; it was made by another version')
            elif isinstance(values[name], dict) and set(values[name]) == {'tuple'}:
                content[item.name] = tuple(values[name]['tuple'])
            else:
                # A copy, so that one snapshot can be restored more than once.
                content[item.name] = json.loads(json.dumps(values[name]))
        restored[stage] = type(memory)(**content)
    return restored


def write_snapshot(path: str | Path, snapshot: Snapshot) -> None:
    """
    Write a snapshot as one safetensors file; readers never see half of one.

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

    :raises UserError: the file is missing, is no snapshot, or is of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), 'pt') as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f'cannot read the snapshot {path}: {error}') from error
    if metadata.get('format') != _FORMAT:
        raise UserError(f'{path} is no snapshot of a stream')
    if metadata.get('version') != str(VERSION):
        raise UserError(
            f'{path} is a snapshot of version {metadata.get("version")}; this program reads '
            f'version {VERSION}: start the stream afresh'
        )
    return Snapshot(json.loads(metadata['values']), tensors)
