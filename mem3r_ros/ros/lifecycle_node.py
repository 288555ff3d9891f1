# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The lifecycle node: one camera in; odometry, TF, depth and points out.

configure loads the network and runs it once, activate subscribes, deactivate keeps the state of
the stream, cleanup frees the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
import time
import traceback
from typing import Any

from lifecycle_msgs.srv import ChangeState
import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model.speedups import arithmetic_of
from mem3r_ros.ros import parameters
from mem3r_ros.ros.diagnostics_publisher import DiagnosticsPublisher
from mem3r_ros.ros.frame_result import FrameResult, InputFrame
from mem3r_ros.ros.frame_statistics import FrameCounts, StageTimes
from mem3r_ros.ros.garbage import collect_and_freeze
from mem3r_ros.ros.input_refusals import InputRefusals
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.node_snapshot import NodeSnapshot
from mem3r_ros.ros.pipeline import Pipeline
from mem3r_ros.ros.publishers import Publishers
from mem3r_ros.ros.result_publisher import ResultPublisher
from mem3r_ros.ros.services import ActiveNode, Services
from mem3r_ros.ros.skipped_images import SkippedImages
from mem3r_ros.ros.stamp_monitor import StampMonitor
from mem3r_ros.ros.static_mask import StaticMask
from mem3r_ros.ros.subscriptions import Subscriptions
from mem3r_ros.ros.tracking_worker import (
    LoadNetwork,
    TrackingWorker,
    WorkerPorts,
    make_tracker,
)
from mem3r_ros.ros.transforms import Transforms
from mem3r_ros.ros.warning_log import WarningLog
from mem3r_ros.threads import runs_in_parallel
from mem3r_ros.tracker import Tracker


