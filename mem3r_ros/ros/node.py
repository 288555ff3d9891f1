# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The process of the node: ``mem3r_node``, or ``python -m mem3r_ros.ros.node --ros-args ...``.

The node itself is in ``lifecycle_node.py``; it is imported after the signals are handled.
"""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TYPE_CHECKING, NoReturn

from mem3r_ros.errors import UserError
from mem3r_ros.installed import ROS, TRACKING, require, sentence_of
from mem3r_ros.ros.log_directory import prepare_log_directory
from mem3r_ros.ros.process_end import SignalWatcher, leave

if TYPE_CHECKING:
    from rclpy.executors import Executor

    from mem3r_ros.ros.lifecycle_node import Mem3rNode

_NUM_THREADS = 4  # images, services, transitions and parameters, everything else
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

    from mem3r_ros.ros.lifecycle_node import Mem3rNode
    from mem3r_ros.ros.parameter_names import check_arguments

    warning = prepare_log_directory()
    watcher.close_on_signal()
    # The handlers of rclpy would end the context while results are still published.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = Mem3rNode(is_running=watcher.is_running)
    arguments = sys.argv if args is None else args
    if unknown := check_arguments(arguments, node.get_fully_qualified_name()):
        names = ', '.join(unknown)
        node.get_logger().warning(f'parameters that this node does not have: {names}')
    if warning:
        node.get_logger().warning(warning)
    executor = MultiThreadedExecutor(_NUM_THREADS)
    executor.add_node(node)
    if node.config.autostart:
        node.start_by_itself()
    spinning = threading.Thread(target=_spin, args=(executor, node, watcher), daemon=True)
    spinning.start()
    watcher.stop_requested.wait()
    node.close()
    executor.shutdown(timeout_sec=_END_S)
    spinning.join(_END_S)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _spin(executor: Executor, node: Mem3rNode, watcher: SignalWatcher) -> None:
    from mem3r_ros.ros.worker_thread import spin

    try:
        spin(executor, node.report_error)
    finally:
        watcher.stop_requested.set()


if __name__ == '__main__':
    main()
