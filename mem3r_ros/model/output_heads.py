# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Output heads: poses, points, confidences and colours from decoded tokens."""

# B streams, H x W pixels, N image tokens, C decoder width

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.decoder import Decoded
from mem3r_ros.model.dense_heads import (
    ResidualConvolutions,
    confidence_from_raw,
    dense_head,
    points_from_raw,
    pose_from_raw,
    rgb_from_raw,
)
from mem3r_ros.model.encoder import Encoded
from mem3r_ros.model.frame import Prediction
from mem3r_ros.model.layers import Mlp, ModulatedBlock, start_at_unit_gain
from mem3r_ros.model.positions import Positions
from mem3r_ros.model.two_view_front_end import TwoViewFrontEnd
from mem3r_ros.se3 import matrix_from_pose_wxyz

POSE_CHANNELS = 7  # translation, quaternion
DENSE_CHANNELS = 4  # point, confidence
WORLD_BLOCKS = 2
_WORLD_POINTS = frozenset({'points_world', 'confidence_world'})
_CAMERA_POINTS = frozenset({'points_camera', 'confidence_camera'})


class Predictor(nn.Module):
    """All heads behind the decoder."""

    def __init__(self, config: ModelConfig, front_end: TwoViewFrontEnd | None) -> None:
        """Create the heads that the configuration asks for."""
        super().__init__()
        self.config, self.front_end = config, front_end
        width, eps = config.dec_embed_dim, config.norm_eps
        pose_channels, dense_channels = POSE_CHANNELS, DENSE_CHANNELS
        if front_end is not None:
            pose_channels, dense_channels = front_end.pose_channels, front_end.dense_channels
        self.pose_head = (
            Mlp(width, int(width * config.mlp_ratio), pose_channels) if config.pose_head else None
        )
        self.camera_head = dense_head(config, dense_channels)
        self.rgb_head = dense_head(config, 3) if config.rgb_head else None
        self.world_blocks, self.world_head = None, None
        if config.world_head:
            self.world_blocks = nn.ModuleList(
                ModulatedBlock(width, config.dec_num_heads, config.mlp_ratio, eps)
                for _ in range(WORLD_BLOCKS)
            )
            self.world_head = dense_head(config, 4)
        if front_end is not None:
            start_at_unit_gain(self)
            self._start_at_rest()
        self.available = self._available()

    def _start_at_rest(self) -> None:
        """Begin training at zero motion, nominal focal length and nominal depth."""
        with torch.no_grad():
            self.pose_head.fc2.weight.mul_(0.01)
            self.pose_head.fc2.bias.zero_()
            self.camera_head.last_layer.weight.mul_(0.01)
            for part in self.modules():
                if isinstance(part, ResidualConvolutions):
                    part.conv2.weight.mul_(0.1)  # the outputs of eight of them add up

    def _available(self) -> frozenset[str]:
        names = _CAMERA_POINTS | {'telemetry', 'image_token'}
        if self.pose_head is not None:
            names |= {'camera_pose', 'T_world_camera'}
        if self.world_head is not None or self.pose_head is not None:
            names |= _WORLD_POINTS
        if self.rgb_head is not None:
            names |= {'rgb'}
        if self.front_end is not None:
            names |= {'T_previous_camera', 'focal_px', 'two_view'}
        return names

    def forward(
        self, decoded: Decoded, encoded: Encoded, positions: Positions, wanted: frozenset[str]
    ) -> Prediction:
        """
        Compute the wanted outputs of one frame.

        :param positions: of the image tokens, without the pose token.
        """
        dtype = self.camera_head.input_dtype
        levels = tuple(
            level.to(dtype) for level in (encoded.features, *decoded.levels, decoded.image_tokens)
        )
        finer = [features.to(dtype) for features in encoded.finer]
        raw = None
        if self._needs_camera_head(wanted):
            raw = self.camera_head(levels, finer, encoded.grid).float()
        pose_raw = self._pose_raw(decoded)
        if self.front_end is not None:
            found = self.front_end.resolve(raw, pose_raw, encoded.observation)
            wanted |= {'T_previous_camera', 'two_view'}
        else:
            found = self._from_raw(raw, pose_raw)
        if wanted & _WORLD_POINTS:
            found |= self._world_points(found, levels, decoded, positions, finer, encoded)
        if 'rgb' in wanted:
            found['rgb'] = rgb_from_raw(self.rgb_head(levels, finer, encoded.grid).float())
        return Prediction(**{name: value for name, value in found.items() if name in wanted})

    def _needs_camera_head(self, wanted: frozenset[str]) -> bool:
        if self.front_end is not None or wanted & _CAMERA_POINTS:
            return True
        return self.world_head is None and bool(wanted & _WORLD_POINTS)

    def _pose_raw(self, decoded: Decoded) -> Tensor | None:
        if self.pose_head is None:
            return None
        head = self.pose_head
        with torch.autocast(decoded.pose_token.device.type, enabled=False):
            return head(decoded.pose_token[:, 0].to(head.fc1.weight.dtype)).float()

    def _from_raw(self, raw: Tensor | None, pose_raw: Tensor | None) -> dict[str, Any]:
        """Return pose and camera points as CUT3R's heads give them."""
        found: dict[str, Any] = {}
        if pose_raw is not None:
            found['camera_pose'] = pose_from_raw(pose_raw)
            found['T_world_camera'] = matrix_from_pose_wxyz(found['camera_pose'])
        if raw is not None:
            in_front = self.config.head_type == 'linear'
            found['points_camera'] = points_from_raw(raw[..., :3], in_front)
            found['confidence_camera'] = confidence_from_raw(raw[..., 3])
        return found

    def _world_points(
        self,
        found: dict[str, Any],
        levels: tuple[Tensor, ...],
        decoded: Decoded,
        positions: Positions,
        finer: list[Tensor],
        encoded: Encoded,
    ) -> dict[str, Tensor]:
        """Use the world head; without one, transform the camera points by the pose."""
        if self.world_head is None:
            pose = found['T_world_camera'][:, None, None]
            points = (pose[..., :3, :3] @ found['points_camera'][..., None])[..., 0]
            points = points + pose[..., :3, 3]
            return {'points_world': points, 'confidence_world': found['confidence_camera']}
        tokens = decoded.image_tokens
        for block in self.world_blocks:
            tokens = block(tokens, decoded.pose_token, positions)
        levels = (*levels[:-1], tokens.to(levels[0].dtype))
        raw = self.world_head(levels, finer, encoded.grid).float()
        return {
            'points_world': points_from_raw(raw[..., :3]),
            'confidence_world': confidence_from_raw(raw[..., 3]),
        }
