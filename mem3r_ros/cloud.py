# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Coloured points of one frame, and a voxel map of bounded size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.cloud_config import CloudConfig

_KEY_BITS = 21  # per axis; 2 million voxels each way
_KEY_OFFSET = 1 << (_KEY_BITS - 1)


@dataclass(frozen=True, slots=True)
class PointSet:
    """Points of one frame in its camera's optical frame."""

    points: np.ndarray  # [P, 3] float32, m
    colours: np.ndarray  # [P, 3] uint8, RGB
    weights: np.ndarray  # [P] float32, network confidence or 1


def edge_mask(depth_m: np.ndarray, ratio: float) -> np.ndarray:
    """
    Find pixels next to a step in depth, where predicted depth mixes both surfaces.

    :param depth_m: [H, W], NaN invalid.
    :param ratio: height of the step, relative to the nearer depth.
    :return: True on both sides of each step, [H, W] bool.
    """
    edges = np.zeros(depth_m.shape, bool)
    with np.errstate(invalid='ignore'):
        for axis in (0, 1):
            first = depth_m[:-1] if axis == 0 else depth_m[:, :-1]
            second = depth_m[1:] if axis == 0 else depth_m[:, 1:]
            step = np.abs(first - second) > ratio * np.minimum(first, second)
            if axis == 0:
                edges[:-1] |= step
                edges[1:] |= step
            else:
                edges[:, :-1] |= step
                edges[:, 1:] |= step
    return edges


def neighbours_at_same_depth(depth_m: np.ndarray, ratio: float = 0.1) -> np.ndarray:
    """
    Count the neighbours of each pixel that lie on the same surface.

    The radius outlier filter of point clouds, on the grid of the image: no search for neighbours.

    :param depth_m: [H, W], NaN invalid.
    :param ratio: largest difference in depth, relative to the nearer one.
    :return: 0 to 8, [H, W] uint8.
    """
    count = np.zeros(depth_m.shape, np.uint8)
    height, width = depth_m.shape
    # Each pair of neighbours is compared once and counted for both.
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width + min(0, right)))
        first, second = depth_m[here], depth_m[there]
        with np.errstate(invalid='ignore'):
            same = np.abs(first - second) <= ratio * np.minimum(first, second)
        count[here] += same
        count[there] += same
    return count


def select_points(
    depth_m: np.ndarray,
    intrinsics: Intrinsics,
    image: np.ndarray,
    confidence: np.ndarray | None = None,
    config: CloudConfig | None = None,
) -> PointSet:
    """
    Convert a depth image to coloured points, without flying pixels.

    :param depth_m: depth along z, [H, W] float32; NaN and infinity are dropped.
    :param intrinsics: camera of the depth image.
    :param image: colours, [H, W, 3] uint8, same size as the depth.
    :param confidence: network confidence, [H, W] float32.
    :return: points in the camera's frame with colours and weights.
    """
    config = config or CloudConfig()
    with np.errstate(invalid='ignore'):
        keep = (depth_m >= config.min_depth_m) & (depth_m <= config.max_depth_m)
        if confidence is not None and config.min_confidence > 1.0:
            keep &= confidence >= config.min_confidence
    if config.edge_ratio > 0:
        keep &= ~edge_mask(depth_m, config.edge_ratio)
    if config.min_neighbours > 0:
        keep &= neighbours_at_same_depth(depth_m) >= config.min_neighbours
    x, y = intrinsics.slopes()
    if config.stride > 1:
        thin = slice(None, None, config.stride)
        x, y, depth_m, keep, image = (
            x[thin],
            y[thin],
            *(a[thin, thin] for a in (depth_m, keep, image)),
        )
        confidence = None if confidence is None else confidence[thin, thin]
    depth_m = depth_m.astype(np.float32, copy=False)
    with np.errstate(invalid='ignore'):
        points = cv2.merge([depth_m * x, depth_m * y[:, None], np.ascontiguousarray(depth_m)])
    weights = np.ones(int(keep.sum()), np.float32) if confidence is None else confidence[keep]
    return PointSet(_kept(points, keep), _kept(image, keep), weights)


