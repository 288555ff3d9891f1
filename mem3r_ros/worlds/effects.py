# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Effects of a real camera.

Drift of exposure and white balance, blur and vignetting of the lens, motion blur, rolling shutter,
noise, grey sensors. Where pixels are shifted, depth is shifted with them and stays exact.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.paths import SmoothNoise

# F frames

NOISE_RANGE = (0.2, 1.2)  # grey levels
MIDDLE_GREY = 105.0  # mean grey level of the first frame
EXPOSURE_LIMITS = (0.6, 3.0)  # range of the exposure factor
TAPS = 5  # images averaged for one long exposure
JUMP_EVERY = 12  # frames between two jumps of the exposure, on average
JUMP_SPREAD = 0.5  # standard deviation of the logarithm of a jump


class Lens:
    """The camera of one clip."""

    def __init__(
        self, rng: np.random.Generator, config: WorldConfig, num_frames: int, size: tuple[int, int]
    ) -> None:
        """Draw its properties; those of a frame do not depend on the number of frames."""
        frames = np.arange(num_frames, dtype=np.float64)
        self._exposure_share = rng.uniform(0.2, 0.8) * (rng.random() < config.motion_blur_share)
        self._readout = rng.uniform(0.2, 0.9) * (rng.random() < config.rolling_share)
        self._is_grey = rng.random() < config.grey_share
        drift = config.drift * rng.uniform(0, 0.2) * SmoothNoise(rng, 15, 250)(frames)
        tints = [SmoothNoise(rng, 40, 400)(frames) for _ in range(3)]
        balance = config.drift * rng.uniform(0, 0.05) * np.stack(tints, axis=-1)
        gain = np.exp(rng.normal(0.0, 0.18) + drift[:, None] + balance + rng.normal(0, 0.05, 3))
        self._gain = torch.from_numpy(gain.astype(np.float32))
        self._gamma = float(np.exp(rng.normal(0, 0.15)))
        self._soft = max(0.0, rng.normal(-0.1, 0.3))
        self._dark_corners = rng.uniform(0, 0.35) * (rng.random() < 0.6)
        # Noise that remains after the image is averaged down to this size.
        dimness = 3.0 if rng.random() < 0.1 else 1.0
        self._sigma = config.noise * dimness * np.exp(rng.uniform(*np.log(NOISE_RANGE)))
        self._brightness = None if config.auto_exposure else torch.ones(())
        self._sheet = rng.standard_normal(size[0] * size[1] * 3 + 7919, dtype=np.float32)
        self._size = size
        if rng.random() < config.exposure_jump_share:
            self._gain *= torch.from_numpy(_jumps(rng, num_frames))[:, None]

    def expose(
        self,
        colour: Tensor,
        depth: Tensor,
        moving: Tensor,
        T_world_camera: Tensor,
        T_world_next: Tensor,
        intrinsics: np.ndarray,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """
        Apply motion blur and rolling shutter due to the rotation of the camera.

        :param colour: [F, H, W, 3].
        :param depth: m, [F, H, W].
        :param moving: [F, H, W].
        :param T_world_camera: poses of the frames, [F, 4, 4].
        :param T_world_next: poses one frame later, [F, 4, 4].
        :param intrinsics: fx, fy, cx, cy in px.
        :return: colour, depth and moving.
        """
        if not (self._readout or self._exposure_share):
            return colour, depth, moving
        turn = T_world_camera[:, :3, :3].transpose(1, 2) @ T_world_next[:, :3, :3]
        turn = turn - turn.transpose(1, 2)
        rate = 0.5 * torch.stack([turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]], dim=-1)
        pace = self._flow(rate, intrinsics)  # px per frame interval, [F, H, W, 2]
        height = self._size[1]
        rows = torch.arange(height, device=colour.device, dtype=colour.dtype)
        lag = (self._readout * (rows / height - 0.5))[None, :, None, None]
        planes = colour.permute(0, 3, 1, 2)
        if self._readout:
            depth = self._look_up(depth[:, None], pace * lag, 'nearest')[:, 0]
            moving = self._look_up(moving[:, None].to(colour), pace * lag, 'nearest')[:, 0] > 0.5
        taps = np.linspace(-0.5, 0.5, TAPS) * self._exposure_share if self._exposure_share else [0]
        smeared = sum(self._look_up(planes, pace * (lag + float(tap))) for tap in taps) / len(taps)
        return smeared.permute(0, 2, 3, 1), depth, moving

    def _flow(self, rate: Tensor, intrinsics: np.ndarray) -> Tensor:
        """Return the motion of pixels for a rotation rate of the camera, rad per frame [F, 3]."""
        fx, fy, cx, cy = (float(value) for value in intrinsics)
        width, height = self._size
        y, x = torch.meshgrid(
            (torch.arange(height, device=rate.device) - cy) / fy,
            (torch.arange(width, device=rate.device) - cx) / fx, indexing='ij',
        )  # fmt: skip
        a, b, c = (rate[:, k, None, None] for k in range(3))
        # the ray (x, y, 1) rotated by a small angle, projected to unit depth
        dx = b - c * y - x * (a * y - b * x)
        dy = c * x - a - y * (a * y - b * x)
        return torch.stack([dx * fx, dy * fy], dim=-1)

    def _look_up(self, planes: Tensor, shift: Tensor, mode: str = 'bilinear') -> Tensor:
        """Return images [F, C, H, W] sampled at a shift [F, H, W, 2] in px."""
        width, height = self._size
        y, x = torch.meshgrid(
            torch.arange(height, device=planes.device, dtype=planes.dtype),
            torch.arange(width, device=planes.device, dtype=planes.dtype), indexing='ij',
        )  # fmt: skip
        grid = torch.stack([x, y], dim=-1) + shift
        grid = grid * grid.new_tensor([2 / (width - 1), 2 / (height - 1)]) - 1
        return functional.grid_sample(
            planes, grid, mode=mode, padding_mode='border', align_corners=True
        )

    def develop(self, colour: Tensor, frames: Tensor) -> Tensor:
        """
        Convert radiance to pixel values; the first frame sets the exposure.

        :param colour: [F, H, W, 3] in 0 .. 255 and beyond.
        :param frames: numbers of the frames, [F].
        :return: uint8 [F, H, W, 3].
        """
        device = colour.device
        if self._brightness is None:
            middle = colour[0].mean().clamp(min=1)
            self._brightness = (MIDDLE_GREY / middle).clamp(*EXPOSURE_LIMITS)
        colour = colour * (
            self._brightness.to(device) * self._gain.to(device)[frames][:, None, None]
        )
        if self._gamma != 1:
            colour = colour.clamp_(0, 400).mul_(1 / 255).pow_(self._gamma).mul_(255)
        if self._is_grey:
            weights = colour.new_tensor([0.3, 0.59, 0.11])
            colour = (colour @ weights)[..., None].repeat(1, 1, 1, 3)
        if self._soft > 0.15:
            colour = _soften(colour, min(self._soft, 0.9))
        if self._dark_corners:
            colour = colour * self._vignette(device)
        sheet = torch.from_numpy(self._sheet).to(device)
        count = colour[0].numel()
        for image, frame in zip(colour, frames.tolist(), strict=True):
            start = (frame * 1009) % 7919  # each frame uses another section of one noise sheet
            grain = sheet[start : start + count].view(image.shape)
            image.add_(grain[..., :1] if self._is_grey else grain, alpha=self._sigma)
        return colour.clamp_(0, 255).round_().to(torch.uint8)

    def _vignette(self, device: torch.device) -> Tensor:
        """Return the vignetting factor of each pixel, [H, W, 1]."""
        width, height = self._size
        y = torch.linspace(-1, 1, height, device=device)[:, None] * (height / width)
        x = torch.linspace(-1, 1, width, device=device)
        return (1 - self._dark_corners * (x * x + y * y)).clamp_(min=0.2)[..., None]


def _jumps(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Return an exposure factor that jumps now and then and returns within a second, [N]."""
    log_gain, level = np.zeros(num_frames, np.float32), 0.0
    for frame in range(1, num_frames):
        level *= 0.9
        if rng.random() < 1 / JUMP_EVERY:
            level = rng.normal(0.0, JUMP_SPREAD)
        log_gain[frame] = level
    return np.exp(log_gain)


def _soften(colour: Tensor, strength: float) -> Tensor:
    """Blur pictures [F, H, W, 3] with the kernel (s, 2, s) / (2 + 2 s) in both directions."""
    for axis in (1, 2):
        size = colour.shape[axis]
        before = torch.cat([colour.narrow(axis, 0, 1), colour.narrow(axis, 0, size - 1)], axis)
        after = torch.cat(
            [colour.narrow(axis, 1, size - 1), colour.narrow(axis, size - 1, 1)], axis
        )
        colour = (colour * 2).add_(before, alpha=strength).add_(after, alpha=strength)
        colour = colour.div_(2 + 2 * strength)
    return colour
