# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Sharp depth in the scale of the path: matches between images, the network's depth as prior.

A filter over log depth per pixel, as in REMODE (Pizzoli, Forster, Scaramuzza 2014) and LSD-SLAM
(Engel, Schoeps, Cremers 2014): the map of the last frame is moved to the new frame. Then it is
fused with matches in two earlier images at known poses. The filter never takes in the network's
depth, so errors of the network do not add up. What the filter knows better than the network is
spread along the surfaces of the image and added to the network's depth, which fills the rest.
"""

# H, W pixels of the fused depth; h, w of the network's; K reference images

from __future__ import annotations

from dataclasses import dataclass, field
import math
from typing import NamedTuple

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, rotation_angle
from mem3r_ros.odometry.depth_confidence import depth_confidence
from mem3r_ros.odometry.depth_map import DepthMap
from mem3r_ros.odometry.edge_smoothing import spread_by_edges
from mem3r_ros.odometry.flow_triangulation import FlowTriangulation, texture
from mem3r_ros.odometry.fusion_config import DepthFusionConfig
from mem3r_ros.odometry.pixel_rays import MovedRays
from mem3r_ros.snapshot_fields import NOT_PACKED

_NUM_REFERENCES = 8
_PARALLAX = 0.03  # of the image width: the parallax of the image that is matched
_MIN_PARALLAX = 0.006  # of the image width; with less an image says nothing about depth
_MAX_TURN_RAD = 0.4  # more, and images look too different
_NEW_PARALLAX = 0.016  # of the image width; a reference image is added after so much
_NEW_TURN_RAD = 0.12
_MAX_PRECISION = 1 / 0.02**2  # of a log depth
_OUTLIER = 9.0  # variances between what contradicts each other, where it counts for half
_SURE_PRECISION = 50.0
_BLOCKS = (6, 8)  # of the image, down and across, in which the scale of the network is measured
_MIN_SURE = 0.1  # of the pixels of a block
_OWN_SCALE_BLOCKS = 20  # with so many known blocks the scale goes half the way
_MAX_CORRECTION = 1.5  # of the network's log depth
_SPREAD_PRECISION = 1 / 0.05**2  # the most that a pixel counts for its neighbours
_BASE_PRECISION = 1.0


class FusedDepth(NamedTuple):
    """Depth and confidence of one frame."""

    depth_m: np.ndarray  # [H, W] float32, NaN where there is none
    confidence: np.ndarray  # [H, W] float32, above 1; see depth_confidence
    is_measured: np.ndarray  # [H, W] bool, more by matches than by the network


def _no_images() -> np.ndarray:
    return np.empty((0, 0, 0), np.uint8)


@dataclass(slots=True)
class DepthFusion:
    """The map and the reference images of one stream; a constant amount of memory."""

    log_depth: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    precision: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    map_pose: np.ndarray = field(default_factory=lambda: np.eye(4))  # T_start_camera of the map
    pose: np.ndarray = field(default_factory=lambda: np.eye(4))  # of the newest frame
    images: np.ndarray = field(default_factory=_no_images)  # [K, H, W]
    image_poses: np.ndarray = field(default_factory=lambda: np.empty((0, 4, 4)))
    network_shift: float = 0.0  # log of metres of the map per metre of the network
    metres_per_unit: float = 1.0
    _matcher: tuple[tuple[int, int], FlowTriangulation] | None = field(
        default=None, repr=False, metadata=NOT_PACKED
    )

    def move(self, increment: np.ndarray | None, metres_per_unit: float) -> None:
        """
        Follow the camera; without an increment everything starts anew.

        :param increment: T_last_camera, m; None in the first frame of a path.
        :param metres_per_unit: the scale that the increment has.
        """
        if increment is None:
            self.forget()
        if metres_per_unit != self.metres_per_unit:
            ratio = metres_per_unit / self.metres_per_unit
            self.metres_per_unit = metres_per_unit
            self.log_depth = self.log_depth + np.float32(np.log(ratio))
            stretch = np.ones((4, 4))
            stretch[:3, 3] = ratio
            self.pose, self.map_pose = self.pose * stretch, self.map_pose * stretch
            self.image_poses = self.image_poses * stretch
        if increment is not None:
            self.pose = self.pose @ increment

    def forget(self) -> None:
        """Forget map and images."""
        self.log_depth = self.precision = np.empty((0, 0), np.float32)
        self.images, self.image_poses = _no_images(), np.empty((0, 4, 4))
        self.pose, self.map_pose, self.network_shift = np.eye(4), np.eye(4), 0.0

    def fuse(
        self,
        grey: np.ndarray,
        camera: Intrinsics,
        network_log_depth: np.ndarray,
        is_still: bool,
        config: DepthFusionConfig,
    ) -> FusedDepth:
        """
        Return the depth of the newest frame, whose pose has been given to :meth:`move`.

        :param grey: its image, [H, W] uint8.
        :param camera: of the image.
        :param network_log_depth: of metres, [H, W] float32, NaN where there is none; see
            :func:`resampled_log_depth`.
        :param is_still: nothing has moved since the last frame, so nothing new can be learned.
        """
        if self.log_depth.shape != grey.shape:
            self._clear(grey.shape)
        has_depth = np.isfinite(network_log_depth)
        if not has_depth.any():
            nothing = np.full(grey.shape, np.nan, np.float32)
            return FusedDepth(nothing, np.ones_like(nothing), ~has_depth)
        prior = network_log_depth
        if not has_depth.all():
            prior = np.where(has_depth, prior, np.float32(np.median(prior[has_depth])))
        found = DepthMap(self.log_depth, self.precision)
        if not is_still:
            found = self._predicted(camera)
            self._observe_network(found, prior)
        network = DepthMap(
            prior + np.float32(self.network_shift), np.full_like(prior, config.network_sigma**-2)
        )
        if not is_still:
            found = self._matched(grey, camera, found, network)
        found = DepthMap(found.log_depth, found.precision * has_depth).known_or(network.log_depth)
        self.log_depth, self.precision, self.map_pose = *found, self.pose
        if not is_still:
            self._add_image(grey, camera)
        return _output(found, network.log_depth, grey, has_depth)

    def _clear(self, shape: tuple[int, ...]) -> None:
        """Begin a map without depth."""
        self.forget()
        self.log_depth = np.zeros(shape, np.float32)
        self.precision = np.zeros(shape, np.float32)

    def _predicted(self, camera: Intrinsics) -> DepthMap:
        T_new_old = invert(self.pose) @ self.map_pose
        found = DepthMap(self.log_depth, self.precision)
        return found.moved(camera, T_new_old)

    def _observe_network(self, moved: DepthMap, network_log_depth: np.ndarray) -> None:
        """
        Estimate the scale of the network in that of the map.

        Errors of the network have the size of objects, so each block of the image counts once;
        where few blocks are known, the scale remains nearer to the network's own.
        """
        shifts = moved.log_depth - network_log_depth
        is_sure = moved.precision > _SURE_PRECISION
        medians = _block_medians(shifts, is_sure)
        if len(medians):
            share = len(medians) ** 2 / (len(medians) ** 2 + _OWN_SCALE_BLOCKS**2)
            self.network_shift = share * float(np.median(medians))

    def _matched(
        self, grey: np.ndarray, camera: Intrinsics, moved: DepthMap, network: DepthMap
    ) -> DepthMap:
        """Return the map after the matches with an earlier image."""
        expected = moved.fused(network)
        index = self._chosen(camera, float(np.median(expected.log_depth[::4, ::4])))
        if index is not None:
            T_image_camera = invert(self.image_poses[index]) @ self.pose
            rays = MovedRays.of(camera, T_image_camera)
            match = self._matcher_of(grey.shape).measure(
                grey, texture(grey), rays, self.images[index], camera, expected.log_depth
            )
            moved = moved.weakened(match.contradiction(expected) / _OUTLIER)
            surprise = match.depth.surprise(moved.fused(network))
            moved = moved.fused(match.depth.weakened(surprise / _OUTLIER))
        return moved._replace(precision=np.minimum(moved.precision, np.float32(_MAX_PRECISION)))

    def _chosen(self, camera: Intrinsics, log_depth: float) -> int | None:
        """Return the image whose parallax is nearest to the wanted one; None without any."""
        parallax, turn = self._parallax(camera, log_depth)
        usable = (parallax > _MIN_PARALLAX) & (turn < _MAX_TURN_RAD)
        if not usable.any():
            return None
        cost = np.abs(np.log(np.maximum(parallax, 1e-9) / _PARALLAX)) + turn
        return int(np.argmin(np.where(usable, cost, np.inf)))

    def _parallax(self, camera: Intrinsics, log_depth: float) -> tuple[np.ndarray, np.ndarray]:
        """Return parallax as a part of the image width, and rotation, to each image."""
        T_images = invert(self.image_poses) @ self.pose
        focal = camera.fx / camera.width
        parallax = np.linalg.norm(T_images[:, :3, 3], axis=1) * (math.exp(-log_depth) * focal)
        return parallax, rotation_angle(T_images[:, :3, :3])

    def _add_image(self, grey: np.ndarray, camera: Intrinsics) -> None:
        """Keep the image if it differs enough from the newest one that is kept."""
        if len(self.images):
            parallax, turn = self._parallax(camera, float(np.median(self.log_depth[::4, ::4])))
            if parallax[-1] < _NEW_PARALLAX and turn[-1] < _NEW_TURN_RAD:
                return
            self.images = np.concatenate([self.images, grey[None]])[-_NUM_REFERENCES:]
        else:
            self.images = grey[None].copy()
        self.image_poses = np.concatenate([self.image_poses, self.pose[None]])[-_NUM_REFERENCES:]

    def _matcher_of(self, shape: tuple[int, int]) -> FlowTriangulation:
        if self._matcher is None or self._matcher[0] != shape:
            self._matcher = (shape, FlowTriangulation(shape))
        return self._matcher[1]


def resampled_log_depth(
    depth_m: np.ndarray, depth_camera: Intrinsics, camera: Intrinsics
) -> np.ndarray:
    """
    Return the log depth at the pixels of a finer camera at the same place.

    :param depth_m: [h, w] float32, NaN where there is none.
    :param depth_camera: of the depth.
    :param camera: whose pixels are wanted.
    :return: log of metres, [H, W] float32, NaN where there is none.
    """
    columns = (np.arange(camera.width) - camera.cx) / camera.fx * depth_camera.fx + depth_camera.cx
    rows = (np.arange(camera.height) - camera.cy) / camera.fy * depth_camera.fy + depth_camera.cy
    at_x, at_y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    is_known = np.isfinite(depth_m)
    log_depth = np.log(np.where(is_known, np.maximum(depth_m, 1e-6), 1.0)).astype(np.float32)

    def fetched(values: np.ndarray) -> np.ndarray:
        return cv2.remap(values, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    if is_known.all():
        return fetched(log_depth)
    share = fetched(is_known.astype(np.float32))
    log_depth = fetched(log_depth) / np.maximum(share, np.float32(1e-6))
    return np.where(share > 0.5, log_depth, np.float32(np.nan))


def _block_medians(values: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    """Return the medians of the known pixels, thinned, in the blocks with enough of them."""
    down, across = (side // (3 * count) for side, count in zip(values.shape, _BLOCKS, strict=True))
    area = (slice(0, 3 * down * _BLOCKS[0], 3), slice(0, 3 * across * _BLOCKS[1], 3))
    split = np.where(is_known[area], values[area], np.inf)
    split = split.reshape(_BLOCKS[0], down, _BLOCKS[1], across).swapaxes(1, 2)
    blocks = np.sort(split.reshape(_BLOCKS[0] * _BLOCKS[1], down * across), axis=1)
    count = np.isfinite(blocks).sum(axis=1)
    rows = np.flatnonzero(count > _MIN_SURE * down * across)
    count = count[rows]
    return 0.5 * (blocks[rows, (count - 1) // 2] + blocks[rows, count // 2])


def _output(
    found: DepthMap, network_log_depth: np.ndarray, grey: np.ndarray, has_depth: np.ndarray
) -> FusedDepth:
    """Correct the network's depth by what the map knows, and mix both by precision."""
    correction = np.clip(found.log_depth - network_log_depth, -_MAX_CORRECTION, _MAX_CORRECTION)
    weights = np.minimum(found.precision, np.float32(_SPREAD_PRECISION))
    correction, near = spread_by_edges(correction, weights, grey)
    filled = network_log_depth + correction
    support = np.minimum(near, np.float32(_SPREAD_PRECISION)) + np.float32(_BASE_PRECISION)
    mixed = found.fused(DepthMap(filled, support))
    confidence = depth_confidence(found, mixed.log_depth, filled, network_log_depth, near)
    depth = np.exp(mixed.log_depth)
    depth[~has_depth] = np.nan
    return FusedDepth(depth, confidence, found.precision > support)
