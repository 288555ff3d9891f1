# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Depth of every pixel from one other image at a known pose.

The other image is warped to where the expected depth puts it. Dense flow (DIS; Kroeger, Timofte,
Dai, Van Gool 2016) finds the rest of the way, which is short. The match is then triangulated on
its epipolar line. How far it lies off that line, how well the images agree there, and the texture
give the precision: what moves by itself or is hidden in one of the images gets little.
"""

# H, W pixels

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.odometry.depth_map import DepthMap
from mem3r_ros.odometry.pixel_rays import MovedRays

_MATCH_PX = np.float32(0.5)  # standard deviation of a match in rich texture
_IMAGE_NOISE = np.float32(3.0)  # grey levels
# Where the gradient is less the flow is that of the surroundings, in every frame: such errors do
# not average out, so the variance is larger than the noise alone would make it.
_FLAT = np.float32(1.0)  # grey levels per px
_MIN_TEXTURE = np.float32(0.2)  # grey levels per px
_MAX_RATIO = np.float32(4.0)  # of triangulated and expected depth, and its inverse
_MARGIN_PX = 1.0  # of the other image; matches beyond count for nothing
_BRIGHTNESS_PX = 31  # box over which a change of brightness is ignored
_PATCH_PX = 5  # box over which the images are compared
_MIN_SIDE = 64  # px, of the smallest image that the flow can search


def is_large_enough(shape: tuple[int, int]) -> bool:
    """Return whether images of this height and width can be matched."""
    return min(shape) >= _MIN_SIDE


def texture(grey: np.ndarray) -> np.ndarray:
    """Return the mean gradient around each pixel, grey levels per px, [H, W] float32."""
    gradient = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    gradient += np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return np.asarray(cv2.blur(gradient, (7, 7))) * np.float32(1 / 8) + _MIN_TEXTURE


class Match(NamedTuple):
    """What one other image says about each pixel."""

    depth: DepthMap
    moved_px2: np.ndarray  # [H, W] square of the image motion in px by a unit of log depth
    way_px2: np.ndarray  # [H, W] square of the way from where it was expected, px
    noise_px2: np.ndarray  # [H, W] variance of the match, px

    def contradiction(self, expected: DepthMap) -> np.ndarray:
        """
        Return how far an expected depth and a static scene are from explaining the match.

        In variances of both; large where something moves by itself or has been uncovered.

        :param expected: what the search started from, with its precision.
        """
        spread_px2 = self.moved_px2 / np.maximum(expected.precision, np.float32(1e-6))
        return self.way_px2 / (self.noise_px2 + spread_px2)


class FlowTriangulation:
    """Triangulates images of one size."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """
        Prepare the search.

        :param shape: height and width of all images.
        """
        self._rows, self._columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setPatchStride(4)
        search.setGradientDescentIterations(12)
        self._search = search

    def measure(
        self,
        grey: np.ndarray,
        grey_texture: np.ndarray,
        rays: MovedRays,
        other: np.ndarray,
        camera: Intrinsics,
        expected: np.ndarray,
    ) -> Match:
        """
        Triangulate each pixel.

        :param grey: the image whose depth is wanted, [H, W] uint8.
        :param grey_texture: see :func:`texture`.
        :param rays: of its pixels, moved to the camera of ``other``.
        :param other: another image of the same scene, [H, W] uint8.
        :param camera: of both.
        :param expected: log depth that the search starts from, [H, W] float32.
        :return: depth along the optical axis of ``grey``, and how far the search went for it.
        """
        inverse_depth = np.exp(-expected)
        start = rays.project(inverse_depth, camera)
        warped = cv2.remap(
            other, start.x, start.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        flow = self._search.calc(grey, warped, None)
        to_x, to_y = flow[..., 0] + self._columns, flow[..., 1] + self._rows
        x, y = (
            cv2.remap(values, to_x, to_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for values in (start.x, start.y)
        )
        found, along_px2, off_px2 = _triangulated(rays, x, y, camera)
        mismatch = _mismatch(grey, other, x, y) / np.maximum(grey_texture, 1)
        noise_px2 = _MATCH_PX**2 + (_IMAGE_NOISE / grey_texture) ** 2 + mismatch**2
        noise_px2 *= 1 + (_FLAT / grey_texture) ** 2
        height, width = grey.shape
        counts = (x > _MARGIN_PX) & (x < width - 1 - _MARGIN_PX)
        counts &= (y > _MARGIN_PX) & (y < height - 1 - _MARGIN_PX)
        counts &= (found > inverse_depth / _MAX_RATIO) & (found < inverse_depth * _MAX_RATIO)
        found = np.clip(found, inverse_depth / _MAX_RATIO, inverse_depth * _MAX_RATIO)
        moved_px2 = along_px2 * (found / start.depth_ratio) ** 2  # px by a change of log depth
        depth = DepthMap(-np.log(found), counts * moved_px2 / (noise_px2 + off_px2))
        way_px2 = counts * ((x - start.x) ** 2 + (y - start.y) ** 2)
        return Match(depth, moved_px2, way_px2, noise_px2)


def _triangulated(
    rays: MovedRays, x_px: np.ndarray, y_px: np.ndarray, camera: Intrinsics
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return the inverse depth of matches by linear least squares.

    :return: inverse depth; square of the image motion in px by a unit of it (times the depth
        ratio); square of the distance from the epipolar line, px.
    """
    x = (x_px - np.float32(camera.cx)) * np.float32(1 / camera.fx)
    y = (y_px - np.float32(camera.cy)) * np.float32(1 / camera.fy)
    t = rays.t
    along_x, along_y = t[0] - x * t[2], t[1] - y * t[2]
    rest_x, rest_y = rays.x - x * rays.z, rays.y - y * rays.z
    length2 = along_x * along_x + along_y * along_y + np.float32(1e-12)
    inverse_depth = -(rest_x * along_x + rest_y * along_y) / length2
    focal2 = np.float32(camera.fx * camera.fy)
    off2 = (rest_x * along_y - rest_y * along_x) ** 2 / length2
    return inverse_depth, length2 * focal2, off2 * focal2


def _mismatch(grey: np.ndarray, other: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the mean difference of the images around each match, grey levels."""
    matched = cv2.remap(other, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    difference = np.asarray(cv2.subtract(grey, matched, dtype=cv2.CV_32F))
    difference -= np.asarray(cv2.blur(difference, (_BRIGHTNESS_PX, _BRIGHTNESS_PX)))
    return np.asarray(cv2.blur(np.abs(difference), (_PATCH_PX, _PATCH_PX)))
