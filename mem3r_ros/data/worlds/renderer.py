# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Render clips of procedural worlds with exact depth, pose and intrinsics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mem3r_ros.data.worlds import paths, raycast, scene, textures
from mem3r_ros.data.worlds.config import WorldConfig
from mem3r_ros.data.worlds.raycast import TILE

# F frames, O bodies, T tiles, L pixels of a tile, P pixels in all


@dataclass(frozen=True, slots=True)
class Clip:
    """Consecutive frames of one camera in one world."""

    image: Tensor  # uint8 [F, H, W, 3] RGB
    depth_m: Tensor  # float32 [F, H, W] along the optical axis; +inf is sky
    T_world_camera: Tensor  # float32 [F, 4, 4], camera optical; any world frame
    intrinsics: Tensor  # float32 [4]: fx, fy, cx, cy in px, pixel centres at whole numbers
    moving: Tensor  # bool [F, H, W]: belongs to something that moves
    stamps_s: Tensor  # float64 [F]


def _surface_table(
    arrays: dict[str, Tensor], slots: Tensor, rays: Tensor, eyes: Tensor, full: Tensor
) -> Tensor:
    """Return for each face of each frame what shading needs, [F * O * 6, 14]."""
    columns = [full[..., :2]]
    for name in ('s_axes', 't_axes'):
        axes = arrays[name]
        origin = torch.einsum('okc,foc->fok', axes[..., :3], eyes) + axes[..., 3]
        columns += [torch.einsum('okc,focd->fokd', axes[..., :3], rays), origin[..., None]]
    num_frames = rays.shape[0]
    columns.append(slots[None, ..., None].expand(num_frames, -1, -1, -1).to(full.dtype))
    columns.append(arrays['gains'][None].expand(num_frames, -1, -1, -1))
    return torch.cat(columns, dim=-1).flatten(0, 2)


