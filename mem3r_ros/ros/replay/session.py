# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Plays a bag through the real node over its topics, records the results, writes the report.

No image is lost: the topics are reliable, the node keeps all images, and only a few are unanswered
at any time. The run ends when every image has its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
import logging
from pathlib import Path
import time
from types import SimpleNamespace
from typing import Any

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from mem3r_ros.data import open_sequence
from mem3r_ros.errors import UserError
from mem3r_ros.interruption import uninterrupted
from mem3r_ros.reports import RunRecorder, RunResult
from mem3r_ros.reports.balance import Balance
from mem3r_ros.ros.conversions import frame_name
from mem3r_ros.ros.log_directory import prepare_log_directory
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.parameter_names import check_names, parameters_of_file
from mem3r_ros.ros.replay.bag_player import BagPlayer, CameraTopics, find_topics
from mem3r_ros.ros.replay.node_process import LOG_FILE, NODE_NAME, NodeProcess
from mem3r_ros.ros.replay.private_domain import claim_domain, enter_domain
from mem3r_ros.ros.replay.result_recorder import ResultRecorder

_LOGGER = logging.getLogger(__name__)

# Maximum number of unanswered images; the queues are longer, so no message is overwritten.
_WINDOW = 3
_CONNECT_S = 30.0
_SILENCE_S = 120.0
_END_S = 2.0
# Both sides discover a connection within milliseconds of each other, not at the same time.
_SETTLE_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayOptions:
    """Choices of the user."""

    path: Path
    output_dir: Path
    title: str = ''
    image_topic: str | None = None
    model: str | None = None
    params_file: Path | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    domain: int | None = None  # None: a private one


# Called with a title and the number of images; returns the context of a progress bar.
ShowProgress = Callable[[str, int], AbstractContextManager[Any]]


def replay(options: ReplayOptions, show_progress: ShowProgress | None = None) -> RunResult:
    """
    Run the node over a bag.

    :param options: bag, output directory and settings.
    :param show_progress: returns an object whose ``advance`` is called for each answer.
    :return: the result; its files are in ``options.output_dir``.
    :raises UserError: the bag is not usable, the node failed, or there was no pose.
    """
    if options.params_file is not None and not options.params_file.is_file():
        raise UserError(f'no parameter file {options.params_file}; check --params-file')
    given = _given_parameters(options)
    base_frame = frame_name(str(given.get('base_frame', NodeConfig().base_frame)))
    max_pixels = given.get('input.max_pixels', NodeConfig().input.max_pixels)
    topics = find_topics(options.path, options.image_topic, base_frame)
    truth = open_sequence(options.path, topics.image).truth
    parameters = _parameters(options, topics) | given
    enter_domain(claim_domain() if options.domain is None else options.domain)
    recorder = RunRecorder(
        options.output_dir,
        title=options.title or f'Replay of {options.path.name}',
        source=str(options.path),
        model=str(parameters.get('model', NodeConfig().model)),
        config=parameters,
    )
    if warning := prepare_log_directory():
        _LOGGER.warning(warning)
    # The handlers of rclpy would end the context before the node is stopped.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node('mem3r_replay', use_global_arguments=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        receiver = ResultRecorder(node, recorder, base_frame, topics.frame_id)
        remappings = _remappings(topics)
        with NodeProcess(parameters, remappings, params_file=options.params_file) as process:
            run = _ReplayRun(node, executor, process, receiver)
            run.activate()
            recorder.begin()  # a node that does not start leaves the folder as it was
            process.copy_log_to(options.output_dir / LOG_FILE)
            with (show_progress or _no_bar)('replay', topics.num_images) as bar:
                receiver.on_answer = bar.advance
                player = BagPlayer(node, options.path, topics, max_pixels)
                try:
                    run.play(player, recorder)
                except KeyboardInterrupt as error:
                    run.interrupted = error  # the results so far are written before the end
    finally:
        executor.shutdown(timeout_sec=_END_S)
        node.destroy_node()
        rclpy.try_shutdown()
    result = _finish(recorder, receiver, run, truth, topics)
    if run.interrupted is not None:
        raise run.interrupted
    return result


