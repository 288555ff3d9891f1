# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Finds images that do not continue the stream: noise, damaged images, cuts, a frozen camera.

Corners of the last image are tracked into the new one and back (Lucas and Kanade 1981), and an
epipolar geometry is fitted to them. In images of one moving camera a good part of the corners
fits; in others only as many as chance allows. Where the scene has little texture the coarse
brightness decides instead. Where corners are not found again they are searched once more as after
a fast turn, and then features are matched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np

from mem3r_ros.helper_threads import Job
from mem3r_ros.tracker.config import HealthConfig
from mem3r_ros.tracker.corners import found_again, grid_corners
from mem3r_ros.tracker.fast_turn import show_fast_turn
from mem3r_ros.tracker.feature_continuity import show_one_scene
from mem3r_ros.tracker.image_quality import Flaw

_NUM_CELLS = 120
_MIN_CORNERS = 12
_MIN_SIDE = 90  # px; corners in smaller images say too little
_REFERENCE_WIDTH = 320  # px at which pixels are stated
_NUM_LEVELS = 4  # of the pyramid
_RESIDUAL_FACTOR = 4.0  # times the usual one
_EPIPOLAR_PX = 1.0
_MARGIN_PX = 8  # of the image; corners that move beyond are not expected to be found
_WINDOW = 60  # frames that the usual shares are computed from
_MIN_FRAMES = 5
_CHANCE = 0.25  # share of corners that noise reaches
_POOR_TEXTURE = 0.5  # with a usual share below, the coarse brightness may decide
_SIMILAR = 0.8  # correlation of the coarse brightness of two images that follow each other
_HALF_SHARE = 0.45  # of the usual one, in the worse half of the image
_DAMAGED_FRAMES = 3  # one after the other: a fast turn may hide half of one image
# A camera that turns sees new things at one side: the left and right half may differ more.
_SIDE_FACTOR = 1.8
_MIN_OTHER_HALF = 0.6  # in the half opposite a damaged one
_FLAT_ROWS = 0.3  # share of the rows, from the lower edge on, that repeat the row above
_SAME_ROW = 0.1  # grey levels
_COLUMNS = 2.0  # grey levels; standard deviation of a row that is more than noise
_MIDDLE_GREY = 128  # what decoders fill in
_GAPS = 2.5  # usual intervals; after a longer one images may differ as much as they like
_NEW_SCENE_FRAMES = 3
_FROZEN_FRAMES = 3
_FROZEN_PX = 0.3  # motion before; a simulated camera at rest may give equal images


class Comparison(NamedTuple):
    """What two images have in common."""

    share: float  # of the corners that fit one motion; NaN without corners
    worse_half: float  # share of corners found in the worse half of the image
    other_half: float  # in the opposite half
    similarity: float  # correlation of the coarse brightness, at the best shift
    motion_px: float  # median motion of the corners


