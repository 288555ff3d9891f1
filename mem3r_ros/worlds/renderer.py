# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Render clips of procedural worlds with exact depth, pose and intrinsics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mem3r_ros.worlds import effects, raycast, textures
from mem3r_ros.worlds.catalogue import World, draw_world
from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.raycast import TILE
from mem3r_ros.worlds.scene import FACES, ROUND
from mem3r_ros.worlds.shading import Shader

# F frames, O bodies, T tiles, L pixels of a tile, P pixels in all

CHUNK = 1 << 17  # pixels rendered at once; more would not fit the cache of a CPU
CHUNK_ON_GPU = 1 << 22
SKY_M = 2000.0  # depth beyond is +inf
FRAME_RATES = (10.0, 15.0, 25.0, 30.0)


@dataclass(frozen=True, slots=True)
class Clip:
    """Consecutive frames of one camera in one world."""

    image: Tensor  # uint8 [F, H, W, 3] RGB
    depth_m: Tensor  # float32 [F, H, W] along the optical axis; +inf is sky
    T_world_camera: Tensor  # float32 [F, 4, 4], camera optical; any world frame
    intrinsics: Tensor  # float32 [4]: fx, fy, cx, cy in px, pixel centres at whole numbers
    moving: Tensor  # bool [F, H, W]: pixels of moving objects
    stamps_s: Tensor  # float64 [F]


def render_clip(
    index: int,
    num_frames: int,
    size: tuple[int, int],
    config: WorldConfig | None = None,
    device: str | torch.device = 'cpu',
    stride: int = 1,
) -> Clip:
    """
    Render the first frames of one world.

    :param index: number of the world; equal index, size and config give equal clips.
    :param num_frames: number of frames; a longer clip of up to paths.HORIZON frames begins with
        the shorter one.
    :param size: width and height, px.
    :param config: mixture of the worlds; the default mixture if None.
    :param device: device to render on.
    :param stride: render every n-th frame of the world.
    """
    config = config or WorldConfig()
    world = draw_world(index, (num_frames - 1) * stride + 1, config)
    return render_world(world, num_frames, size, config, device, stride)


