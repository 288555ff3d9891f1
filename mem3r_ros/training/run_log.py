# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Log of a training run: JSON lines, TensorBoard events, an HTML page and the terminal."""

from __future__ import annotations

from contextlib import ExitStack
import json
import math
from pathlib import Path

from mem3r_ros.config import to_dict
from mem3r_ros.reports.progress import progress
from mem3r_ros.reports.training_page import write_training_page
from mem3r_ros.training.config import TrainConfig
from mem3r_ros.training.training_state import Counters
from mem3r_ros.training.validation import Validation, figures_line

LOG_FILE = 'log.jsonl'
PAGE_FILE = 'index.html'


class RunLog:
    """Writes the log of a run to the terminal and to the output folder."""

    def __init__(self, config: TrainConfig, output: Path, resume: bool) -> None:
        self._config = config
        self._output = output
        self._history: list[dict] = []
        path = output / LOG_FILE
        if resume and path.is_file():
            self._history = [json.loads(line) for line in path.read_text().splitlines()]
        self._file = path.open('a' if resume else 'w', encoding='utf-8')
        self._sums: dict[str, list[float]] = {}
        self._events = _event_writer(output)
        self._open = ExitStack()
        self._open.enter_context(self._file)
        if self._events:
            self._open.callback(self._events.close)
        self._bar = self._open.enter_context(progress('training, %', 100))

    def batch(
        self,
        counters: Counters,
        stage: str,
        done: float,
        terms: dict[str, float],
        rate: float,
        took_s: float,
        waited_s: float,
    ) -> None:
        """
        Add one batch; every ``runtime.log_every`` batches write their means.

        :param done: part of the run that is done, 0 to 1.
        :param took_s: duration of the batch, s.
        :param waited_s: part of it that was spent waiting for data, s.
        """
        for name, value in {**terms, 'took_s': took_s, 'waited_s': waited_s}.items():
            self._sums.setdefault(name, []).append(value)
        self._bar.show(100 * done, word=f'{stage} batch {counters.batches}')
        if counters.batches % self._config.runtime.log_every:
            return
        means = {name: sum(v) / len(v) for name, v in self._sums.items()}
        self._sums = {}
        self._write(counters, {'kind': 'train', 'stage': stage, 'rate': rate, **means})
        shown = ' '.join(
            f'{name} {value:.3f}'
            for name, value in means.items()
            if name not in ('took_s', 'waited_s')
        )
        self.print(
            f'{done:5.1%} {stage} batch {counters.batches}: {shown} '
            f'({means["took_s"]:.2f} s per batch, {means["waited_s"]:.2f} s waiting for data)'
        )

    def validation(self, counters: Counters, result: Validation) -> None:
        """Add a validation and rewrite the page."""
        self._write(counters, {'kind': 'validation', **result.figures})
        self.print('held-out worlds: ' + figures_line(result.figures))
        write_training_page(
            self._output / PAGE_FILE, self._history, result.pictures, to_dict(self._config)
        )

    def print(self, text: str) -> None:
        """Print a line above the progress bar, if there is one."""
        self._bar.print(text)

    def close(self) -> None:
        """Close the files and the progress bar."""
        self._open.close()

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
    """Return a TensorBoard writer, or None if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(output / 'tensorboard'))
