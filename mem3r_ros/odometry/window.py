# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A sliding window of keyframes whose poses and landmarks are adjusted together.

Each frame is located by the landmarks that it sees, with the network's motion as a prior; each
keyframe adjusts the window. Three things carry the scale over the window's end: landmarks keep
their depth once they have parallax, they outweigh landmarks without, and a new landmark enters
with the network's depth in the scale of the window (:mod:`scale_carriers`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
import math

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import hat, invert, orthonormalise
from mem3r_ros.odometry import scale_carriers
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.config import RefinementConfig
from mem3r_ros.odometry.corner_tracks import new_corners, track, working_image
from mem3r_ros.odometry.frame_location import Location, locate
from mem3r_ros.odometry.keyframe import Keyframe
from mem3r_ros.odometry.keyframes import Keyframes
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.motion_prior import STILL, MotionPrior
from mem3r_ros.odometry.pinhole import DepthImage, camera_array, project, rays_of
from mem3r_ros.odometry.problem import Problem
from mem3r_ros.odometry.robust_geometry import epipolar_inliers

REFERENCE_WIDTH = 640  # px at which thresholds are stated
_KEY_PX = 6.0  # motion since the last keyframe, rotation left aside, that makes a new one
_KEY_SHARE = 0.6  # of its corners still tracked; below, a new one is taken
_MIN_CORNERS = 25
_EPIPOLAR_PX = 1.5
_OUTLIER = 4.0  # standard deviations of a pixel, at an adjustment
_UNSURE = 2.0  # factor on the spread of a depth at an edge
_ITERATIONS = 6
_STEP_RATIOS = 10  # keyframe steps that are compared with the network's


@dataclass(frozen=True, slots=True)
class FrameInput:
    """One frame for the window; lengths in units of the network."""

    stamp_ns: int
    grey: np.ndarray  # [H, W] uint8, rectified
    camera: Intrinsics  # of ``grey``
    T_previous_camera: np.ndarray | None  # by the network; None starts a new window
    depth: DepthImage | None = None  # None: no keyframe can be made of this frame
    ignore: np.ndarray | None = None  # [H, W] bool, pixels without corners


@dataclass(frozen=True, slots=True)
class WindowEstimate:
    """What the window says of one frame."""

    T_previous_camera: np.ndarray  # since the previous frame, in the scale of the window
    covariance: np.ndarray  # [6, 6] translation, rotation, in the axes of the previous camera
    num_tracked: int  # corners found again
    num_inliers: int  # of these, in agreement with the pose
    is_keyframe: bool
    reason: str = ''  # why geometry said nothing and the network's motion is returned


