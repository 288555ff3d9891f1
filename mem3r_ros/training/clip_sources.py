# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Sources of training clips: rendered worlds and posed RGB-D sequences, addressed by index."""

from __future__ import annotations

import logging
from typing import Protocol

import cv2
import numpy as np

from mem3r_ros.camera import rectifier
from mem3r_ros.data.depth_registration import at_size
from mem3r_ros.errors import UserError
from mem3r_ros.training.batch import Clip
from mem3r_ros.training.config import SourceConfig

HELD_OUT_WORLDS = 10**9  # first index of the worlds that training never uses

LOGGER = logging.getLogger(__name__)


class ClipSource(Protocol):
    """Returns clip ``index``; the same index gives the same clip."""

    def clip(self, index: int, num_frames: int, size: tuple[int, int]) -> Clip:
        """Return ``num_frames`` frames of (width, height) ``size``."""


def build_source(config: SourceConfig) -> ClipSource:
    """Return the source of a recipe's entry."""
    if config.kind == 'worlds':
        return WorldSource(config)
    return SequenceSource(config)


def network_clip(
    source: ClipSource, index: int, num_frames: int, size: tuple[int, int], flow_scale: int
) -> Clip:
    """Return a clip for a network of this input size and ``ModelConfig.flow_scale``."""
    width, height = size
    clip = source.clip(index, num_frames, (width * flow_scale, height * flow_scale))
    return clip.reduced(flow_scale)


class WorldSource:
    """Rendered worlds; each index is another world."""

    def __init__(self, config: SourceConfig) -> None:
        self._strides, self._worlds = config.strides, config.worlds

    def clip(self, index: int, num_frames: int, size: tuple[int, int]) -> Clip:
        """Render a clip with a random stride."""
        from mem3r_ros.worlds import render_clip

        stride = int(np.random.default_rng([index, 1]).choice(self._strides))
        world = render_clip(index, num_frames, size, self._worlds, stride=stride)
        return Clip(
            image=world.image.numpy(),
            depth_m=world.depth_m.numpy(),
            T_world_camera=world.T_world_camera.numpy().astype(np.float64),
            intrinsics=world.intrinsics.numpy(),
            moving=world.moving.numpy(),
        )


class SequenceSource:
    """
    Clips at random positions of one posed sequence.

    The sequence is read once to find the frames with a pose. Only their positions are kept; each
    clip decodes its frames again, so memory does not grow with the sequence.
    """

    def __init__(self, config: SourceConfig) -> None:
        from mem3r_ros.data import open_sequence

        self._strides = config.strides
        self._sequence = open_sequence(config.path)
        self._handles = []
        has_depth = False
        for handle, frame in self._sequence.indexed():
            if frame.T_world_camera is None:
                continue
            if frame.camera is None:
                raise UserError(f'{config.path} has no camera intrinsics; add them to train on it')
            self._handles.append(handle)
            has_depth = has_depth or frame.depth_m is not None
        if len(self._handles) < 2:
            raise UserError(
                f'{config.path} has {len(self._handles)} images with a pose; '
                f'training needs at least 2'
            )
        if not has_depth:
            LOGGER.warning('%s has no depth: only motion is learned from it', config.path)

    def clip(self, index: int, num_frames: int, size: tuple[int, int]) -> Clip:
        """Cut a clip at a random place with a random stride, forwards or backwards."""
        generator = np.random.default_rng([index, 2])
        fitting = [s for s in self._strides if (num_frames - 1) * s < len(self._handles)]
        stride = int(generator.choice(fitting or [1]))
        span = min((num_frames - 1) * stride, len(self._handles) - 1)
        start = int(generator.integers(len(self._handles) - span))
        # If the sequence is shorter than the clip, it is traversed forwards and backwards.
        steps = np.arange(num_frames) * stride
        chosen = start + np.where(steps // max(span, 1) % 2, span - steps % span, steps % span)
        if span and steps[-1] <= span:
            chosen = start + steps
        if generator.random() < 0.5:
            chosen = chosen[::-1]
        frames, poses = [], []
        for position in chosen:
            frame = self._sequence.load(self._handles[position])
            frames.append(fit_frame(frame, size))
            poses.append(frame.T_world_camera)
        return Clip(
            image=np.stack([frame[0] for frame in frames]),
            depth_m=np.stack([frame[1] for frame in frames]),
            T_world_camera=np.stack(poses),
            intrinsics=frames[0][2],
            moving=np.zeros((num_frames, size[1], size[0]), bool),
        )


def fit_frame(frame: object, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Rectify a frame, crop the largest centred window of the wanted aspect ratio and resize it.

    :param frame: a SequenceFrame (image, depth_m or None, camera); depth of another resolution is
        resampled to that of the image.
    :param size: (width, height), px.
    :return: image [H, W, 3] uint8, depth [H, W] float32 with NaN or 0 where unknown,
        intrinsics [4] fx fy cx cy of the result, px.
    :raises UserError: depth has another shape than the image.
    """
    width, height = size
    lens = rectifier(frame.camera)
    whole = lens.image(frame.image)
    rows, columns = whole.shape[:2]
    scale = max(width / columns, height / rows)
    crop_w, crop_h = min(round(width / scale), columns), min(round(height / scale), rows)
    left, top = (columns - crop_w) // 2, (rows - crop_h) // 2
    window = (slice(top, top + crop_h), slice(left, left + crop_w))
    image = cv2.resize(whole[window], size, interpolation=cv2.INTER_AREA)
    scale_x, scale_y = width / crop_w, height / crop_h
    camera = frame.camera
    intrinsics = np.array(
        [
            camera.fx * scale_x,
            camera.fy * scale_y,
            (camera.cx - left + 0.5) * scale_x - 0.5,
            (camera.cy - top + 0.5) * scale_y - 0.5,
        ],
        np.float32,
    )
    if frame.depth_m is None:
        depth = np.full((height, width), np.nan, np.float32)
    else:
        # Pixels outside the image of the lens become 0, which every loss ignores.
        whole = lens.mask(at_size(frame.depth_m, columns, rows))
        # INTER_NEAREST takes the upper left pixel of each block, an offset of 0.4 px.
        depth = cv2.resize(whole[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
    return image, depth.astype(np.float32), intrinsics
