# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files of any format as named tensors and metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoints.cut3r_config import parse_constructor
from mem3r_ros.model.checkpoints.cut3r_names import without_prefixes
from mem3r_ros.model.checkpoints.torch_pickle import TorchFile, tensors_of, text_of

_SAFETENSORS, _TORCH = 'safetensors', 'torch'
_DTYPES = {'F64': 'float64', 'F32': 'float32', 'F16': 'float16', 'BF16': 'bfloat16'}


class _Entry(NamedTuple):
    """One stored tensor, which is not read yet."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]


@dataclass
class StoredCheckpoint:
    """An open checkpoint: names, shapes, tensors and configuration."""

    path: Path
    format: str
    entries: Mapping[str, _Entry]  # by parameter name, in the file's order
    config: Mapping[str, Any] | None = None  # stored as metadata
    written_config: Mapping[str, Any] = field(default_factory=dict)  # of CUT3R's source text
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Remove prefixes of wrappers from the names; leave out recorded sequences."""
        names = without_prefixes(name for name in self.entries if not name.startswith('seq/'))
        self.entries = {name: self.entries[stored] for name, stored in names.items()}

    @property
    def names(self) -> list[str]:
        """Parameter names, in the file's order."""
        return list(self.entries)

    @property
    def is_cut3r(self) -> bool:
        """Whether the file has CUT3R's pose memory, which Mem3R does not have."""
        return 'pose_retriever.mem' in self.entries or 'pose_memory.slots' in self.entries

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a stored tensor."""
        return self.entries[name].shape

    def dtype(self, name: str) -> str:
        """Return the dtype of a stored tensor, such as 'float32'."""
        return self.entries[name].dtype

    def tensor(self, name: str) -> Tensor:
        """
        Return a stored tensor as a view of the file.

        :raises UserError: it is not floating-point, or the file is damaged.
        """
        tensor = self.entries[name].read()
        if not tensor.is_floating_point():
            raise UserError(f'{self.path}: {name} is {tensor.dtype}; weights are floating-point')
        return tensor


def _json_config(path: Path, metadata: Mapping[str, str]) -> Mapping[str, Any] | None:
    if 'config' not in metadata:
        return None
    try:
        values = json.loads(metadata['config'])
    except (ValueError, RecursionError) as error:
        raise UserError(f'the configuration inside {path} is not JSON: {error}') from None
    if not isinstance(values, dict):
        raise UserError(f'the configuration inside {path} is {values!r}; expected names, values')
    return values


@contextmanager
def open_checkpoint(path: Path) -> Iterator[StoredCheckpoint]:
    """
    Open a checkpoint by its content: safetensors, or written by ``torch.save``.

    :raises UserError: the file is empty, truncated, or of no known format.
    """
    kind = _kind(path)
    if kind == _SAFETENSORS:
        with _open_safetensors(path) as stored:
            yield stored
    else:
        yield _open_torch(path)


def _kind(path: Path) -> str:
    try:
        with path.open('rb') as file:
            head = file.read(16)
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from None
    if not head:
        raise UserError(f'{path} is empty; download or export it again')
    if head[8:9] == b'{':  # after the length of the header
        return _SAFETENSORS
    if head[:4] == b'PK\x03\x04' or head[:1] == b'\x80':
        return _TORCH
    hint = ' (it begins like a web page: a failed download)' if head.lstrip()[:1] == b'<' else ''
    raise UserError(
        f'{path} is neither a .safetensors nor a .pth that torch wrote{hint}; download or export '
        f'it again'
    )


@contextmanager
def _open_safetensors(path: Path) -> Iterator[StoredCheckpoint]:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework='pt')
    except (SafetensorError, OSError, MemoryError) as error:
        raise UserError(
            f'{path} is not a readable safetensors file ({error}); it may be truncated'
        ) from None
    with file:
        entries = {}
        for name in file.keys():  # noqa: SIM118 - the file is no mapping
            part = file.get_slice(name)
            dtype = _DTYPES.get(part.get_dtype(), part.get_dtype())
            entries[name] = _Entry(tuple(part.get_shape()), dtype, partial(file.get_tensor, name))
        metadata = file.metadata() or {}
        config = _json_config(path, metadata)
        yield StoredCheckpoint(path, _SAFETENSORS, entries, config, metadata=metadata)


def _open_torch(path: Path) -> StoredCheckpoint:
    file = TorchFile(path)
    content, args = file.content, None
    if isinstance(content, dict) and isinstance(content.get('model'), dict):
        args, content = content.get('args'), content['model']
    tensors = tensors_of(content)
    if not tensors:
        raise UserError(f'{path} holds no named tensors; expected a state dict')
    entries = {
        name: _Entry(
            tensor.shape,
            str(tensor.storage.dtype).removeprefix('torch.'),
            partial(file.tensor, tensor),
        )
        for name, tensor in tensors.items()
    }
    text = text_of(args, 'model')
    written = parse_constructor(text) if text else {}
    return StoredCheckpoint(path, _TORCH, entries, written_config=written)


def dtype_named(name: str) -> torch.dtype:
    """
    Return the torch dtype for a name.

    :raises UserError: it is not one of fp32, fp16, bf16 or their long forms.
    """
    short = {'fp32': 'float32', 'fp16': 'float16', 'bf16': 'bfloat16'}
    if name not in (*short, *short.values()):
        raise UserError(f'unknown dtype {name!r}; choose one of {", ".join(short)}')
    return getattr(torch, short.get(name, name))
