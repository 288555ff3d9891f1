# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Pose refinement: corners are tracked over a few keyframes, and poses and depths fitted jointly.

Sparse flow (Lucas and Kanade 1981, pyramids by Bouguet) at up to 640 px, a higher resolution than
that of the network, and bundle adjustment over a sliding window with predicted motions and depths
as priors. New corners get predicted depth in the scale of the window, which follows the scale of
the network slowly. A change of the factor to metres applies at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, orthonormalise, rotation_angle
from mem3r_ros.tracker.config import RefinementConfig
from mem3r_ros.tracker.corners import grid_corners
from mem3r_ros.tracker.window_adjustment import Adjusted, Bundle, adjust

WIDTH = 640  # px at most
_NUM_KEYFRAMES = 6
_NUM_CELLS = 240
_MIN_CORNERS = 25
_MIN_SHARE = 0.4  # of the tracked corners must fit; below, the window is dropped
_KEY_SHARE = 0.7  # of the corners still tracked; below, a keyframe is added
_KEY_PARALLAX = 0.04  # of the image width; above, a keyframe is added
_BACKWARD_PX = 1.0
_OUTLIER = 3.0  # standard deviations of a pixel
_MAX_DEPARTURE = 6.0  # standard deviations from the predicted motion; above, it is rejected
_POSITION_FLOOR_M = 0.007
_ROTATION_FLOOR_RAD = 0.004


