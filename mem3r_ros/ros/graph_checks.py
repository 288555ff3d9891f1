# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Checks of the ROS graph: each problem is one line with its cause and its remedy.

The node uses them when no image arrives, and ``mem3r doctor`` uses them from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import xml.etree.ElementTree as ElementTree

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.utilities import get_rmw_implementation_identifier

from mem3r_ros.ros.finding import Finding, Level
from mem3r_ros.ros.node_snapshot import Subscribed

PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# A shared-memory segment that holds at least two 1280x720 pictures.
_MIN_SEGMENT_BYTES = 8_000_000
_OTHER_TRANSPORT = {
    'sensor_msgs/msg/Image': ('sensor_msgs/msg/CompressedImage', 'compressed'),
    'sensor_msgs/msg/CompressedImage': ('sensor_msgs/msg/Image', 'raw'),
}
_FUTURE_S = 1.0
_OLD_S = 5.0


def check_publishers(
    node: Node, topic: str, kind: str, qos: QoSProfile, role: str
) -> list[Finding]:
    """
    Check that a topic has a publisher of the right type with a compatible quality of service.

    :param node: any node.
    :param topic: full name.
    :param kind: expected type, as in ``sensor_msgs/msg/Image``.
    :param qos: of the subscription.
    :param role: name before remapping, for the remedy.
    :return: empty if there is a publisher and no problem.
    """
    if not node.count_publishers(topic):
        return [Finding(Level.ERROR, topic, _nobody(node, kind, role))]
    return unmatched_publishers(node, Subscribed(role, topic, kind, qos), Level.ERROR)


def unmatched_publishers(
    node: Node, subscribed: Subscribed, level: Level = Level.WARN
) -> list[Finding]:
    """
    Return a finding for each publisher of a topic from which no message can arrive.

    :param node: any node.
    :param subscribed: the subscription.
    :param level: of the findings.
    """
    topic, role, kind = subscribed.topic, subscribed.role, subscribed.type_name
    is_image = role == 'image'
    findings = []
    for info in node.get_publishers_info_by_topic(topic):
        where = f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        if info.topic_type != kind:
            message = f'{where} sends {info.topic_type}, not {kind}: remap {role} to another topic'
            message += ' or change image_transport' if is_image else ''
            findings.append(Finding(level, topic, message))
            continue
        verdict, reason = qos_check_compatible(info.qos_profile, subscribed.qos)
        if verdict == QoSCompatibility.ERROR:
            remedy = 'change that of the publisher'
            if subscribed.has_parameter:
                remedy = f'set {role}_qos to SENSOR_DATA'
            message = (
                f'quality of service of {where} does not match '
                f'({reason.strip().rstrip(";.")}): {remedy}'
            )
            findings.append(Finding(level, topic, message))
    return findings


def _nobody(node: Node, kind: str, role: str) -> str:
    """Return the line for a topic without publisher; it lists other topics of the type."""
    message = f'nobody publishes {kind} here: start the driver'
    if others := _remedies(node, kind):
        return f'{message}, or remap {role} to one of {others}'
    other_kind, transport = _OTHER_TRANSPORT.get(kind, ('', ''))
    if others := _remedies(node, other_kind):
        return (
            f'{message}, or set image_transport to {transport} and remap {role} to one of {others}'
        )
    return message


def _remedies(node: Node, kind: str) -> str:
    """
    List topics in the form that the launch files take.

    Compressed images are on ``<image>/compressed``; the launch files take ``<image>``.
    """
    names = topics_of(node, kind)
    if kind == 'sensor_msgs/msg/CompressedImage':
        names = [n.removesuffix('/compressed') for n in names if n.endswith('/compressed')]
    return ', '.join(names[:6])


def topics_of(node: Node, kind: str) -> list[str]:
    """
    Return the topics of a type that other nodes publish, sorted.

    A node of the same name is this program with another camera: its results are no camera.
    """
    found = []
    for name, kinds in node.get_topic_names_and_types():
        if kind not in kinds:
            continue
        publishers = node.get_publishers_info_by_topic(name)
        if any(info.node_name != node.get_name() for info in publishers):
            found.append(name)
    return sorted(found)


def check_clock(node: Node) -> list[Finding]:
    """Check that /clock runs if use_sim_time is set."""
    if not node.get_parameter('use_sim_time').value:
        return []
    if not node.count_publishers('/clock'):
        return [
            Finding(
                Level.ERROR,
                '/clock',
                'use_sim_time is set but nobody publishes the time: '
                'play the bag with --clock or set use_sim_time to false',
            )
        ]
    if node.get_clock().now().nanoseconds == 0:
        return [Finding(Level.WARN, '/clock', 'the time is zero: the simulation has not started')]
    return []


def check_stamp(topic: str, stamp_ns: int, now_ns: int) -> list[Finding]:
    """
    Compare the stamp of an image with the clock of the node.

    :param topic: of the image.
    :param stamp_ns: from its header.
    :param now_ns: of the node's clock, when it arrived.
    """
    age_s = (now_ns - stamp_ns) * 1e-9
    if stamp_ns == 0:
        message = 'stamps are zero: set the driver to stamp images when they are taken'
        return [Finding(Level.ERROR, topic, message)]
    if now_ns == 0:
        return []
    if age_s < -_FUTURE_S:
        message = (
            f'stamps are {-age_s:.1f} s in the future: synchronise the clocks (chrony), or set '
            'use_sim_time for a recording'
        )
        return [Finding(Level.WARN, topic, message)]
    if age_s > _OLD_S:
        message = (
            f'stamps are {age_s:.1f} s old: for a recording play with --clock and set '
            'use_sim_time; otherwise synchronise the clocks (chrony)'
        )
        return [Finding(Level.WARN, topic, message)]
    return []


def check_dds_profile(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Check that the transports of Fast DDS do not lose large best-effort messages."""
    identifier = get_rmw_implementation_identifier()
    if 'fastrtps' not in identifier:
        return []
    remedy = (
        'start through the launch files, or export FASTRTPS_DEFAULT_PROFILES_FILE='
        '<share>/mem3r_ros/config/fastdds.xml on both sides'
    )
    file = next((environment[name] for name in PROFILE_VARIABLES if environment.get(name)), '')
    if not file:
        message = (
            'no Fast DDS profile is set; large best-effort images are lost (about 85 % of '
            f'640x480): {remedy}'
        )
        return [Finding(Level.WARN, identifier, message)]
    if not Path(file).is_file():
        message = f'the Fast DDS profile {file} does not exist: {remedy}'
        return [Finding(Level.ERROR, identifier, message)]
    size = _shared_segment_bytes(Path(file))
    if size < _MIN_SEGMENT_BYTES:
        message = (
            f'the shared-memory segment of {file} has {size} bytes, less than two images: {remedy}'
        )
        return [Finding(Level.WARN, identifier, message)]
    return []


def _shared_segment_bytes(profile: Path) -> int:
    """Return the size of the profile's largest shared-memory segment; 0 if it has none."""
    try:
        root = ElementTree.parse(profile).getroot()
    except (ElementTree.ParseError, OSError):
        return 0
    sizes = [0]
    for element in root.iter():
        if element.tag.rpartition('}')[2] == 'segment_size' and (element.text or '').strip():
            sizes.append(int(element.text.strip()))
    return max(sizes)
