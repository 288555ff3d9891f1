# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Results of an evaluation in one JSON file, written after each part.

An evaluation that was interrupted keeps what it has, and can go on with what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
import math
from pathlib import Path
import platform
import subprocess
from typing import Any

from mem3r_ros import __version__
from mem3r_ros.errors import UserError
from mem3r_ros.files import write_text

FORMAT, VERSION = 'mem3r_ros results', 1
_BLOCK = 1 << 20


class ResultStore:
    """Rows by key; a key that is there need not be computed again."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resumes: bool = True) -> None:
        """
        Open the file, or begin one.

        :param path: JSON file; its folder is made.
        :param settings: what the results depend on; those of an existing file must be the same.
        :param resumes: whether parts of an existing file are kept; otherwise they are replaced.
        :raises UserError: the file is of another kind or of other settings.
        """
        self.path = path
        # As JSON has them: a tuple comes back as a list.
        self._settings = json.loads(json.dumps(dict(settings)))
        self._parts: dict[str, Any] = {}
        if path.exists():
            content = read_results(path)
            if resumes:
                self._parts = self._same_settings(content)

    def __contains__(self, key: str) -> bool:
        return key in self._parts

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return all rows."""
        return [row for rows in self._parts.values() for row in rows]

    def add(self, key: str, rows: list[dict[str, Any]]) -> None:
        """Keep the rows of one part, on disk at once."""
        self._parts[key] = rows
        content = {
            'format': FORMAT,
            'version': VERSION,
            'settings': self._settings,
            'environment': environment(),
            'parts': self._parts,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(plain(content), indent=2) + '\n')

    def _same_settings(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the parts of a file; its settings must be those of this evaluation."""
        settings = content['settings']
        differing = sorted(
            name
            for name in {*settings, *self._settings}
            if settings.get(name) != self._settings.get(name)
        )
        if differing:
            raise UserError(
                f'{self.path} holds results with another {", ".join(differing)}; choose another '
                'folder with --output, or remove the file'
            )
        return content['parts']


def read_results(path: Path) -> dict[str, Any]:
    """
    Return the content of a file of results: settings, environment and parts.

    :raises UserError: it is none, or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        kind = content['format'], content['version']
        parts, _ = content['parts'], content['settings']
        is_whole = all(isinstance(row, dict) for rows in parts.values() for row in rows)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f'{path} is no file of results ({type(error).__name__}); choose another place'
        ) from error
    if kind != (FORMAT, VERSION) or not is_whole:
        raise UserError(f'{path} is {kind[0]} {kind[1]}; expected {FORMAT} {VERSION}')
    return content


def plain(value: Any) -> Any:
    """Return a value for JSON: plain containers; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def environment() -> dict[str, str]:
    """Return versions and machine, as far as they are known."""
    import torch

    try:
        commit = subprocess.run(
            ['git', 'describe', '--always', '--dirty'],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = ''
    return {
        'mem3r_ros': __version__,
        'commit': commit,
        'python': platform.python_version(),
        'torch': torch.__version__,
        'machine': platform.machine(),
    }


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
