# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The folder that a run writes to: only what an earlier run has left is ever removed.

Data sets use the same names for what they hold (``depth/``, ``depth.txt``), so a name proves
nothing. A run leaves a mark before it writes anything else; a folder without it is not touched.
"""

from __future__ import annotations

import os
from pathlib import Path
import re

from mem3r_ros.errors import UserError
from mem3r_ros.files import remove_leftovers
from mem3r_ros.text_files import read_json

MARK = '.mem3r_run'
OUTPUTS = (
    'trajectory.txt',
    'truth.txt',
    'depth.txt',
    'map.ply',
    'index.html',
    'config.yaml',
    'summary.json',
    'run.rrd',
)
DEPTH_FOLDER = 'depth'
_DEPTH_PICTURE = re.compile(rf'{DEPTH_FOLDER}/(\d+\.png)')
_MARK_TEXT = 'Results of mem3r; the next run into this folder replaces them.\n'


def check_output(folder: Path) -> None:
    """
    Refuse a folder that holds something else than an earlier run under the names of a run.

    Nothing in it is changed.

    :raises UserError: it does, or it cannot be written.
    """
    try:
        existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(f'cannot write to {folder}; choose another folder for --output')
        if (folder / DEPTH_FOLDER).is_symlink():
            raise UserError(
                f'{folder / DEPTH_FOLDER} is a link; choose another folder for --output'
            )
        foreign = [name for name in (*OUTPUTS, DEPTH_FOLDER) if (folder / name).exists()]
        if foreign and not _is_run(folder):
            raise UserError(
                f'{folder} holds something else ({foreign[0]}); choose another folder for --output'
            )
    except OSError as error:
        raise UserError(f'cannot write to {folder}: {error.strerror}') from error


def clear_output(folder: Path) -> None:
    """
    Make a folder ready for a run; what an earlier run has left in it is removed.

    :raises UserError: it holds something else, or cannot be written.
    """
    check_output(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # First of all, so that an interrupted run counts as one.
        (folder / MARK).write_text(_MARK_TEXT, encoding='ascii')
        for name in _depth_pictures(folder):
            (folder / DEPTH_FOLDER / name).unlink(missing_ok=True)
        for place in (folder, folder / DEPTH_FOLDER):
            remove_leftovers(place)
        for name in OUTPUTS:
            (folder / name).unlink(missing_ok=True)
        (folder / DEPTH_FOLDER).mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot write to {folder}: {error.strerror}') from error


def _depth_pictures(folder: Path) -> list[str]:
    """Return the names of the depth pictures that the earlier run has listed, no others."""
    try:
        text = (folder / 'depth.txt').read_text(encoding='ascii', errors='replace')
    except OSError:
        return []
    return _DEPTH_PICTURE.findall(text)


def _is_run(folder: Path) -> bool:
    """Say whether an earlier run has left its mark, or the numbers of a version without one."""
    if (folder / MARK).exists():
        return True
    try:
        numbers = read_json(folder / 'summary.json')
    except UserError:
        return False
    return {'version', 'num_map_points', 'status'} <= set(numbers)