def _shade(
    table: Tensor, atlas: Tensor, index: Tensor, depth: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """Return the colour of every pixel, float32 [P, 3] in 0 .. 255 and beyond."""
    wx, wy, sx, sy, s1, s0, tx, ty, t1, t0, slot, *gain = table[index].t().contiguous()
    s_ray, t_ray = sx * x + sy * y + s1, tx * x + ty * y + t1
    # derivatives of texture coordinates by the pixel: d(z q) = z (dq - q z dw)
    s_z, t_z = s_ray * depth, t_ray * depth
    across = (sx - s_z * wx).square() + (tx - t_z * wx).square()
    down = (sy - s_z * wy).square() + (ty - t_z * wy).square()
    longer, shorter = torch.maximum(across, down), torch.minimum(across, down)
    lod = 0.5 * torch.log2(depth.square() * longer.pow(0.7) * shorter.pow(0.3) + 1e-9) - 0.3
    colour = textures.sample(atlas, slot.to(torch.int32), s_z + s0, t_z + t0, lod)
    return colour * torch.stack(gain, dim=-1)


def _draw_intrinsics(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    fx = width * np.exp(rng.uniform(np.log(0.55), np.log(1.3)))
    fy = fx * np.exp(rng.normal(0, 0.01))
    centre = (np.array(size) - 1) / 2 + rng.normal(0, 0.01, 2) * width
    return np.array([fx, fy, *centre])


def _camera_effects(
    images: Tensor, rng: np.random.Generator, config: WorldConfig, seed: int
) -> Tensor:
    """Add exposure drift and noise; return uint8."""
    num_frames = len(images)
    frames = np.arange(num_frames, dtype=np.float64)
    drift = config.brightness_drift * rng.uniform(0, 1) * paths.SmoothNoise(rng, 15, 200)(frames)
    gain = np.exp(drift) * np.exp(rng.normal(0, 0.15))
    images = images * torch.from_numpy(gain).to(images)[:, None, None, None]
    sigma = config.noise * rng.uniform(0, 2)
    noise = np.random.default_rng(seed).standard_normal(images[0].numel() * 2, dtype=np.float32)
    noise = torch.from_numpy(noise).to(images.device)
    for number, image in enumerate(images):  # a fresh stretch of one noise sheet for each frame
        start = (number * 7919) % image.numel()
        image += noise[start : start + image.numel()].view_as(image) * sigma
    return images.clamp_(0, 255).round_().to(torch.uint8)


def render_clip(
    index: int,
    num_frames: int,
    size: tuple[int, int],
    config: WorldConfig | None = None,
    device: str | torch.device = 'cpu',
) -> Clip:
    """
    Render the first frames of one world.

    :param index: which world; the same index, size and config give the same clip anywhere.
    :param num_frames: how many frames; a longer clip begins with the shorter one.
    :param size: width and height, px.
    :param config: what kinds of world; the default mixture if None.
    :param device: where to compute.
    """
    config = config or WorldConfig()
    rng = np.random.default_rng((config.seed, index))
    intrinsics = _draw_intrinsics(rng, size)
    scale = np.exp(rng.uniform(np.log(0.25), np.log(1.0)))
    region = np.array([rng.uniform(0.6, 2.5), rng.uniform(0.6, 2.5), 0.5]) * scale
    poses = paths.handheld_path(rng, region, num_frames)
    world = scene.room(rng, poses[:, :3, 3], region, config.num_textures)
    arrays = world.arrays()
    used, slots = np.unique(arrays.pop('textures'), return_inverse=True)
    slots = torch.from_numpy(slots.reshape(-1, 6)).to(device)
    atlas = torch.cat([textures.texture(int(number)) for number in used]).to(device)
    tensors = {name: torch.from_numpy(a).to(device, torch.float32) for name, a in arrays.items()}
    T_world_camera = torch.from_numpy(poses[:num_frames]).to(device, torch.float32)
    chunk = max(1, 2**18 // (size[0] * size[1]))
    parts = [
        _render_frames(tensors, slots, atlas, chosen, intrinsics, size)
        for chosen in T_world_camera.split(chunk)
    ]
    colour = torch.cat([part[0] for part in parts])
    effects = np.random.default_rng((config.seed, index, 1))
    image = _camera_effects(colour, effects, config, index)
    depth = torch.cat([part[1] for part in parts])
    stamps = torch.arange(num_frames, dtype=torch.float64) / 15.0
    return Clip(
        image, depth, T_world_camera, torch.from_numpy(intrinsics).to(device, torch.float32),
        torch.zeros_like(depth, dtype=torch.bool), stamps,
    )


def _render_frames(
    arrays: dict[str, Tensor], slots: Tensor, atlas: Tensor, T_world_camera: Tensor,
    intrinsics: np.ndarray, size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Render some frames; return colour [F, H, W, 3] in 0 .. 255 and depth [F, H, W] in m."""
    num_frames, device = len(T_world_camera), T_world_camera.device
    fx, fy, cx, cy = intrinsics
    K_inverse = torch.tensor([[1 / fx, 0, -cx / fx], [0, 1 / fy, -cy / fy], [0, 0, 1]],
                             dtype=torch.float32, device=device)
    R_camera, centre = T_world_camera[:, :3, :3], T_world_camera[:, :3, 3]
    R_body_camera = torch.einsum('oba,fbc->foac', arrays['rotations'], R_camera)
    eyes = torch.einsum('oba,fob->foa', arrays['rotations'], centre[:, None] - arrays['centres'])
    rays = R_body_camera @ K_inverse
    t_camera_body = -torch.einsum('foba,fob->foa', R_body_camera, eyes)

    tiles = (-(-size[0] // TILE), -(-size[1] // TILE))
    planes = raycast.face_planes(arrays['normals'], arrays['offsets'], rays, eyes)
    candidates = raycast.tile_candidates(
        arrays['halves'], R_body_camera.transpose(-1, -2), t_camera_body,
        torch.tensor(intrinsics, dtype=torch.float32, device=device), tiles,
    )
    inverse_depth, face = raycast.cast(planes, candidates, tiles)

    def image(flat: Tensor) -> Tensor:
        grid = flat.view(num_frames, tiles[1], tiles[0], TILE, TILE, *flat.shape[2:])
        grid = grid.transpose(2, 3).reshape(num_frames, tiles[1] * TILE, tiles[0] * TILE, -1)
        return grid[:, : size[1], : size[0]]

    inverse_depth, face = image(inverse_depth), image(face)
    depth = 1 / inverse_depth.squeeze(-1)
    num_faces = slots.numel()
    index = face.squeeze(-1) + torch.arange(num_frames, device=device)[:, None, None] * num_faces
    y, x = torch.meshgrid(torch.arange(size[1], device=device),
                          torch.arange(size[0], device=device), indexing='ij')
    table = _surface_table(arrays, slots, rays, eyes, planes.full)
    colour = _shade(
        table, atlas, index.flatten(), depth.flatten(),
        x.expand_as(depth).flatten().to(depth), y.expand_as(depth).flatten().to(depth),
    )
    return colour.view(num_frames, size[1], size[0], 3), depth
