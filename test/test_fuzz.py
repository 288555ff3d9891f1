# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tool that damages inputs: a few inputs of each kind, and what it reports."""

from pathlib import Path
import random
import sys
import time

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / 'tools'))

from fuzz import fuzz, mutated, table  # noqa: E402 - found by the line above
from fuzz_targets import TARGETS, Target  # noqa: E402

from mem3r_ros.errors import UserError  # noqa: E402

NEED_ROS = ('masks', 'transforms and wheels', 'parameters', 'settings files')


@pytest.mark.fault(
    'damaged files, messages, settings, states and weights (`make fuzz`)',
    'read, or refused with a sentence; no crash, no hang, no growth',
)
@pytest.mark.parametrize('name', TARGETS)
def test_damaged_inputs_are_read_or_refused(tmp_path, name):
    if name in NEED_ROS:
        pytest.importorskip('rclpy', reason='needs ROS 2')

    found = fuzz(name, TARGETS[name](tmp_path), 12, 0)

    assert not found.findings
    assert found.num_read + found.num_refused == found.num_inputs >= 10


def test_another_exception_than_a_refusal_is_a_finding():
    def read(data):
        if data != b'seed':
            raise KeyError('lost') if len(data) % 2 else UserError('refused')

    found = fuzz('own', Target([b'seed'], read), 40, 0)

    (sentence,) = found.findings
    assert sentence.startswith('KeyError in ')
    assert found.num_read + found.num_refused + found.findings.total() == found.num_inputs == 40
    assert f'| own | {found.num_inputs} |' in table({'own': found})[2]


def test_hypothesis_draws_other_values_than_the_random_ones_and_the_same_again():
    drawn = [[], []]
    for numbers in drawn:
        target = Target([b'0'], lambda choose, n=numbers: n.append(choose.whole()), True)
        fuzz('own', target, 60, 3)

    first, second = drawn
    assert first == second
    assert len(set(first[30:]) - set(first[:30])) > 10


def test_memory_that_an_input_takes_is_a_finding():
    kept = []
    big = Target([b'seed'], lambda data: kept.append(bytearray(b'x' * 12_000_000)))

    found = fuzz('own', big, 45, 0)

    assert any('memory grew by' in sentence for sentence in found.findings)


def test_processor_time_is_measured(monkeypatch):
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr(time, 'process_time', lambda: float(next(now)))

    found = fuzz('own', Target([b'seed'], len), 3, 0)

    assert found.findings == {'took 10.0 s': found.num_inputs}


def test_the_same_seed_makes_the_same_inputs():
    first, second = (
        [mutated(b'a seed of some length', random.Random(f'{i}')) for i in range(50)]
        for _ in range(2)
    )

    assert first == second
    assert len(set(first)) > 30
