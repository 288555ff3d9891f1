# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The mailbox between two threads, and the thread that empties it."""

import threading
import time

import pytest
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException

from mem3r_ros.errors import UserError
from mem3r_ros.ros.mailbox import Mailbox
from mem3r_ros.ros.worker_thread import WorkerThread, spin


def test_latest_keeps_the_newest_and_counts_what_it_drops():
    drops = []
    box = Mailbox(1, on_drop=lambda: drops.append(1))

    for item in 'abc':
        box.put(item)

    assert box.get() == 'c'
    assert len(drops) == 2


def test_all_keeps_everything_in_order_and_makes_the_sender_wait():
    box = Mailbox(2, overwrite=False)
    sender = threading.Thread(target=lambda: [box.put(i) for i in range(5)])
    sender.start()
    time.sleep(0.05)

    waiting = len(box)
    taken = [box.get(1.0) for _ in range(5)]
    sender.join(1.0)

    assert waiting == 2
    assert taken == [0, 1, 2, 3, 4]


def test_closing_frees_a_sender_that_waits():
    box = Mailbox(1, overwrite=False)
    box.put(1)
    accepted = []
    sender = threading.Thread(target=lambda: accepted.append(box.put(2)))
    sender.start()

    box.close()
    sender.join(1.0)

    assert accepted == [False]
    assert box.get() == 1
    assert box.get() is None


def test_an_urgent_item_is_taken_first_and_never_dropped():
    box = Mailbox(1)
    box.put('old')
    box.put_urgent('command')
    box.put('new')

    assert [box.get(), box.get()] == ['command', 'new']


@pytest.fixture
def thread():
    handled, errors = [], []

    def handle(item):
        if item == 'bad':
            raise RuntimeError('no good')
        handled.append(item)

    made = WorkerThread('test', Mailbox(10, overwrite=False), handle, errors.append)
    made.handled, made.errors = handled, errors
    made.start()
    yield made
    made.stop()


def test_one_bad_item_is_reported_and_the_thread_continues(thread):
    for item in (1, 'bad', 2):
        thread.mailbox.put(item)

    assert thread.stop()
    assert thread.handled == [1, 2]
    assert [str(error) for error in thread.errors] == ['no good']


def test_a_call_runs_on_the_thread_and_returns_its_result_or_error(thread):
    assert thread.call(threading.current_thread).name == 'test'

    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0)


def test_an_error_of_a_posted_command_is_reported(thread):
    thread.post(lambda: 1 / 0)

    thread.call(lambda: None)

    assert isinstance(thread.errors[0], ZeroDivisionError)


def test_a_call_after_the_end_is_an_error(thread):
    thread.stop()

    with pytest.raises(UserError, match='not active'):
        thread.call(lambda: None)


def test_errors_of_callbacks_are_reported_and_do_not_end_the_node():
    wrong = RuntimeError('a callback failed')

    errors = [InvalidHandle('cannot use Destroyable'), wrong, ExternalShutdownException()]

    class Executor:
        def spin(self):
            raise errors.pop(0)

    reported = []

    spin(Executor(), reported.append)

    assert not errors
    assert reported == [wrong]  # a destroyed subscription is normal during a transition
