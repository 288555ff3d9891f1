# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Publishes /diagnostics, and checks why no image arrives."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from mem3r_ros.ros.diagnostics import node_statuses
from mem3r_ros.ros.finding import Finding, Level
from mem3r_ros.ros.graph_checks import (
    check_clock,
    check_dds_profile,
    check_publishers,
    check_stamp,
    unmatched_publishers,
)
from mem3r_ros.ros.node_snapshot import InputSnapshot, NodeSnapshot
from mem3r_ros.ros.warning_log import WarningLog


class DiagnosticsPublisher:
    """Publishes /diagnostics on a wall-clock timer, so it works while simulated time is paused."""

    def __init__(
        self,
        node: Node,
        rate_hz: float,
        snapshot: Callable[[], NodeSnapshot],
        log: WarningLog,
    ) -> None:
        """
        Start the timer.

        :param node: owner of the publisher and the timer.
        :param rate_hz: how often to publish.
        :param snapshot: returns the state of the node; called on an executor thread.
        :param log: gets each problem that is found.
        """
        self._node = node
        self._snapshot = snapshot
        self._log = log
        self._last_clock_ns = 0
        self._warnings: tuple[str, ...] = ()
        self._transport = check_dds_profile()
        for finding in self._transport:
            node.get_logger().warning(finding.message)
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        node.create_timer(
            1.0 / rate_hz,
            self._publish,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def _publish(self) -> None:
        snapshot = self._snapshot()
        findings: list[Finding] = []
        if snapshot.input is not None:
            findings = self._findings(snapshot.input, snapshot.max_silence_s)
            for finding in findings:
                self._log.warn(f'{finding.topic}: {finding.message}')
            self._log_new_warnings(snapshot.input.warnings)
        if snapshot.tracking is not None and snapshot.tracking.problem:
            self._log.warn(snapshot.tracking.problem)
        statuses = node_statuses(snapshot, self._transport, findings)
        for status in statuses:
            status.hardware_id = self._node.get_fully_qualified_name()
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _log_new_warnings(self, warnings: tuple[str, ...]) -> None:
        """Log each warning about a side input once, when it appears."""
        for warning in warnings:
            if warning not in self._warnings:
                self._log.warn(warning)
        self._warnings = warnings

    def _findings(self, inputs: InputSnapshot, max_silence_s: float) -> list[Finding]:
        """Return the problems of the images, and the publishers that do not fit."""
        findings = self._image_findings(inputs, max_silence_s)
        for subscribed in inputs.subscribed:
            # One line for each: that of silent images comes first.
            known = {finding.message for finding in findings}
            unmatched = unmatched_publishers(self._node, subscribed)
            findings += [finding for finding in unmatched if finding.message not in known]
        return findings

    def _image_findings(self, inputs: InputSnapshot, max_silence_s: float) -> list[Finding]:
        """Return why no image arrives, or the problems of the last image's stamp."""
        node, image = self._node, inputs.image
        clock_ns = node.get_clock().now().nanoseconds
        is_clock_running, self._last_clock_ns = clock_ns != self._last_clock_ns, clock_ns
        if inputs.silence_s <= max_silence_s:
            if inputs.last_stamp_ns is None:
                return []
            return check_stamp(image.topic, inputs.last_stamp_ns, clock_ns)
        findings = check_clock(node)
        if not findings and not is_clock_running:
            # A paused recording: no image is missing.
            return []
        findings += check_publishers(node, image.topic, image.type_name, image.qos, 'image')
        if not findings:
            message = (
                f'no image for {inputs.silence_s:.0f} s although there is a publisher: check that '
                'the camera runs and that the network or the Fast DDS profile does not lose large '
                'messages'
            )
            findings.append(Finding(Level.WARN, image.topic, message))
        return findings
