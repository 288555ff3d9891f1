# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A sliding window of keyframes whose poses and landmarks are adjusted together.

Each frame is located by the landmarks that it sees, with the network's motion as a prior, or the
motion by edges where corners are few; each keyframe adjusts the window. What carries the scale
over its end: landmarks with parallax keep their depth and outweigh the others; new ones get the
network's depth (:mod:`scale_carriers`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
import math

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, orthonormalise
from mem3r_ros.odometry import agreement, corner_search, scale_carriers
from mem3r_ros.odometry.config import RefinementConfig
from mem3r_ros.odometry.corner_tracks import working_image
from mem3r_ros.odometry.edge_window import EdgeWindow
from mem3r_ros.odometry.focal_length import FocalLength
from mem3r_ros.odometry.frame_input import FrameInput, WindowEstimate
from mem3r_ros.odometry.frame_location import Location, locate
from mem3r_ros.odometry.keyframe import Keyframe
from mem3r_ros.odometry.keyframes import Keyframes, is_key_due, is_key_expected, keyframe_at
from mem3r_ros.odometry.landmarks import Landmarks
from mem3r_ros.odometry.manifold import orthonormalised
from mem3r_ros.odometry.motion_prior import STILL, MotionPrior
from mem3r_ros.odometry.network_start import Correction, corrected_by_network
from mem3r_ros.odometry.new_landmarks import add_corners
from mem3r_ros.odometry.pinhole import camera_array
from mem3r_ros.odometry.relocation import Relocation, relocated
from mem3r_ros.odometry.second_start import adjusted
from mem3r_ros.odometry.window_problem import take_solution, window_problem
from mem3r_ros.snapshot_fields import ADDED, NOT_PACKED

REFERENCE_WIDTH = 640  # px at which thresholds are stated
_SETTLED_KEYFRAMES = 4
_MAX_FLAWED = 3  # keyframes
_LEAST_FOUND = 20  # landmarks that link a frame after a break to the window
_NEW_SHARE = 0.3  # of a frame in the usual error of the last motion


