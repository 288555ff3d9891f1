# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Download one large file: resume after a break, check the hash before the file is used."""

from __future__ import annotations

from collections.abc import Callable
import hashlib
from http.client import HTTPException, HTTPResponse
import json
from pathlib import Path
import shutil
import time
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from mem3r_ros.errors import UserError

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 30.0
MAX_TRIES = 5  # consecutive breaks without a byte in between
SPARE_BYTES = 64 << 20  # to be left free on the disk

Report = Callable[[int, int | None], None]  # bytes received, bytes in total


class _Broken(Exception):
    """The connection ended early; the received bytes are kept."""


def fetch(
    url: str, target: Path, sha256: str | None = None, *, pause_s: float = 2.0
) -> tuple[Path, str]:
    """
    Download ``url`` to ``target``.

    Received bytes are kept in a file ``.partial`` beside it, which the next call continues.

    :param sha256: expected hash, in hex; None accepts any.
    :param pause_s: wait before a retry.
    :return: the file and its SHA-256.
    :raises UserError: the URL is wrong, the server or the disk fails, or the hash differs.
    """
    if urlsplit(url).scheme not in ('http', 'https'):
        raise UserError(f'cannot fetch {url!r}; it must begin with http:// or https://')
    from mem3r_ros.reports.progress import progress

    partial = target.with_name(target.name + '.partial')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with progress(target.name, None, is_bytes=True) as bar:
            _fetch_all(url, partial, bar.show, pause_s)
    except OSError as error:
        raise UserError(f'cannot write {partial}: {error.strerror or error}') from None
    return accept(partial, target, sha256)


def accept(partial: Path, target: Path, sha256: str | None) -> tuple[Path, str]:
    """
    Rename a complete file to its final name if its hash matches, else remove it.

    :raises UserError: the hash differs.
    """
    found = hash_of(partial)
    if sha256 is not None and found != sha256.lower():
        partial.unlink()
        _note(partial).unlink(missing_ok=True)
        raise UserError(
            f'the SHA-256 of {target.name} is {found}, expected {sha256.lower()}; the file was '
            f'removed because it is damaged or another version'
        )
    partial.replace(target)
    _note(partial).unlink(missing_ok=True)
    return target, found


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open('rb') as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest()


def check_space(folder: Path, num_bytes: int) -> None:
    """
    Check the free disk space.

    :raises UserError: ``num_bytes`` do not fit.
    """
    free = shutil.disk_usage(folder).free
    if free < num_bytes + SPARE_BYTES:
        raise UserError(
            f'{folder} has {free / 1e9:.1f} GB free and {num_bytes / 1e9:.1f} GB are needed; free '
            f'space or choose another --output'
        )


def _fetch_all(url: str, partial: Path, report: Report, pause_s: float) -> None:
    tries = 0
    while True:
        before = _size(partial)
        try:
            _fetch_rest(url, partial, report)
            return
        except _Broken as error:
            tries = tries + 1 if _size(partial) == before else 1
            if tries >= MAX_TRIES:
                raise UserError(
                    f'{url} broke off after {_size(partial) / 1e6:.1f} MB ({error}); run the '
                    f'same command again to continue'
                ) from None
            time.sleep(pause_s)


def _fetch_rest(url: str, partial: Path, report: Report) -> None:
    """Continue the partial file; restart if the file on the server has changed."""
    start, note = _size(partial), _read_note(partial)
    request = Request(url, headers={'User-Agent': 'mem3r_ros', 'Accept-Encoding': 'identity'})
    # Without a version tag, the two halves may belong to different files.
    if start and note.get('url') == url and note.get('version'):
        request.add_header('Range', f'bytes={start}-')
        request.add_header('If-Range', note['version'])
    else:
        start = 0
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            if response.status != 206:
                start = 0
            _receive(response, url, partial, start, report)
    except HTTPError as error:
        if error.code == 416:  # the file is complete, or it has shrunk
            if _is_complete(error.headers.get('Content-Range', ''), start):
                return
            partial.unlink(missing_ok=True)
            raise _Broken('the file has changed') from None
        if error.code >= 500 or error.code == 429:
            raise _Broken(f'HTTP {error.code}') from None
        raise UserError(f'{url} answers HTTP {error.code} ({error.reason})') from None
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise _Broken(str(getattr(error, 'reason', error)) or type(error).__name__) from None


def _receive(response: HTTPResponse, url: str, partial: Path, start: int, report: Report) -> None:
    length = response.headers.get('Content-Length')
    total = start + int(length) if length and length.isdigit() else None
    if total is not None:
        check_space(partial.parent, total - start)
    version = response.headers.get('ETag') or response.headers.get('Last-Modified') or ''
    # A weak ETag does not guarantee equal bytes.
    version = '' if version.startswith('W/') else version
    _note(partial).write_text(json.dumps({'url': url, 'version': version}), encoding='utf-8')
    received = start
    with partial.open('r+b' if start else 'wb') as file:
        file.seek(start)
        file.truncate()
        while block := response.read(BLOCK_BYTES):
            file.write(block)
            received += len(block)
            report(received, total)
    if total is not None and received < total:
        raise _Broken(f'{received} of {total} bytes')


def _is_complete(content_range: str, start: int) -> bool:
    """Return whether ``bytes */TOTAL`` means that the file is complete."""
    return start > 0 and content_range == f'bytes */{start}'


def _note(partial: Path) -> Path:
    return partial.with_name(partial.name + '.json')


def _read_note(partial: Path) -> dict[str, str]:
    try:
        note = json.loads(_note(partial).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
