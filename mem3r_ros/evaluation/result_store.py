# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results of a long evaluation in one JSON file, written after each part, so that it resumes."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
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

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """
        Open the file, or begin one.

        :param path: JSON file; its folder is made.
        :param settings: what the results depend on; those of an existing file must be the same.
        :raises UserError: the file is of another kind or of other settings.
        """
        self.path = path
        # As JSON has them: a tuple comes back as a list.
        self._settings = json.loads(json.dumps(dict(settings)))
        self._parts: dict[str, Any] = {}
        if path.exists():
            self._parts = self._read()

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
        write_text(self.path, json.dumps(content, indent=2) + '\n')

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding='utf-8'))
            kind = content['format'], content['version']
            settings, parts = content['settings'], content['parts']
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f'{self.path} is no file of results: {error!r}') from error
        if kind != (FORMAT, VERSION):
            raise UserError(f'{self.path} is {kind[0]} {kind[1]}; expected {FORMAT} {VERSION}')
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
        return parts


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
