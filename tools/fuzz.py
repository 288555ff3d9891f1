# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Feeds damaged inputs to everything that reads something from outside.

Allowed is: it is read, or refused by ``UserError``. Anything else is a finding: another exception,
a crash, more than 5 s, more than 200 MB. Each target runs in a process of its own; the same seed
gives the same inputs. Files are good ones with random changes of their bytes. The values of
messages and settings are random in one half of the inputs; Hypothesis draws those of the other.

    python tools/fuzz.py --inputs 20000
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
import faulthandler
import logging
import multiprocessing
import os
from pathlib import Path
import random
import resource
import sys
import tempfile
import time
from typing import Any

from fuzz_choices import Choices, DrawnChoices, Target
from fuzz_targets import TARGETS
import hypothesis
from hypothesis import strategies as st

from mem3r_ros.errors import UserError

MAX_S = 5.0
MAX_GROWTH_MB = 200.0
_KILL_S = 60.0  # a process that hangs in C code ends itself
_WARM_UP = 20  # inputs before the memory is measured: imports and caches


@dataclass
class Outcome:
    """What became of the inputs of one target."""

    num_inputs: int = 0
    num_read: int = 0
    num_refused: int = 0
    longest_s: float = 0.0
    growth_mb: float = 0.0
    findings: Counter = field(default_factory=Counter)  # sentence -> how often


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few random changes: bits, numbers, cuts, copies, rubbish."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        # Headers decide more than contents: half of the changes are in the first 1,000 bytes.
        size = max(1, min(len(result), 1000) if chance.random() < 0.5 else len(result))
        at = chance.randrange(size)
        kind = chance.randrange(7)
        if kind == 0 and result:
            result[min(at, len(result) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            result[at : at + 4] = chance.choice((b'\xff' * 4, b'\x00' * 4, b'\x7f\xff\xff\xff'))
        elif kind == 2:
            result[at : at + 8] = chance.choice((b'\xff' * 8, b'nan', b'1e999', b'-1', b'9' * 40))
        elif kind == 3:
            del result[at:]
        elif kind == 4:
            del result[at : at + chance.randrange(1, 50)]
        elif kind == 5:
            result[at:at] = result[at : at + chance.randrange(1, 200)] * chance.choice((1, 2, 8))
        else:
            result[at:at] = chance.randbytes(chance.randrange(1, 20))
    return bytes(result)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def random_inputs(name: str, target: Target, count: int, seed: int) -> Iterator[Any]:
    """Yield changed bytes, or sources of values for a target that is chosen."""
    chance = random.Random(f'{name} {seed}')
    for _ in range(count):
        data = mutated(chance.choice(target.seeds), chance)
        yield Choices(data) if target.is_chosen else data


def feed_drawn(count: int, seed: int, feed: Callable[[Any], object]) -> None:
    """Feed values that Hypothesis draws, among them limits, simple ones and odd texts."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.data())
    def each(data: Any) -> None:
        feed(DrawnChoices(data.draw))

    each()


class Feeder:
    """Feeds one input after the other to a target and records what becomes of it."""

    def __init__(self, target: Target, warm_up: int) -> None:
        """
        Begin.

        :param target: what reads.
        :param warm_up: number of inputs before the memory is measured.
        """
        self.outcome = Outcome()
        self._target = target
        self._warm_up = warm_up
        self._peak_mb = _peak_mb()

    def feed(self, data: Any) -> None:
        """Feed one input."""
        outcome = self.outcome
        if outcome.num_inputs == self._warm_up:
            self._peak_mb = _peak_mb()
        faulthandler.dump_traceback_later(_KILL_S, exit=True)
        started_s = time.process_time()
        try:
            self._target.read(data)
            outcome.num_read += 1
        except UserError:
            outcome.num_refused += 1
        except (hypothesis.errors.StopTest, hypothesis.errors.UnsatisfiedAssumption):
            raise  # Hypothesis draws no further value for this input
        except Exception as error:
            place = _place(error)
            outcome.findings[f'{type(error).__name__} in {place}: {str(error)[:100]}'] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
        took_s = time.process_time() - started_s
        outcome.longest_s = max(outcome.longest_s, took_s)
        if took_s > MAX_S:
            outcome.findings[f'took {took_s:.1f} s'] += 1
        outcome.num_inputs += 1

    def finished(self) -> Outcome:
        """Return what was recorded, with the growth of the memory."""
        outcome = self.outcome
        outcome.growth_mb = _peak_mb() - self._peak_mb
        if outcome.growth_mb > MAX_GROWTH_MB:
            outcome.findings[f'memory grew by {outcome.growth_mb:.0f} MB'] += 1
        return outcome


def fuzz(name: str, target: Target, count: int, seed: int) -> Outcome:
    """
    Feed a target.

    :param name: of the target.
    :param target: what reads.
    :param count: number of inputs; of a target that is chosen, Hypothesis draws the second half.
    :param seed: of the inputs.
    """
    num_drawn = count // 2 if target.is_chosen else 0
    if num_drawn:
        # Hypothesis reads the sources of the project once, for constants that it tries as values.
        feed_drawn(5, 0, DrawnChoices.value)
    feeder = Feeder(target, min(_WARM_UP, count - 1))
    for data in target.seeds if target.has_good_seeds and not target.is_chosen else ():
        target.read(data)  # changes of a seed that is refused would test nothing
    for data in random_inputs(name, target, count - num_drawn, seed):
        feeder.feed(data)
    if num_drawn:
        feed_drawn(num_drawn, seed, feeder.feed)
    return feeder.finished()


def _place(error: BaseException) -> str:
    """Return file and line where an exception was raised, the last ones of this project."""
    place, trace = '?', error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if 'mem3r_ros' in path.parts or path.name == 'fuzz_targets.py':
            place = f'{path.name}:{trace.tb_lineno}'
        trace = trace.tb_next
    return place


def _work(name: str, count: int, seed: int, results: multiprocessing.Queue) -> None:
    """Run one target in this process."""
    logging.disable(logging.CRITICAL)
    os.environ['OPENCV_LOG_LEVEL'] = os.environ['OPENCV_FFMPEG_LOGLEVEL'] = '-8'
    with tempfile.TemporaryDirectory() as folder:
        try:
            results.put(fuzz(name, TARGETS[name](Path(folder)), count, seed))
        except Exception as error:
            results.put(f'{type(error).__name__} while it was prepared: {error}')


def run(name: str, count: int, seed: int) -> Outcome:
    """Run one target in a process of its own; a crash is a finding."""
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    process = context.Process(target=_work, args=(name, count, seed, results))
    process.start()
    outcome: Outcome | str | None = None
    while outcome is None:
        try:
            outcome = results.get(timeout=0.5)
        except Exception:  # queue.Empty
            if not process.is_alive() and results.empty():
                outcome = f'the process ended with code {process.exitcode}'
    process.join()
    if isinstance(outcome, Outcome):
        return outcome
    return Outcome(num_inputs=count, findings=Counter([outcome]))


def table(outcomes: dict[str, Outcome]) -> list[str]:
    """Return the results as a Markdown table."""
    lines = [
        '| target | inputs | read | refused | findings | longest s | growth MB |',
        '|---|---|---|---|---|---|---|',
    ]
    for name, found in outcomes.items():
        lines.append(
            f'| {name} | {found.num_inputs} | {found.num_read} | {found.num_refused} '
            f'| {found.findings.total()} | {found.longest_s:.2f} | {found.growth_mb:.0f} |'
        )
    inputs = sum(found.num_inputs for found in outcomes.values())
    findings = sum(found.findings.total() for found in outcomes.values())
    longest_s = max(found.longest_s for found in outcomes.values())
    growth_mb = max(found.growth_mb for found in outcomes.values())
    lines.append(f'| all | {inputs} | | | {findings} | {longest_s:.2f} | {growth_mb:.0f} |')
    return lines


def main() -> int:
    """Run the targets and print the table; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(description='Feed damaged inputs to everything that reads.')
    parser.add_argument('--inputs', type=int, default=20_000, help='number, over all targets')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--target', choices=TARGETS, action='append', help='only these')
    args = parser.parse_args()
    names = args.target or list(TARGETS)
    each = -(-args.inputs // len(names))
    outcomes = {}
    for name in names:
        outcomes[name] = run(name, each, args.seed)
        for finding, count in outcomes[name].findings.items():
            print(f'{name}: {count} times {finding}', file=sys.stderr, flush=True)
    print('\n'.join(table(outcomes)))
    return int(any(found.findings for found in outcomes.values()))


if __name__ == '__main__':
    sys.exit(main())
