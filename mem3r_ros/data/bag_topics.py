# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Selects the topics of a recording: images, calibration, depth and ground truth."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from pathlib import Path

from mem3r_ros.errors import UserError
from mem3r_ros.names import nearest_name

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
TF_TYPE = 'tf2_msgs/msg/TFMessage'
POSE_TYPES = (
    'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped',
    'geometry_msgs/msg/TransformStamped',
    'nav_msgs/msg/Odometry',
)
# Words in the names of topics that hold neither colour nor grey images of the scene.
_NOT_PICTURES = ('depth', 'disparity', 'mask', 'segmentation', 'label', 'heatmap', 'costmap')
# Words in the names of depth topics that are registered to the colour image.
_REGISTERED = ('aligned_depth', 'depth_registered', 'depth_to_rgb', 'depth_to_color')
_PREFERRED = ('color', 'colour', 'rgb', 'left', 'front', 'cam0', 'image_2')

LOGGER = logging.getLogger(__name__)


def choose_image_topic(
    path: Path, types: Mapping[str, str], counts: Mapping[str, int], wanted: str | None = None
) -> str:
    """
    Find the image topic to read; if there are several candidates, log the chosen one.

    :param path: the bag, for messages.
    :param types: message type of each topic.
    :param counts: number of messages of each topic.
    :param wanted: topic that the user named.
    :return: its name.
    :raises UserError: there are no images, or not on the topic that was named.
    """
    images = {t: counts[t] for t, kind in types.items() if kind in IMAGE_TYPES and counts[t]}
    if not images:
        others = ', '.join(sorted(types)) or 'none'
        raise UserError(f'{path} has no images; its topics are: {others}')
    if wanted is not None:
        if wanted not in images:
            raise UserError(
                f'{path} has no images on {wanted!r}; its image topics are: {_list(images)}'
                f'{nearest_name(wanted, images)}'
            )
        return wanted
    pictures = [topic for topic in images if not any(word in topic for word in _NOT_PICTURES)]
    if not pictures:
        raise UserError(
            f'{path} has no topic that looks like a camera image; '
            f'choose one with --image-topic: {_list(images)}'
        )
    # A compressed copy of a topic that is there in full is not another camera.
    full = [topic for topic in pictures if topic.rpartition('/')[0] not in pictures]
    chosen = min(full, key=lambda topic: (_rank(topic), topic))
    if len(full) > 1:
        LOGGER.warning(
            '%s has several image topics: %s; taking %s, choose another with --image-topic',
            path,
            _list({topic: images[topic] for topic in full}),
            chosen,
        )
    return chosen


def _rank(topic: str) -> int:
    return next((i for i, word in enumerate(_PREFERRED) if word in topic), len(_PREFERRED))


def _list(counts: Mapping[str, int]) -> str:
    return ', '.join(f'{topic} ({count} images)' for topic, count in sorted(counts.items()))


def camera_info_topic(image_topic: str, types: Mapping[str, str]) -> str | None:
    """
    Find the calibration of an image topic: beside it, or the only one of the same camera.

    :param image_topic: raw, rectified or compressed image.
    :param types: message type of each topic.
    :return: topic, None if there is none or the choice would be a guess.
    """
    infos = [topic for topic, kind in types.items() if kind == INFO_TYPE]
    folder = image_topic
    while folder:
        folder = folder.rpartition('/')[0]
        if f'{folder}/camera_info' in infos:
            return f'{folder}/camera_info'
    if len(infos) != 1:
        return None
    folder = infos[0].rpartition('/')[0]
    others = (t for t, kind in types.items() if kind in IMAGE_TYPES and t != image_topic)
    return None if any(topic.startswith(f'{folder}/') for topic in others) else infos[0]


def depth_topic(
    image_topic: str, types: Mapping[str, str], counts: Mapping[str, int]
) -> str | None:
    """
    Find depth that was registered to the images of a topic.

    :param image_topic: raw, rectified or compressed image.
    :param types: message type of each topic.
    :param counts: number of messages of each topic.
    :return: topic of the same camera, one that is registered by its name before others and raw
        before compressed; None if there is none. Its messages must still be checked.
    """
    images = [topic for topic, kind in types.items() if kind in IMAGE_TYPES and counts[topic]]
    pictures = [topic for topic in images if not any(word in topic for word in _NOT_PICTURES)]
    cameras = {topic.removesuffix('/compressed') for topic in pictures}
    is_only = cameras == {image_topic.removesuffix('/compressed')}
    found = []
    for topic in images:
        is_raw = types[topic] == IMAGE_TYPES[0]
        if 'depth' not in topic or topic == image_topic:
            continue
        if not is_raw and not topic.endswith('/compressedDepth'):
            continue
        shared = _shared_folders(topic, image_topic)
        if shared or is_only:
            is_registered = any(word in topic for word in _REGISTERED)
            found.append((not is_registered, -shared, not is_raw, topic))
    return min(found)[-1] if found else None


def _shared_folders(first: str, second: str) -> int:
    """Return the number of leading name parts that two topics have in common."""
    pairs = zip(first.split('/')[1:-1], second.split('/')[1:-1], strict=False)
    return next(
        (i for i, (a, b) in enumerate(pairs) if a != b),
        min(first.count('/'), second.count('/')) - 1,
    )


def truth_topic(types: Mapping[str, str]) -> str | None:
    """
    Find the topic of the true pose of the camera.

    :param types: message type of each topic.
    :return: a pose topic with "ground truth" in its name, else /tf, else None.
    """
    for topic, kind in sorted(types.items()):
        name = topic.replace('_', '').lower()
        if kind in POSE_TYPES and 'groundtruth' in name:
            return topic
    return '/tf' if types.get('/tf') == TF_TYPE else None
