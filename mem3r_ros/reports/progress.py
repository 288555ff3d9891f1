# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The progress bar of all commands, on stderr if it is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import sys
from typing import Any


class ProgressBar:
    """One bar: count, time, and a word about the newest step."""

    def __init__(self, bar: Any, task: Any) -> None:
        """Wrap a running rich bar and its task."""
        self._bar = bar
        self._task = task

    def advance(self, word: str = '') -> None:
        """Count one more step."""
        self._bar.update(self._task, advance=1, word=word)

    def show(self, done: float, total: float | None = None, word: str = '') -> None:
        """Set the count and, if given, the total."""
        self._bar.update(self._task, completed=done, total=total, word=word)

    def print(self, text: str) -> None:
        """Print a line to stdout, above the bar if both are on a terminal."""
        if self._bar.disable or not sys.stdout.isatty():
            print(text, flush=True)
        else:
            self._bar.console.print(text, highlight=False, markup=False)


@contextmanager
def progress(title: str, total: float | None, is_bytes: bool = False) -> Iterator[ProgressBar]:
    """
    Show a progress bar while the block runs.

    :param title: name of the work.
    :param total: number of steps or bytes, None if unknown.
    :param is_bytes: count bytes; show size and speed.
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
    # stdout may be a file for the results, so the bar uses stderr.
    console = Console(stderr=True)
    with rich.Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal,
    ) as bar:
        yield ProgressBar(bar, bar.add_task(title, total=total, word=''))
