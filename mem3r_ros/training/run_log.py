# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Learning curves as JSON lines, TensorBoard events and an HTML page, and the progress line."""

from __future__ import annotations

import json
import math
from pathlib import Path
import sys

from mem3r_ros.reports.training_page import write_page
from mem3r_ros.training.config import TrainConfig
from mem3r_ros.training.training_state import Counters
from mem3r_ros.training.validation import Validation, figures_line

LOG_FILE = 'log.jsonl'
PAGE_FILE = 'index.html'


class RunLog:
    """What a run tells, on the terminal and in its output folder."""

    def __init__(self, config: TrainConfig, output: Path, resume: bool) -> None:
        self._every = config.runtime.log_every
        self._output = output
        self._history: list[dict] = []
        path = output / LOG_FILE
        if resume and path.is_file():
            self._history = [json.loads(line) for line in path.read_text().splitlines()]
        self._file = path.open('a' if resume else 'w', encoding='utf-8')
        self._sums: dict[str, list[float]] = {}
        self._events = _event_writer(output)
        self._bar = _ProgressBar() if sys.stderr.isatty() else None

    def batch(
        self,
        counters: Counters,
        stage: str,
        progress: float,
        terms: dict[str, float],
        rate: float,
        took_s: float,
        waited_s: float,
    ) -> None:
        """
        Note one batch; every so often write the means of the last ones.

        :param took_s: time of the batch, s, of which ``waited_s`` waited for the loader.
        """
        for name, value in {**terms, 'took_s': took_s, 'waited_s': waited_s}.items():
            self._sums.setdefault(name, []).append(value)
        if self._bar:
            self._bar.show(progress, f'{stage} batch {counters.batches} ')
        if counters.batches % self._every:
            return
        means = {name: sum(v) / len(v) for name, v in self._sums.items()}
        self._sums = {}
        self._write(counters, {'kind': 'train', 'stage': stage, 'rate': rate, **means})
        shown = ' '.join(
            f'{name} {value:.3f}'
            for name, value in means.items()
            if name not in ('took_s', 'waited_s')
        )
        self.say(
            f'{progress:5.1%} {stage} batch {counters.batches}: {shown} '
            f'({means["took_s"]:.2f} s a batch, {means["waited_s"]:.2f} s waiting)'
        )

    def validation(self, counters: Counters, result: Validation) -> None:
        """Note a validation and rewrite the page."""
        self._write(counters, {'kind': 'validation', **result.figures})
        self.say('held-out worlds: ' + figures_line(result.figures))
        write_page(self._output / PAGE_FILE, self._history, result.pictures)

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one."""
        if self._bar:
            self._bar.print(text)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """Finish the files."""
        self._file.close()
        if self._events:
            self._events.close()
        if self._bar:
            self._bar.close()

    def _write(self, counters: Counters, entry: dict) -> None:
        entry = {
            'batch': counters.batches,
            'update': counters.updates,
            'skipped': counters.skipped,
            'frames': counters.frames,
            'minutes': round(counters.elapsed_s / 60, 3),
        } | {
            name: (round(value, 6) if math.isfinite(value) else None)
            if isinstance(value, float)
            else value
            for name, value in entry.items()
        }
        self._history.append(entry)
        self._file.write(json.dumps(entry) + '\n')
        self._file.flush()
        if self._events:
            for name, value in entry.items():
                if isinstance(value, float):
                    self._events.add_scalar(f'{entry["kind"]}/{name}', value, counters.batches)


def _event_writer(output: Path) -> object | None:
    """Return a TensorBoard writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(output / 'tensorboard'))


class _ProgressBar:
    """A rich progress bar; only on a terminal."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            TextColumn('{task.percentage:5.1f} %'),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._task = self._progress.add_task('training', total=1.0)
        self._progress.start()

    def show(self, progress: float, text: str) -> None:
        self._progress.update(self._task, completed=progress, description=text)

    def print(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def close(self) -> None:
        self._progress.stop()
