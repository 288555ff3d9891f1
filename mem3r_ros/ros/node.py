# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The node: one camera in; odometry, TF, depth and points out.

Callbacks put images into a mailbox. One worker thread owns the network and tracks them; another
thread publishes beside it. Configure loads and warms up, activate subscribes, deactivate keeps
the state of the stream, cleanup frees the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import gc
from pathlib import Path
import signal
import sys
import time
import traceback
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.ros import parameters
from mem3r_ros.ros.backend import make_tracker
from mem3r_ros.ros.conversions import matrix_from_pose_message
from mem3r_ros.ros.diagnostics_publisher import Reporter
from mem3r_ros.ros.frame_result import Result
from mem3r_ros.ros.frame_statistics import FrameCounts, StageTimes
from mem3r_ros.ros.mailbox import Mailbox
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.publishers import Publishers
from mem3r_ros.ros.result_publisher import Output
from mem3r_ros.ros.services import (
    MAP_FILE,
    STATE_FILE,
    TRAJECTORY_FILE,
    Services,
    output_path,
)
from mem3r_ros.ros.stamp_monitor import Session
from mem3r_ros.ros.subscriptions import Inputs
from mem3r_ros.ros.tracking_worker import Work
from mem3r_ros.ros.transforms import Transforms
from mem3r_ros.ros.worker_thread import MailThread, spin
from mem3r_ros.tracker import Tracker

_NUM_THREADS = 4  # images, services, transitions and parameters, all the rest
_RESULTS_WAITING = 2  # more would only make odometry late


