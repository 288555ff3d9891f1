# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The storage files of a recording, opened with what was written rather than with what was planned.

``metadata.yaml`` is written before or after the messages, so a recorder that was killed leaves
wrong counts or none; an MCAP file lacks its end; SQLite leaves the newest messages in its
write-ahead log. Counts and topics come from the storage files, and what they lack is logged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
import logging
from pathlib import Path, PurePath
import shutil
import sqlite3
from tempfile import TemporaryDirectory
from typing import Any

from mem3r_ros.data.folder import in_natural_order
from mem3r_ros.data.mcap_salvage import SalvagedMcap, is_cut_mcap
from mem3r_ros.errors import UserError
from mem3r_ros.files import visible
from mem3r_ros.text_files import read_yaml

BAG_SUFFIXES = ('.mcap', '.db3', '.bag')
LOGGER = logging.getLogger(__name__)


def open_storages(path: Path, stack: ExitStack) -> tuple[list[Any], Counter[str]]:
    """
    Open what lies at a path.

    :param path: folder or storage file.
    :param stack: closes the files, and removes copies.
    :return: readers of rosbags, in the order of their names, and how many messages of each topic
        the metadata promise.
    :raises UserError: there is no storage file.
    """
    metadata = _metadata(path)
    if str(metadata.get('compression_mode')).lower() in ('file', 'message'):
        files = [path]  # only rosbags' reader of the folder unpacks whole files and messages
    else:
        files = _files(path, metadata)
    readers = []
    for file in files:
        reader = _reader(file, stack)
        reader.open()
        stack.callback(reader.close)
        readers.append(reader)
    return readers, _promised(metadata)


def _metadata(path: Path) -> Mapping[str, Any]:
    """Return what metadata.yaml says; nothing where there is none or it is damaged."""
    file = path / 'metadata.yaml'
    if path.is_file() or not file.exists():
        return {}
    try:
        values = read_yaml(file).get('rosbag2_bagfile_information')
    except UserError as error:
        LOGGER.warning('%s; the storage files are read without it', error)
        return {}
    return values if isinstance(values, Mapping) else {}


def _promised(metadata: Mapping[str, Any]) -> Counter[str]:
    promised: Counter[str] = Counter()
    for entry in metadata.get('topics_with_message_count') or ():
        try:
            promised[entry['topic_metadata']['name']] += int(entry['message_count'])
        except (KeyError, TypeError, ValueError):
            continue
    return promised


def _files(path: Path, metadata: Mapping[str, Any]) -> list[Path]:
    """Return the storage files: those of the metadata as far as they are there, else all."""
    if path.is_file():
        return [path]
    listed = metadata.get('relative_file_paths')
    names = [PurePath(str(name)).name for name in listed] if isinstance(listed, list) else []
    found = [path / name for name in names if (path / name).is_file()]
    if found and len(found) < len(names):
        missing = [name for name in names if not (path / name).is_file()]
        LOGGER.warning('%s: metadata.yaml names files that are not there: %s', path, missing)
    if found:
        return found
    files = [file for file in visible(path) if file.suffix in BAG_SUFFIXES]
    if not files:
        raise UserError(f'no bag in {path}; expected metadata.yaml or *.mcap, *.db3 files')
    return sorted(files, key=in_natural_order)  # as they were split


def _reader(file: Path, stack: ExitStack) -> Any:
    from rosbags import rosbag1, rosbag2

    if file.suffix == '.bag':
        return rosbag1.Reader(file)
    if file.suffix == '.mcap' and is_cut_mcap(file):
        return SalvagedMcap(file)
    if file.suffix == '.db3':
        file = _with_log(file, stack)
    return rosbag2.Reader(file)


def _with_log(file: Path, stack: ExitStack) -> Path:
    """
    Return a database with the messages of its write-ahead log or its rollback journal.

    The original may lie on a medium that is read-only and is not touched: a copy is completed.
    """
    logs = [file.with_name(file.name + suffix) for suffix in ('-wal', '-journal')]
    logs = [log for log in logs if log.exists() and log.stat().st_size]
    if not logs:
        return file
    LOGGER.warning(
        '%s was not closed by its recorder: %s beside it is read too', file, logs[0].name
    )
    folder = Path(stack.enter_context(TemporaryDirectory(prefix='mem3r_bag_')))
    for part in (file, *logs):
        shutil.copyfile(part, folder / part.name)
    copy = folder / file.name
    connection = sqlite3.connect(copy)
    try:
        connection.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()
        connection.execute('PRAGMA journal_mode=DELETE').fetchall()
    finally:
        connection.close()
    return copy
