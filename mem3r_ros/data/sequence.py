# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The common interface of all readers of recorded images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
import logging
from pathlib import Path
from typing import Any

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.encodings import DecodingState
from mem3r_ros.data.picture_files import MAX_PIXELS
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.refusals import Refusals
from mem3r_ros.trajectory import Trajectory

LOGGER = logging.getLogger(__name__)
_MAX_TOLD = 5  # skipped frames of one reason that get a line of their own

# A pose or a depth picture belongs to an image when their stamps differ by no more than this:
# well under the time between two images, well over the offset of a hand-made recording.
MATCH_TOLERANCE_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class SequenceFrame:
    """One image of a recording, with camera, true pose and true depth where recorded."""

    stamp_ns: int
    image: np.ndarray  # [H, W, 3] uint8 RGB
    camera: Intrinsics | None = None
    T_world_camera: np.ndarray | None = None  # [4, 4] float64, optical axes, world arbitrary
    depth_m: np.ndarray | None = None  # [H, W] float32, NaN where invalid, +inf where sky


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames of a recording are read, and what of them."""

    stride: int = 1
    max_frames: int | None = None
    with_depth: bool = True
    max_pixels: int = MAX_PIXELS  # of a picture that is decoded

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise UserError(f'stride is {self.stride} frames; it must be at least 1')
        if self.max_frames is not None and self.max_frames < 1:
            raise UserError(f'max_frames is {self.max_frames}; it must be at least 1')


class Sequence(ABC):
    """
    A recording as a stream of frames: memory does not grow with its length.

    Frames that cannot be decoded are logged, counted by reason in ``refused`` and left out.
    """

    is_live = False  # a camera, not a recording: the user ends it

    def __init__(self, path: Path, selection: Selection) -> None:
        self.path = path
        self.selection = selection
        self.refused = Refusals()
        self.num_tried = 0
        self.decoding = DecodingState(selection.max_pixels)

    @property
    def skipped(self) -> int:
        """Return how many frames of this pass could not be decoded."""
        return self.refused.total()

    @property
    def num_promised(self) -> int | None:
        """Return how many frames the recording says it has, those that lack at its end too."""
        return None if self._num_items() is None else self.num_frames

    @property
    def name(self) -> str:
        """Return the name of the recording in tables and titles."""
        return self.path.resolve().stem if self.path.is_file() else self.path.resolve().name

    @property
    def num_frames(self) -> int | None:
        """Return the number of frames that an iteration tries to read, None if unknown."""
        total = self._num_items()
        return self.selection.max_frames if total is None else self._chosen(total)

    def _chosen(self, total: int) -> int:
        """Return how many of so many frames the selection takes."""
        chosen = -(-total // self.selection.stride)
        return min(chosen, self.selection.max_frames or chosen)

    @property
    def truth(self) -> Trajectory | None:
        """Return the true path of the camera, None if it was not recorded."""
        return None

    def remarks(self) -> list[str]:
        """Return sentences about the source for the reader of the figures."""
        return []

    def __len__(self) -> int:
        if self.num_frames is None:
            raise TypeError(f'the number of frames in {self.path} is not known beforehand')
        return self.num_frames

    def __iter__(self) -> Iterator[SequenceFrame]:
        """
        Yield the chosen frames in the order of the recording.

        :raises UserError: not one of the frames could be read.
        """
        for _, frame in self.indexed():
            yield frame

    def indexed(self) -> Iterator[tuple[Any, SequenceFrame]]:
        """
        Yield each chosen frame with a small handle, with which ``load`` reads it again.

        :raises UserError: not one of the frames could be read.
        """
        self.refused, self.num_tried = Refusals(), 0
        for index, item in enumerate(self._items()):
            if index % self.selection.stride:
                continue
            self.num_tried += 1
            try:
                frame = self._load(item)
            except BadFrame as error:
                if self.refused.add(error) <= _MAX_TOLD:
                    LOGGER.warning('%s: frame %d skipped: %s', self.name, index, error)
            else:
                yield self._handle(item, frame), frame
            if self.num_tried == self.selection.max_frames:
                break
        tried, promised = self.num_tried, self.num_promised
        if self.skipped > _MAX_TOLD:
            LOGGER.warning('%s: %d of %d frames skipped', self.name, self.skipped, tried)
        if promised is not None and tried < promised:
            LOGGER.warning('%s: %d of %d frames are there', self.name, tried, promised)
        if tried == self.skipped:
            what = 'it has no images'
            if tried:
                first = next(iter(self.refused.by_reason()))
                what = f'none of its {tried} images can be read ({first})'
            raise UserError(f'nothing to do with {self.path}: {what}')

    def load(self, handle: Any) -> SequenceFrame:
        """
        Decode one frame again, in any order.

        :param handle: handle of the frame, from ``indexed``.
        :raises BadFrame: it can no longer be decoded.
        :raises UserError: the recording can only be read in its order.
        """
        return self._load(handle)

    def _handle(self, item: Any, frame: SequenceFrame) -> Any:
        """Return what ``load`` needs; overridden where an item holds the frame's data."""
        return item

    @abstractmethod
    def _items(self) -> Iterator[Any]:
        """Yield a cheap handle of each frame, nothing decoded."""

    @abstractmethod
    def _load(self, item: Any) -> SequenceFrame:
        """Decode the frame of a handle; raise BadFrame if it cannot be."""

    @abstractmethod
    def _num_items(self) -> int | None:
        """Return how many handles there are, None if unknown."""


class ListedSequence(Sequence):
    """A recording whose images are files; the handle of a frame is its index in the list."""

    _images: list[Path]

    def _num_items(self) -> int:
        return len(self._images)

    def _items(self) -> Iterator[int]:
        yield from range(len(self._images))


def pose_at(truth: Trajectory | None, stamp_ns: int) -> np.ndarray | None:
    """Return the true pose at a stamp [4, 4], None without truth near enough in time."""
    if truth is None:
        return None
    poses, valid = truth.interpolate(np.array([stamp_ns]), MATCH_TOLERANCE_NS)
    return poses[0] if valid[0] else None


def listed_truth(
    stamps_ns: Iterable[int], poses: Iterable[np.ndarray | None]
) -> Trajectory | None:
    """Return the poses that are known of images in a row, None where none is."""
    known = [(s, T) for s, T in zip(stamps_ns, poses, strict=False) if T is not None]
    if not known:
        return None
    return Trajectory(np.array([s for s, _ in known]), np.array([T for _, T in known]))
