# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A progress bar on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class ProgressBar:
    """One bar with the number of images, their rate and a word about the newest."""

    def __init__(self, bar: Any, task: Any) -> None:
        """Take a running rich bar and its task."""
        self._bar = bar
        self._task = task

    def advance(self, word: str = '') -> None:
        """Count one more image."""
        self._bar.update(self._task, advance=1, word=word)


@contextmanager
def progress(title: str, total: int | None) -> Iterator[ProgressBar]:
    """
    Show a progress bar while the block runs.

    :param title: what is being done.
    :param total: how many steps there will be, None if nobody knows.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('{task.fields[word]}'),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Results go to stdout; what only matters while it moves goes to stderr.
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield ProgressBar(bar, bar.add_task(title, total=total, word=''))
