# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
An oracle network: ground truth of a rendered clip plus controlled errors.

It has the interface of the real network (config, initial_state, step), so the tracker can be
tested against known truth without any trained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache

import numpy as np
import torch

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import T_FLU_OPTICAL, invert, matrix, se3_exp
from mem3r_ros.model import FrameInput, Prediction
from mem3r_ros.tracker import CameraFrame, TrackedFrame, Tracker
from mem3r_ros.worlds import render_clip

FRAME_NS = 100_000_000


@dataclass(frozen=True)
class Scene:
    """A rendered clip on the host."""

    images: np.ndarray  # [F, H, W, 3] uint8
    depth: np.ndarray  # [F, H, W] float32, m
    T_world_camera: np.ndarray  # [F, 4, 4] float64
    camera: Intrinsics

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.images)

    def T_odom_camera(self, index: int, first: int = 0) -> np.ndarray:
        """Return the true pose in the odom frame of a stream that began at ``first``."""
        return T_FLU_OPTICAL @ invert(self.T_world_camera[first]) @ self.T_world_camera[index]

    def frame(self, index: int, stamp_ns: int | None = None, **fields_: object) -> CameraFrame:
        """Return one frame for the tracker."""
        stamp_ns = (index + 1) * FRAME_NS if stamp_ns is None else stamp_ns
        fields_.setdefault('camera', self.camera)
        return CameraFrame(stamp_ns, self.images[index], **fields_)


@lru_cache(maxsize=8)
def rendered_scene(
    index: int = 0, num_frames: int = 40, size: tuple[int, int] = (64, 48)
) -> Scene:
    """Return a rendered clip; each is made once in a test run."""
    clip = render_clip(index, num_frames, size)
    camera = Intrinsics(*(float(value) for value in clip.intrinsics), *size)
    return Scene(
        clip.image.numpy(), clip.depth_m.numpy(), clip.T_world_camera.double().numpy(), camera
    )