def _kept(pixels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return the pixels [H, W, C] that are kept, [P, C]."""
    pixels = np.ascontiguousarray(pixels)
    # Whole pixels in one piece: several times faster than their channels.
    whole = pixels.view(np.dtype((np.void, pixels.strides[1])))[..., 0]
    return whole[keep].view(pixels.dtype).reshape(-1, pixels.shape[2])


class VoxelMap:
    """
    A coloured cloud of bounded size.

    Each voxel holds the weighted mean of its points. New points are buffered and merged in bulk.
    Above the limit, voxels with a low weight and an old last observation are dropped first: the
    weight halves with every thousand calls of ``add`` without a new point.
    """

    _HALF_LIFE = 1000.0

    def __init__(self, voxel_size_m: float = 0.05, max_points: int = 200_000) -> None:
        """
        Create an empty map.

        :param voxel_size_m: edge of a voxel.
        :param max_points: maximum number of voxels.
        """
        self.voxel_size_m = float(voxel_size_m)
        self.max_points = int(max_points)
        self._keys = np.empty(0, np.int64)  # sorted
        self._sums = np.empty((0, 7), np.float64)  # weighted x y z r g b, weight
        self._seen = np.empty(0, np.int64)  # call of ``add`` that last changed the voxel
        self._buffer: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._num_buffered = 0
        self._num_calls = 0

    def __len__(self) -> int:
        """Return the number of voxels."""
        self._merge()
        return len(self._keys)

    def add(
        self, points_odom: np.ndarray, colours: np.ndarray, weights: np.ndarray | None = None
    ) -> None:
        """
        Add points.

        :param points_odom: [P, 3], m.
        :param colours: [P, 3] uint8.
        :param weights: weight of each point, > 0, [P]; default 1.
        """
        points = np.asarray(points_odom, np.float64)
        voxels = np.floor(points / self.voxel_size_m)
        inside = (np.abs(voxels) < _KEY_OFFSET - 1).all(axis=1)
        voxels = voxels[inside].astype(np.int64) + _KEY_OFFSET
        weight = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64)
        values = np.empty((len(voxels), 7))
        values[:, :3] = points[inside]
        values[:, 3:6] = np.asarray(colours)[inside]
        values[:, 6] = 1.0
        values *= weight[inside, None]
        keys = (voxels[:, 0] << (2 * _KEY_BITS)) | (voxels[:, 1] << _KEY_BITS) | voxels[:, 2]
        self._num_calls += 1
        seen = np.full(len(keys), self._num_calls, np.int64)
        self._buffer.append(_sum_by_key(keys, values, seen))
        self._num_buffered += len(self._buffer[-1][0])
        if self._num_buffered > max(self.max_points // 4, 10_000):
            self._merge()

    def points(self) -> np.ndarray:
        """Return the point of each voxel, [P, 3] float32, m."""
        self._merge()
        return (self._sums[:, :3] / self._sums[:, 6:]).astype(np.float32)

    def colours(self) -> np.ndarray:
        """Return the colour of each voxel, [P, 3] uint8."""
        self._merge()
        return np.rint(self._sums[:, 3:6] / self._sums[:, 6:]).clip(0, 255).astype(np.uint8)

    def weights(self) -> np.ndarray:
        """Return the summed weight of each voxel, [P] float32."""
        self._merge()
        return self._sums[:, 6].astype(np.float32)

    def clear(self) -> None:
        """Remove all points."""
        self.__init__(self.voxel_size_m, self.max_points)

    def _merge(self) -> None:
        if not self._buffer:
            return
        parts = [(self._keys, self._sums, self._seen), *self._buffer]
        keys, sums, seen = (np.concatenate(part) for part in zip(*parts, strict=True))
        self._buffer, self._num_buffered = [], 0
        keys, sums, seen = _sum_by_key(keys, sums, seen)
        excess = len(keys) - self.max_points
        if excess > 0:
            # Drop a tenth more than needed, so a full map is not sorted at every merge.
            num_dropped = min(len(keys), excess + self.max_points // 10)
            worth = np.log2(sums[:, 6]) - (self._num_calls - seen) / self._HALF_LIFE
            keep = np.ones(len(keys), bool)
            keep[np.argpartition(worth, num_dropped - 1)[:num_dropped]] = False
            keys, sums, seen = keys[keep], sums[keep], seen[keep]
        self._keys, self._sums, self._seen = keys, sums, seen


def _sum_by_key(
    keys: np.ndarray, values: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sorted distinct keys, the sum of their values and their last observation."""
    if len(keys) == 0:
        return keys, values, seen
    order = np.argsort(keys, kind='stable')
    keys, values, seen = keys[order], values[order], seen[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(values, starts), np.maximum.reduceat(seen, starts)