@dataclass(slots=True)
class SlidingWindow:
    """The window of one stream; its fields are all that it remembers."""

    previous: np.ndarray | None = None  # [H, W] uint8, the last image; None: no window
    camera: np.ndarray = field(default_factory=lambda: np.ones(4))  # fx, fy, cx, cy of it
    poses: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))  # keyframes, newest
    is_key: bool = True  # whether the newest frame is a keyframe
    wants_keyframe: bool = True  # whether the next frame should be one
    num_taken: int = 0  # keyframes of the stream
    velocity: np.ndarray = field(default_factory=lambda: np.eye(4))  # the last motion
    T_window_camera: np.ndarray = field(default_factory=lambda: np.eye(4))  # as published
    log_depth_ratio: float = 0.0  # depth of the window over that of the network
    log_step_ratios: list[float] = field(default_factory=list)  # the same of keyframe steps
    since_key: np.ndarray = field(default_factory=lambda: np.eye(4))  # network's motion
    since_key_variance: np.ndarray = field(default_factory=lambda: np.zeros(2))
    since_key_path: float = 0.0  # length of it in units of the network
    depth_camera: Intrinsics | None = field(default=None, metadata={'is_packed': False})
    image_camera: Intrinsics | None = field(default=None, metadata={'is_packed': False})
    landmarks: Landmarks = field(default_factory=Landmarks, metadata={'is_packed': False})
    keyframes: Keyframes = field(default_factory=Keyframes, metadata={'is_packed': False})

    def process(self, frame: FrameInput, config: RefinementConfig) -> WindowEstimate | None:
        """
        Take one frame in.

        :return: the motion since the previous frame; None for the first frame of a window.
        """
        grey = working_image(frame.grey)
        self.image_camera = frame.camera.resized(grey.shape[1], grey.shape[0])
        self.camera = camera_array(self.image_camera)
        is_new = self.previous is None or self.previous.shape != grey.shape
        if is_new or frame.T_previous_camera is None:
            self._start(grey, frame, config)
            return None
        motion = self._scaled(frame.T_previous_camera, config)
        expected = self.T_window_camera @ motion.T
        before = self.T_window_camera
        seen = self._track(grey, expected)
        location, reason = self._located(seen, expected, config)
        self.previous = grey
        T = expected if location is None else location.T_window_camera
        self._append(T, seen, location)
        is_key = self.wants_keyframe or self._is_key_due()
        self.wants_keyframe = is_key and frame.depth is None
        if is_key and frame.depth is not None:
            self._take_keyframe(frame, grey, config)
        self.T_window_camera = self.poses[-1].copy()
        self.velocity = orthonormalise(invert(before) @ self.T_window_camera)
        return WindowEstimate(
            T_previous_camera=self.velocity.copy(),
            covariance=self._covariance(before, motion, location),
            num_tracked=len(seen),
            num_inliers=int(self.landmarks.is_tracked.sum()),
            is_keyframe=self.is_key,
            reason=reason,
        )

    @property
    def width_scale(self) -> float:
        """Pixels of the working image per pixel at the reference width."""
        return self.previous.shape[1] / REFERENCE_WIDTH

    def pixel_sigma(self, config: RefinementConfig) -> float:
        """Return the standard deviation of a tracked corner in the working image, px."""
        return config.pixel_noise * max(self.width_scale, 0.5)

    def current_keyframes(self) -> list[Keyframe]:
        """Return the keyframes as they are adjusted now, oldest first."""
        return [self._keyframe(position) for position in range(len(self.keyframes))]

    # The steps of a frame.

    def _start(self, grey: np.ndarray, frame: FrameInput, config: RefinementConfig) -> None:
        """Begin a new window at the pose of this frame; the counts go on."""
        fresh = SlidingWindow(
            camera=self.camera,
            image_camera=self.image_camera,
            num_taken=self.num_taken,
            T_window_camera=self.T_window_camera,
        )
        for item in fields(fresh):
            setattr(self, item.name, getattr(fresh, item.name))
        if frame.depth is None:
            return
        self.previous = grey
        self.poses = self.T_window_camera[None].copy()
        self.landmarks.add_frame()
        self._add_keyframe(frame, grey, STILL, config)
        self.wants_keyframe = False

    def _scaled(self, T_previous_camera: np.ndarray, config: RefinementConfig) -> MotionPrior:
        """Return the network's motion in the scale of the window, and add it up."""
        T = T_previous_camera.copy()
        self.since_key_path += float(np.linalg.norm(T[:3, 3]))
        if self.log_step_ratios:
            T[:3, 3] *= math.exp(float(np.median(self.log_step_ratios)))
        motion = MotionPrior.of(T, config)
        total = self._since_key().then(motion)
        self.since_key = total.T
        self.since_key_variance = np.array([total.position_variance, total.rotation_variance])
        return motion

    def _since_key(self) -> MotionPrior:
        return MotionPrior(self.since_key, *map(float, self.since_key_variance))

    def _track(self, grey: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Track the corners of the last image; return the rows of those that are seen."""
        landmarks = self.landmarks
        rows = np.flatnonzero(landmarks.is_tracked)
        start = landmarks.seen[rows, -1]
        points = landmarks.points_in(expected, self.poses, self.camera, rows)
        guess = project(points, self.camera)
        guess = np.where(np.isfinite(guess), guess, start)
        pixels, good = track(self.previous, grey, start, guess)
        if not self.is_key:
            self.poses, landmarks.seen = self.poses[:-1], landmarks.seen[:, :-1]
        last_key = landmarks.seen[rows, -1]
        landmarks.add_frame()
        landmarks.seen[rows[good], -1] = pixels[good]
        seen = rows[good]
        is_shared = np.isfinite(last_key[good, 0])
        inliers = epipolar_inliers(
            last_key[good][is_shared],
            pixels[good][is_shared],
            self.camera,
            _EPIPOLAR_PX * self.width_scale,
        )
        if inliers is not None:
            seen = np.concatenate([seen[~is_shared], seen[is_shared][inliers]])
        return np.sort(seen)

    def _located(
        self, seen: np.ndarray, expected: np.ndarray, config: RefinementConfig
    ) -> tuple[Location | None, str]:
        location = locate(
            self.landmarks,
            self.poses,
            self.camera,
            seen,
            self.landmarks.seen[seen, -1],
            self._since_key(),
            (expected, self.T_window_camera @ self.velocity),
            scale_carriers.established(self.landmarks)[seen],
            self.pixel_sigma(config),
        )
        if location is None:
            return None, f"{len(seen)} corners: the motion is the network's"
        return location, ''

    def _append(self, T: np.ndarray, seen: np.ndarray, location: Location | None) -> None:
        """Put the frame at the end of the window."""
        landmarks = self.landmarks
        is_tracked = np.zeros(len(landmarks), bool)
        is_tracked[seen] = True
        if location is not None:
            is_tracked[location.outliers] = False
        landmarks.is_tracked = is_tracked
        landmarks.seen[~is_tracked, -1] = np.nan
        self.poses = np.concatenate([self.poses, T[None]])
        self.is_key = False
        landmarks.note_parallax(self.poses, self.camera)

    def _is_key_due(self) -> bool:
        """Return whether the newest frame has moved far enough to be a keyframe."""
        landmarks = self.landmarks
        last_key = landmarks.seen[:, -2]
        was_seen = np.isfinite(last_key[:, 0])
        both = np.flatnonzero(landmarks.is_tracked & was_seen)
        if len(both) < max(_MIN_CORNERS, _KEY_SHARE * was_seen.sum()):
            return True
        R = self.poses[-1, :3, :3].T @ self.poses[-2, :3, :3]
        turned = project(rays_of(last_key[both], self.camera) @ R.T, self.camera)
        moved = np.linalg.norm(turned - landmarks.seen[both, -1], axis=1)
        return float(np.nanmedian(moved)) > _KEY_PX * self.width_scale

    # Keyframes.

    def _take_keyframe(
        self, frame: FrameInput, grey: np.ndarray, config: RefinementConfig
    ) -> None:
        motion, path = self._since_key(), self.since_key_path
        if len(self.keyframes) == config.num_keyframes:
            self._drop_oldest()
        T_before = self.poses[-1].copy()
        self._adjust(motion, config)
        published = np.concatenate([self.keyframes.published, T_before[None]])
        self._keep_frame(published[:-1], config)
        step = float(np.linalg.norm((invert(self.poses[-2]) @ self.poses[-1])[:3, 3]))
        if min(step, path) > 0.0:
            self.log_step_ratios.append(math.log(step / path))
            del self.log_step_ratios[:-_STEP_RATIOS]
        self._add_keyframe(frame, grey, self._since_key(), config)

    def _drop_oldest(self) -> None:
        established = scale_carriers.established(self.landmarks)
        self.landmarks.drop_first_frame(
            self.poses, self.camera, established, scale_carriers.ESTABLISHED_SIGMA
        )
        self.poses = self.poses[1:]
        self.keyframes.drop_first()

    def _adjust(self, motion: MotionPrior, config: RefinementConfig) -> None:
        """Adjust all frames and landmarks; the oldest frame is held."""
        landmarks, num_frames = self.landmarks, len(self.poses)
        rows = np.flatnonzero(np.isfinite(landmarks.seen[..., 0]).sum(axis=1) > 1)
        seen = np.isfinite(landmarks.seen[rows, :, 0])
        seen[np.arange(len(rows)), landmarks.anchor[rows]] = False
        landmark, frame = np.nonzero(seen)
        problem = Problem(
            T_window_camera=self.poses,
            is_fixed=np.arange(num_frames) == 0,
            anchor=landmarks.anchor[rows],
            anchor_pixels=landmarks.measured[rows],
            guess_pixels=landmarks.adjusted[rows],
            inverse_depth=landmarks.inverse_depth[rows],
            prior_inverse_depth=landmarks.prior[rows],
            prior_sigma=landmarks.prior_sigma[rows],
            landmark=landmark,
            frame=frame,
            pixels=landmarks.seen[rows[landmark], frame],
            camera=self.camera,
            pixel_sigma=self.pixel_sigma(config),
            motions=self.keyframes.motion_factors(motion),
            max_iterations=_ITERATIONS,
        )
        try:
            solution = adjust(problem)
        except np.linalg.LinAlgError:
            return
        if not np.isfinite(solution.T_window_camera).all():
            return
        self.poses = np.stack([orthonormalise(T) for T in solution.T_window_camera])
        landmarks.adjusted[rows] = solution.anchor_pixels
        landmarks.inverse_depth[rows] = solution.inverse_depth
        landmarks.variance[rows] = solution.inverse_depth_variance
        is_wrong = solution.error_px > _OUTLIER * problem.pixel_sigma
        wrong, where = rows[landmark[is_wrong]], frame[is_wrong]
        landmarks.seen[wrong, where] = np.nan
        landmarks.is_tracked[wrong[where == num_frames - 1]] = False

    def _keep_frame(self, published: np.ndarray, config: RefinementConfig) -> None:
        """Lay the adjusted keyframes onto the published ones, so that the path has no step."""
        if len(published) < 2:
            return
        is_growing = len(self.keyframes) + 1 < config.num_keyframes
        change = scale_carriers.onto_published(self.poses[: len(published)], published, is_growing)
        self.poses = change.apply(self.poses)
        self.landmarks.rescale(change.scale)
        self.keyframes.rescale(change.scale)
        self.since_key = self.since_key.copy()
        self.since_key[:3, 3] *= change.scale
        self.since_key_variance = self.since_key_variance * (change.scale**2, 1.0)
        self.log_depth_ratio += math.log(change.scale)

    def _add_keyframe(
        self, frame: FrameInput, grey: np.ndarray, motion: MotionPrior, config: RefinementConfig
    ) -> None:
        """Make the newest frame a keyframe, and find new corners in it."""
        self.is_key, self.depth_camera = True, frame.depth.camera
        self.keyframes.add(
            self.num_taken, frame.stamp_ns, self.poses[-1], motion, grey, frame.depth
        )
        self.num_taken += 1
        self.since_key, self.since_key_variance = np.eye(4), np.zeros(2)
        self.since_key_path = 0.0
        ratio = scale_carriers.log_depth_ratio(
            self.landmarks, self.poses, self.camera, frame.depth
        )
        if ratio is not None:
            self.log_depth_ratio = (1.0 - config.scale_follow) * ratio
        self._add_corners(grey, frame, config)

    def _add_corners(self, grey: np.ndarray, frame: FrameInput, config: RefinementConfig) -> None:
        landmarks = self.landmarks
        tracked = landmarks.seen[landmarks.is_tracked, -1]
        pixels = new_corners(grey, tracked, config.num_corners, frame.ignore)
        depth, is_sure = frame.depth.along(rays_of(pixels, self.camera))
        usable = np.isfinite(depth)
        pixels, depth, is_sure = pixels[usable], depth[usable], is_sure[usable]
        inverse_depth = 1.0 / (depth * math.exp(self.log_depth_ratio))
        relative = config.depth_sigma * np.where(is_sure, 1.0, _UNSURE)
        landmarks.add(pixels, inverse_depth, relative * inverse_depth)

    # Results.

    def _covariance(
        self, T_previous: np.ndarray, motion: MotionPrior, location: Location | None
    ) -> np.ndarray:
        """Return the covariance of the motion since the previous frame."""
        if location is None:
            return np.linalg.inv(motion.information() + np.eye(6) * 1e-12)
        # A left perturbation moves the camera by v + w x t: bring it to the camera's place.
        R, shift = T_previous[:3, :3].T, np.eye(6)
        shift[:3, 3:] = -hat(self.T_window_camera[:3, 3])
        turned = np.kron(np.eye(2), R) @ shift
        return turned @ location.covariance @ turned.T

    def _keyframe(self, position: int) -> Keyframe:
        landmarks, keyframes = self.landmarks, self.keyframes
        rows = np.flatnonzero(np.isfinite(landmarks.seen[:, position, 0]))
        points = landmarks.points_in(self.poses[position], self.poses, self.camera, rows)
        rows, z = rows[points[:, 2] > 0], points[points[:, 2] > 0, 2]
        return Keyframe(
            index=int(keyframes.index[position]),
            stamp_ns=int(keyframes.stamp_ns[position]),
            grey=keyframes.grey[position],
            camera=self.image_camera,
            T_window_camera=self.poses[position].copy(),
            pixels=landmarks.seen[rows, position].copy(),
            inverse_depth=landmarks.inverse_depth[rows] / z,
            inverse_depth_variance=landmarks.variance[rows] / z**2,
            network_depth=keyframes.depth[position] * np.float32(math.exp(self.log_depth_ratio)),
            network_camera=self.depth_camera,
            network_log_variance=keyframes.log_variance[position],
        )