class Mem3rNode(LifecycleNode):
    """A lifecycle node around one tracker."""

    def __init__(
        self,
        is_running: Callable[[], bool] | None = None,
        load_network: LoadNetwork | None = None,
        **options: Any,
    ) -> None:
        """
        Declare parameters and services; the network is loaded in configure.

        :param is_running: returns False when the process ends; default: state of the context.
        :param load_network: returns the network and its device; default: a network of its own.
        :param options: passed to ``rclpy.node.Node``.
        :raises UserError: a parameter is refused.
        """
        super().__init__('mem3r', **options)
        self.config = parameters.declare(self, NodeConfig())
        self.counts = FrameCounts()
        self.stage_times = StageTimes()
        self.skipped = SkippedImages()
        self.tracker: Tracker | None = None
        self.device = ''
        self.dtype = ''
        self.worker: TrackingWorker | None = None
        self.results: ResultPublisher | None = None
        self.pipeline: Pipeline | None = None
        self.configure_error = ''
        self._is_running = is_running or self.context.ok
        self._load_network = load_network
        self.log = WarningLog(self.get_logger())
        self.refusals = InputRefusals(lambda text: self.log.warn(text))
        self._topics: Publishers | None = None
        self._transforms: Transforms | None = None
        service = self._service_change_state
        self._change_state, service.callback = service.callback, self._on_change_state
        self.add_on_set_parameters_callback(self._on_set_parameters)
        rate_hz = self.config.diagnostics.rate
        self._diagnostics = DiagnosticsPublisher(self, rate_hz, self.snapshot, self.log)
        self._triggers = Services(self, self._active)
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
        )
        self._jump_handle = self.get_clock().create_jump_callback(
            threshold, post_callback=self._on_time_jump
        )

    # --- transitions ---

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network, run it once, create the publishers; a failure is reported."""
        try:
            self.tracker, self.device = make_tracker(
                self.config, self._is_running, self._load_network
            )
            self.dtype = arithmetic_of(self.tracker.model)
            static_mask = StaticMask(self.config.input)
            self._topics = Publishers(self, self.config)
            self._transforms = Transforms(self, self.config, self.refusals)
        except UserError as error:
            self._configure_failed(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would drop it silently
            if self._is_running():  # else the process is ending
                self.get_logger().error(traceback.format_exc())
                self._configure_failed(f'{type(error).__name__}: {error}')
            return TransitionCallbackReturn.FAILURE
        self.counts, self.stage_times = FrameCounts(), StageTimes()
        self.skipped = SkippedImages()
        self.results = ResultPublisher(
            self.config, self._topics, self._transforms, self.counts, self.stage_times
        )
        stamps = StampMonitor(self.config.input.time_jump)
        self.worker = TrackingWorker(
            self.tracker,
            stamps,
            self.counts,
            self.skipped,
            self._worker_ports(),
            static_mask,
            self.config.input.max_pixels,
            runs_in_parallel(self.config.pipelined),
        )
        self.configure_error = ''
        self.get_logger().info(f'ready: {self.config.model} on {self.device}, {self.dtype}')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the threads, then subscribe."""
        collect_and_freeze()
        self.pipeline = Pipeline(
            self.config,
            self.worker,
            self.results,
            self.counts,
            self.skipped,
            self.refusals,
            self.log,
            self.report_error,
        )
        try:
            self.pipeline.start(self, self.config)
        except Exception as error:  # rclpy would drop it silently
            self.get_logger().error(f'cannot activate: {error}\n{traceback.format_exc()}')
            self._stop()
            return TransitionCallbackReturn.FAILURE
        self.results.start_clock()
        topic, policy = self.pipeline.inputs.image_topic, self.config.input_policy
        self.get_logger().info(f'subscribed to {topic} (input_policy {policy})')
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the state of the stream is kept for the next activation."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the stream, the network and its GPU memory."""
        self._free()
        collect_and_freeze()
        if self.device.startswith('cuda'):
            torch.cuda.empty_cache()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured; the node can be configured again."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def start_by_itself(self) -> None:
        """Configure and activate without a lifecycle manager (``autostart``)."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Stop the threads and free the network; used at the end of the process."""
        self._stop()
        self._free()

    # --- state ---

    @property
    def state(self) -> str:
        """Return the name of the lifecycle state."""
        return self._state_machine.current_state[1]

    @property
    def inputs(self) -> Subscriptions | None:
        """Return the subscriptions; None while the node is not active."""
        pipeline = self.pipeline
        return None if pipeline is None else pipeline.inputs

    def snapshot(self) -> NodeSnapshot:
        """Return the state for diagnostics; may be called on any thread."""
        # A transition may replace these on another thread: read each once.
        inputs, results, worker = self.inputs, self.results, self.worker
        received = None if inputs is None else inputs.snapshot()
        if received is not None and worker is not None:
            received = replace(received, warnings=(*received.warnings, *worker.warnings))
        return NodeSnapshot(
            lifecycle_state=self.state,
            configure_error=self.configure_error,
            model=self.config.model,
            device=self.device,
            dtype=self.dtype,
            update_rule=self.config.tracking.update_rule,
            max_silence_s=self.config.diagnostics.silence,
            counts=self.counts,
            skipped=self.skipped.snapshot(),
            refusals=self.refusals.warnings(),
            refused=self.refusals.counts(),
            stage_times=self.stage_times,
            input=received,
            tracking=None if results is None else results.snapshot(),
        )

    def _active(self) -> ActiveNode:
        pipeline = self.pipeline
        if pipeline is None or pipeline.inputs is None:
            raise UserError(f'the node is {self.state}; activate it first')
        return ActiveNode(pipeline, self.worker, self.results, self.config.output_directory)

    # --- callbacks ---

    def _on_set_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        """Check new values and apply them between two frames."""
        config, answer = parameters.apply(self.config, changes)
        if config is self.config:
            return answer
        self.config = config
        if self.results is not None:
            self.results.config = config
        if self.inputs is not None:
            self.inputs.config = config
        worker = self.worker
        if worker is not None and self.pipeline is not None:
            self.pipeline.tracking.post(lambda: worker.configure(config.tracking))
        elif worker is not None:
            worker.configure(config.tracking)
        return answer

    def _on_time_jump(self, jump: TimeJump) -> None:
        """Start a new session when simulated time goes back, as when a bag loops."""
        back_s = -jump.delta.nanoseconds * 1e-9
        # Smaller steps are jitter, for example of two publishers of /clock.
        if self.worker is None or back_s <= self.config.input.time_jump:
            return
        now_ns = self.get_clock().now().nanoseconds
        if not self.worker.stamps.clock_jumped_back(now_ns, time.monotonic()):
            return
        self.log.warn(f'time went back by {back_s:.1f} s: a new session starts')
        self._forget_time()
        if self.pipeline is not None:
            self.pipeline.tracking.mailbox.clear()
            self.pipeline.tracking.post(self.worker.start_session)
        else:
            self.worker.start_session()

    def _forget_time(self) -> None:
        """Drop inputs of the old time: moving transforms, masks, wheel odometry."""
        if self._transforms is not None:
            self._transforms.forget()
        inputs = self.inputs
        if inputs is not None:
            inputs.forget()

    def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        """Refuse a transition that the state does not allow; rclpy would raise and not answer."""
        state = self.state
        try:
            return self._change_state(request, response)
        except RuntimeError:  # RCLError
            name = request.transition.label or request.transition.id
            self.get_logger().error(f'transition {name} refused: the node is {state}')
            response.success = False
            return response

    def report_error(self, error: Exception) -> None:
        """Log the exception of a callback; the node continues."""
        if self._is_running():
            text = ''.join(traceback.format_exception(error))
            self.log.warn(f'unexpected error: {error!r}', text)

    # --- parts ---

    def _worker_ports(self) -> WorkerPorts:
        return WorkerPorts(
            send=self._send,
            wanted_outputs=lambda: self._topics.wanted_outputs(self.config),
            warn=self.log.warn,
            forget_time=self._forget_time,
            clock_ns=lambda: self.get_clock().now().nanoseconds,
            outside_pose=self._outside_pose,
        )

    def _outside_pose(self, frame: InputFrame) -> np.ndarray | None:
        """Return the pose of the camera by the odometry of ``outside_frame``."""
        config, transforms = self.config, self._transforms
        if not config.outside_frame or transforms is None or not frame.camera_frame:
            return None
        return transforms.T_outside_camera(
            config.outside_frame, frame.camera_frame, frame.stamp_ns, config.wait_for_transform
        )

    def _send(self, result: FrameResult) -> None:
        self.pipeline.publishing.mailbox.put(result)

    def _configure_failed(self, message: str) -> None:
        self.configure_error = message
        self.get_logger().error(message)
        self._free()

    def _stop(self) -> None:
        if self.pipeline is None:
            return
        if not self.pipeline.stop():
            self.get_logger().warning('a thread is still busy; it ends after its current frame')
        self.pipeline = None

    def _free(self) -> None:
        if self._transforms is not None:
            self._transforms.close()
            self._transforms = None
        if self._topics is not None:
            self._topics.close()
            self._topics = None
        if self.worker is not None:
            self.worker.close()
        self.worker = self.results = self.tracker = None