@dataclass(slots=True)
class SlidingWindow:
    """The window of one stream; its fields are all that it remembers."""

    previous: np.ndarray | None = None  # [H, W] uint8, the last image; None: no window
    camera: np.ndarray = field(default_factory=lambda: np.ones(4))  # fx, fy, cx, cy of it
    poses: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))  # keyframes, newest
    is_key: bool = True  # whether the newest frame is a keyframe
    wants_keyframe: bool = True  # whether the next frame should be one
    num_taken: int = 0  # keyframes of the stream
    num_flawed: int = field(default=0, metadata=ADDED)  # discarded adjustments in a row
    velocity: np.ndarray = field(default_factory=lambda: np.eye(4))  # the last motion
    velocity_error_px: float = field(default=0.0, metadata=ADDED)  # usual one of velocity
    T_window_camera: np.ndarray = field(default_factory=lambda: np.eye(4))  # as published
    log_depth_ratio: float = 0.0  # depth of the window over that of the network
    is_scale_carried: bool = field(default=False, metadata=ADDED)  # over a break
    log_step_ratios: list[float] = field(default_factory=list)  # the same of keyframe steps
    since_key: np.ndarray = field(default_factory=lambda: np.eye(4))  # network's motion
    since_key_variance: np.ndarray = field(default_factory=lambda: np.zeros(2))
    since_key_path: float = 0.0  # length of it in units of the network
    depth_camera: Intrinsics | None = field(default=None, metadata=NOT_PACKED)
    image_camera: Intrinsics | None = field(default=None, metadata=NOT_PACKED)
    landmarks: Landmarks = field(default_factory=Landmarks, metadata=NOT_PACKED)
    keyframes: Keyframes = field(default_factory=Keyframes, metadata=NOT_PACKED)
    focal: FocalLength = field(default_factory=FocalLength, metadata=NOT_PACKED)
    edges: EdgeWindow = field(default_factory=EdgeWindow, metadata=NOT_PACKED)

    def process(self, frame: FrameInput, config: RefinementConfig) -> WindowEstimate | None:
        """
        Take one frame in.

        :return: the motion since the previous frame; None for the first frame of a window.
        """
        grey = working_image(frame.grey)
        camera = frame.camera.resized(*grey.shape[::-1])
        self.image_camera = self.focal.camera(camera, frame.is_calibrated)
        self.camera = camera_array(self.image_camera)
        is_new = self.previous is None or self.previous.shape != grey.shape
        before, place = self.T_window_camera, None
        if is_new or frame.T_previous_camera is None:
            can_be_found = frame.is_near and not is_new
            found = self._motion_over_break(grey) if can_be_found else None
            self.edges.clear()
            if found is None:
                self._start(grey, frame, config)
                self.edges.begin(len(self.landmarks))
                return None
            motion, place = found
            expected = (place.T_window_camera,) * 2
        else:
            motion = self._moved(grey, frame, config)
            expected = (before @ motion.T, before @ self.velocity)
        seen = self._track(grey, expected)
        self.edges.note_corners(len(seen))
        location = self._located(seen, expected, config)
        location, reason = agreement.accepted(location, len(seen), expected, motion.source)
        if place is not None and (location is None or location.num_inliers < _LEAST_FOUND):
            return self._start_at(place, grey, frame, config)
        self.previous = grey
        T = expected[0] if location is None else location.T_window_camera
        self._append(T, seen, location)
        error_px = corner_search.error_px(self.landmarks, self.poses, self.camera, expected[1])
        self.velocity_error_px += _NEW_SHARE * (error_px - self.velocity_error_px)
        is_key = self.wants_keyframe or is_key_due(
            self.landmarks, self.poses, self.camera, self.width_scale
        )
        self.wants_keyframe = is_key and frame.depth is None
        if is_key and frame.depth is not None:
            flaw, is_wrong = self._take_keyframe(frame, grey, expected[0], config)
            location, reason = None if is_wrong else location, flaw or reason
        self.T_window_camera = self.poses[-1].copy()
        moved = orthonormalise(invert(before) @ self.T_window_camera)
        if place is None:
            self.velocity = moved.copy()
        covariance, flaw = agreement.with_disagreement(location, before, moved, motion)
        num_inliers = int(self.landmarks.is_tracked.sum())
        return WindowEstimate(
            moved, covariance, len(seen), num_inliers, self.is_key, flaw or reason
        )

    @property
    def depth_scale(self) -> float:
        """Depth of the window per depth of the network."""
        return math.exp(self.log_depth_ratio)

    @property
    def wants_depth(self) -> bool:
        """
        Whether a keyframe, which needs the network's depth, is probable within two frames.

        The depth of the next frame is decided before this one is finished.
        """
        if self.wants_keyframe or self.edges.is_needed or len(self.poses) < 2:  # no velocity yet
            return True
        expected = self.T_window_camera @ self.velocity @ self.velocity
        return is_key_expected(
            self.landmarks, self.poses, self.camera, self.width_scale, expected, self.is_key
        )

    @property
    def has_settled(self) -> bool:
        """Whether enough keyframes have been adjusted for the scale to be that of the path."""
        return self.num_taken >= _SETTLED_KEYFRAMES

    @property
    def width_scale(self) -> float:
        """Pixels of the working image per pixel at the reference width."""
        return self.previous.shape[1] / REFERENCE_WIDTH

    def current_keyframes(self) -> list[Keyframe]:
        """Return the keyframes as they are adjusted now, oldest first."""
        now = (self.keyframes, self.landmarks, self.poses, self.image_camera)
        depth = (self.depth_camera, self.depth_scale)
        return [keyframe_at(index, *now, *depth) for index in range(len(self.keyframes))]

    def _start_at(
        self, place: Relocation, grey: np.ndarray, frame: FrameInput, config: RefinementConfig
    ) -> WindowEstimate | None:
        """Begin a new window at a known place, in the scale of the last one if that is known."""
        ratio = place.log_depth_ratio(frame.depth, self.camera)
        moved = orthonormalise(invert(self.T_window_camera) @ place.T_window_camera)
        self.T_window_camera = place.T_window_camera
        self._start(grey, frame, config, ratio)
        num = len(place.pixels)
        return WindowEstimate(moved, None, num, num, True, 'motion by features alone')

    def _start(
        self,
        grey: np.ndarray,
        frame: FrameInput,
        config: RefinementConfig,
        log_depth_ratio: float | None = None,
    ) -> None:
        """
        Begin a new window at the pose of this frame; the counts go on.

        :param log_depth_ratio: its depth over the network's; None: the first keyframes decide.
        """
        fresh = SlidingWindow(
            log_depth_ratio=log_depth_ratio or 0.0,
            is_scale_carried=log_depth_ratio is not None,
            camera=self.camera,
            image_camera=self.image_camera,
            num_taken=self.num_taken,
            focal=self.focal,
            edges=self.edges,
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

    def _moved(self, grey: np.ndarray, frame: FrameInput, config: RefinementConfig) -> MotionPrior:
        """Return the motion by edges or network in the scale of the window, and add it up."""
        T, log_ratio = frame.T_previous_camera.copy(), self._log_step_ratio()
        self.since_key_path += float(np.linalg.norm(T[:3, 3]))
        T[:3, 3] *= math.exp(log_ratio)
        own = (frame, grey, self.image_camera, log_ratio, config)
        motion = self.edges.follow(*own) or MotionPrior.of(T, config)
        total = self._since_key().then(motion)
        self.since_key, self.since_key_variance = total.T, total.variances
        return motion

    def _motion_over_break(self, grey: np.ndarray) -> tuple[MotionPrior, Relocation] | None:
        """Return the motion over a break by features; it is good enough to search landmarks."""
        newest = self.current_keyframes()[-1]
        place = relocated(newest, grey, self.width_scale)
        if place is None:
            return None
        unsure = (self.landmarks.usual_depth**2, 1.0)  # the landmarks decide alone
        self.since_key = invert(newest.T_window_camera) @ place.T_window_camera
        self.since_key_variance = np.array(unsure)
        self.since_key_path, self.log_step_ratios, self.wants_keyframe = 0.0, [], True
        return MotionPrior(invert(self.T_window_camera) @ place.T_window_camera, *unsure), place

    def _log_step_ratio(self) -> float:
        # After a break the network has other units, and no step has been compared with it yet.
        return float(np.median(self.log_step_ratios or [self.log_depth_ratio]))

    def _since_key(self) -> MotionPrior:
        return MotionPrior(self.since_key, *map(float, self.since_key_variance))

    def _track(self, grey: np.ndarray, expected: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Track the corners of the last image; return the rows of those that are seen."""
        landmarks = self.landmarks
        found = corner_search.find(
            landmarks,
            self.poses,
            self.camera,
            (self.previous, grey),
            expected,
            self.velocity_error_px,
            landmarks.seen[:, -1 if self.is_key else -2],
            self.width_scale,
        )
        if not self.is_key:
            self.poses, landmarks.seen = self.poses[:-1], landmarks.seen[:, :-1]
        landmarks.add_frame()
        landmarks.seen[found.rows, -1] = found.pixels
        return found.rows[found.is_rigid]

    def _located(
        self, seen: np.ndarray, expected: tuple[np.ndarray, np.ndarray], config: RefinementConfig
    ) -> Location | None:
        return locate(
            self.landmarks,
            self.poses,
            self.camera,
            seen,
            self.landmarks.seen[seen, -1],
            self._since_key(),
            expected,
            scale_carriers.established(self.landmarks)[seen],
            config.sigma_px(self.width_scale),
        )

    def _append(self, T: np.ndarray, seen: np.ndarray, location: Location | None) -> None:
        """Put the frame at the end of the window."""
        landmarks = self.landmarks
        landmarks.track_only(seen, () if location is None else location.outliers)
        self.poses = np.concatenate([self.poses, T[None]])
        self.is_key = False
        landmarks.note_parallax(self.poses, self.camera)

    def _take_keyframe(
        self, frame: FrameInput, grey: np.ndarray, T_network: np.ndarray, config: RefinementConfig
    ) -> tuple[str, bool]:
        """Make the newest frame a keyframe; return a flaw, and whether its location is wrong."""
        if len(self.keyframes) == config.num_keyframes:
            self._drop_oldest()
        flaw = self._adjust(config)
        self.num_flawed = self.num_flawed + 1 if flaw else 0
        if self.num_flawed == _MAX_FLAWED:
            # Wrong landmarks contradict every new frame, and their scale is wrong, too.
            self.T_window_camera = self.poses[-1].copy()
            self._start(grey, frame, config)
            return f'{flaw}; the window starts anew', True
        is_held = frame.is_scale_held or self.is_scale_carried
        motions = self.keyframes.motion_factors(self._since_key())
        given = (
            self.landmarks,
            self.poses,
            self.camera,
            config.sigma_px(self.width_scale),
            motions,
        )
        self.poses, correction = corrected_by_network(*given)
        if correction is Correction.FAILED:
            ratio = self._log_step_ratio() if self.has_settled or is_held else None
            self.T_window_camera = T_network
            self._start(grey, frame, config, ratio)
            return correction.value, True
        if len(self.keyframes) < _SETTLED_KEYFRAMES and not is_held:
            self._choose_scale(frame)
        step = (self.log_step_ratios, self.poses, self.since_key_path)
        self.log_step_ratios = scale_carriers.with_newest_step(*step)
        self._add_keyframe(frame, grey, self._since_key(), config)
        return correction.value or flaw, correction is Correction.DONE

    def _choose_scale(self, frame: FrameInput) -> None:
        """
        Give the window the mean scale of the network's depth in its first keyframes.

        The first image, which no motion has shown yet, does not count. Motion that has been
        published keeps its size, so the path has no step; later changes would bend it.
        """
        ratio = scale_carriers.log_depth_ratio(
            self.landmarks, self.landmarks.is_tracked, self.poses, self.camera, frame.depth
        )
        if ratio is None:
            return
        # The window has the mean scale of the keyframes before: their ratios are zero now.
        scale = math.exp(-ratio / len(self.keyframes))
        centre = self.T_window_camera[:3, 3]
        for poses in (self.poses, self.keyframes.published):
            poses[:, :3, 3] = centre + scale * (poses[:, :3, 3] - centre)
        self.log_step_ratios = [value + math.log(scale) for value in self.log_step_ratios]
        self._rescale(scale)

    def _drop_oldest(self) -> None:
        self.landmarks.drop_first_frame(
            self.poses,
            self.camera,
            [*self.keyframes.grey, self.previous],
            scale_carriers.established(self.landmarks),
            scale_carriers.ESTABLISHED_SIGMA,
        )
        self.poses = self.poses[1:]
        self.keyframes.drop_first()

    def _adjust(self, config: RefinementConfig) -> str:
        """Adjust all frames and landmarks; return why the result was discarded, or nothing."""
        landmarks, num_frames = self.landmarks, len(self.poses)
        rows, problem = window_problem(
            landmarks,
            self.poses,
            self.camera,
            config.sigma_px(self.width_scale),
            self.keyframes.motion_factors(self._since_key()),
            self.focal.prior(num_frames, config.calibration_sigma),
        )
        try:
            solution = adjusted(problem, landmarks.seen, self.width_scale)
        except np.linalg.LinAlgError as error:
            return f'keyframes not adjusted: {error}'
        poses, change = solution.T_window_camera, scale_carriers.UNCHANGED
        if num_frames > 2:
            is_growing, published = num_frames < config.num_keyframes, self.keyframes.published
            change = scale_carriers.onto_published(poses[:-1], published, is_growing)
        poses = orthonormalised(change.apply(poses))
        if not agreement.is_plausible(invert(self.poses[-1]) @ poses[-1], landmarks.usual_depth):
            return 'keyframes not adjusted: the result is too far away'
        self.poses = poses
        take_solution(landmarks, rows, problem, solution)
        self._rescale(change.scale)
        self.camera[:2] *= self.focal.update(solution)
        return ''

    def _rescale(self, scale: float) -> None:
        """Bring all but the poses to the scale to which an adjustment was brought."""
        self.landmarks.rescale(scale)
        self.keyframes.rescale(scale)
        self.since_key = self.since_key.copy()
        self.since_key[:3, 3] *= scale
        self.since_key_variance = self.since_key_variance * (scale**2, 1.0)
        self.log_depth_ratio += math.log(scale)

    def _add_keyframe(
        self, frame: FrameInput, grey: np.ndarray, motion: MotionPrior, config: RefinementConfig
    ) -> None:
        """Make the newest frame a keyframe, and find new corners in it."""
        self.is_key, self.depth_camera = True, frame.depth.camera
        self.keyframes.add(
            self.num_taken, frame.stamp_ns, self.poses[-1], motion, grey, frame.depth
        )
        self.num_taken += 1
        self.since_key, self.since_key_variance, self.since_key_path = np.eye(4), np.zeros(2), 0.0
        established = self.landmarks.is_tracked & scale_carriers.established(self.landmarks)
        last = self.log_depth_ratio if self.has_settled else None
        ratio = scale_carriers.log_depth_ratio(
            self.landmarks, established, self.poses, self.camera, frame.depth, last
        )
        if ratio is not None:
            self.log_depth_ratio = (1.0 - config.scale_follow) * ratio
        add_corners(self.landmarks, frame, grey, self.camera, self.depth_scale, config)
