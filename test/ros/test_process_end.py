# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The process of the node ends on signals without a traceback, and starts without a home."""

import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time

import pytest

NODE = [sys.executable, '-m', 'mem3r_ros.ros.node', '--ros-args']
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def start_process(ros_domain, model_file, tmp_path):
    """Return a function that starts the node as a process; its output goes to a file."""
    processes = []

    def start(*command, env=None):
        log = tmp_path / f'node_{len(processes)}.log'
        arguments = [
            '-p', f'model:={model_file}', '-p', 'warm_up_size:=[0, 0]', '-p', 'mount:=standalone',
            '-p', 'input_policy:=all', '-p', 'input.camera_info_wait:=0.0',
        ]  # fmt: skip
        with open(log, 'wb') as file:
            process = subprocess.Popen(
                [*(command or NODE), *arguments], stdout=file, stderr=file, env=env
            )
        processes.append(process)
        process.log = log
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait(10.0)


def end(process, first, *, repeat=True):
    """Send a signal, and another one shortly after, as ros2 launch and a terminal do."""
    process.send_signal(first)
    if repeat:
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    code = process.wait(15.0)
    return code, process.log.read_text()


def wait_for(process, text):
    deadline = time.monotonic() + 60.0
    while text not in process.log.read_text():
        assert process.poll() is None, process.log.read_text()
        assert time.monotonic() < deadline, f'{text!r} is not in the log'
        time.sleep(0.05)


@pytest.mark.parametrize('number', SIGNALS)
@pytest.mark.parametrize('repeat', [False, True])
def test_a_signal_while_images_arrive_ends_it_without_an_error(
    start_process, camera, listener, spin_until, number, repeat
):
    process = start_process()
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0, 60.0)
    for _ in range(3):
        camera.send()
    assert spin_until(lambda: statuses)
    for _ in range(10):  # the queue is full when the signal arrives
        camera.send()

    code, log = end(process, number, repeat=repeat)

    assert code == 0
    for word in ('Traceback', 'ERROR', 'Failed', 'rror:', 'skipped'):
        assert word not in log, log


@pytest.mark.skipif(not Path('/proc/self/maps').exists(), reason='reads the maps of Linux')
@pytest.mark.parametrize('number', SIGNALS)
def test_an_ended_node_leaves_no_shared_memory(start_process, camera, spin_until, number):
    before = set(Path('/dev/shm').glob('fastrtps_*'))  # of the camera, too
    process = start_process()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0, 60.0)
    maps = Path(f'/proc/{process.pid}/maps').read_text()
    used = {Path(name) for name in re.findall(r'/dev/shm/fastrtps_[0-9a-f]{16}', maps)}
    own = used - before
    if not own:
        pytest.skip('this middleware has no shared memory')

    end(process, number, repeat=False)

    assert not [path for path in own if path.exists()]


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_in_an_unconfigured_node_ends_it(start_process, number):
    process = start_process(*NODE, '-p', 'autostart:=false')
    wait_for(process, 'Fast DDS')  # the first line, when the node exists

    code, log = end(process, number)

    assert code == 0
    assert 'Traceback' not in log


IMPORTING = """
import os, sys
from mem3r_ros.ros import node

class SlowImport:
    def find_spec(self, name, path=None, target=None):
        if name == 'torch':
            print('importing', flush=True)
            import time
            time.sleep(30)

sys.meta_path.insert(0, SlowImport())
node.main(sys.argv)
"""


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_during_the_imports_ends_it_at_once(start_process, number):
    process = start_process(sys.executable, '-c', IMPORTING, '--ros-args')
    wait_for(process, 'importing')

    start = time.monotonic()
    code, log = end(process, number)

    assert code == 0
    assert time.monotonic() - start < 10.0
    assert 'Traceback' not in log


BLOCKED = """
import sys, time
from mem3r_ros.ros import node, process_end

process_end._CLOSE_LIMIT_S = 0.5
run = node._run

def run_blocked(watcher, args):
    from mem3r_ros.ros import lifecycle_node
    lifecycle_node.Mem3rNode.close = lambda self: time.sleep(60)
    return run(watcher, args)

node._run = run_blocked
node.main(sys.argv)
"""


def test_a_node_that_does_not_close_is_ended_after_a_limit(start_process):
    process = start_process(sys.executable, '-c', BLOCKED, '--ros-args')
    wait_for(process, 'subscribed to')

    code, log = end(process, signal.SIGINT)

    assert code == 0
    assert 'did not close in time' in log


def test_a_refused_parameter_is_one_sentence_and_exit_code_two(ros_domain):
    done = subprocess.run(
        [*NODE, '-p', 'input_policy:=some'], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith('[')]
    assert line.startswith('error: ')
    assert 'input_policy' in line


def without_home(**changes):
    hidden = ('HOME', 'ROS_HOME', 'ROS_LOG_DIR')
    return {name: value for name, value in os.environ.items() if name not in hidden} | changes


@pytest.mark.parametrize('home', [{}, {'HOME': '/proc'}, {'ROS_LOG_DIR': '/proc/logs'}])
def test_without_a_writable_home_the_node_runs_and_names_where_its_logs_are(
    start_process, tmp_path, home
):
    process = start_process(env=without_home(TMPDIR=str(tmp_path), **home))
    wait_for(process, 'subscribed to')

    code, log = end(process, signal.SIGINT)

    assert code == 0
    assert 'Traceback' not in log
    (line,) = [line for line in log.splitlines() if 'log files are written to' in line]
    assert str(tmp_path) in line
    assert 'set ROS_LOG_DIR' in line


def test_the_doctor_warns_about_a_missing_home_and_continues(ros_domain, tmp_path):
    command = [sys.executable, '-m', 'mem3r_ros.cli.main', 'doctor', '--seconds', '0.1']

    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env=without_home(TMPDIR=str(tmp_path)),
    )

    assert 'Traceback' not in done.stderr
    assert 'warning: log files: log files are written to' in done.stdout
    assert 'error: image: ' in done.stdout
