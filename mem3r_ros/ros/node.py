# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The process of the node: ``mem3r_node``, or ``python -m mem3r_ros.ros.node --ros-args ...``.

``mem3r_node --ros-args ... -- --next-node --ros-args ...`` runs several nodes in one process, each
with its own ROS arguments; nodes with the same network settings share one network.
The node itself is in ``lifecycle_node.py``; it is imported after the signals are handled.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
import sys
import threading
import traceback
from typing import TYPE_CHECKING, NoReturn

from mem3r_ros.errors import UserError
from mem3r_ros.installed import ROS, TRACKING, require, sentence_of
from mem3r_ros.ros.log_directory import prepare_log_directory
from mem3r_ros.ros.process_end import SignalWatcher, leave, release_middleware
from mem3r_ros.threads import share_interpreter

if TYPE_CHECKING:
    from rclpy.executors import Executor

    from mem3r_ros.ros.lifecycle_node import Mem3rNode

NEXT_NODE = '--next-node'  # between the arguments of two nodes
_NUM_THREADS = 4  # a node: images, services, transitions and parameters, everything else
_END_S = 2.0  # longest wait for the callbacks that still run


def main(args: list[str] | None = None) -> NoReturn:
    """
    Run the node until SIGINT or SIGTERM, then exit with code 0.

    Code 2: a parameter is refused, or a package is missing.

    :param args: command line with --ros-args; default: that of the process.
    """
    watcher = SignalWatcher()
    code = 1
    try:
        code = _run(watcher, args)
        release_middleware()
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        code = 2
    except ImportError as error:
        sentence = sentence_of('the node', error)
        if sentence is None:
            traceback.print_exc()
        else:
            print(f'error: {sentence}', file=sys.stderr)
            code = 2
    except Exception:
        traceback.print_exc()
    finally:
        leave(code)


def _run(watcher: SignalWatcher, args: list[str] | None) -> int:
    require('the node', (*ROS, *TRACKING))
    import rclpy
    from rclpy.executors import MultiThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    warning = prepare_log_directory()
    watcher.close_on_signal()
    share_interpreter()
    groups = split_arguments(sys.argv if args is None else args)
    # The handlers of rclpy would end the context while results are still published.
    rclpy.init(args=groups[0], signal_handler_options=SignalHandlerOptions.NO)
    nodes = _make_nodes(groups, watcher)
    executor = MultiThreadedExecutor(_NUM_THREADS * len(nodes))
    for node in nodes:
        executor.add_node(node)
        if warning:
            node.get_logger().warning(warning)
            warning = ''
        if node.config.autostart:
            node.start_by_itself()
    spinning = threading.Thread(target=_spin, args=(executor, nodes[0], watcher), daemon=True)
    spinning.start()
    watcher.stop_requested.wait()
    # At the same time: each waits for the image that it tracks.
    with ThreadPoolExecutor(len(nodes)) as closing:
        list(closing.map(lambda node: node.close(), nodes))
    executor.shutdown(timeout_sec=_END_S)
    spinning.join(_END_S)
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()
    return 0


def split_arguments(arguments: Sequence[str]) -> list[list[str]]:
    """
    Return the arguments of each node of the process.

    :param arguments: of the process; ``--next-node`` separates the nodes.
    """
    groups: list[list[str]] = [[]]
    for argument in arguments:
        if argument == NEXT_NODE:
            groups.append([])
        else:
            groups[-1].append(argument)
    return groups


def _make_nodes(groups: list[list[str]], watcher: SignalWatcher) -> list[Mem3rNode]:
    """
    Create a node for each group of arguments.

    :raises UserError: a parameter is refused, or two nodes have one name.
    """
    from mem3r_ros.ros.lifecycle_node import Mem3rNode
    from mem3r_ros.ros.network_pool import NetworkPool
    from mem3r_ros.ros.parameter_names import check_arguments

    load = NetworkPool().load if len(groups) > 1 else None
    nodes: dict[str, Mem3rNode] = {}
    for arguments in groups:
        # The arguments of the process are those of the first node: no other node may use them.
        own = {'cli_args': arguments, 'use_global_arguments': False} if load else {}
        node = Mem3rNode(watcher.is_running, load, **own)
        name = node.get_fully_qualified_name()
        if name in nodes:
            raise UserError(
                f'two nodes of this process are {name}; give each its own namespace, as in '
                f'--ros-args -r __ns:=/front -- {NEXT_NODE} --ros-args -r __ns:=/rear'
            )
        nodes[name] = node
        if unknown := check_arguments(arguments, name):
            names = ', '.join(unknown)
            node.get_logger().warning(f'parameters that this node does not have: {names}')
    return list(nodes.values())


def _spin(executor: Executor, node: Mem3rNode, watcher: SignalWatcher) -> None:
    from mem3r_ros.ros.worker_thread import spin

    try:
        spin(executor, node.report_error)
    finally:
        watcher.stop_requested.set()


if __name__ == '__main__':
    main()
