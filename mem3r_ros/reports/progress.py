# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The progress bar of every command: on stderr, and only if that is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import sys
from typing import Any


class ProgressBar:
    """One bar: how much is done, at what rate, and a word about the newest step."""

    def __init__(self, bar: Any, task: Any) -> None:
        """Take a running rich bar and its task."""
        self._bar = bar
        self._task = task

    def advance(self, word: str = '') -> None:
        """Count one more step."""
        self._bar.update(self._task, advance=1, word=word)

    def show(self, done: float, total: float | None = None, word: str = '') -> None:
        """Set how much is done; ``total`` replaces that of the beginning."""
        self._bar.update(self._task, completed=done, total=total, word=word)

    def print(self, text: str) -> None:
        """Print a line to stdout; where that is the bar's terminal, above the bar."""
        if self._bar.disable or not sys.stdout.isatty():
            print(text, flush=True)
        else:
            self._bar.console.print(text, highlight=False, markup=False)


@contextmanager
def progress(title: str, total: float | None, is_bytes: bool = False) -> Iterator[ProgressBar]:
    """
    Show a progress bar while the block runs.

    :param title: what is being done.
    :param total: how many steps or bytes there will be, None if unknown.
    :param is_bytes: whether bytes are counted, so that size and speed are shown.
    """
    from rich import progress as rich
    from rich.console import Console

    if is_bytes:
        counts: tuple[Any, ...] = (rich.DownloadColumn(), rich.TransferSpeedColumn())
    else:
        counts = (rich.MofNCompleteColumn(), rich.TextColumn('{task.fields[word]}'))
    columns = (
        rich.TextColumn('{task.description}'),
        rich.BarColumn(),
        *counts,
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    # Results go to stdout, which may be a file; what only matters while it moves goes to stderr.
    console = Console(stderr=True)
    with rich.Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal,
    ) as bar:
        yield ProgressBar(bar, bar.add_task(title, total=total, word=''))
