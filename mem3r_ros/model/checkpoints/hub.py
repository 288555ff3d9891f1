# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Weights from the Hugging Face Hub: ``hf:owner/name@commit``, by the optional huggingface-hub.

A branch can change between two starts of a robot, so the commit is required. The file's SHA-256
is compared with the one that the Hub lists for that commit, or with the one that the user gives.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
import re

from mem3r_ros.errors import UserError

PREFIX = 'hf:'
DEFAULT_FILE = 'model.safetensors'
_SOURCE = re.compile(
    r'hf:(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./-]+))?@(?P<commit>[0-9a-f]{40})'
    r'(?:#sha256=(?P<sha256>[0-9a-f]{64}))?'
)


def fetch_from_hub(source: str) -> Path:
    """
    Return the local file of weights on the Hub; downloaded once, then taken from the cache.

    :param source: ``hf:owner/name[/file]@commit[#sha256=hex]``; file: ``model.safetensors``.
    :raises UserError: the source is not of this form, the package is missing, the file cannot be
        downloaded, or its hash is another one.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise UserError(
            f'{source!r} does not name weights on the Hub; write hf:owner/name@COMMIT or '
            f'hf:owner/name/FILE@COMMIT with all 40 digits of the commit'
        )
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise UserError(
            f'{source} needs the package huggingface-hub; install it with: '
            'pip install huggingface-hub'
        ) from error
    repository, name = match['repository'], match['file'] or DEFAULT_FILE
    try:
        wanted = match['sha256'] or _listed_hash(hub, repository, name, match['commit'])
        path = Path(hub.hf_hub_download(repository, name, revision=match['commit']))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise UserError(f'cannot get {source}: {" ".join(str(error).split())}') from error
    with open(path, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256') if hasattr(hashlib, 'file_digest') else None
        found = (digest or hashlib.sha256(file.read())).hexdigest()
    if found != wanted:
        raise UserError(f'{source} has SHA-256 {found}, expected {wanted}; it is not used')
    return path


def _listed_hash(hub: object, repository: str, name: str, commit: str) -> str:
    """Return the SHA-256 that the Hub lists for a large file at a commit."""
    url = hub.hf_hub_url(repository, name, revision=commit)  # type: ignore[attr-defined]
    etag = hub.get_hf_file_metadata(url).etag or ''  # type: ignore[attr-defined]
    if not re.fullmatch(r'[0-9a-f]{64}', etag):
        raise ValueError(f'the Hub lists no SHA-256 for {name}; add #sha256=HEX')
    return etag
