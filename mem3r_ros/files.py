# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Writes files that are whole at every moment: the old content or the new one, never a part.

New content is written beside the file, forced to the disk and renamed (the rename of POSIX is
atomic). What an interrupted write leaves is locked by nobody, so that the next one in the
folder removes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import fcntl
import os
from pathlib import Path
import secrets
import stat
from typing import IO, Any

from mem3r_ros.errors import UserError

_PART = '.mem3r-part'


@contextmanager
def replacing(
    path: str | Path, mode: str = 'wb', *, encoding: str | None = None, sync: bool = True
) -> Iterator[IO[Any]]:
    """
    Open a file for writing; it takes the place of the old one when the block ends without error.

    A symbolic link at the path is replaced, not followed. Devices and pipes are written directly.

    :param path: file to write; its folder must exist.
    :param mode: 'wb' or 'w'.
    :param encoding: of text.
    :param sync: wait until the disk holds it; False for one of many files of a stream, which is
        whole after the end of the process all the same.
    :raises UserError: the file cannot be written; the old one is as it was.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with open(path, mode, encoding=encoding) as direct:
            yield direct
        return
    part = None
    try:
        if sync:
            remove_leftovers(path.parent)
        part, descriptor = _create(path)
        # Opened by the descriptor, so that the lock is kept, and named, for libraries that write.
        with open(part, mode, encoding=encoding, opener=lambda *_: descriptor) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            # While the lock is held: another writer must not take the part for a leftover.
            os.replace(part, path)
            part = None
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        raise UserError(
            f'cannot write {path}: {error.strerror or error}; what was there is unchanged'
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes, *, sync: bool = True) -> None:
    """
    Replace a file by these bytes.

    :raises UserError: see :func:`replacing`.
    """
    with replacing(path, sync=sync) as file:
        file.write(content)


def write_text(path: str | Path, content: str) -> None:
    """
    Replace a file by this text, in UTF-8.

    :raises UserError: see :func:`replacing`.
    """
    write_bytes(path, content.encode('utf-8'))


def write_image(path: str | Path, image: Any, options: tuple[int, ...] = ()) -> None:
    """
    Encode a picture by the suffix of its name and replace the file.

    :param image: [H, W] or [H, W, 3] in OpenCV's order of channels, uint8 or uint16.
    :param options: parameters of OpenCV's writer.
    :raises UserError: the picture cannot be encoded, or see :func:`replacing`.
    """
    import cv2

    try:
        is_encoded, content = cv2.imencode(Path(path).suffix, image, list(options))
    except cv2.error as error:
        raise UserError(f'cannot encode {path}: {error.err}') from error
    if not is_encoded:
        raise UserError(f'cannot encode {path}; the picture has shape {image.shape}')
    write_bytes(path, content.tobytes(), sync=False)


def visible(folder: Path) -> Iterator[Path]:
    """
    Yield the entries of a folder, without hidden ones.

    macOS leaves ``._NAME`` beside each file on foreign disks: names as those of pictures, but a
    few hundred bytes of something else.
    """
    return (path for path in folder.iterdir() if not path.name.startswith('.'))


class GrowingFile:
    """A text file that gets line after line; each line is whole in it once it was written."""

    def __init__(self, path: str | Path) -> None:
        """Begin a new file; it comes into being with its first line."""
        self.path = Path(path)
        self._descriptor: int | None = None

    def add(self, line: str) -> None:
        """
        Append one line, its end included, in one call of the system.

        :raises UserError: it cannot be written; the lines before it stay.
        """
        try:
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
                self._descriptor = os.open(self.path, flags | os.O_NOFOLLOW, 0o666)
            data = line.encode('utf-8')
            size = os.fstat(self._descriptor).st_size
            if os.write(self._descriptor, data) != len(data):
                os.ftruncate(self._descriptor, size)
                raise OSError(None, 'no space left on the device')
        except OSError as error:
            raise UserError(f'cannot write {self.path}: {error.strerror or error}') from error

    def close(self) -> None:
        """Close the file; a later line would begin it anew."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _create(path: Path) -> tuple[Path, int]:
    """Create and lock the part beside a file; return its path and descriptor."""
    while True:
        part = path.with_name(f'.{path.name}.{secrets.token_hex(4)}{_PART}')
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _lock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # nobody removed it before it was locked
                with suppress(OSError):
                    os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
                return part, descriptor
        except BaseException:
            os.close(descriptor)
            part.unlink(missing_ok=True)
            raise
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the parts that interrupted writes have left in a folder."""
    for part in folder.glob(f'.*{_PART}'):
        with suppress(OSError):
            descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int, how: int) -> None:
    """Lock a file where its file system knows locks; elsewhere leftovers are never removed."""
    with suppress(OSError):
        fcntl.flock(descriptor, how)


def _sync_folder(folder: Path) -> None:
    """Force the new name to the disk too, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
