# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Read the tensors of a torch checkpoint without running anything that is in it.

A pickle yields tensors and plain containers; every other object becomes an inert :class:`Opaque`.
Tensors are views of the memory-mapped file, made on demand, so declared sizes allocate nothing.

``torch.load(mmap=True, weights_only=True)`` is no replacement (torch 2.13): it refuses files that
name unknown classes, reads compressed archives as numbers, and returns tensors that reach past the
end of their storage.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
import io
import mmap
from pathlib import Path
import pickle
import pickletools
import struct
from typing import Any
import zipfile

import torch
from torch import Tensor

from mem3r_ros.errors import UserError

MAX_PICKLE_BYTES = 1 << 26  # without the tensors; CUT3R's has 150 kB
_ALIGNMENT = 16  # bytes; views with a smaller alignment are copied
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'DoubleStorage': torch.float64,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
}
# They refer to data outside the file or to registries of Python; torch does not write them.
_REFUSED_OPCODES = {'EXT1', 'EXT2', 'EXT4', 'PERSID', 'NEXT_BUFFER', 'READONLY_BUFFER', 'INST'}


class Opaque:
    """Placeholder of an object that is not rebuilt."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: object) -> None:
        """Keep plain attributes, such as the text of the configuration."""
        if isinstance(state, dict):
            self.__dict__.update({k: v for k, v in state.items() if isinstance(k, str)})

    def _ignore(self, *args: object) -> None:
        """Ignore the items of containers that are not rebuilt."""

    __setitem__ = append = extend = add = update = _ignore


@dataclass(slots=True)
class _Storage:
    """Consecutive numbers in the file."""

    dtype: torch.dtype
    key: str
    count: int  # as declared
    start: int = -1  # byte of the file
    found: int = 0  # numbers in the file


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A view of a storage; nothing is read before :meth:`load`."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def load(self, mapped: mmap.mmap) -> Tensor:
        """
        Return the tensor as a view of the file.

        :raises UserError: it reaches outside its storage.
        """
        storage = self.storage
        reach = self.offset + sum(
            (size - 1) * step for size, step in zip(self.shape, self.stride, strict=True)
        )
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=storage.dtype)
        if self.offset < 0 or min(self.stride, default=0) < 0 or reach >= storage.found:
            raise UserError(
                f'a tensor of shape {self.shape} reaches outside its {storage.found} numbers'
            )
        numbers = torch.frombuffer(
            mapped, dtype=storage.dtype, count=storage.found, offset=storage.start
        )
        view = numbers.as_strided(self.shape, self.stride, self.offset)
        return view if storage.start % _ALIGNMENT == 0 else view.clone()


def _shape(value: object) -> tuple[int, ...]:
    numbers = tuple(value)  # type: ignore[call-overload]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise pickle.UnpicklingError('a shape is not made of whole numbers')
    return numbers


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: object, stride: object, *_: object
) -> StoredTensor:
    if not isinstance(storage, _Storage) or type(offset) is not int:
        raise pickle.UnpicklingError('a tensor has no storage')
    shape, stride = _shape(shape), _shape(stride)
    if len(shape) != len(stride):
        raise pickle.UnpicklingError('shape and stride of a tensor do not match')
    return StoredTensor(storage, offset, shape, stride)


def _first(value: object, *_: object) -> object:
    return value


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; everything else becomes opaque."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}
        # New for each file, so that a pickle cannot change them for others.
        self._known = {
            ('collections', 'OrderedDict'): OrderedDict,
            ('torch._utils', '_rebuild_tensor'): lambda *parts: _rebuild_tensor(*parts),
            ('torch._utils', '_rebuild_tensor_v2'): lambda *parts: _rebuild_tensor(*parts),
            ('torch._utils', '_rebuild_parameter'): lambda *parts: _first(*parts),
            ('torch', 'Size'): lambda sizes=(): _shape(sizes),
        }

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name without importing anything."""
        if (module, name) in self._known:
            return self._known[module, name]
        if module in ('torch', 'torch.storage') and name in _DTYPES:
            return _DTYPES[name]
        return Opaque

    def persistent_load(self, identity: object) -> _Storage:
        """Return the storage that a tensor refers to."""
        match identity:
            case ('storage', torch.dtype() as dtype, str() as key, _, int() as count, *_):
                storage = self.storages.setdefault(key, _Storage(dtype, key, count))
                if storage.dtype == dtype:
                    return storage
        raise pickle.UnpicklingError('an unknown kind of reference')