class _ReplayRun:
    """One pass over the bag."""

    def __init__(
        self, node: Node, executor: Executor, process: NodeProcess, receiver: ResultRecorder
    ) -> None:
        self.num_sent = 0
        self.num_undecoded = 0
        self.wall_time_s = 0.0
        self.interrupted: KeyboardInterrupt | None = None
        self._node = node
        self._executor = executor
        self._process = process
        self._receiver = receiver

    def activate(self) -> None:
        """Configure and activate the node; loading takes a while."""
        self._process.activate(self._node, self._executor)

    def play(self, player: BagPlayer, recorder: RunRecorder) -> None:
        """Publish everything and wait for every answer."""
        self._wait(
            lambda: player.has_subscribers() and self._receiver.is_connected(),
            _CONNECT_S,
            'the topics of the node did not connect',
        )
        self._spin_for(_SETTLE_S)
        started_s = time.monotonic()
        try:
            for played in player.play(self._wait_for_turn):
                self.num_sent += 1
                if played.image is not None:
                    recorder.add_image(played.stamp_ns, played.image)
                else:
                    self.num_undecoded += 1
            self._wait_for_answers(self.num_sent)
        finally:
            self.wall_time_s = time.monotonic() - started_s
            self._receiver.place_cameras()

    def _wait_for_turn(self) -> None:
        self._wait_for_answers(self.num_sent - _WINDOW + 1)
        # Read the messages that have arrived meanwhile, so that answers do not pile up.
        self._spin_once(0.0)

    def _wait_for_answers(self, count: int) -> None:
        self._wait(
            lambda: self._receiver.num_answered >= count,
            _SILENCE_S,
            f'the node stopped answering after {self._receiver.num_answered} images',
        )

    def _wait(self, is_done: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Spin until a condition holds; each answer of the node restarts the time."""
        deadline = time.monotonic() + timeout_s
        answered = self._receiver.num_answered
        while not is_done():
            self._spin_once(0.05)
            if self._receiver.num_answered != answered:
                answered = self._receiver.num_answered
                deadline = time.monotonic() + timeout_s
                continue
            self._process.check()
            if time.monotonic() > deadline:
                raise self._process.failure(what)

    def _spin_for(self, duration_s: float) -> None:
        deadline = time.monotonic() + duration_s
        while time.monotonic() < deadline:
            self._spin_once(0.02)

    def _spin_once(self, timeout_s: float) -> None:
        with uninterrupted():  # a result is recorded as a whole
            self._executor.spin_once(timeout_sec=timeout_s)


def _given_parameters(options: ReplayOptions) -> dict[str, Any]:
    """Return what the user has set, in the file and then on the command line, as the node does."""
    given: dict[str, Any] = {}
    if options.params_file is not None:
        given = parameters_of_file(options.params_file, NODE_NAME)
    check_names(options.parameters, '--param')
    return given | dict(options.parameters)


def _parameters(options: ReplayOptions, topics: CameraTopics) -> dict[str, Any]:
    """Return the parameters that a recording needs; those of the user override them."""
    parameters: dict[str, Any] = {
        'autostart': False,
        'use_sim_time': True,
        'input_policy': 'all',
        'image_transport': 'compressed' if topics.is_compressed else 'raw',
        'mount': 'tf' if topics.has_mount else 'standalone',
        'wait_for_transform': 1.0,
    }
    if options.model is not None:
        parameters['model'] = options.model
    return parameters


def _remappings(topics: CameraTopics) -> dict[str, str]:
    image = 'image/compressed' if topics.is_compressed else 'image'
    remappings = {image: topics.image}
    if topics.info is not None:
        remappings['camera_info'] = topics.info
    return remappings


@contextmanager
def _no_bar(title: str, total: int) -> Iterator[Any]:
    yield SimpleNamespace(advance=lambda: None)


def _finish(
    recorder: RunRecorder,
    receiver: ResultRecorder,
    run: _ReplayRun,
    truth: Any,
    topics: CameraTopics,
) -> RunResult:
    if not len(recorder.trajectory()):
        if run.interrupted is not None:
            raise run.interrupted
        problem = receiver.last_problem or 'the node sent no odometry'
        raise UserError(f'no pose from {run.num_sent} images: {problem}')
    balance = Balance(
        promised=topics.num_images,
        found=run.num_sent,
        read=run.num_sent - run.num_undecoded,
        tracked=receiver.num_answered - receiver.num_skipped,
        posed=len(recorder.trajectory()),
        published=receiver.num_published,
        refused=receiver.refused.by_reason(),
        is_interrupted=run.interrupted is not None,
    )
    return recorder.finish(
        truth=truth,
        num_images=run.num_sent,
        num_skipped=receiver.num_skipped,
        wall_time_s=run.wall_time_s,
        notes=[
            *receiver.refused.sentences(),
            *balance.sentences(),
            *receiver.without_pose.sentences('poses'),
        ],
        balance=balance,
    )