@dataclass(slots=True)
class ImageContinuity:
    """Compares each image with the last one, and with the last one that was believed."""

    last: np.ndarray | None = None  # [H, W] uint8, the last image, whatever it showed
    believed: np.ndarray | None = None  # [H, W] uint8, the last image without a flaw
    is_last_believed: bool = True  # whether it continued the stream
    last_stamp_ns: int = 0
    motion_px: float = 0.0  # between the last two different images that continue each other
    num_identical: int = 0
    num_damaged: int = 0  # images in a row with a half that was not found
    num_new_scene: int = 0  # images that continue each other, but not the believed one
    shares: list[float] = field(default_factory=list)  # usual share of fitting corners
    halves: list[float] = field(default_factory=list)  # usual share in the worse half

    def check(
        self,
        grey: np.ndarray,
        ignore: np.ndarray | None,
        stamp_ns: int,
        usual_gap_s: float,
        config: HealthConfig,
        compared: Job[Comparison | None] | None = None,
    ) -> Flaw:
        """
        Find out whether an image continues the stream.

        :param grey: the image at working size, [H, W] uint8.
        :param ignore: pixels without corners, [H, W] bool.
        :param usual_gap_s: between two images.
        :param compared: :meth:`compare` of this image; None: it runs here.
        :return: a flaw with an empty reason if it does, or if nothing can be said.
        """
        # Before the last image changes: a comparison that has not begun runs here.
        comparison = None if compared is None else compared.result()
        last, was_believed = self.last, self.is_last_believed
        gap_s = (stamp_ns - self.last_stamp_ns) * 1e-9
        self.last, self.is_last_believed, self.last_stamp_ns = grey, False, stamp_ns
        if not config.check_continuity or min(grey.shape) < _MIN_SIDE:
            return self._believe(grey, None)
        flaw = _flat_rows(grey)
        if flaw.reason:
            return flaw
        if last is None or self.believed is None or last.shape != grey.shape:
            return self._believe(grey, None)
        if np.array_equal(last, grey):
            self.is_last_believed = was_believed
            return self._frozen()
        self.num_identical = 0
        found = self._compared(last, grey, ignore, comparison)
        self._count_damaged(found)
        reason = self._reason(found)
        if gap_s > _GAPS * usual_gap_s > 0:
            return self._believe(grey, None if reason else found)
        if not was_believed:
            return self._after_flaw(grey, ignore, reason)
        return Flaw(reason, True) if reason else self._believe(grey, found)

    def compare(
        self, grey: np.ndarray, ignore: np.ndarray | None, config: HealthConfig
    ) -> Comparison | None:
        """
        Compare an image with the last one, the longest part of :meth:`check`.

        It changes nothing, so it may run on another thread until then. None: nothing to compare.
        """
        last = self.last
        is_checked = config.check_continuity and min(grey.shape) >= _MIN_SIDE
        if not is_checked or last is None or last.shape != grey.shape:
            return None
        return _compare(last, grey, ignore)

    def skip(self, stamp_ns: int) -> None:
        """Take note of an image that another check has rejected: it is not missing."""
        self.last_stamp_ns = stamp_ns

    @property
    def is_new_scene(self) -> bool:
        """Whether the last image was the first believed one of another scene."""
        return self.num_new_scene >= _NEW_SCENE_FRAMES

    def _after_flaw(self, grey: np.ndarray, ignore: np.ndarray | None, reason: str) -> Flaw:
        """Check an image after one that was not believed."""
        again = self._compared(self.believed, grey, ignore)
        reason_again = self._reason(again)
        if not reason_again:
            return self._believe(grey, again)
        self.num_new_scene = 0 if reason else self.num_new_scene + 1
        if self.is_new_scene:
            self._believe(grey, None)
            self.num_new_scene, self.shares, self.halves = _NEW_SCENE_FRAMES, [], []
            return Flaw()
        return Flaw(reason or reason_again, True)

    def _believe(self, grey: np.ndarray, found: Comparison | None) -> Flaw:
        """Take an image as one that continues the stream."""
        self.believed, self.is_last_believed = grey, True
        self.num_new_scene = 0
        if found is not None and np.isfinite(found.share):
            self.motion_px = found.motion_px
            for window, value in ((self.shares, found.share), (self.halves, found.worse_half)):
                window.append(value)
                del window[:-_WINDOW]
        return Flaw()

    def _frozen(self) -> Flaw:
        """Check an image equal to the last one, which only a camera at rest gives."""
        self.num_identical += 1
        if self.num_identical < _FROZEN_FRAMES or self.motion_px < _FROZEN_PX:
            return Flaw()
        return Flaw(f'frozen: {self.num_identical + 1} equal images while moving', True)

    def _compared(
        self,
        before: np.ndarray,
        grey: np.ndarray,
        ignore: np.ndarray | None,
        by_corners: Comparison | None = None,
    ) -> Comparison:
        """Compare two images by corners; a share that further checks contradict becomes NaN."""
        found = by_corners or _compare(before, grey, ignore)
        if not self._is_unrelated(found):
            return found
        images = (before, grey, ignore)
        is_one_scene = show_fast_turn(*images) or show_one_scene(*images)
        return found._replace(share=np.nan) if is_one_scene else found

    def _is_unrelated(self, found: Comparison) -> bool:
        usual = median(self.shares) if len(self.shares) > _MIN_FRAMES else np.nan
        is_poor = not usual >= _POOR_TEXTURE
        if is_poor and found.similarity > _SIMILAR:
            return False
        return found.share < max(_CHANCE, 0.35 * usual if usual > 0 else 0.0)

    def _reason(self, found: Comparison) -> str:
        """Return why an image does not continue another one; empty if it does."""
        if self._is_unrelated(found):
            return (
                f'unrelated to the image before ({100 * found.share:.0f} % of the corners fit '
                f'one motion)'
            )
        if self.num_damaged >= _DAMAGED_FRAMES:
            return f'half of it damaged ({100 * found.worse_half:.0f} % of its corners found)'
        return ''

    def _count_damaged(self, found: Comparison) -> None:
        """Count images of which one half is found again and the other is not."""
        is_damaged = False
        if len(self.halves) > _MIN_FRAMES:
            limit = _HALF_SHARE * median(self.halves)
            is_damaged = found.worse_half < limit and found.other_half > _MIN_OTHER_HALF
        self.num_damaged = self.num_damaged + 1 if is_damaged else 0


