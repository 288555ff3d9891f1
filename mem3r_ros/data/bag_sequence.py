# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The images of one topic of a bag, with calibration, true path and depth where recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
import logging
from pathlib import Path
from typing import Any
import weakref

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.bag import Bag, BagMessage
from mem3r_ros.data.bag_depth import (
    DepthPairing,
    Stamped,
    check_registered,
)
from mem3r_ros.data.bag_topics import (
    camera_info_topic,
    choose_image_topic,
    depth_topic,
    truth_topic,
)
from mem3r_ros.data.camera_info import camera_from_info
from mem3r_ros.data.message_decoding import depth_from_message, header_stamp_ns, image_from_message
from mem3r_ros.data.sequence import Selection, Sequence, SequenceFrame, pose_at
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.geometry import matrix_from_pose
from mem3r_ros.trajectory import Trajectory

TRUTH_FRAME = 'ground_truth_camera'

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BagItem:
    """One image as it lies in the bag, with the calibration of its time and its depth."""

    image: BagMessage
    camera: Intrinsics | None
    depth: BagMessage | None


@dataclass(frozen=True, slots=True)
class BagHandle:
    """Where one image and its depth lie."""

    recorded_ns: int
    depth_recorded_ns: int | None
    stamp_ns: int
    camera: Intrinsics | None


