# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files of any format as named tensors and metadata."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
import json
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoints.cut3r_config import parse_constructor
from mem3r_ros.model.checkpoints.cut3r_names import without_prefixes
from mem3r_ros.model.checkpoints.torch_pickle import StoredTensor, TorchFile, tensors_of, text_of

_SAFETENSORS, _TORCH = 'safetensors', 'torch'


class StoredCheckpoint(ABC):
    """An open checkpoint: names, shapes, tensors and configuration."""

    format: str

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        """Index the stored names without prefixes of wrappers."""
        self.path = path
        # Recorded sequences may lie beside the weights.
        self._stored_name = without_prefixes([n for n in names if not n.startswith('seq/')])
        self.config: Mapping[str, Any] | None = None
        self.written_config: Mapping[str, Any] = {}
        self.metadata: Mapping[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Parameter names, in the file's order."""
        return list(self._stored_name)

    @property
    def is_cut3r(self) -> bool:
        """Whether the file has CUT3R's pose memory, which Mem3R does not have."""
        return any(n in self._stored_name for n in ('pose_retriever.mem', 'pose_memory.slots'))

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a stored tensor."""

    @abstractmethod
    def dtype(self, name: str) -> str:
        """Return the dtype of a stored tensor, such as 'float32'."""

    def tensor(self, name: str) -> Tensor:
        """
        Return a stored tensor as a view of the file.

        :raises UserError: it is not floating-point, or the file is damaged.
        """
        tensor = self._read(self._stored_name[name])
        if not tensor.is_floating_point():
            raise UserError(f'{self.path}: {name} is {tensor.dtype}; weights are floating-point')
        return tensor

    @abstractmethod
    def _read(self, stored_name: str) -> Tensor: ...


class _Safetensors(StoredCheckpoint):
    format = _SAFETENSORS
    _DTYPES: ClassVar = {'F64': 'float64', 'F32': 'float32', 'F16': 'float16', 'BF16': 'bfloat16'}

    def __init__(self, path: Path, file: Any) -> None:
        super().__init__(path, file.keys())
        self._file = file
        self.metadata = file.metadata() or {}
        self.config = _json_config(path, self.metadata)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file.get_slice(self._stored_name[name]).get_shape())

    def dtype(self, name: str) -> str:
        stored = self._file.get_slice(self._stored_name[name]).get_dtype()
        return self._DTYPES.get(stored, stored)

    def _read(self, stored_name: str) -> Tensor:
        return self._file.get_tensor(stored_name)


class _Torch(StoredCheckpoint):
    format = _TORCH

    def __init__(
        self, path: Path, file: TorchFile, tensors: Mapping[str, StoredTensor], args: object
    ) -> None:
        super().__init__(path, tensors)
        self._file = file
        self._tensors = tensors
        text = text_of(args, 'model')
        self.written_config = parse_constructor(text) if text else {}

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[self._stored_name[name]].shape

    def dtype(self, name: str) -> str:
        dtype = self._tensors[self._stored_name[name]].storage.dtype
        return str(dtype).removeprefix('torch.')

    def _read(self, stored_name: str) -> Tensor:
        return self._file.tensor(self._tensors[stored_name])


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
        yield _Safetensors(path, file)


def _open_torch(path: Path) -> StoredCheckpoint:
    file = TorchFile(path)
    content, args = file.content, None
    if isinstance(content, dict) and isinstance(content.get('model'), dict):
        args, content = content.get('args'), content['model']
    tensors = tensors_of(content)
    if not tensors:
        raise UserError(f'{path} holds no named tensors; expected a state dict')
    return _Torch(path, file, tensors, args)


def dtype_named(name: str) -> torch.dtype:
    """
    Return the torch dtype for a name.

    :raises UserError: it is not one of fp32, fp16, bf16 or their long forms.
    """
    short = {'fp32': 'float32', 'fp16': 'float16', 'bf16': 'bfloat16'}
    if name not in (*short, *short.values()):
        raise UserError(f'unknown dtype {name!r}; choose one of {", ".join(short)}')
    return getattr(torch, short.get(name, name))
