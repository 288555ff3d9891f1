# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Reads recordings of ROS without ROS: rosbag2 as mcap or sqlite3, and ROS 1 bags, with rosbags.

A bag is a folder with ``metadata.yaml``, a folder of storage files without it, or one such file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
import heapq
import logging
from pathlib import Path
from typing import Any

from mem3r_ros.data.bag_storage import open_storages
from mem3r_ros.errors import BadFrame, UserError

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One serialised message of the bag."""

    topic: str
    stamp_ns: int  # when it was recorded
    data: bytes  # serialised


class Bag:
    """The topics and messages of a recording; every failure is one sentence."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        try:
            with _explained(self.path, 'opened'):
                self._readers, self.promised = open_storages(self.path, self._stack)
        except BaseException:
            self._stack.close()
            raise
        self._is_ros1 = any(reader.path.suffix == '.bag' for reader in self._readers)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._readers = []
        self._stack.close()

    @cached_property
    def types(self) -> dict[str, str]:
        """Return the message type of each topic, as ``package/msg/Name``."""
        return {
            connection.topic: connection.msgtype
            for reader in self._readers
            for connection in reader.connections
        }

    @cached_property
    def counts(self) -> dict[str, int]:
        """Return the number of messages of each topic."""
        counts: dict[str, int] = dict.fromkeys(self.types, 0)
        for reader in self._readers:
            for connection in reader.connections:
                counts[connection.topic] += connection.msgcount
        return counts

    def messages(self, *topics: str, recorded_ns: int | None = None) -> Iterator[BagMessage]:
        """
        Yield the messages of the topics in the order of their recording.

        :param topics: names; none for all.
        :param recorded_ns: only messages recorded at this nanosecond, found with the bag's index.
        :raises UserError: a file is damaged from its first message on.
        """
        wanted = set(topics) or set(self.types)
        parts = [self._part(reader, wanted, recorded_ns) for reader in self._readers]
        # Recorders that ran side by side have left files of the same time.
        yield from heapq.merge(*parts, key=lambda message: message.stamp_ns)

    def _part(
        self, reader: Any, wanted: set[str], recorded_ns: int | None
    ) -> Iterator[BagMessage]:
        """Yield the messages of one file as far as it is whole."""
        connections = [c for c in reader.connections if c.topic in wanted]
        if not connections:
            return
        stop_ns = None if recorded_ns is None else recorded_ns + 1
        count = 0
        try:
            with _explained(self.path, 'read to its end'):
                for connection, stamp_ns, data in reader.messages(
                    connections, recorded_ns, stop_ns
                ):
                    count += 1
                    yield BagMessage(connection.topic, stamp_ns, data)
        except UserError as error:
            if not count:
                raise
            LOGGER.warning('%s; what lies behind %d messages is lost', error, count)

    def decode(self, message: BagMessage) -> Any:
        """
        Deserialise a message into an object with the fields of its type.

        :raises BadFrame: the bytes are not such a message.
        """
        typename = self.types[message.topic]
        try:
            if self._is_ros1:
                return self._typestore.deserialize_ros1(message.data, typename)
            return self._typestore.deserialize_cdr(message.data, typename)
        # rosbags generates its decoders: truncated bytes raise errors of numpy or struct.
        except Exception as error:
            raise BadFrame(f'damaged {typename} on {message.topic}: {error}') from error

    @cached_property
    def _typestore(self) -> Any:
        from rosbags.typesys import Stores, get_typestore

        # The messages read here have had the same wire format in every ROS 2 distribution.
        return get_typestore(Stores.ROS1_NOETIC if self._is_ros1 else Stores.ROS2_JAZZY)


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """Convert the errors that a damaged file causes in rosbags to a UserError."""
    try:
        yield
    except UserError:
        raise
    # A truncated or foreign file raises errors of rosbags, struct, sqlite, zstd or an assertion.
    except ImportError:  # the machine lacks a package; the bag is not at fault
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise UserError(
            f'{path} cannot be {what} as a bag ({reason[0] if reason else type(error).__name__}); '
            f'is it a complete recording?'
        ) from error