class BagSequence(Sequence):
    """One image topic of a bag, with calibration, true path and depth where recorded."""

    def __init__(self, path: Path, selection: Selection, image_topic: str | None = None) -> None:
        super().__init__(path, selection)
        with Bag(path) as bag:
            self.image_topic = choose_image_topic(path, bag.types, bag.counts, image_topic)
            self.info_topic = camera_info_topic(self.image_topic, bag.types)
            self._truth_topic = truth_topic(bag.types)
            self.depth_topic = None
            if selection.with_depth:
                self.depth_topic = depth_topic(self.image_topic, bag.types, bag.counts)
            self._count = bag.counts[self.image_topic]
            self._promised = max(self._count, bag.promised[self.image_topic])
            self._type = bag.types[self.image_topic]
            self._camera = self._first_camera(bag)
        self._bag: Bag | None = None
        self._at_random: Bag | None = None

    @cached_property
    def truth(self) -> Trajectory | None:  # type: ignore[override]
        """Return the path of the TF frame ground_truth_camera, or of a ground-truth topic."""
        stamps_ns, poses = [], []
        if self._truth_topic is None:
            return None
        with Bag(self.path) as bag:
            for message in bag.messages(self._truth_topic):
                try:
                    found = list(_poses(bag.decode(message)))
                except BadFrame as error:
                    LOGGER.warning('%s; that pose is left out', error)
                    continue
                for stamp_ns, pose in found:
                    stamps_ns.append(stamp_ns)
                    poses.append(pose)
        return Trajectory(np.array(stamps_ns), np.array(poses)) if poses else None

    def _first_camera(self, bag: Bag) -> Intrinsics | None:
        """Return the first valid calibration: images may come before it in the bag."""
        if self.info_topic is None:
            return None
        reason = ''
        for message in bag.messages(self.info_topic):
            try:
                camera = camera_from_info(bag.decode(message), self.image_topic)
            except BadFrame as error:
                reason = reason or str(error)
                continue
            if camera is not None:
                return camera
            reason = reason or 'K is zero: the camera is not calibrated'
        LOGGER.warning('%s is not used: %s', self.info_topic, reason or 'it has no messages')
        return None

    def _num_items(self) -> int:
        return self._count

    @property
    def num_promised(self) -> int:
        """Return how many images the metadata or the storage files count."""
        return self._chosen(self._promised)

    def _items(self) -> Iterator[BagItem]:
        with Bag(self.path) as bag:
            self._bag = bag
            pairing, camera = DepthPairing(), self._camera
            topics = [self.image_topic, self.info_topic if camera else None, self.depth_topic]
            for message in bag.messages(*filter(None, topics)):
                pairs: Iterator[tuple[BagItem, BagMessage | None]]
                if message.topic == self.info_topic:
                    camera = self._newer_camera(message) or camera
                    continue
                if message.topic != self.image_topic:
                    pairs = pairing.add_depth(self._stamped(bag, message, message))
                elif self.depth_topic is None:
                    pairs = iter([*pairing.rest(), (BagItem(message, camera, None), None)])
                else:
                    item = BagItem(message, camera, None)
                    pairs = pairing.add_image(self._stamped(bag, message, item))
                for item, depth in pairs:
                    yield replace(item, depth=depth)
            for item, depth in pairing.rest():
                yield replace(item, depth=depth)

    def _stamped(self, bag: Bag, message: BagMessage, content: Any) -> Stamped:
        return Stamped(content, message.stamp_ns, self._stamp_ns(bag, message))

    def _newer_camera(self, message: BagMessage) -> Intrinsics | None:
        """Follow a calibration that changes in mid-recording, as that of a zoom lens does."""
        assert self._bag is not None, 'calibrations are read while the bag is open'
        try:
            return camera_from_info(self._bag.decode(message), self.image_topic)
        except BadFrame:
            return None

    @staticmethod
    def _stamp_ns(bag: Bag, message: BagMessage) -> int:
        """Return the stamp of a header; the time of recording where none was set or readable."""
        try:
            return header_stamp_ns(bag.decode(message)) or message.stamp_ns
        except BadFrame:
            return message.stamp_ns

    def _load(self, item: BagItem) -> SequenceFrame:
        assert self._bag is not None, 'a frame is loaded while the bag is open'
        return self._frame(self._bag, item)

    def _frame(self, bag: Bag, item: BagItem) -> SequenceFrame:
        message = bag.decode(item.image)
        stamp_ns = header_stamp_ns(message) or item.image.stamp_ns
        image = image_from_message(message, self.decoding)
        depth_m = None
        if item.depth is not None and self.depth_topic is not None:
            depth_m = self._depth(bag, item.depth, image, message.header.frame_id)
        return SequenceFrame(stamp_ns, image, item.camera, pose_at(self.truth, stamp_ns), depth_m)

    def _depth(
        self, bag: Bag, message: BagMessage, image: np.ndarray, frame_id: str
    ) -> np.ndarray | None:
        """Return depth at the pixels of the image; give the topic up if it is not that."""
        try:
            decoded = bag.decode(message)
            depth_m = depth_from_message(decoded)
        except BadFrame:
            return None
        except UserError as error:
            self._give_depth_up(error)
            return None
        try:
            check_registered(depth_m, decoded.header.frame_id, image, frame_id)
        except UserError as error:
            self._give_depth_up(error)
            return None
        return depth_m

    def _give_depth_up(self, error: UserError) -> None:
        LOGGER.warning('%s is not read as depth of %s: %s', self.depth_topic, self.name, error)
        self.depth_topic = None

    def _handle(self, item: BagItem, frame: SequenceFrame) -> BagHandle:
        depth_ns = None if item.depth is None else item.depth.stamp_ns
        return BagHandle(item.image.stamp_ns, depth_ns, frame.stamp_ns, item.camera)

    def load(self, handle: BagHandle) -> SequenceFrame:
        """
        Decode one frame again, in any order.

        :raises BadFrame: it is no longer there.
        """
        if self._at_random is None:
            self._at_random = Bag(self.path)
            weakref.finalize(self, self._at_random.close)
        bag = self._at_random
        image = self._find(bag, self.image_topic, handle.recorded_ns, handle.stamp_ns)
        if image is None:
            raise BadFrame(f'{self.path} has no image any more at {handle.recorded_ns} ns')
        depth = None
        if self.depth_topic is not None and handle.depth_recorded_ns is not None:
            depth = self._find(bag, self.depth_topic, handle.depth_recorded_ns, handle.stamp_ns)
        return self._frame(bag, BagItem(image, handle.camera, depth))

    def _find(self, bag: Bag, topic: str, recorded_ns: int, stamp_ns: int) -> BagMessage | None:
        """Return the message of that time; of several, the one whose stamp is nearest."""
        found = bag.messages(topic, recorded_ns=recorded_ns)
        return min(found, key=lambda m: abs(self._stamp_ns(bag, m) - stamp_ns), default=None)


def _poses(message: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield stamp and T_world_camera of a ground-truth message of any type."""
    if hasattr(message, 'transforms'):
        for transform in message.transforms:
            if transform.child_frame_id.lstrip('/') == TRUTH_FRAME:
                yield (
                    header_stamp_ns(transform),
                    _matrix(transform.transform.translation, transform.transform.rotation),
                )
        return
    if hasattr(message, 'transform'):
        translation, rotation = message.transform.translation, message.transform.rotation
    else:
        pose = message.pose
        while hasattr(pose, 'pose'):
            pose = pose.pose
        translation, rotation = pose.position, pose.orientation
    yield header_stamp_ns(message), _matrix(translation, rotation)


def _matrix(translation: Any, rotation: Any) -> np.ndarray:
    place = np.array([translation.x, translation.y, translation.z])
    turn = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
    if not (np.isfinite([*place, *turn]).all() and turn.any()):
        raise BadFrame(f'a true pose of translation {place} and quaternion {turn} is none')
    return matrix_from_pose(place, turn)