def render_world(
    world: World,
    num_frames: int,
    size: tuple[int, int],
    config: WorldConfig,
    device: str | torch.device = 'cpu',
    stride: int = 1,
    intrinsics: np.ndarray | None = None,
) -> Clip:
    """
    Render the first frames of a world that is already drawn; see ``render_clip``.

    :param intrinsics: fx, fy, cx, cy in px; drawn if None.
    """
    device = torch.device(device)
    rng = np.random.default_rng((*world.key, 2))
    drawn = _draw_intrinsics(rng, size, world.focal_range)
    intrinsics = drawn if intrinsics is None else intrinsics
    stage = _Stage(world, intrinsics, size, device)
    poses = torch.from_numpy(world.poses).to(device, torch.float32)
    chunk = max(1, (CHUNK if device.type == 'cpu' else CHUNK_ON_GPU) // (size[0] * size[1]))
    lens = effects.Lens(np.random.default_rng((*world.key, 3)), config, num_frames * stride, size)
    image, depth, moving = [], [], []
    numbers = torch.arange(num_frames, device=device) * stride
    for frames in numbers.split(chunk):
        seen = stage.render(poses[frames], frames)
        seen = lens.expose(*seen, poses[frames], poses[frames + 1], intrinsics)
        image.append(lens.develop(seen[0], frames))
        depth.append(seen[1])
        moving.append(seen[2])
    rate = float(rng.choice(FRAME_RATES))
    stamps = numbers.cpu().to(torch.float64) / rate
    return Clip(
        torch.cat(image), torch.cat(depth), poses[numbers],
        torch.from_numpy(intrinsics).to(device, torch.float32), torch.cat(moving), stamps,
    )  # fmt: skip


def _draw_intrinsics(
    rng: np.random.Generator, size: tuple[int, int], focal_range: tuple[float, float]
) -> np.ndarray:
    """Return fx, fy, cx, cy in px, [4]."""
    fx = max(size) * np.exp(rng.uniform(*np.log(focal_range)))
    fy = fx * np.exp(rng.normal(0, 0.01))
    centre = (np.array(size) - 1) / 2 + rng.normal(0, 0.012, 2) * np.array(size)
    return np.array([fx, fy, *centre])


class _Stage:
    """One world and one camera, on one device."""

    def __init__(
        self, world: World, intrinsics: np.ndarray, size: tuple[int, int], device: torch.device
    ) -> None:
        """Copy the scene to the device."""
        arrays = world.scene.arrays()
        light = world.scene.light
        wanted = arrays.pop('textures').ravel()
        wanted = np.append(wanted, wanted[0] if light.sky is None else light.clouds)
        used, slots = np.unique(wanted, return_inverse=True)
        self._atlas = torch.cat([textures.texture(int(number)) for number in used]).to(device)
        self._movers = torch.from_numpy(arrays.pop('movers')).to(device)
        self._motions = torch.from_numpy(np.array(world.scene.motions)).to(device, torch.float32)
        self._arrays = {
            name: torch.from_numpy(a).to(device, torch.float32) for name, a in arrays.items()
        }
        self._arrays['textures'] = torch.from_numpy(slots[:-1].reshape(-1, FACES)).to(device)
        self._cloud_slot = int(slots[-1])
        self._light, self._view_m = light, world.view_m
        self._size, self._intrinsics = size, intrinsics
        self._tiles = (-(-size[0] // TILE), -(-size[1] // TILE))
        fx, fy, cx, cy = intrinsics
        K_inverse = [[1 / fx, 0, -cx / fx], [0, 1 / fy, -cy / fy], [0, 0, 1]]
        self._K_inverse = torch.tensor(K_inverse, dtype=torch.float32, device=device)
        y, x = torch.meshgrid(
            torch.arange(size[1], device=device, dtype=torch.float32),
            torch.arange(size[0], device=device, dtype=torch.float32),
            indexing='ij',
        )
        self._pixel = torch.stack([x.flatten(), y.flatten()])
        self._ray = (
            self._pixel - self._K_inverse.new_tensor([[cx], [cy]])
        ) / self._K_inverse.new_tensor([[fx], [fy]])

    def render(self, T_world_camera: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Render some frames.

        :param T_world_camera: their poses, [F, 4, 4].
        :param frames: their numbers, [F].
        :return: colour in 0 .. 255 and beyond [F, H, W, 3], depth in m [F, H, W], and the mask of
            moving objects [F, H, W].
        """
        R_world_body, centres = self._placed(frames)
        R_camera, centre = T_world_camera[:, None, :3, :3], T_world_camera[:, None, :3, 3]
        R_body_camera = R_world_body.transpose(-1, -2) @ R_camera
        t_camera_body = ((centres - centre)[..., None, :] @ R_camera).squeeze(-2)
        candidates, reach = raycast.tile_candidates(
            self._arrays['halves'], R_body_camera.transpose(-1, -2), t_camera_body,
            torch.tensor(self._intrinsics, dtype=torch.float32, device=frames.device),
            self._tiles, self._view_m,
        )  # fmt: skip
        seen = candidates.flatten(0, 1).any(dim=0)
        seen[-1] = True
        chosen = seen.nonzero().squeeze(-1)  # from here on, invisible bodies cost nothing
        arrays = {name: values[chosen] for name, values in self._arrays.items()}
        R_world_body, R_body_camera = R_world_body[:, chosen], R_body_camera[:, chosen]
        eyes = -(R_body_camera @ t_camera_body[:, chosen, :, None]).squeeze(-1)
        bodies = raycast.relate(arrays, R_body_camera @ self._K_inverse, eyes)
        inverse_depth, surface = raycast.cast(
            bodies, candidates[..., chosen], reach[:, chosen], self._tiles
        )
        inverse_depth, surface = self._untile(inverse_depth), self._untile(surface)
        arrays['cloud_slot'] = self._cloud_slot
        shader = Shader(arrays, bodies, R_world_body, T_world_camera, self._light, self._atlas)
        colour = self._colour(shader, inverse_depth, surface, len(frames))
        depth = torch.where(inverse_depth > 1 / SKY_M, 1 / inverse_depth, torch.inf)
        moves = (self._movers[chosen] >= 0)[torch.div(surface, FACES, rounding_mode='floor')]
        shape = (len(frames), self._size[1], self._size[0])
        return colour.t().reshape(*shape, 3), depth.view(shape), moves.view(shape)

    def _placed(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return R_world_body [F, O, 3, 3] and the centres of bodies [F, O, 3] at some frames."""
        rotations = self._arrays['rotations'].expand(len(frames), -1, -1, -1)
        centres = self._arrays['centres'].expand(len(frames), -1, -1)
        which = (self._movers >= 0).nonzero().squeeze(-1)
        if len(which):
            motion = self._motions[self._movers[which]][:, frames].transpose(0, 1)
            rotations, centres = rotations.clone(), centres.clone()
            rotations[:, which] = motion[..., :3, :3] @ rotations[:, which]
            moved = (motion[..., :3, :3] @ centres[:, which, :, None]).squeeze(-1)
            centres[:, which] = moved + motion[..., :3, 3]
        return rotations, centres

    def _untile(self, flat: Tensor) -> Tensor:
        """Assemble tiles [F * T, L] to images and flatten them, [P]."""
        columns, rows = self._tiles
        grid = flat.view(-1, rows, columns, TILE, TILE).transpose(2, 3)
        grid = grid.reshape(-1, rows * TILE, columns * TILE)
        return grid[:, : self._size[1], : self._size[0]].reshape(-1)

    def _colour(
        self, shader: Shader, inverse_depth: Tensor, surface: Tensor, num_frames: int
    ) -> Tensor:
        """Return the colours of all pixels, [3, P]."""
        pixel, ray = self._pixel.repeat(1, num_frames), self._ray.repeat(1, num_frames)
        frame = torch.arange(num_frames, device=pixel.device)
        frame = frame.repeat_interleave(self._pixel.shape[1])
        depth = 1 / inverse_depth.clamp(min=1e-6)
        focal = float(self._intrinsics[0])
        colour = shader.planes(frame, surface, depth, pixel, ray)
        side = (surface % FACES == ROUND).nonzero().squeeze(-1)
        if len(side):
            colour[:, side] = shader.round_sides(
                frame[side], surface[side], depth[side], pixel[:, side], ray[:, side], focal
            )
        colour = shader.fogged(colour, depth, ray)
        sky = (inverse_depth <= 1 / SKY_M).nonzero().squeeze(-1)
        if len(sky):
            colour[:, sky] = shader.sky(frame[sky], ray[:, sky], focal)
        return colour
