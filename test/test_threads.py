# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Threads on a shared machine: waiting threads sleep, and no more threads than idle cores."""

import os
import subprocess
import sys

import pytest

from mem3r_ros import threads


def environment_after(program):
    names = ('OMP_WAIT_POLICY', 'OPENBLAS_NUM_THREADS')
    clean = {name: value for name, value in os.environ.items() if name not in names}
    program += f'; import os; print(*(os.environ.get(name) for name in {names}))'
    result = subprocess.run(
        [sys.executable, '-c', program], env=clean, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


LOADED = 'import sys; print("torch" in sys.modules, "numpy" in sys.modules)'


def test_the_command_line_sets_the_variables_before_numpy_and_torch_are_loaded():
    program = f'import mem3r_ros.cli.main; {LOADED}'

    assert environment_after(program) == ['False', 'False', 'PASSIVE', '1']


def test_the_node_sets_the_variables_before_numpy_and_torch_are_loaded():
    program = f'import mem3r_ros.ros; {LOADED}'

    assert environment_after(program) == ['False', 'False', 'PASSIVE', '1']


def test_a_wait_policy_of_the_user_is_kept():
    environment = {'OMP_WAIT_POLICY': 'ACTIVE'}

    threads.set_thread_variables(environment)

    assert environment['OMP_WAIT_POLICY'] == 'ACTIVE'


@pytest.mark.parametrize(
    ('idle', 'cores', 'expected'),
    [(0.1, 2, 1), (1.9, 2, 2), (2.6, 8, 3), (8.0, 8, 8), (8.0, 2, 2)],
)
def test_there_are_as_many_threads_as_idle_cores(monkeypatch, idle, cores, expected):
    monkeypatch.setattr(threads, 'idle_cores', lambda: idle)
    monkeypatch.setattr(threads, 'usable_cores', lambda: cores)

    assert threads.choose_num_threads(0) == expected


def test_a_requested_number_of_threads_is_used():
    assert threads.choose_num_threads(5) == 5


@pytest.mark.parametrize(
    ('text', 'expected'), [('150000 100000', 1), ('50000 100000', 1), ('max 100000', 4), ('', 4)]
)
def test_a_container_s_quota_limits_the_cores(monkeypatch, tmp_path, text, expected):
    quota = tmp_path / 'cpu.max'
    quota.write_text(text)
    monkeypatch.setattr(threads, '_CPU_QUOTA', quota)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1, 2, 3})

    assert threads.usable_cores() == expected


def test_idle_cores_are_between_none_and_all():
    assert 0.0 <= threads.idle_cores(sample_s=0.02) <= len(os.sched_getaffinity(0))


def test_threads_of_the_node_wait_for_the_interpreter_for_less_than_a_millisecond():
    before = sys.getswitchinterval()
    try:
        threads.share_interpreter()
        assert sys.getswitchinterval() < 1e-3
    finally:
        sys.setswitchinterval(before)
