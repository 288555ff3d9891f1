# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Lifecycle transitions, over the services that a lifecycle manager uses."""

import gc
import subprocess
import sys
import threading
from types import SimpleNamespace
import weakref

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from node_harness import call, values_of
import pytest
from rclpy.node import Node

from mem3r_ros.ros.replay.wait_active import wait_until_active

# The node as a process that gets SIGTERM between loading its network and running it once.
ENDED_WHILE_LOADING = """
import os, signal, sys, time
from mem3r_ros.ros import node

run = node._run

def run_with_signal(watcher, args):
    from mem3r_ros.ros import tracking_worker
    load_backend = tracking_worker.load_backend

    def load_and_send_signal(config):
        loaded = load_backend(config)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        return loaded

    tracking_worker.load_backend = load_and_send_signal
    tracking_worker.Tracker.warm_up = lambda *size: print('warmed up')
    return run(watcher, args)

node._run = run_with_signal
node.main(sys.argv)
"""


class Ring:
    """Refers to itself, so that only the garbage collector frees it."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def manager(make_node, spin_until):
    """Return a function that asks for a transition, as nav2's lifecycle manager does."""
    node = make_node('manager')

    def change(name):
        request = ChangeState.Request(
            transition=Transition(id=getattr(Transition, f'TRANSITION_{name.upper()}'))
        )
        success = call(node, spin_until, ChangeState, 'mem3r/change_state', request).success
        state = call(node, spin_until, GetState, 'mem3r/get_state').current_state.label
        return success, state

    return change


def subscriptions(node):
    return dict(node.get_subscriber_names_and_types_by_node('mem3r', '/'))


def test_without_autostart_it_stays_unconfigured_and_loads_nothing(start_node):
    node = start_node(autostart=False)

    assert node.state == 'unconfigured'
    assert node.tracker is None
    assert '/image' not in subscriptions(node)


def test_each_transition_leads_to_its_state(start_node, manager):
    node = start_node(autostart=False)

    assert manager('configure') == (True, 'inactive')
    assert node.tracker is not None
    assert '/image' not in subscriptions(node)
    assert manager('activate') == (True, 'active')
    assert '/image' in subscriptions(node)
    assert manager('deactivate') == (True, 'inactive')
    assert '/image' not in subscriptions(node)
    assert node.tracker is not None
    assert manager('cleanup') == (True, 'unconfigured')
    assert node.tracker is None
    assert manager('configure') == (True, 'inactive')
    assert manager('inactive_shutdown') == (True, 'finalized')


def test_a_collection_of_garbage_leaves_the_libraries_out_while_it_is_active(start_node, manager):
    start_node(autostart=False)
    manager('configure')
    gc.unfreeze()
    num_objects = len(gc.get_objects())

    manager('activate')

    assert len(gc.get_objects()) < 0.1 * num_objects


def test_cleanup_frees_what_was_left_out(start_node, manager):
    start_node(autostart=False)
    manager('configure')
    ring = Ring()
    is_alive = weakref.ref(ring)
    manager('activate')
    del ring

    manager('deactivate')
    manager('cleanup')

    assert is_alive() is None


def test_a_missing_model_is_reported_and_leaves_it_unconfigured(start_node, manager):
    node = start_node(autostart=False, model='/nowhere/weights.safetensors')

    success, state = manager('configure')

    assert (success, state) == (False, 'unconfigured')
    assert '/nowhere/weights.safetensors' in node.configure_error


def test_autostart_with_a_missing_model_reports_it_and_the_node_continues(
    start_node, listener, spin_until
):
    from diagnostic_msgs.msg import DiagnosticArray

    received = listener.subscribe(DiagnosticArray, '/diagnostics')
    start_node(model='/nowhere/weights.safetensors', diagnostics__rate=10.0)

    def errors():
        statuses = [status for message in received for status in message.status]
        return [s for s in statuses if s.name == 'mem3r: lifecycle' and s.level == b'\x02']

    assert spin_until(errors)
    assert '/nowhere/weights.safetensors' in errors()[-1].message


