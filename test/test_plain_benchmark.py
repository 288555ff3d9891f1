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
    plain('--size', '64x48', '--frames', 2, '--output', result)
    rows = {row['name']: row for row in json.loads(result.read_text())['rows']}
    assert rows['plain']['gain'] == 1.0
    assert rows['wanted heads only']['depth'] == 0.0
    assert rows['fused attention']['state'] < 1e-4
    text = plain('--compare', result, result)
    assert text.count('| 1.00 |') >= len(rows)
    assert 'processor' in text


def test_plain_gate_of_ttt3r_from_all_logits_equals_that_of_the_project(plain, tmp_path):
    result = tmp_path / 'a.json'
    words = ('--size', '64x48', '--frames', 2, '--rule', 'ttt3r', '--steps', 'dtype float32')
    plain(*words, '--output', result)
    rows = {row['name']: row for row in json.loads(result.read_text())['rows']}
    assert set(rows) == {'plain', 'dtype float32'}
    assert max(rows['dtype float32']['worst']) < 1e-4