def _flat_rows(grey: np.ndarray) -> Flaw:
    """
    Find a lower part of equal rows, as a decoder writes it where data are missing.

    Its rows hold the columns of the last good row, or a middle grey. Even sky and floor of a
    simulated camera, enlarged images and images of vertical stripes are no damage.
    """
    if np.abs(grey[-1].astype(np.int16) - grey[-2]).mean() >= _SAME_ROW:
        return Flaw()  # nearly always
    steps = cv2.absdiff(grey[1:], grey[:-1])
    change = cv2.reduce(steps, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0] / grey.shape[1]
    changing = np.flatnonzero(change >= _SAME_ROW)
    if not len(changing):
        return Flaw()
    share = 1.0 - (changing[-1] + 1) / len(change)
    row = grey[-1].astype(np.float32)
    is_filled = row.std() > _COLUMNS or abs(row.mean() - _MIDDLE_GREY) < _COLUMNS
    if share < _FLAT_ROWS or not is_filled:
        return Flaw()
    return Flaw(f'damaged (the lower {100 * share:.0f} % of its rows are equal)', True)


def _compare(before: np.ndarray, grey: np.ndarray, ignore: np.ndarray | None) -> Comparison:
    similarity = _similarity(before, grey)
    corners = grid_corners(before, _NUM_CELLS, ignore)
    if len(corners) < _MIN_CORNERS:
        return Comparison(np.nan, 1.0, 1.0, similarity, 0.0)
    still = np.zeros(2, np.float32)
    moved, is_found = found_again(before, grey, corners, still, _NUM_LEVELS, _RESIDUAL_FACTOR)
    start, end = corners[:, 0], moved[:, 0]
    if is_found.sum() < _MIN_CORNERS:
        return Comparison(is_found.mean(), 1.0, 1.0, similarity, 0.0)
    _, mask = cv2.findFundamentalMat(
        start[is_found], end[is_found], cv2.FM_RANSAC, _EPIPOLAR_PX, 0.99, 200
    )
    num_fitting = 0 if mask is None else int(mask.sum())
    flow = end[is_found] - start[is_found]
    motion_px = float(np.median(np.linalg.norm(flow, axis=1))) * _REFERENCE_WIDTH / grey.shape[1]
    halves = _halves(start, np.median(flow, axis=0), is_found, grey.shape)
    return Comparison(num_fitting / len(start), *halves, similarity, motion_px)


def _halves(
    start: np.ndarray, shift: np.ndarray, is_found: np.ndarray, shape: tuple[int, ...]
) -> tuple[float, float]:
    """Return the share of corners found in the worst half of the image, and in the opposite."""
    size = np.array(shape[::-1])
    end = start + shift
    stays = ((end > _MARGIN_PX) & (end < size - _MARGIN_PX)).all(axis=1)
    worst = (1.0, 1.0)
    for axis in (0, 1):
        is_first = start[:, axis] < size[axis] / 2
        sides = [stays & is_first, stays & ~is_first]
        if min(side.sum() for side in sides) < _MIN_CORNERS:
            continue
        shares = sorted(float(is_found[side].mean()) for side in sides)
        factor = _SIDE_FACTOR if axis == 0 else 1.0
        worst = min(worst, (min(1.0, factor * shares[0]), shares[1]))
    return worst


def _similarity(before: np.ndarray, grey: np.ndarray) -> float:
    """Return the correlation of the middle of a coarse image with another, at the best shift."""
    size = (48, 36)
    coarse = [
        cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for image in (before, grey)
    ]
    middle = coarse[0][9:27, 12:36]
    return float(cv2.matchTemplate(coarse[1], middle, cv2.TM_CCOEFF_NORMED).max())
