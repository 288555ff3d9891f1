# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The threads and subscriptions of an active node."""

from __future__ import annotations

from collections.abc import Callable

from geometry_msgs.msg import PoseWithCovarianceStamped
import numpy as np
from rclpy.node import Node

from mem3r_ros.errors import UserError
from mem3r_ros.ros.conversions import frame_name, matrix_from_pose_message
from mem3r_ros.ros.frame_statistics import FrameCounts
from mem3r_ros.ros.input_refusals import InputRefusals
from mem3r_ros.ros.mailbox import Mailbox
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.result_publisher import ResultPublisher
from mem3r_ros.ros.skipped_images import SkippedImages
from mem3r_ros.ros.subscriptions import Subscriptions
from mem3r_ros.ros.tracking_worker import TrackingWorker
from mem3r_ros.ros.warning_log import WarningLog
from mem3r_ros.ros.worker_thread import WorkerThread

_END_S = 10.0  # longest wait for the image that is finished
_MAX_WAITING_RESULTS = 2  # more would only delay odometry


class Pipeline:
    """
    Images to results: subscriptions, the tracking thread and the publishing thread.

    The tracking thread owns the network; the publishing thread publishes beside it.
    """

    def __init__(
        self,
        config: NodeConfig,
        worker: TrackingWorker,
        results: ResultPublisher,
        counts: FrameCounts,
        skipped: SkippedImages,
        refusals: InputRefusals,
        log: WarningLog,
        on_error: Callable[[Exception], None],
    ) -> None:
        """
        Prepare the threads; ``start`` starts them.

        :param config: parameters.
        :param worker: tracks images.
        :param results: publishes results.
        :param counts: images by outcome.
        :param skipped: images that were not tracked, by reason.
        :param refusals: refused messages beside the images.
        :param log: gets the answer to each pose_hint and set_pose.
        :param on_error: called with each unexpected exception of a thread.
        """
        is_lossless = config.input_policy == 'all'
        capacity = config.input.queue_size if is_lossless else 1
        images = Mailbox(capacity, overwrite=not is_lossless, on_drop=self._count_dropped)
        waiting = Mailbox(_MAX_WAITING_RESULTS, overwrite=False)
        self.publishing = WorkerThread('publish', waiting, results.handle, on_error)
        self.tracking = WorkerThread('track', images, worker.handle, on_error)
        self.inputs: Subscriptions | None = None
        self._worker = worker
        self._results = results
        self._counts = counts
        self._skipped = skipped
        self._refusals = refusals
        self._log = log
        self._odom_frame = config.odom_frame

    def start(self, node: Node, config: NodeConfig) -> None:
        """
        Start the threads, then subscribe.

        :param node: owner of the subscriptions.
        :param config: current parameters.
        """
        self.publishing.start()
        self.tracking.start()
        self.inputs = Subscriptions(
            node,
            config,
            self.tracking.mailbox,
            self._counts,
            self._skipped,
            self._refusals,
            self._take_hint,
            self._set_pose,
        )

    def stop(self) -> bool:
        """
        Unsubscribe first, then let the threads finish their items.

        :return: whether both threads have ended.
        """
        self.tracking.mailbox.close()
        if self.inputs is not None:
            self.inputs.close()
        # In this order: the tracking thread passes its last results on.
        return all([self.tracking.stop(), self._worker.wait(_END_S), self.publishing.stop()])

    def _take_hint(self, message: PoseWithCovarianceStamped) -> None:
        """Use a pose of the base from outside, unless odometry would jump."""
        self._pass_on('pose_hint', message, self._results.take_hint)

    def _set_pose(self, message: PoseWithCovarianceStamped) -> None:
        """Move odometry to a pose of the base from outside."""
        self._pass_on('set_pose', message, self._results.set_pose)

    def _pass_on(
        self, topic: str, message: PoseWithCovarianceStamped, use: Callable[[np.ndarray], str]
    ) -> None:
        """Let the publishing thread use a pose, and log its answer."""
        frame = frame_name(message.header.frame_id)
        try:
            if frame not in ('', self._odom_frame):
                raise UserError(f'it is in {frame}; publish it in {self._odom_frame}')
            T_odom_base = matrix_from_pose_message(message.pose.pose, 'its pose')
        except UserError as error:
            self._refusals.refuse(topic, error)
            return
        self._refusals.accept(topic)
        self.publishing.post(lambda: self._log.warn(f'{topic}: {use(T_odom_base)}'))

    def _count_dropped(self) -> None:
        self._counts.dropped += 1
        self._skipped.drop('replaced by a newer image')