@dataclass(frozen=True, slots=True)
class DepthView:
    """Predicted depth and its camera."""

    depth_m: np.ndarray  # [h, w], NaN where unknown or ignored
    camera: Intrinsics

    def sample(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the depth along rays [P, 3], and where it is reliable.

        A pixel on a depth edge may belong to either side, so it is not reliable.
        """
        at = np.rint(self.camera.project(rays)).astype(int)
        height, width = self.depth_m.shape
        inside = (at >= 1).all(axis=1) & (at[:, 0] < width - 1) & (at[:, 1] < height - 1)
        x, y = at[:, 0].clip(1, width - 2), at[:, 1].clip(1, height - 2)
        around = np.stack([self.depth_m[y + j, x + i] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        depth = around[4].astype(np.float64)
        with np.errstate(invalid='ignore'):
            good = inside & np.isfinite(around).all(axis=0)
            good &= np.ptp(around, axis=0) < 0.15 * depth
        return depth, good


@dataclass(slots=True)
class KeyframeRefinement:
    """
    The window: M frames (keyframes, and the newest frame if it is none), N corners.

    It improves increments; without enough corners it returns them unchanged.
    """

    grey: np.ndarray | None = None  # [H, W] uint8, last image; None: no window
    factor: float = 1.0  # metres per unit of the first segment; poses and depths are in these m
    is_key: bool = True  # whether the last frame of the window is a keyframe
    poses: np.ndarray = field(default_factory=lambda: np.empty((0, 4, 4)))
    motions: np.ndarray = field(default_factory=lambda: np.empty((0, 4, 4)))  # predicted, priors
    variances: np.ndarray = field(default_factory=lambda: np.empty((0, 6)))  # of the motions
    anchor: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    rays: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    log_depth: np.ndarray = field(default_factory=lambda: np.empty(0))
    prior_depth: np.ndarray = field(default_factory=lambda: np.empty(0))
    prior_sigma: np.ndarray = field(default_factory=lambda: np.empty(0))
    pixels: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 2)))  # [N, M, 2]; NaN

    def process(
        self,
        image: np.ndarray,
        camera: Intrinsics,
        T_last_camera: np.ndarray | None,
        view: DepthView | None,
        factor: float,
        config: RefinementConfig,
    ) -> np.ndarray | None:
        """
        Combine the predicted motion with the motion of the corners.

        :param image: the camera's image, [H, W, 3] uint8, rectified.
        :param camera: its camera.
        :param T_last_camera: predicted motion, m; None in a first frame.
        :param view: predicted depth, m; None if not computed.
        :param factor: metres per unit of the first segment, in both of these.
        :return: the refined motion, or the predicted one with too few corners.
        """
        grey, camera = _working_image(image, camera)
        if T_last_camera is None or (self.grey is not None and self.grey.shape != grey.shape):
            self.grey = None
        if factor != self.factor:
            self._rescale(factor)
        if self.grey is not None:
            T_last_camera = self._refined(grey, camera, T_last_camera, config)
        if view is not None and self.wants_keyframe():
            self._take_keyframe(grey, camera, view, config)
        return T_last_camera

    def _refined(
        self,
        grey: np.ndarray,
        camera: Intrinsics,
        T_last_camera: np.ndarray,
        config: RefinementConfig,
    ) -> np.ndarray:
        T_window_last, start = self.poses[-1], self.pixels[:, -1]
        self._append(T_last_camera, config)
        pixels, kept = self._follow(grey, camera, start)
        self.grey = grey
        self.pixels[:, -1] = np.where(kept[:, None], pixels, np.nan)
        adjusted = self._adjusted(camera, config) if kept.sum() >= _MIN_CORNERS else None
        if adjusted is None:
            self.grey = None
            return T_last_camera
        self.poses = np.stack([orthonormalise(T) for T in adjusted.T_window_camera])
        self.log_depth = adjusted.log_depth
        refined = orthonormalise(invert(T_window_last) @ self.poses[-1])
        if _departure(refined, T_last_camera, config) > _MAX_DEPARTURE:
            self.grey = None
            return T_last_camera
        return refined

    def _append(self, T_last_camera: np.ndarray, config: RefinementConfig) -> None:
        """Append the new frame; it replaces the last one if that is no keyframe."""
        T_window_camera = self.poses[-1] @ T_last_camera
        variance = _motion_variance(T_last_camera, config)
        if not self.is_key:
            T_last_camera = self.motions[-1] @ T_last_camera
            variance = self.variances[-1] + variance
            for name in ('poses', 'motions', 'variances'):
                setattr(self, name, getattr(self, name)[:-1])
            self.pixels = self.pixels[:, :-1]
        self.poses = np.concatenate([self.poses, T_window_camera[None]])
        self.motions = np.concatenate([self.motions, T_last_camera[None]])
        self.variances = np.concatenate([self.variances, variance[None]])
        unseen = np.full((len(self.rays), 1, 2), np.nan)
        self.pixels = np.concatenate([self.pixels, unseen], axis=1)
        self.is_key = False

    def _follow(
        self, image: np.ndarray, camera: Intrinsics, start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Track the corners of the last image into the new one, with a forward-backward check.

        Between images and not from the keyframe, because near objects change quickly.

        :param start: positions in the last image, [N, 2]; NaN where not observed.
        :return: positions [N, 2], and which are reliable, [N].
        """
        T_camera_anchor = invert(self.poses[-1]) @ self.poses[self.anchor]
        points = self.rays * np.exp(self.log_depth)[:, None]
        points = np.einsum('nij,nj->ni', T_camera_anchor[:, :3, :3], points)
        expected = np.nan_to_num(camera.project(points + T_camera_anchor[:, :3, 3]), nan=-1.0)
        size = np.array(image.shape[::-1])
        usable = ((expected >= 0) & (expected < size)).all(axis=1) & np.isfinite(start[:, 0])
        pixels = np.full((len(start), 2), np.nan)
        kept = np.zeros(len(start), bool)
        if usable.sum() < _MIN_CORNERS:
            return pixels, kept
        options = {
            'winSize': (15, 15),
            'maxLevel': 3,
            'flags': cv2.OPTFLOW_USE_INITIAL_FLOW,
        }
        begin = start[usable].astype(np.float32)[:, None]
        guess = expected[usable].astype(np.float32)[:, None].copy()
        moved, found, _ = cv2.calcOpticalFlowPyrLK(self.grey, image, begin, guess, **options)
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(
            image, self.grey, moved, begin.copy(), **options
        )
        error = np.linalg.norm((back - begin)[:, 0], axis=1)
        pixels[usable] = moved[:, 0]
        kept[usable] = (found.ravel() == 1) & (found_back.ravel() == 1) & (error < _BACKWARD_PX)
        return pixels, kept

    def _adjusted(self, camera: Intrinsics, config: RefinementConfig) -> Adjusted | None:
        """Fit the window; drop the observations that do not fit."""
        seen = np.isfinite(self.pixels[..., 0])
        seen[np.arange(len(seen)), self.anchor] = False
        corner, frame = np.nonzero(seen)
        bundle = Bundle(
            self.poses,
            self.log_depth,
            self.anchor,
            self.rays,
            corner,
            frame,
            self.pixels[corner, frame],
            self.prior_depth,
            self.prior_sigma,
            self.motions,
            np.stack([np.diag(1.0 / variance) for variance in self.variances]),
        )
        try:
            adjusted = adjust(bundle, camera, config.pixel_noise)
        except np.linalg.LinAlgError:
            return None
        wrong = adjusted.error_px > _OUTLIER * config.pixel_noise
        is_new = frame == len(self.poses) - 1
        self.pixels[corner[wrong], frame[wrong]] = np.nan
        fits = (is_new & ~wrong).sum() >= max(_MIN_CORNERS, _MIN_SHARE * is_new.sum())
        return adjusted if fits and np.isfinite(adjusted.T_window_camera).all() else None

    def wants_keyframe(self) -> bool:
        """Return whether a keyframe is due: no window, much parallax, or few corners left."""
        if self.grey is None or len(self.poses) < 2:
            return self.grey is None
        now, before = self.pixels[:, -1], self.pixels[:, -2]
        both = np.isfinite(now[:, 0]) & np.isfinite(before[:, 0])
        had = np.isfinite(before[:, 0]).sum()
        shift = np.linalg.norm(now[both] - before[both], axis=1)
        return (
            both.sum() < _KEY_SHARE * had or np.median(shift) > _KEY_PARALLAX * self.grey.shape[1]
        )

    def _take_keyframe(
        self, grey: np.ndarray, camera: Intrinsics, view: DepthView, config: RefinementConfig
    ) -> None:
        """Make the newest frame a keyframe: drop lost corners, detect new ones."""
        if self.grey is None:
            self.__init__(
                factor=self.factor,
                poses=np.eye(4)[None],
                motions=np.eye(4)[None],
                variances=np.ones((1, 6)),
                pixels=np.empty((0, 1, 2)),
            )
        self.grey, self.is_key = grey, True
        if len(self.poses) > _NUM_KEYFRAMES:
            self._drop_oldest(camera)
        self._keep(np.isfinite(self.pixels[:, -1, 0]))
        heirs = self.pixels[:, -1]
        corners = grid_corners(grey, _NUM_CELLS, None)[:, 0].astype(np.float64)
        if len(heirs):
            near = np.linalg.norm(corners[:, None] - heirs[None], axis=2).min(axis=1)
            corners = corners[near > 0.6 * np.sqrt(grey.size / _NUM_CELLS)]
        rays = _rays(camera, corners)
        depth, good = view.sample(rays)
        rays, log_depth = rays[good], np.log(depth[good])
        log_depth += self._scale_shift(camera, view, config)
        self._add(rays, corners[good], log_depth, config.depth_sigma)
        if len(self.rays) < _MIN_CORNERS:
            self.grey = None

    def _scale_shift(self, camera: Intrinsics, view: DepthView, config: RefinementConfig) -> float:
        """Return the offset from predicted log depth to the scale of the window."""
        depth = self._depth_in(len(self.poses) - 1)
        seen, good = view.sample(_rays(camera, self.pixels[:, -1]))
        good &= depth > 0
        if good.sum() < _MIN_CORNERS:
            return 0.0
        ratio = float(np.median(np.log(depth[good]) - np.log(seen[good])))
        return (1.0 - config.scale_follow) * ratio

    def _rescale(self, factor: float) -> None:
        """Change the number of metres per unit."""
        ratio = factor / self.factor
        self.factor = factor
        for name in ('poses', 'motions'):
            changed = getattr(self, name).copy()
            changed[:, :3, 3] *= ratio
            setattr(self, name, changed)
        self.variances = self.variances * ([ratio**2] * 3 + [1.0] * 3)
        self.log_depth = self.log_depth + np.log(ratio)
        self.prior_depth = self.prior_depth + np.log(ratio)

    def _add(
        self,
        rays: np.ndarray,
        pixels: np.ndarray,
        log_depth: np.ndarray,
        sigma: float,
    ) -> None:
        """Add corners found in the last frame of the window."""
        num_new, num_frames = len(rays), len(self.poses)
        seen = np.full((num_new, num_frames, 2), np.nan)
        seen[:, -1] = pixels
        new_anchor = np.full(num_new, num_frames - 1, np.int64)
        self.pixels = np.concatenate([self.pixels, seen])
        self.anchor = np.concatenate([self.anchor, new_anchor])
        self.rays = np.concatenate([self.rays, rays])
        self.log_depth = np.concatenate([self.log_depth, log_depth])
        self.prior_depth = np.concatenate([self.prior_depth, log_depth])
        self.prior_sigma = np.concatenate([self.prior_sigma, np.full(num_new, sigma)])

    def _keep(self, kept: np.ndarray) -> None:
        """Keep some of the corners."""
        for name in ('anchor', 'rays', 'log_depth', 'prior_depth', 'prior_sigma', 'pixels'):
            setattr(self, name, getattr(self, name)[kept])

    def _depth_in(self, frame: int) -> np.ndarray:
        """Return the depth of all corners in one of the frames, [N], m."""
        T_frame_anchor = invert(self.poses[frame]) @ self.poses[self.anchor]
        points = self.rays * np.exp(self.log_depth)[:, None]
        return np.einsum('nj,nj->n', T_frame_anchor[:, 2, :3], points) + T_frame_anchor[:, 2, 3]

    def _drop_oldest(self, camera: Intrinsics) -> None:
        """Drop the oldest keyframe; the next one becomes the anchor of its corners."""
        is_orphan = self.anchor == 0
        depth = self._depth_in(1)
        heirs = is_orphan & np.isfinite(self.pixels[:, 1, 0]) & (depth > 1e-3)
        shift = np.log(depth[heirs]) - self.log_depth[heirs]
        self.rays[heirs] = _rays(camera, self.pixels[heirs, 1])
        self.log_depth[heirs] += shift
        self.prior_depth[heirs] += shift
        self.anchor[heirs] = 1
        self._keep(~is_orphan | heirs)
        self.anchor = self.anchor - 1
        self.pixels = self.pixels[:, 1:]
        for name in ('poses', 'motions', 'variances'):
            setattr(self, name, getattr(self, name)[1:])


def _motion_variance(T_last_camera: np.ndarray, config: RefinementConfig) -> np.ndarray:
    """Return the variance of the predicted motion, [6]."""
    step = float(np.linalg.norm(T_last_camera[:3, 3]))
    turn = float(rotation_angle(T_last_camera[:3, :3]))
    position = _POSITION_FLOOR_M**2 + (config.position_share * step) ** 2
    rotation = _ROTATION_FLOOR_RAD**2 + (config.rotation_share * turn) ** 2
    return np.array([position] * 3 + [rotation] * 3)


def _departure(refined: np.ndarray, T_last_camera: np.ndarray, config: RefinementConfig) -> float:
    """Return the distance of a refined motion from the predicted one, in standard deviations."""
    sigma = np.sqrt(_motion_variance(T_last_camera, config)[:3].sum())
    return float(np.linalg.norm(refined[:3, 3] - T_last_camera[:3, 3]) / sigma)


def _rays(camera: Intrinsics, pixels: np.ndarray) -> np.ndarray:
    x = (pixels[:, 0] - camera.cx) / camera.fx
    y = (pixels[:, 1] - camera.cy) / camera.fy
    return np.column_stack([x, y, np.ones(len(pixels))]).astype(np.float64)


def _working_image(image: np.ndarray, camera: Intrinsics) -> tuple[np.ndarray, Intrinsics]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.shape[1] > WIDTH:
        size = (WIDTH, round(grey.shape[0] * WIDTH / grey.shape[1]))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey, camera.resized(grey.shape[1], grey.shape[0])