class Mem3rNode(LifecycleNode):
    """A managed node around one tracker; it composes and never computes."""

    def __init__(self, **options: Any) -> None:
        """
        Declare parameters and services; nothing is loaded yet.

        :param options: as of ``rclpy.node.Node``.
        :raises UserError: a parameter is refused.
        """
        super().__init__('mem3r', **options)
        self.config = parameters.declare(self, NodeConfig())
        self.counts = FrameCounts()
        self.stage_times = StageTimes()
        self.tracker: Tracker | None = None
        self.device = ''
        self.work: Work | None = None
        self.output: Output | None = None
        self.inputs: Inputs | None = None
        self.configure_error = ''
        self._topics: Publishers | None = None
        self._transforms: Transforms | None = None
        self._worker: MailThread | None = None
        self._publishing: MailThread | None = None
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.reporter = Reporter(self)
        self._triggers = Services(
            self,
            {
                'reset': self.reset,
                'pause': self.pause,
                'resume': self.resume,
                'save_state': self.save_state,
                'load_state': self.load_state,
                'save_trajectory': self.save_trajectory,
                'save_map': self.save_map,
            },
        )
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
        )
        self._jump_handle = self.get_clock().create_jump_callback(
            threshold, post_callback=self._on_time_jump
        )

    # --- transitions ---

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network, run it once, open the topics; a failure leaves it unconfigured."""
        try:
            self.tracker, self.device = make_tracker(self.config, self.context.ok)
            self._topics = Publishers(self, self.config)
            self._transforms = Transforms(self, self.config)
        except UserError as error:
            self._configure_failed(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would drop it without a word
            if self.context.ok():  # else it was told to end meanwhile, and nothing is wrong
                self.get_logger().error(traceback.format_exc())
                self._configure_failed(f'{type(error).__name__}: {error}')
            return TransitionCallbackReturn.FAILURE
        self.counts, self.stage_times = FrameCounts(), StageTimes()
        self.output = Output(
            self.config, self._topics, self._transforms, self.counts, self.stage_times
        )
        self.work = Work(
            self.tracker,
            Session(self.config.input.time_jump),
            self._send,
            self.counts,
            lambda: self._topics.wanted(self.config),
            self.reporter.tell,
            self._forget_time,
            lambda: self.get_clock().now().nanoseconds,
        )
        self.configure_error = ''
        self.get_logger().info(f'ready: {self.config.model} on {self.device}')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the threads, then subscribe."""
        try:
            self._start()
        except Exception as error:  # rclpy would drop it without a word
            self.get_logger().error(f'cannot activate: {error}\n{traceback.format_exc()}')
            self._stop()
            return TransitionCallbackReturn.FAILURE
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; what the stream has learned is kept for the next activation."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the stream and free the network and its GPU memory."""
        self._free()
        gc.collect()
        if self.device.startswith('cuda'):
            torch.cuda.empty_cache()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured, from where it can be configured anew."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def start_by_itself(self) -> None:
        """Configure and activate without a lifecycle manager (``autostart``)."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Stop the threads and free the GPU; for the end of the process."""
        self._stop()
        self._free()

    @property
    def state(self) -> str:
        """Return the name of the lifecycle's state."""
        return self._state_machine.current_state[1]

    # --- services ---

    def reset(self) -> str:
        """Forget memory, path and map; odometry goes on from the last pose."""
        answer = self._on_worker(lambda: self.work.reset())
        self._on_publishing(self.output.forget)
        return answer

    def pause(self) -> str:
        """Ignore images until ``resume``; the stream is kept."""
        self._active_inputs().is_paused = True
        return 'paused; images are ignored until resume'

    def resume(self) -> str:
        """Listen to images again."""
        self._active_inputs().is_paused = False
        return 'resumed'

    def save_state(self) -> str:
        """Write what the stream has learned."""
        path = self._path(STATE_FILE)
        return self._on_worker(lambda: self.work.save(path))

    def load_state(self) -> str:
        """Take up a stream that was saved; odometry goes on from the last pose."""
        path = self._path(STATE_FILE)
        return self._on_worker(lambda: self.work.restore(path))

    def save_trajectory(self) -> str:
        """Write the way of the base as a TUM file."""
        path = self._path(TRAJECTORY_FILE)
        return self._on_publishing(lambda: self.output.save_trajectory(path))

    def save_map(self) -> str:
        """Write the map as a PLY file."""
        path = self._path(MAP_FILE)
        return self._on_publishing(lambda: self.output.save_map(path))

    # --- callbacks ---

    def _on_set_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        """Check new values and hand them to whoever uses them, between two frames."""
        config, answer = parameters.apply(self.config, changes)
        if config is self.config:
            return answer
        self.config = config
        if self.output is not None:
            self.output.config = config
        if self.inputs is not None:
            self.inputs.config = config
        if self.tracker is not None and self._worker is not None:
            self._worker.post(lambda: self.tracker.configure(config.tracking))
        elif self.tracker is not None:
            self.tracker.configure(config.tracking)
        return answer

    def _on_time_jump(self, jump: TimeJump) -> None:
        """Start a new session when simulated time goes back, as a bag does when it loops."""
        back_s = -jump.delta.nanoseconds * 1e-9
        # Less is jitter, as of two publishers of /clock: no stamp goes back for it.
        if self.work is None or back_s <= self.config.input.time_jump:
            return
        now_ns = self.get_clock().now().nanoseconds
        if not self.work.session.clock_jumped_back(now_ns, time.monotonic()):
            return
        self.reporter.tell(f'time went back by {back_s:.1f} s: new session')
        self._forget_time()
        if self._worker is not None:
            self._worker.mailbox.clear()
            self._worker.post(self.work.start_session)
        else:
            self.work.start_session()

    def _on_pose_hint(self, message: PoseWithCovarianceStamped) -> None:
        """Take a pose of the base that somebody else knows."""
        frame = message.header.frame_id
        if frame not in ('', self.config.odom_frame):
            self.reporter.tell(f'pose_hint is in {frame}; give it in {self.config.odom_frame}')
            return
        T_odom_base = matrix_from_pose_message(message.pose.pose)
        self._publishing.post(
            lambda: self.reporter.tell(f'pose_hint: {self.output.take_hint(T_odom_base)}')
        )

    def _forget_time(self) -> None:
        """Drop what belongs to a time that is over: moving transforms, masks, wheels."""
        if self._transforms is not None:
            self._transforms.forget()
        inputs = self.inputs
        if inputs is not None:
            inputs.forget()

    def _on_drop(self) -> None:
        self.counts.dropped += 1

    def _on_error(self, error: Exception) -> None:
        """Report what must not happen, and live on."""
        if not self.context.ok():
            return
        self.counts.failed += 1
        text = ''.join(traceback.format_exception(error))
        self.reporter.tell(f'image skipped: {error!r}', text)

    # --- plumbing ---

    def _send(self, result: Result) -> None:
        self._publishing.mailbox.put(result)

    def _on_worker(self, action: Callable[[], Any]) -> Any:
        self._active_inputs()
        return self._worker.call(action)

    def _on_publishing(self, action: Callable[[], Any]) -> Any:
        self._active_inputs()
        return self._publishing.call(action)

    def _active_inputs(self) -> Inputs:
        if self.inputs is None:
            raise UserError(f'the node is {self.state}; activate it first')
        return self.inputs

    def _path(self, name: str) -> Path:
        return output_path(self.config.output_directory, name)

    def _configure_failed(self, message: str) -> None:
        self.configure_error = message
        self.get_logger().error(f'{message}')
        self._free()

    def _start(self) -> None:
        is_lossless = self.config.input_policy == 'all'
        capacity = self.config.input.queue_size if is_lossless else 1
        results = Mailbox(_RESULTS_WAITING, overwrite=False)
        self._publishing = MailThread('publish', results, self.output.handle, self._on_error)
        images = Mailbox(capacity, overwrite=not is_lossless, on_drop=self._on_drop)
        self._worker = MailThread('track', images, self.work.handle, self._on_error)
        self._publishing.start()
        self._worker.start()
        self.inputs = Inputs(self, self.config, images, self.counts, self._on_pose_hint)
        self.get_logger().info(
            f'listening to {self.inputs.image_topic} ({self.config.input_policy})'
        )

    def _stop(self) -> None:
        """End input first, so that the threads finish what they have and nobody waits."""
        if self._worker is None:
            return
        self._worker.mailbox.close()
        if self.inputs is not None:
            self.inputs.close()
            self.inputs = None
        for thread in (self._worker, self._publishing):
            if not thread.stop():
                self.get_logger().warning('a thread is still busy; it ends with its frame')
        self._worker = self._publishing = None

    def _free(self) -> None:
        if self._transforms is not None:
            self._transforms.close()
            self._transforms = None
        if self._topics is not None:
            self._topics.close()
            self._topics = None
        self.work = self.output = self.tracker = None


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop; returns the exit code."""
    rclpy.init(args=args)
    node = None
    try:
        node = Mem3rNode()
        executor = MultiThreadedExecutor(_NUM_THREADS)
        executor.add_node(node)
        if node.config.autostart:
            node.start_by_itself()
        spin(executor)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # SIGTERM ends the context at once, and whatever of the start is still to come fails by it.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        # All that is left belongs to torch; looking through it once more would take seconds.
        gc.freeze()
        # A second SIGINT (launch and terminal each send one) must not kill a clean exit.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


if __name__ == '__main__':
    sys.exit(main())
