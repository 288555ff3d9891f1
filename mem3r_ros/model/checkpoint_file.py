# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Checkpoint files as named tensors and plain facts.

Pickles are opened with an unpickler that knows how to rebuild tensors and plain containers;
every other object in them becomes an inert :class:`Opaque`, and nothing of theirs runs.
"""

from __future__ import annotations

import collections
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoint_config import parse_constructor
from mem3r_ros.model.checkpoint_names import without_prefix


class Opaque:
    """Stands for an object that a pickle names and that is not rebuilt."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Swallow whatever the pickle passes."""

    def __setstate__(self, state: object) -> None:
        """Keep plain attributes, such as the text of the configuration."""
        if isinstance(state, dict):
            self.__dict__.update({k: v for k, v in state.items() if isinstance(k, str)})


_ALLOWED = {
    ('collections', 'OrderedDict'): collections.OrderedDict,
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
    ('torch', 'Size'): torch.Size,
}
_STORAGES = (
    'FloatStorage',
    'HalfStorage',
    'BFloat16Storage',
    'DoubleStorage',
    'LongStorage',
    'IntStorage',
    'ShortStorage',
    'CharStorage',
    'ByteStorage',
    'BoolStorage',
)


class _TensorUnpickler(pickle.Unpickler):
    """Rebuild tensors; make everything else opaque."""

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name in the pickle without importing anything it says."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == 'torch' and name in _STORAGES:
            return getattr(torch, name)
        return type(name.rpartition('.')[2] or 'Opaque', (Opaque,), {})


def _load(file: Any, **options: Any) -> Any:
    return _TensorUnpickler(file, **options).load()


# What torch.load asks of a pickle module.
_TENSOR_PICKLE = SimpleNamespace(
    __name__='mem3r_ros.tensor_pickle', Unpickler=_TensorUnpickler, load=_load
)


class StoredCheckpoint:
    """One open checkpoint: names, shapes, tensors, and what it says about its configuration."""

    def __init__(self, path: Path, names: Iterator[str] | list[str]) -> None:
        """Index the stored names without the prefixes that wrappers add."""
        self.path = path
        stored = [name for name in names if not name.startswith('seq/')]
        everything = frozenset(stored)
        self._stored_name = {without_prefix(name, everything): name for name in stored}
        self.config: Mapping[str, Any] | None = None
        self.written_config: Mapping[str, Any] = {}
        self.metadata: Mapping[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Parameter names, in the file's order."""
        return list(self._stored_name)

    @property
    def is_cut3r(self) -> bool:
        """Whether the file has CUT3R's pose memory, which Mem3R drops."""
        return 'pose_retriever.mem' in self._stored_name

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a stored tensor."""
        raise NotImplementedError

    def tensor(self, name: str) -> Tensor:
        """Return a stored tensor, memory-mapped where the format allows."""
        raise NotImplementedError


class _Safetensors(StoredCheckpoint):
    def __init__(self, path: Path, file: Any) -> None:
        super().__init__(path, file.keys())
        self._file = file
        self.metadata = file.metadata() or {}
        self.config = _json_config(path, self.metadata)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file.get_slice(self._stored_name[name]).get_shape())

    def tensor(self, name: str) -> Tensor:
        return _as_float(name, self._file.get_tensor(self._stored_name[name]))


class _Pickled(StoredCheckpoint):
    def __init__(self, path: Path, tensors: Mapping[str, Tensor], args: object) -> None:
        super().__init__(path, list(tensors))
        self._tensors = tensors
        text = getattr(args, 'model', None)
        self.written_config = parse_constructor(text) if isinstance(text, str) else {}

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[self._stored_name[name]].shape)

    def tensor(self, name: str) -> Tensor:
        return _as_float(name, self._tensors[self._stored_name[name]])


def _as_float(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise UserError(f'{name} holds {tensor.dtype} numbers; weights are floating-point')
    return tensor.float()


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
    Open a checkpoint by what is in it: safetensors, or a torch pickle.

    :raises UserError: the file is empty, truncated, or of no known format.
    """
    if path.stat().st_size == 0:
        raise UserError(f'{path} is empty; download or export it again')
    if path.suffix == '.safetensors':
        with _open_safetensors(path) as stored:
            yield stored
    else:
        yield _open_pickle(path)


@contextmanager
def _open_safetensors(path: Path) -> Iterator[StoredCheckpoint]:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework='pt')
    except (SafetensorError, OSError) as error:
        raise UserError(
            f'{path} is not a readable safetensors file ({error}); it may be truncated'
        ) from None
    with file:
        yield _Safetensors(path, file)


def _open_pickle(path: Path) -> StoredCheckpoint:
    try:
        content = torch.load(
            path,
            map_location='cpu',
            pickle_module=_TENSOR_PICKLE,
            weights_only=False,
            mmap=torch.serialization._is_zipfile(path.open('rb')) or None,
        )
    except Exception as error:  # noqa: BLE001 - whatever a damaged pickle raises, the file is it
        raise UserError(
            f'{path} is not a readable checkpoint ({type(error).__name__}); expected '
            f'.safetensors, or a .pth that torch wrote'
        ) from None
    args = None
    if isinstance(content, dict) and isinstance(content.get('model'), dict):
        args, content = content.get('args'), content['model']
    if not isinstance(content, dict):
        raise UserError(f'{path} holds no named tensors; expected a state dict')
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise UserError(f'{path} holds no tensors; expected a state dict')
    return _Pickled(path, tensors, args)