@lru_cache(maxsize=4)
def moving_scene(num_frames: int = 40, size: tuple[int, int] = (64, 48)) -> Scene:
    """Return a rendered clip of a camera that moves in every frame, about 5 cm and 1 degree."""
    steps = se3_exp(np.array([0.03, 0.0, 0.04, 0.0, np.deg2rad(1.0), 0.0]))
    poses = [np.eye(4)]
    for _ in range(num_frames - 1):
        poses.append(poses[-1] @ steps)
    random = np.random.default_rng(0)
    camera = Intrinsics(50.0, 50.0, (size[0] - 1) / 2, (size[1] - 1) / 2, *size)
    canvas = random.integers(0, 255, (size[1] // 2, 40 * size[0], 3), dtype=np.uint8)
    canvas = np.repeat(np.repeat(canvas, 2, axis=0), 2, axis=1)
    images = np.stack([canvas[: size[1], 3 * i : 3 * i + size[0]] for i in range(num_frames)])
    y = np.linspace(0, 1, size[1])[:, None] + np.linspace(0, 0.5, size[0])
    depth = np.stack([2.0 + y + 0.3 * np.sin(i / 5) for i in range(num_frames)])
    return Scene(images, depth.astype(np.float32), np.stack(poses), camera)


@dataclass(frozen=True)
class OracleConfig:
    """The part of a network configuration that the tracker uses."""

    img_size: tuple = (64, 48)
    patch_size: int = 8

    def to_metadata(self) -> dict[str, object]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class OracleState:
    """First frame of the segment, and the frames remembered since."""

    start: torch.Tensor  # [B] int64, -1: no frame yet
    memory: torch.Tensor  # [B] int64, a checksum of the remembered frames
    is_poisoned: torch.Tensor  # [B] bool

    def to_dict(self) -> dict[str, torch.Tensor]:
        """Return plain tensors."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_dict(cls, tensors: dict[str, torch.Tensor]) -> OracleState:
        """Rebuild a state."""
        return cls(**tensors)

    @classmethod
    def cat(cls, states: Sequence[OracleState]) -> OracleState:
        """Join streams."""
        named = [state.to_dict() for state in states]
        return cls(**{key: torch.cat([one[key] for one in named]) for key in named[0]})

    def select(self, streams: Sequence[int]) -> OracleState:
        """Return some of the streams."""
        return OracleState(**{key: value[list(streams)] for key, value in self.to_dict().items()})


class OracleNetwork:
    """Predicts the truth of frame ``now`` of a scene, in its own units and world."""

    def __init__(
        self,
        scene: Scene,
        *,
        unit: Callable[[int], float] = lambda start: 1.0,
        origin: Callable[[int], np.ndarray] = lambda start: np.eye(4),
        pose_noise: float = 0.0,
        depth_noise: float = 0.0,
        confidence: Callable[[int], float] = lambda index: 3.0,
        poison: Iterable[int] = (),
        wild: Iterable[int] = (),
        wild_m: float = 1000.0,
        telemetry: Callable[[int], dict[str, float]] = lambda index: {},
        shrink: int = 1,
    ) -> None:
        """
        Make an oracle.

        :param unit: metres per unit of a segment that began with the given frame.
        :param origin: pose of that segment's first camera in its own world.
        :param pose_noise: standard deviation of each pose component, m and rad.
        :param depth_noise: relative standard deviation of each depth.
        :param confidence: network confidence of a frame.
        :param poison: frames that make the state bad, if it takes them in.
        :param wild: frames with a wrong pose.
        :param wild_m: error of wrong poses.
        :param shrink: how many times smaller than the scene's images the network's are.
        :param telemetry: statistics of the network in a frame.
        """
        self.scene = scene
        height, width = (side // shrink for side in scene.depth.shape[1:])
        self.config = OracleConfig(img_size=(width, height))
        self._shrink, self._camera = shrink, scene.camera.resized(width, height)
        self.now = 0
        self.num_steps = 0
        self.asked: list[frozenset] = []
        self.updates: list[bool] = []
        self._unit, self._origin = unit, origin
        self._pose_noise, self._depth_noise = pose_noise, depth_noise
        self._confidence, self._telemetry = confidence, telemetry
        self._poison, self._wild = frozenset(poison), frozenset(wild)
        self._wild_m = wild_m

    def initial_state(self, batch_size: int = 1) -> OracleState:
        """Return streams without frames."""
        return OracleState(
            torch.full((batch_size,), -1),
            torch.zeros(batch_size, dtype=torch.int64),
            torch.zeros(batch_size, dtype=torch.bool),
        )

    def step(
        self, frame: FrameInput, state: OracleState, rule: object, outputs: Iterable[str]
    ) -> tuple[Prediction, OracleState]:
        """Predict frame ``now`` in every stream."""
        batch_size = frame.image.shape[0]
        self.num_steps += 1
        self.asked.append(frozenset(outputs))
        update = torch.ones(batch_size, dtype=torch.bool)
        if frame.update is not None:
            update = frame.update
        self.updates.append(bool(update.all()))
        start = torch.where(state.start < 0, self.now, state.start)
        answers = [
            self._answer(int(first), bool(poisoned))
            for first, poisoned in zip(start, state.is_poisoned)
        ]
        poses, depths, confidences = zip(*answers)
        wanted = frozenset(outputs)
        made = {'T_world_camera': torch.from_numpy(np.stack(poses))}
        if 'points_camera' in wanted:
            rays = self._camera.rays()
            points = np.stack([rays * depth[..., None] for depth in depths])
            made['points_camera'] = torch.from_numpy(points.astype(np.float32))
        if 'confidence_camera' in wanted:
            shape = depths[0].shape
            made['confidence_camera'] = torch.stack([torch.full(shape, c) for c in confidences])
        if 'telemetry' in wanted:
            numbers = {'state_change': 0.1, **self._telemetry(self.now)}
            made['telemetry'] = {
                name: torch.full((batch_size,), value) for name, value in numbers.items()
            }
        memory = (state.memory * 31 + self.now + 1) % 1_000_003
        after = OracleState(
            torch.where(update, start, state.start),
            torch.where(update, memory, state.memory),
            state.is_poisoned | (update & (self.now in self._poison)),
        )
        return Prediction(**made), after

    def _answer(self, start: int, is_poisoned: bool) -> tuple[np.ndarray, np.ndarray, float]:
        scene, now = self.scene, self.now
        unit = self._unit(start)
        # The same frame in the same segment always gets the same noise: a network is a function.
        random = np.random.default_rng([now, start + 1])
        T_first_now = invert(scene.T_world_camera[start]) @ scene.T_world_camera[now]
        if self._pose_noise:
            T_first_now = T_first_now @ se3_exp(random.normal(0, self._pose_noise, 6))
        T_world_now = self._origin(start) @ matrix(T_first_now[:3, :3], T_first_now[:3, 3] / unit)
        half = self._shrink // 2
        depth = scene.depth[now, half :: self._shrink, half :: self._shrink] / unit
        if self._depth_noise:
            depth = depth * np.exp(random.normal(0, self._depth_noise, depth.shape))
        confidence = self._confidence(now)
        if is_poisoned:
            confidence = 1.05
            T_world_now = T_world_now @ se3_exp(random.normal(0, 0.5, 6))
        if now in self._wild:
            T_world_now = T_world_now @ matrix(np.eye(3), np.array([self._wild_m, 0.0, 0.0]))
        return T_world_now, depth, confidence


@dataclass(frozen=True)
class ImageToImageState(OracleState):
    """State of a network that compares each image with the last remembered one."""

    motion: torch.Tensor  # [B] int64, index of that image


class ImageToImageOracle(OracleNetwork):
    """An oracle with poses 0.6 m off if the remembered image is too old."""

    reach = 5  # frames

    def initial_state(self, batch_size: int = 1) -> ImageToImageState:
        """Return streams without frames."""
        tensors = super().initial_state(batch_size).to_dict()
        return ImageToImageState(**tensors, motion=torch.full((batch_size,), self.now))

    def step(
        self, frame: FrameInput, state: ImageToImageState, rule: object, outputs: Iterable[str]
    ) -> tuple[Prediction, ImageToImageState]:
        """Predict frame ``now``, wrongly if the remembered image is too old."""
        prediction, after = super().step(frame, state, rule, outputs)
        is_lost = self.now - state.motion > self.reach
        poses = prediction.T_world_camera.clone()
        poses[:, 0, 3] += 0.6 * is_lost
        update = torch.tensor(self.updates[-1])
        motion = torch.where(update, torch.full_like(state.motion, self.now), state.motion)
        after = ImageToImageState(**after.to_dict(), motion=motion)
        return replace(prediction, T_world_camera=poses), after


def adversarial_unit(start: int) -> float:
    """Return another unit for each segment, between about a half and two metres."""
    return float(np.exp(np.random.default_rng([7, start]).uniform(-0.7, 0.7))) if start else 1.0


def adversarial_origin(start: int) -> np.ndarray:
    """Return another origin for each segment, metres and radians away."""
    return se3_exp(np.random.default_rng([8, start]).normal(0, 1.0, 6))


def run(
    tracker: Tracker,
    oracle: OracleNetwork,
    indices: Iterable[int],
    outputs: Iterable[str] | None = None,
    **fields_: object,
) -> list[TrackedFrame]:
    """Track frames of the oracle's scene, one after the other."""
    tracked = []
    for index in indices:
        oracle.now = index
        tracked.append(tracker.track(oracle.scene.frame(index, **fields_), outputs))
    return tracked


def position_error(tracked: TrackedFrame, truth: np.ndarray) -> float:
    """Return the distance between a tracked pose and the truth, m."""
    return float(np.linalg.norm(tracked.T_odom_camera[:3, 3] - truth[:3, 3]))
