# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Reads an MCAP file whose end is missing, up to the cut.

The recorder was killed or the disk was full: the index at the end is not there, and the last
chunk may be half. Records are read in their order (MCAP specification, version 0), chunks are
unpacked as far as their bytes go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
import logging
from pathlib import Path
import struct
from typing import IO, Any

LOGGER = logging.getLogger(__name__)
MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_MAX_RECORD = 2**31


@dataclass(slots=True)
class SalvagedConnection:
    """One topic, with the names that rosbags gives them."""

    id: int
    topic: str
    msgtype: str
    msgcount: int = 0


@dataclass(slots=True)
class SalvagedMcap:
    """A cut MCAP file, with the methods of rosbags' readers."""

    path: Path
    connections: list[SalvagedConnection] = field(default_factory=list)

    def open(self) -> None:
        """Read through the file once: which topics, how many messages."""
        found: dict[int, SalvagedConnection] = {}
        for channel, _, _ in self._messages(found):
            if channel in found:
                found[channel].msgcount += 1
        self.connections = list(found.values())
        count = sum(connection.msgcount for connection in self.connections)
        LOGGER.warning(
            '%s has no end: the recording was cut off; %d messages before the cut are read',
            self.path,
            count,
        )

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def messages(
        self, connections: Collection[Any], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Any, int, bytes]]:
        """Yield connection, time of recording in ns and data, in the order of the file."""
        wanted = {connection.id: connection for connection in connections}
        for channel, stamp_ns, data in self._messages({}):
            is_in_time = (start is None or stamp_ns >= start) and (stop is None or stamp_ns < stop)
            if channel in wanted and is_in_time:
                yield wanted[channel], stamp_ns, data

    def _messages(self, found: dict[int, SalvagedConnection]) -> Iterator[tuple[int, int, bytes]]:
        """Yield channel, time and data of each whole message; note the channels."""
        schemas: dict[int, str] = {}
        with open(self.path, 'rb') as file:
            file.seek(len(MAGIC))
            for kind, content in _records(file):
                inside = _chunk(content) if kind == _CHUNK else iter([(kind, content)])
                messages = []
                for inner_kind, inner in inside:
                    if inner_kind == _SCHEMA:
                        (key,) = struct.unpack_from('<H', inner)
                        schemas[key] = _string(inner, 2)[0]
                    elif inner_kind == _CHANNEL:
                        key, schema = struct.unpack_from('<HH', inner)
                        topic = _string(inner, 4)[0]
                        found.setdefault(
                            key, SalvagedConnection(key, topic, schemas.get(schema, ''))
                        )
                    elif inner_kind == _MESSAGE and len(inner) >= 22:
                        key, _, stamp_ns = struct.unpack_from('<HIQ', inner)
                        messages.append((key, stamp_ns, inner[22:]))
                # As rosbags: sorted within a chunk, chunks as they were written.
                yield from sorted(messages, key=lambda message: message[1])


def is_cut_mcap(path: Path) -> bool:
    """
    Return whether a file begins as MCAP but does not end so.

    :raises OSError: it cannot be read.
    """
    with open(path, 'rb') as file:
        if file.read(len(MAGIC)) != MAGIC:
            return False
        size = file.seek(0, 2)
        file.seek(max(len(MAGIC), size - len(MAGIC)))
        return file.read() != MAGIC


def _records(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of the records; the last one may lack its end if it is a chunk."""
    while len(head := file.read(9)) == 9:
        kind, length = struct.unpack('<BQ', head)
        if kind == _DATA_END or length > _MAX_RECORD:
            return
        content = file.read(length)
        if len(content) < length and kind != _CHUNK:
            return
        yield kind, content


def _chunk(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the whole records of a chunk that may be cut."""
    import io

    try:
        compression, at = _string(content, 28)
    except (struct.error, UnicodeDecodeError):
        return
    yield from _records(io.BytesIO(_unpacked(content[at + 8 :], compression)))


def _unpacked(data: bytes, compression: str) -> bytes:
    """Unpack as much as there is."""
    if not compression:
        return data
    unpacked = bytearray()
    try:
        if compression == 'zstd':
            unpacker: Any = _zstd().ZstdDecompressor()
        else:
            from lz4.frame import LZ4FrameDecompressor

            unpacker = LZ4FrameDecompressor()
        # In small pieces: what a damaged piece holds is lost, what came before it is kept.
        for start in range(0, len(data), 4096):
            if unpacker.eof:
                break
            unpacked += unpacker.decompress(data[start : start + 4096])
    except Exception as error:  # both libraries raise errors of their own
        LOGGER.debug('chunk of %d bytes is damaged: %s', len(data), error)
    return bytes(unpacked)


def _zstd() -> Any:
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    return zstd


def _string(data: bytes, at: int) -> tuple[str, int]:
    """Return a string with its length before it, and where it ends."""
    (length,) = struct.unpack_from('<I', data, at)
    end = at + 4 + length
    return data[at + 4 : end].decode('utf-8'), end
