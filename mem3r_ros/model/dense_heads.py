# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Dense heads and pose head.

DPT follows Ranftl et al. (arXiv 2103.13413) with the sizes of DUSt3R and CUT3R
(arXiv 2501.12387); activations are CUT3R's.
"""

# B streams, H x W pixels, h x w image tokens of patches p, C channels

from __future__ import annotations

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.layers import Mlp

Grid = tuple[int, int]


def points_from_raw(raw: Tensor, in_front: bool = False) -> Tensor:
    """
    Stretch raw vectors exponentially along their direction: v/|v| (exp|v| - 1).

    :param raw: [..., 3].
    :param in_front: mirror points behind the camera to the front, as CUT3R's linear head does
        with its camera points; DPT does not.
    :return: points in metres, [..., 3].
    """
    if in_front:
        raw = raw * raw[..., 2:].sign()
    distance = raw.norm(dim=-1, keepdim=True)
    return raw / distance.clamp(min=1e-8) * torch.expm1(distance)


def confidence_from_raw(raw: Tensor) -> Tensor:
    """Map real numbers to confidences above 1."""
    return 1 + raw.exp()


def rgb_from_raw(raw: Tensor) -> Tensor:
    """Map real numbers into the open interval (-1, 1)."""
    return (torch.sigmoid(raw) * (1 - 2e-6) + 1e-6 - 0.5) * 2


def pose_from_raw(raw: Tensor) -> Tensor:
    """
    Turn the output of the pose head into a translation and a unit quaternion.

    :param raw: [..., 7] translation, then quaternion with its real part first.
    :return: [..., 7] tx ty tz (m) qw qx qy qz with qw >= 0.
    """
    translation, quaternion = raw.split((3, 4), dim=-1)
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    return torch.cat((points_from_raw(translation), quaternion), dim=-1)


class ResidualConvolutions(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        """Create two 3 x 3 convolutions."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, h, w] to [B, C, h, w]."""
        return features + self.conv2(F.relu(self.conv1(F.relu(features))))


class Fusion(nn.Module):
    """Add a finer level, refine, double the resolution."""

    def __init__(self, channels: int, has_skip: bool = True) -> None:
        """Create the refinement; the coarsest stage has no level to add."""
        super().__init__()
        self.skip = ResidualConvolutions(channels) if has_skip else None
        self.refine = ResidualConvolutions(channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, coarse: Tensor, level: Tensor | None = None) -> Tensor:
        """Map [B, C, h, w] (and a level of the same shape) to [B, C, 2h, 2w]."""
        if level is not None:
            coarse = coarse + self.skip(level)
        # The 1x1 convolution commutes with the interpolation (its weights sum to one), so it runs
        # on the small map.
        return _double(self.out(self.refine(coarse)))


def _double(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode='bilinear', align_corners=True)


class DptHead(nn.Module):
    """
    Dense prediction from four levels of tokens.

    The finer features of a convolution stem, if there is one, are added to the two finest levels:
    edges then come from the image and not through the tokens.
    """

    def __init__(self, config: ModelConfig, out_channels: int) -> None:
        """Create the head for ``out_channels`` values per pixel."""
        super().__init__()
        dims, width = config.dpt_layer_dims, config.dpt_feature_dim
        in_dims = (config.enc_embed_dim, *[config.dec_embed_dim] * 3)
        self.project = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip(in_dims, dims, strict=True)
        )
        self.resize = nn.ModuleList(
            (
                nn.ConvTranspose2d(dims[0], dims[0], 4, 4),
                nn.ConvTranspose2d(dims[1], dims[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(dims[3], dims[3], 3, stride=2, padding=1),
            )
        )
        self.level_conv = nn.ModuleList(
            nn.Conv2d(dim, width, 3, padding=1, bias=False) for dim in dims
        )
        stem_dims = config.stem_dims if config.stem == 'convolution' else ()
        self.stem_conv = nn.ModuleList(nn.Conv2d(dim, width, 1) for dim in stem_dims[-2:])
        self.fusion = nn.ModuleList(
            Fusion(width, has_skip=stage < 3 or config.dpt_coarse_skip) for stage in range(4)
        )
        self.head1 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.head2 = nn.Conv2d(width // 2, config.dpt_last_dim, 3, padding=1)
        self.head3 = nn.Conv2d(config.dpt_last_dim, out_channels, 1)
        self.patch_size = config.patch_size

    @property
    def last_layer(self) -> nn.Module:
        """The layer that gives the values."""
        return self.head3

    @property
    def input_dtype(self) -> torch.dtype:
        """Dtype of the levels."""
        return self.project[0].weight.dtype

    def forward(self, levels: tuple[Tensor, ...], finer: list[Tensor], grid: Grid) -> Tensor:
        """
        Predict every pixel.

        :param levels: four token maps [B, h*w, C], early to late.
        :param finer: features of the convolution stem, finest first (may be empty).
        :param grid: (h, w).
        :return: [B, H, W, out_channels].
        """
        maps = [
            convolution(resize(project(level.transpose(1, 2).unflatten(2, grid))))
            for level, project, resize, convolution in zip(
                levels, self.project, self.resize, self.level_conv, strict=True
            )
        ]
        # The last two levels of the stem have the resolution of the two finest levels here.
        for index, convolution in enumerate(self.stem_conv):
            maps[index] = maps[index] + convolution(finer[index - len(self.stem_conv)])
        # An odd grid is rounded up on the coarsest level, so its doubled map is cropped.
        path = self.fusion[3](maps[3])[..., : maps[2].shape[-2], : maps[2].shape[-1]]
        for stage in (2, 1, 0):
            path = self.fusion[stage](path, maps[stage])
        size = (grid[0] * self.patch_size, grid[1] * self.patch_size)
        path = F.interpolate(self.head1(path), size=size, mode='bilinear', align_corners=True)
        path = F.relu(self.head2(path)).to(self.head3.weight.dtype)
        return self.head3(path).permute(0, 2, 3, 1)


class LinearHead(nn.Module):
    """One MLP from each token to all pixels of its patch (CUT3R's 224 px model)."""

    def __init__(self, config: ModelConfig, out_channels: int) -> None:
        """Create the head for ``out_channels`` values per pixel."""
        super().__init__()
        self.patch_size = config.patch_size
        width = config.dec_embed_dim
        self.proj = Mlp(width, int(width * config.mlp_ratio), out_channels * config.patch_size**2)

    @property
    def last_layer(self) -> nn.Module:
        """The layer that gives the values."""
        return self.proj.fc2

    @property
    def input_dtype(self) -> torch.dtype:
        """Dtype of the levels."""
        return self.proj.fc1.weight.dtype

    def forward(self, levels: tuple[Tensor, ...], finer: list[Tensor], grid: Grid) -> Tensor:
        """Use the last level only; see :meth:`DptHead.forward`."""
        hidden = F.gelu(self.proj.fc1(levels[-1])).to(self.last_layer.weight.dtype)
        raw = self.last_layer(hidden).transpose(1, 2).unflatten(2, grid)
        return F.pixel_shuffle(raw, self.patch_size).permute(0, 2, 3, 1)


def dense_head(config: ModelConfig, out_channels: int) -> nn.Module:
    """Return the dense head that the configuration names."""
    return {'dpt': DptHead, 'linear': LinearHead}[config.head_type](config, out_channels)
