# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Camera frames in, odometry, depth and points out."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from mem3r_ros.camera import FocalEstimate, Intrinsics, Rectifier, estimate_focal
from mem3r_ros.cloud import select_points
from mem3r_ros.errors import BadFrame
from mem3r_ros.geometry import T_FLU_OPTICAL, invert, orthonormalise, se3_log
from mem3r_ros.model import FrameInput, update_rule
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.frame import CameraFrame, Health, Status, TrackedFrame
from mem3r_ros.tracker.preprocess import network_tensor, plan_pixels

ALL_OUTPUTS = frozenset({'depth', 'points', 'confidence'})


class Tracker:
    """One stream: a shared network, and all that this camera has taught it."""

    def __init__(self, model: torch.nn.Module, config: TrackerConfig | None = None) -> None:
        """Start a stream on ``model``, which other trackers may share."""
        self.model = model
        self.config = config or TrackerConfig()
        self._rule = update_rule(self.config.update_rule)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first one."""
        self._state = self.model.initial_state(1)
        self._rectifier: Rectifier | None = None
        self._plan = None
        self._focal = FocalEstimate()
        self._last_stamp_ns: int | None = None
        self._T_world_previous: np.ndarray | None = None
        self._T_odom_camera = np.array(T_FLU_OPTICAL)
        self._age = 0

    @torch.inference_mode()
    def track(self, frame: CameraFrame, outputs: Collection[str] | None = None) -> TrackedFrame:
        """Track one frame."""
        wanted = ALL_OUTPUTS if outputs is None else frozenset(outputs)
        image = frame.image_rgb_uint8
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise BadFrame(f'image is {image.shape} {image.dtype}; expected [H, W, 3] uint8')
        if self._last_stamp_ns is not None and frame.stamp_ns <= self._last_stamp_ns:
            raise BadFrame(f'stamp {frame.stamp_ns} ns is not after {self._last_stamp_ns} ns')
        height, width = image.shape[:2]
        if self._plan is None or (width, height) != (
            self._plan.source_width,
            self._plan.source_height,
        ):
            size = tuple(self.model.config.img_size)
            by_area = getattr(self.model.config, 'resize_by', 'long_side') == 'area'
            patch = self.model.config.patch_size
            self._plan = plan_pixels(width, height, size, patch, by_area=by_area)
        camera = frame.camera
        if camera is not None:
            if self._rectifier is None or self._rectifier.camera != camera:
                self._rectifier = Rectifier(camera)
            image, camera = self._rectifier.image(image), self._rectifier.rectified
        small = self._plan.apply(image)
        network_camera = None if camera is None else self._plan.network_camera(camera)
        device = self._state.tokens.device
        intrinsics = None
        if network_camera is not None:
            values = [network_camera.fx, network_camera.fy, network_camera.cx, network_camera.cy]
            intrinsics = torch.tensor([values], dtype=torch.float32, device=device)
        fields = {'T_world_camera', 'telemetry'}
        if wanted:
            fields |= {'points_camera', 'confidence_camera', 'focal_px'}
        prediction, self._state = self.model.step(
            FrameInput(image=network_tensor(small, device), intrinsics=intrinsics),
            self._state,
            self._rule,
            outputs=fields,
        )
        return self._finish(frame, prediction, small, network_camera, wanted)

    def _finish(self, frame, prediction, small, network_camera, wanted) -> TrackedFrame:
        T_world_camera = prediction.T_world_camera[0].double().cpu().numpy()
        twist = np.zeros(6)
        if self._T_world_previous is not None:
            increment = orthonormalise(invert(self._T_world_previous) @ T_world_camera)
            self._T_odom_camera = orthonormalise(self._T_odom_camera @ increment)
            twist = se3_log(increment) / ((frame.stamp_ns - self._last_stamp_ns) * 1e-9)
        self._T_world_previous = T_world_camera
        self._last_stamp_ns = frame.stamp_ns
        self._age += 1
        telemetry = prediction.telemetry or {}
        health = Health(segment_age=self._age)
        for name, value in telemetry.items():
            if hasattr(health, name):
                setattr(health, name, float(value[0]))
        products = {}
        if wanted:
            products = self._products(prediction, small, network_camera, wanted)
        return TrackedFrame(
            stamp_ns=frame.stamp_ns,
            T_odom_camera=self._T_odom_camera.copy(),
            covariance=np.eye(6) * 1e-2,
            twist=twist,
            twist_covariance=np.eye(6) * 1e-2,
            status=Status.INITIALISING if self._age < 2 else Status.TRACKING,
            health=health,
            **products,
        )

    def _products(self, prediction, small, camera, wanted) -> dict:
        points = prediction.points_camera[0].cpu().numpy()
        depth = points[..., 2].copy()
        depth[~np.isfinite(depth) | (depth <= 0)] = np.nan
        confidence = prediction.confidence_camera[0].cpu().numpy()
        height, width = depth.shape
        if camera is None:
            if prediction.focal_px is not None:
                focal = float(prediction.focal_px[0])
            else:
                focal = estimate_focal(points)
            self._focal.add(focal, width)
            focal = self._focal.focal_px(width)
            focal = focal if np.isfinite(focal) else 0.9 * width
            camera = Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
        products = {'depth': depth, 'intrinsics': camera, 'confidence': confidence}
        if 'points' in wanted:
            cloud = select_points(depth, camera, small, confidence, self.config.cloud)
            products |= {
                'points': cloud.points,
                'colours': cloud.colours,
                'weights': cloud.weights,
            }
        return products

    def warm_up(self, width: int, height: int) -> None:
        """Run the network once on an empty image of this size; the stream is not changed."""
        plan = plan_pixels(
            width,
            height,
            tuple(self.model.config.img_size),
            self.model.config.patch_size,
            by_area=getattr(self.model.config, 'resize_by', 'long_side') == 'area',
        )
        image = np.zeros((plan.height, plan.width, 3), np.uint8)
        state = self.model.initial_state(1)
        with torch.inference_mode():
            self.model.step(
                FrameInput(image=network_tensor(image, self._state.tokens.device)),
                state,
                self._rule,
            )
