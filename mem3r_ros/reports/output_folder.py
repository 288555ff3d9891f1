# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The output folder of a run; only files of an earlier run are ever removed.

Data sets use the same names (``depth/``, ``depth.txt``), so a name proves nothing. A run writes a
marker file first; a folder without it is not changed. Where the folder holds results of an
earlier run, a run writes into ``unfinished/`` in it; at its end the files take the place of the
old ones, which a failing run leaves as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
import re
import shutil

from mem3r_ros.errors import UserError
from mem3r_ros.files import remove_leftovers
from mem3r_ros.text_files import read_json

MARK = '.mem3r_run'
OUTPUTS = (
    'trajectory.txt',
    'trajectory_map.txt',
    'truth.txt',
    'depth.txt',
    'map.ply',
    'map_corrected.ply',
    'index.html',
    'config.yaml',
    'summary.json',
    'run.rrd',
    'video.mp4',
)
DEPTH_FOLDER = 'depth'
UNFINISHED = 'unfinished'
_DEPTH_PICTURE = re.compile(rf'{DEPTH_FOLDER}/(\d+\.png)')
_MARK_TEXT = 'Results of mem3r; the next run into this folder replaces them.\n'


def check_output(folder: Path) -> None:
    """
    Check that a folder holds no foreign files under the names of a run.

    Nothing in it is changed.

    :raises UserError: it does, or it cannot be written.
    """
    try:
        existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(f'cannot write to {folder}; choose another folder for --output')
        for name in (DEPTH_FOLDER, UNFINISHED):
            if (folder / name).is_symlink():
                raise UserError(f'{folder / name} is a link; choose another folder for --output')
        names = (*OUTPUTS, DEPTH_FOLDER, UNFINISHED)
        foreign = [name for name in names if (folder / name).exists()]
        if foreign and not _is_run(folder):
            raise UserError(
                f'{folder} holds files of another kind ({foreign[0]}); '
                f'choose another folder for --output'
            )
    except OSError as error:
        raise UserError(f'cannot write to {folder}: {error.strerror}') from error


def work_folder(folder: Path) -> Path:
    """Return the folder that a run writes to: not where results of an earlier run are."""
    has_results = any((folder / name).exists() for name in (*OUTPUTS, DEPTH_FOLDER))
    return folder / UNFINISHED if has_results else folder


def begin_output(folder: Path, work: Path) -> None:
    """
    Prepare a folder for a run; what a run that failed left in ``unfinished/`` is removed.

    :param folder: of the results.
    :param work: where the run writes to, as from :func:`work_folder`.
    :raises UserError: the folder holds files of another kind, or cannot be written.
    """
    check_output(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # First of all, so that an interrupted run counts as one.
        (folder / MARK).write_text(_MARK_TEXT, encoding='ascii')
        if (folder / UNFINISHED).exists():
            shutil.rmtree(folder / UNFINISHED)
        (work / DEPTH_FOLDER).mkdir(parents=True)
    except OSError as error:
        raise UserError(f'cannot write to {folder}: {error.strerror}') from error


def finish_output(folder: Path, work: Path) -> None:
    """
    Put the files of the finished run in the place of those of the run before.

    :param folder: of the results.
    :param work: where the run has written to.
    :raises UserError: the folder cannot be written.
    """
    if work == folder:
        return
    try:
        for name in _depth_pictures(folder):
            (folder / DEPTH_FOLDER / name).unlink(missing_ok=True)
        for place in (folder, folder / DEPTH_FOLDER):
            remove_leftovers(place)
        for name in OUTPUTS:
            (folder / name).unlink(missing_ok=True)
        (folder / DEPTH_FOLDER).mkdir(exist_ok=True)
        for place in (work / DEPTH_FOLDER, work):
            for file in place.iterdir():
                if not file.is_dir():
                    file.replace(folder / file.relative_to(work))
        shutil.rmtree(work)
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
    """Return whether the folder has the marker of a run, or the summary of an old version."""
    if (folder / MARK).exists():
        return True
    try:
        numbers = read_json(folder / 'summary.json')
    except UserError:
        return False
    return {'version', 'num_map_points', 'status'} <= set(numbers)