def _unpickle(data: io.BytesIO) -> tuple[Any, dict[str, _Storage]]:
    """Check the opcodes of the next object of ``data`` and rebuild it."""
    start = data.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in _REFUSED_OPCODES:
            raise pickle.UnpicklingError(f'opcode {opcode.name}')
        # The memo is a table, which a large index would allocate. Picklers count upwards.
        if 'PUT' in opcode.name and int(argument) > count:
            raise pickle.UnpicklingError('a memo index beyond the number of objects')
    data.seek(start)
    unpickler = _Unpickler(data)
    return unpickler.load(), unpickler.storages


class TorchFile:
    """A torch checkpoint on disk, mapped into memory."""

    def __init__(self, path: Path) -> None:
        """
        Open a file that ``torch.save`` wrote, zipped (since torch 1.6) or not.

        :raises UserError: it is damaged, or holds something else.
        """
        with path.open('rb') as file:
            # Private pages: training the weights does not write to the file.
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        is_zip = self._mapped[:4] == b'PK\x03\x04'
        try:
            self.content = self._open_zip(path) if is_zip else self._open_legacy()
        except UserError:
            raise
        except Exception as error:
            # A damaged or hostile pickle can raise anything.
            raise UserError(
                f'{path} is not a readable checkpoint ({type(error).__name__}: {error}); '
                f'expected .safetensors, or a .pth that torch wrote'
            ) from None

    def tensor(self, stored: StoredTensor) -> Tensor:
        """Return a tensor as a view of the file."""
        return stored.load(self._mapped)

    def _open_zip(self, path: Path) -> Any:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
        root = next(
            (name.rpartition('/')[0] for name in entries if name.endswith('/data.pkl')), ''
        )
        pickled = entries.get(f'{root}/data.pkl')
        if pickled is None or f'{root}/constants.pkl' in entries:
            raise UserError(f'{path} is a zip file without a torch state dict; expected a .pth')
        order = entries.get(f'{root}/byteorder')
        if order is not None and bytes(self._mapped[slice(*self._extent(order))]) != b'little':
            raise UserError(f'{path} holds big-endian numbers; save it again on another machine')
        start, stop = self._extent(pickled)
        content, storages = self._bounded_unpickle(start, stop)
        for storage in storages.values():
            entry = entries.get(f'{root}/data/{storage.key}')
            if entry is None:
                raise UserError(f'{path} lacks the numbers {storage.key}; it may be truncated')
            storage.start, stop = self._extent(entry)
            storage.found = min(storage.count, (stop - storage.start) // storage.dtype.itemsize)
        return content

    def _extent(self, entry: zipfile.ZipInfo) -> tuple[int, int]:
        """Return the byte range of a zip entry, which torch does not compress."""
        header = self._mapped[entry.header_offset : entry.header_offset + 30]
        name_length, extra_length = struct.unpack('<HH', header[26:30])
        start = entry.header_offset + 30 + name_length + extra_length
        stop = start + entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED or stop > len(self._mapped):
            raise zipfile.BadZipFile(f'{entry.filename} is compressed or truncated')
        return start, stop

    def _bounded_unpickle(self, start: int, stop: int) -> tuple[Any, dict[str, _Storage]]:
        if stop - start > MAX_PICKLE_BYTES:
            raise pickle.UnpicklingError('more than tensors and their names')
        return _unpickle(io.BytesIO(self._mapped[start:stop]))

    def _open_legacy(self) -> Any:
        """Read magic number, version, system, content and storage keys; the numbers follow."""
        head = io.BytesIO(self._mapped[:MAX_PICKLE_BYTES])
        if _unpickle(head)[0] != _LEGACY_MAGIC:
            raise pickle.UnpicklingError('no checkpoint of torch')
        _unpickle(head), _unpickle(head)
        content, storages = _unpickle(head)
        keys, _ = _unpickle(head)
        position = head.tell()
        for key in keys:
            storage = storages[key]
            (count,) = struct.unpack('<q', self._mapped[position : position + 8])
            storage.start = position + 8
            position = storage.start + count * storage.dtype.itemsize
            if count < 0 or position > len(self._mapped):
                raise EOFError('truncated')
            storage.found = min(count, storage.count)
        return content


def tensors_of(content: object) -> Mapping[str, StoredTensor]:
    """Return the named tensors of a state dict, without its other entries."""
    if not isinstance(content, dict):
        return {}
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, StoredTensor)
    }


def text_of(args: object, name: str) -> str | None:
    """
    Return a text attribute of an object that was not rebuilt.

    The object may be a dict, an argparse namespace or an OmegaConf node (``_content``, ``_val``).
    """
    for _ in range(4):
        values = args if isinstance(args, dict) else getattr(args, '__dict__', {})
        args = values.get(name, values.get('_content', values.get('_val')))
        if isinstance(args, str):
            return args
    return None
