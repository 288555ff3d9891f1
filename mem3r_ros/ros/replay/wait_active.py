# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Waits until a lifecycle node is active: ``python -m mem3r_ros.ros.replay.wait_active /mem3r``.

``replay.launch.py`` starts the bag when this process ends. It asks the node for its state, because
a launch file that waits for the event of the transition can miss it: a node that starts by itself
may be active before launch has discovered its topics.
"""

from __future__ import annotations

from collections.abc import Callable
import sys
import time
from typing import NoReturn

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from mem3r_ros.ros.process_end import SignalWatcher, leave, release_middleware

_POLL_S = 0.1
_ANSWER_S = 2.0  # longest wait for one answer
_LAUNCH_ENDS_S = 1.0  # until then launch knows of the same Ctrl-C, and starts no bag


def wait_until_active(node: Node, name: str, is_running: Callable[[], bool]) -> bool:
    """
    Ask a lifecycle node for its state until it is active.

    :param node: owner of the service client; nobody else spins it.
    :param name: full name of the lifecycle node.
    :param is_running: returns False when the process ends.
    :return: whether the node is active; False at the end of the process.
    """
    client = node.create_client(GetState, f'{name}/get_state')
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    while is_running():
        if client.service_is_ready():
            answer = client.call_async(GetState.Request())
            executor.spin_until_future_complete(answer, _ANSWER_S)
            if answer.done() and answer.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
                return True
        time.sleep(_POLL_S)
    return False


def main() -> NoReturn:
    """Wait for the node of the command line, or for a signal; the exit code is 0."""
    watcher = SignalWatcher()
    watcher.close_on_signal()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    if not _run(sys.argv[1], watcher.is_running):
        time.sleep(_LAUNCH_ENDS_S)
    rclpy.try_shutdown()
    release_middleware()
    leave(0)


def _run(name: str, is_running: Callable[[], bool]) -> bool:
    node = Node('wait_active')
    is_active = wait_until_active(node, name, is_running)
    node.destroy_node()
    return is_active


if __name__ == '__main__':
    main()
