# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The node's services: Trigger in, success and a sentence out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import os
from pathlib import Path
import traceback

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from mem3r_ros.errors import UserError

STATE_FILE = 'state.safetensors'
TRAJECTORY_FILE = 'trajectory.txt'
MAP_FILE = 'map.ply'


class Services:
    """Offers one Trigger service for each action."""

    def __init__(self, node: Node, actions: Mapping[str, Callable[[], str]]) -> None:
        """
        Offer them.

        :param node: their owner.
        :param actions: name of the service, without ``~/``, and what it does; an action returns
            the message of success and raises UserError where it fails.
        """
        self._logger = node.get_logger()
        # A service may wait for the worker; in a group of their own they hold up only each other.
        group = MutuallyExclusiveCallbackGroup()
        for name, action in actions.items():
            node.create_service(
                Trigger, f'~/{name}', self._answering(name, action), callback_group=group
            )

    def _answering(self, name: str, action: Callable[[], str]) -> Callable:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message = action()
                response.success = True
                self._logger.info(f'{name}: {response.message}')
            except (UserError, OSError) as error:
                response.message = str(error)
                self._logger.error(f'{name}: {response.message}')
            except Exception as error:  # it would end the node, and who asked would wait for ever
                response.message = f'{type(error).__name__}: {error}'
                self._logger.error(f'{name}: {response.message}\n{traceback.format_exc()}')
            return response

        return answer


def output_path(directory: str, name: str) -> Path:
    """
    Return where a service writes or reads.

    :param directory: parameter ``output_directory``; empty: mem3r under ROS_HOME.
    :param name: file name.
    :raises UserError: a home directory is asked for that cannot be found.
    """
    folder = Path(directory or os.environ.get('ROS_HOME') or '~/.ros')
    try:
        folder = folder.expanduser()
    except RuntimeError as error:
        raise UserError(
            f'{folder} has no home directory on this machine: set output_directory to an '
            'absolute path, or the environment variable HOME or ROS_HOME'
        ) from error
    return folder / name if directory else folder / 'mem3r' / name
