# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Says things to the user: the log without repetition, /diagnostics, and why it is silent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType

from mem3r_ros.ros import diagnostics
from mem3r_ros.ros.graph_checks import (
    Finding,
    check_clock,
    check_dds_profile,
    check_publishers,
    check_stamp,
)

if TYPE_CHECKING:
    from mem3r_ros.ros.node import Mem3rNode
    from mem3r_ros.ros.subscriptions import Inputs
    from mem3r_ros.ros.tracking_worker import Work

_REPEAT_S = 10.0
_MAX_REMEMBERED = 200


class Reporter:
    """Watches the node by the wall clock, so that it also speaks while simulated time stands."""

    def __init__(self, node: Mem3rNode) -> None:
        """
        Start to report.

        :param node: the node; its parameters are declared.
        """
        self._node = node
        self._told_s: dict[str, float] = {}
        self._last_clock_ns = 0
        self._warnings: list[str] = []
        self._transport = check_dds_profile()
        for finding in self._transport:
            node.get_logger().warning(finding.message)
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        node.create_timer(
            1.0 / node.config.diagnostics.rate,
            self._report,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def tell(self, message: str, details: str = '') -> None:
        """
        Log a warning, the same one at most every ten seconds.

        :param message: one sentence; numbers in it do not make it another one.
        :param details: a traceback, logged with it.
        """
        now = time.monotonic()
        key = ''.join(letter for letter in message if not letter.isdigit())
        if now - self._told_s.get(key, -_REPEAT_S) < _REPEAT_S:
            return
        if len(self._told_s) >= _MAX_REMEMBERED:
            self._told_s.clear()
        self._told_s[key] = now
        self._node.get_logger().warning(f'{message}\n{details}' if details else message)

    def _report(self) -> None:
        node = self._node
        statuses = [
            diagnostics.lifecycle_status(node.state, node.configure_error),
            diagnostics.transport_status(self._transport),
        ]
        # Transitions run on another thread: take what is there now.
        inputs, output = node.inputs, node.output
        if inputs is not None:
            findings = self._findings(inputs)
            for finding in findings:
                self.tell(f'{finding.topic}: {finding.message}')
            warnings = self._input_warnings(inputs)
            statuses.append(diagnostics.input_status(inputs, node.counts, findings, warnings))
        if output is not None:
            if output.problem:
                self.tell(output.problem)
            details = {'update_rule': node.config.tracking.update_rule}
            statuses += [
                diagnostics.tracking_status(output),
                diagnostics.latency_status(node.stage_times),
                diagnostics.memory_status(node.device),
                diagnostics.model_status(node.config, node.device, details),
            ]
        for status in statuses:
            status.hardware_id = node.get_fully_qualified_name()
        message = DiagnosticArray(status=statuses)
        message.header.stamp = node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _input_warnings(self, inputs: Inputs) -> list[str]:
        """Return what is not used of what comes beside the images; log each when it begins."""
        work = self._node.work
        places: list[Inputs | Work] = [inputs] if work is None else [inputs, work]
        told, self._warnings = self._warnings, []
        for place in places:
            self._warnings += filter(None, (place.camera_warning, place.mask_warning))
        for warning in self._warnings:
            if warning not in told:
                self.tell(warning)
        return self._warnings

    def _findings(self, inputs: Inputs) -> list[Finding]:
        """Return why no image comes in, or what is odd about those that do."""
        node = self._node
        clock_ns = node.get_clock().now().nanoseconds
        is_clock_running, self._last_clock_ns = clock_ns != self._last_clock_ns, clock_ns
        if inputs.rate.silence_s <= node.config.diagnostics.silence:
            stamp_ns = inputs.last_stamp_ns
            return [] if stamp_ns is None else check_stamp(inputs.image_topic, stamp_ns, clock_ns)
        findings = check_clock(node)
        if not findings and not is_clock_running:
            # A bag that is paused: nothing is wrong and nothing is lost.
            return []
        kind = inputs.image_type
        name = f'sensor_msgs/msg/{kind.__name__}'
        findings += check_publishers(node, inputs.image_topic, name, inputs.image_qos, 'image')
        if not findings:
            message = (
                f'no image for {inputs.rate.silence_s:.0f} s although somebody '
                'publishes: is the camera running, and does the network or the Fast DDS profile '
                'lose large messages?'
            )
            findings.append(Finding(diagnostics.Level.WARN, inputs.image_topic, message))
        return findings
