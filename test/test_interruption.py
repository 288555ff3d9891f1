# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in a block that must run to its end."""

import signal
import threading

import pytest

from mem3r_ros.interruption import uninterrupted


@pytest.fixture(autouse=True)
def _usual_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_the_block():
    done = []

    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done.append('rest')

    assert done == ['rest']
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_ends_the_block_at_once():
    done = []

    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append('rest')

    assert done == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_passes_unchanged():
    with pytest.raises(ValueError, match='broken'), uninterrupted():
        raise ValueError('broken')

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_the_program_ignores_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with uninterrupted():
        signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_block_in_another_thread_runs_as_usual():
    done = []

    def work():
        with uninterrupted():
            done.append('all')

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert done == ['all']