def test_a_sigterm_while_the_network_loads_ends_it_quietly(ros_domain, model_file):
    command = [
        sys.executable,
        '-c',
        ENDED_WHILE_LOADING,
        '--ros-args',
        '-p',
        f'model:={model_file}',
    ]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr
    assert 'ERROR' not in done.stderr
    assert 'warmed up' not in done.stdout


def test_deactivation_keeps_the_stream_and_odometry_continues(
    start_node, camera, listener, spin_until, manager
):
    node = start_node()
    odom = listener.subscribe(Odometry, 'odom')
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)
    for count in range(3):
        camera.send()
        assert spin_until(lambda count=count: len(odom) > count)

    manager('deactivate')
    camera.send()
    manager('activate')
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)
    camera.send()

    assert spin_until(lambda: len(odom) >= 4)
    assert values_of(statuses[-1])['session'] == '1'
    before, after = odom[2].pose.pose.position, odom[3].pose.pose.position
    assert abs(after.x - before.x) + abs(after.y - before.y) < 1.0
    assert len(node.results.trajectory) == 4


def test_a_transition_that_the_state_does_not_allow_is_refused_and_the_node_continues(
    start_node, manager
):
    start_node()

    assert manager('configure') == (False, 'active')
    assert manager('deactivate') == (True, 'inactive')


def test_it_can_be_configured_again_and_again(start_node, manager):
    node = start_node(autostart=False)

    for _ in range(3):
        assert manager('configure') == (True, 'inactive')
        assert manager('activate') == (True, 'active')
        assert manager('deactivate') == (True, 'inactive')
        assert manager('cleanup') == (True, 'unconfigured')

    sent = dict(node.get_publisher_names_and_types_by_node('mem3r', '/'))
    assert '/odom' not in sent


@pytest.fixture
def process_of(make_node, ros_executor, tmp_path, monkeypatch):
    """Return the parent's view of a node that runs in this process."""
    from mem3r_ros.ros.replay import node_process

    monkeypatch.setattr(node_process, '_REPEAT_S', 0.3)
    process = node_process.NodeProcess.__new__(node_process.NodeProcess)
    process._process = SimpleNamespace(poll=lambda: None)
    process.log_file = tmp_path / 'node.log'
    process.log_file.write_text('')
    return lambda: process.activate(make_node('parent'), ros_executor)


def lose_answers(node, count):
    """Drop the first answers to change_state, as DDS does before it has discovered the reader."""
    service = node._service_change_state
    send, lost = service.send_response, []

    def send_or_drop(response, header):
        if len(lost) < count:
            lost.append(response.success)
        else:
            send(response, header)

    service.send_response = send_or_drop
    return lost


def test_a_lost_answer_to_configure_does_not_stop_the_start(start_node, process_of):
    node = start_node(autostart=False)
    lost = lose_answers(node, 1)

    process_of()

    assert lost == [True]
    assert node.state == 'active'


@pytest.mark.parametrize('num_lost', [0, 1, 2])
def test_a_failure_to_configure_is_reported_even_if_its_answer_is_lost(
    start_node, process_of, num_lost
):
    from mem3r_ros.ros.replay.node_process import NodeFailed

    node = start_node(autostart=False, model='/nowhere/weights.safetensors')
    lost = lose_answers(node, num_lost)

    with pytest.raises(NodeFailed, match='cannot configure'):
        process_of()

    assert lost == [False] * num_lost
    assert node.state == 'unconfigured'


def test_a_replay_waits_until_the_node_is_active(start_node, manager, ros_context):
    start_node(autostart=False)
    waiting = Node('waiting', context=ros_context)
    result = []
    thread = threading.Thread(
        target=lambda: result.append(wait_until_active(waiting, '/mem3r', lambda: True)),
        daemon=True,
    )
    thread.start()
    manager('configure')
    thread.join(0.5)
    assert thread.is_alive()

    manager('activate')

    thread.join(20.0)
    assert result == [True]


def test_the_wait_for_an_active_node_ends_with_the_process(ros_context):
    node = Node('waiting', context=ros_context)

    assert not wait_until_active(node, '/nobody', lambda: False)
