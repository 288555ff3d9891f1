# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The benchmark against a plain step: its table, its errors, and the comparison of two results."""

from __future__ import annotations

import json
import runpy
import sys

import pytest


@pytest.fixture
def plain(repository_dir, monkeypatch, capsys):
    """Return a function that runs the benchmark and returns what it prints."""

    def run(*words):
        path = repository_dir / 'benchmarks' / 'plain.py'
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, words)])
        runpy.run_path(str(path), run_name='__main__')
        return capsys.readouterr().out

    return run


def test_exact_levers_have_no_error_and_the_result_can_be_compared(plain, tmp_path):
    result = tmp_path / 'a.json'
    plain('--preset', 'mem3r-tiny', '--size', '64x48', '--frames', 2, '--output', result)
    rows = {row['name']: row for row in json.loads(result.read_text())['rows']}
    assert rows['plain']['gain'] == 1.0
    assert rows['wanted heads only']['depth'] == 0.0
    assert rows['fused attention']['state'] < 1e-4
    text = plain('--compare', result, result)
    assert text.count('| 1.00 |') >= len(rows)
    assert 'processor' in text


def test_plain_gate_of_ttt3r_from_all_logits_equals_that_of_the_project(plain, tmp_path):
    result = tmp_path / 'a.json'
    words = (
        '--preset',
        'mem3r-tiny',
        '--size',
        '64x48',
        '--frames',
        2,
        '--rule',
        'ttt3r',
        '--steps',
        'dtype float32',
    )
    plain(*words, '--output', result)
    rows = {row['name']: row for row in json.loads(result.read_text())['rows']}
    assert set(rows) == {'plain', 'dtype float32'}
    assert max(rows['dtype float32']['worst']) < 1e-4


def interrupted_step(step, calls):
    """Return a step of a variant that Ctrl-C ends after some calls."""
    done = []

    def limited(variant, frame):
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(frame)
        return step(variant, frame)

    return limited


def test_interrupted_run_continues_after_the_last_measured_frame(plain, tmp_path, monkeypatch):
    words = ('--preset', 'mem3r-tiny', '--size', '64x48', '--steps', 'dtype int8', '--step-errors')
    whole, parts = tmp_path / 'whole.json', tmp_path / 'parts.json'
    plain(*words, '--frames', 4, '--output', whole)

    import plain_variants

    step = plain_variants.Variant.step
    monkeypatch.setattr(plain_variants.Variant, 'step', interrupted_step(step, 4))
    with pytest.raises(KeyboardInterrupt):
        plain(*words, '--frames', 4, '--output', parts)
    monkeypatch.setattr(plain_variants.Variant, 'step', step)
    plain(*words, '--frames', 4, '--output', parts)

    first, second = (json.loads(path.read_text())['rows'] for path in (whole, parts))
    for row, other in zip(first, second, strict=True):
        assert row['worst'] == pytest.approx(other['worst'], rel=1e-3)
        assert row['step'] == other['step']
    assert set(tmp_path.iterdir()) == {whole, parts}


def test_error_of_a_single_step_does_not_add_up(plain, tmp_path):
    result = tmp_path / 'a.json'
    words = ('--preset', 'mem3r-tiny', '--size', '64x48', '--steps', 'channels-last heads')
    plain(*words, '--frames', 6, '--step-errors', '--output', result)
    rows = {row['name']: row for row in json.loads(result.read_text())['rows']}
    lever = rows['channels-last heads']
    assert rows['plain']['step'] == [[0.0, 0.0]] * 4
    *_, depth, state = lever['step']
    assert depth[1] > 0
    assert state == [0.0, 0.0]  # the heads do not change the state of the same step
