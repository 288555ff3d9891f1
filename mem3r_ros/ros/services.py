# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The services of the node: std_srvs/Trigger, answered with success and one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path
import traceback

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from mem3r_ros.errors import UserError
from mem3r_ros.ros.pipeline import Pipeline
from mem3r_ros.ros.result_publisher import ResultPublisher
from mem3r_ros.ros.tracking_worker import TrackingWorker

STATE_FILE = 'state.safetensors'
TRAJECTORY_FILE = 'trajectory.txt'
MAP_FILE = 'map.ply'


@dataclass(frozen=True, slots=True)
class ActiveNode:
    """The parts of an active node that the services use."""

    pipeline: Pipeline
    worker: TrackingWorker
    results: ResultPublisher
    output_directory: str


class Services:
    """Offers one Trigger service for each action; an inactive node answers with an error."""

    def __init__(self, node: Node, active: Callable[[], ActiveNode]) -> None:
        """
        Create the services.

        :param node: owner of the services.
        :param active: returns the parts of the node; raises UserError while it is not active.
        """
        self._logger = node.get_logger()
        self._active = active
        # A service may wait for a thread; in their own group services delay only each other.
        group = MutuallyExclusiveCallbackGroup()
        for action in (
            self.reset,
            self.pause,
            self.resume,
            self.set_pose,
            self.set_distance,
            self.save_state,
            self.load_state,
            self.save_trajectory,
            self.save_map,
        ):
            name = action.__name__
            callback = self._answering(name, action)
            node.create_service(Trigger, f'~/{name}', callback, callback_group=group)

    def reset(self, active: ActiveNode) -> str:
        """Clear memory, path and map; odometry continues from the last pose."""
        answer = active.pipeline.tracking.call(active.worker.reset)
        active.pipeline.publishing.call(active.results.reset)
        active.pipeline.inputs.forget()
        return answer

    def pause(self, active: ActiveNode) -> str:
        """Ignore images until ``resume``; the state of the stream is kept."""
        active.pipeline.inputs.is_paused = True
        return 'paused; images are ignored until resume'

    def resume(self, active: ActiveNode) -> str:
        """Process images again."""
        active.pipeline.inputs.is_paused = False
        return 'resumed'

    def set_pose(self, active: ActiveNode) -> str:
        """Move odometry to ``initial_base_pose``; path and map are cleared."""
        return active.pipeline.publishing.call(active.results.set_initial_pose)

    def set_distance(self, active: ActiveNode) -> str:
        """Set the scale by the true depth ``tracking.scale.distance_m`` at the image centre."""
        return active.pipeline.tracking.call(active.worker.set_distance)

    def save_state(self, active: ActiveNode) -> str:
        """Save the state of the stream to a file."""
        path = output_path(active.output_directory, STATE_FILE)
        return active.pipeline.tracking.call(lambda: active.worker.save(path))

    def load_state(self, active: ActiveNode) -> str:
        """Load a saved state; odometry continues from the last pose."""
        path = output_path(active.output_directory, STATE_FILE)
        answer = active.pipeline.tracking.call(lambda: active.worker.restore(path))
        return answer + active.worker.place_after_load()

    def save_trajectory(self, active: ActiveNode) -> str:
        """Save the trajectory of the base as a TUM file."""
        path = output_path(active.output_directory, TRAJECTORY_FILE)
        return active.pipeline.publishing.call(lambda: active.results.save_trajectory(path))

    def save_map(self, active: ActiveNode) -> str:
        """Save the map as a PLY file."""
        path = output_path(active.output_directory, MAP_FILE)
        return active.pipeline.publishing.call(lambda: active.results.save_map(path))

    def _answering(self, name: str, action: Callable[[ActiveNode], str]) -> Callable:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message = action(self._active())
                response.success = True
                self._logger.info(f'{name}: {response.message}')
            except (UserError, OSError) as error:
                response.message = str(error)
                self._logger.error(f'{name}: {response.message}')
            except Exception as error:  # else it would end the node and leave the caller waiting
                response.message = f'{type(error).__name__}: {error}'
                self._logger.error(f'{name}: {response.message}\n{traceback.format_exc()}')
            return response

        return answer


def output_path(directory: str, name: str) -> Path:
    """
    Return the path of a file that a service writes or reads.

    :param directory: parameter ``output_directory``; empty: mem3r under ROS_HOME.
    :param name: file name.
    :raises UserError: the path needs a home directory that does not exist.
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
