# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Colour of each pixel: texture, light, reflection of the lamp, fog and sky.

Texture coordinates on a plane, divided by the depth, are linear functions of the pixel. All data
of a plane are one row of a table, so each pixel costs one table access.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mem3r_ros.worlds import mipmaps
from mem3r_ros.worlds.mipmaps import SIDE
from mem3r_ros.worlds.raycast import Bodies
from mem3r_ros.worlds.scene import FACES, ROUND, Light

# F frames, O bodies, P pixels

SHARPNESS = 0.35  # levels by which textures are sampled finer than one texel a pixel
BRIGHTEST = 1.2  # maximum light of the lamp, so that near surfaces are not overexposed


def _vector(values: object, like: Tensor) -> Tensor:
    return torch.as_tensor(values).to(like)


class Shader:
    """Colour pixels of some frames of one scene."""

    def __init__(
        self,
        arrays: dict[str, Tensor],
        bodies: Bodies,
        R_world_body: Tensor,
        T_world_camera: Tensor,
        light: Light,
        atlas: Tensor,
    ) -> None:
        """
        Tabulate the planes of all bodies.

        :param arrays: of Scene.arrays, 'textures' replaced by their slots in the atlas.
        :param bodies: bodies in the frame of the camera.
        :param R_world_body: [F, O, 3, 3].
        :param T_world_camera: [F, 4, 4].
        :param light: the light of the scene.
        :param atlas: packed textures.
        """
        self._arrays, self._bodies, self._light, self._atlas = arrays, bodies, light, atlas
        self._R_world_body, self._R_world_camera = R_world_body, T_world_camera[:, :3, :3]
        lamp = _vector(light.lamp_at, T_world_camera) - T_world_camera[:, :3, 3]
        self._lamp = torch.einsum('fba,fb->fa', self._R_world_camera, lamp)  # in the camera [F, 3]
        self._table = self._tabulate()

    def _ambient(self, normals: Tensor, glow: Tensor) -> Tensor:
        """Return the light without the lamp on surfaces with normals [..., 3] in world."""
        light = self._light
        sun = normals @ _vector(light.towards_sun, normals)
        share = light.ambient * (1 + light.upward * normals[..., 2]) + light.sun * sun.clamp(min=0)
        return torch.maximum(share, glow)

    def _tabulate(self) -> Tensor:
        """Return the shading data of each plane of each frame, [20, F * O * 6]."""
        arrays, bodies = self._arrays, self._bodies
        columns = [bodies.planes[..., :2]]
        for name in ('s_axes', 't_axes'):
            axes = arrays[name][:, :ROUND]
            origin = torch.einsum('okc,foc->fok', axes[..., :3], bodies.eyes) + axes[..., 3]
            rays = torch.einsum('okc,focd->fokd', axes[..., :3], bodies.rays)
            columns += [rays, origin[..., None]]
        shape = bodies.planes.shape[:3]
        slots = arrays['textures'][:, :ROUND].to(origin.dtype)
        columns.append(slots[None, ..., None].expand(*shape, 1))
        columns.append(arrays['gain'][None, :, None].expand(*shape, 3))
        normals = torch.einsum('foab,okb->foka', self._R_world_body, arrays['normals'])
        normals[:, -1] *= -1  # the shell is seen from within
        columns.append(self._ambient(normals, arrays['glow'][:, None])[..., None])
        normals = torch.einsum('fba,fokb->foka', self._R_world_camera, normals)
        distance = arrays['offsets'] - torch.einsum('okc,foc->fok', arrays['normals'], bodies.eyes)
        distance[:, -1] *= -1
        height = torch.einsum('foka,fa->fok', normals, self._lamp) - distance  # lamp over plane
        mirrored = self._lamp[:, None, None] - 2 * height[..., None] * normals
        mirrored = torch.nn.functional.normalize(mirrored, dim=-1)
        gloss = arrays['gloss'][:, None] * (height > 0)
        columns += [height.clamp(min=0)[..., None], mirrored * (gloss[..., None] > 0)]
        columns.append(gloss[..., None])
        return torch.cat(columns, dim=-1).flatten(0, 2).t().contiguous()

    def planes(
        self, frame: Tensor, surface: Tensor, depth: Tensor, pixel: Tensor, ray: Tensor
    ) -> Tensor:
        """
        Colour pixels that see planes.

        :param frame: of each pixel, [P].
        :param surface: body * FACES + face, [P].
        :param depth: m, [P].
        :param pixel: x and y, px, [2, P].
        :param ray: direction of unit depth in the camera's frame, x and y, [2, P].
        :return: red, green, blue in 0 .. 255 and beyond, [3, P].
        """
        body = torch.div(surface, FACES, rounding_mode='floor')
        num_planes = self._bodies.is_round.numel() * ROUND
        # a sky pixel has no plane; it is coloured later
        index = frame * num_planes + surface - body
        index = index.clamp_(max=self._table.shape[1] - 1)
        rows = self._table.index_select(1, index)
        wx, wy, sx, sy, s1, s0, tx, ty, t1, t0, slot = rows[:11]
        x, y = pixel
        s_z = (sx * x).add_(sy * y).add_(s1).mul_(depth)
        t_z = (tx * x).add_(ty * y).add_(t1).mul_(depth)
        # derivatives of texture coordinates by the pixel: d(z q) = z (dq - z q dw)
        across = (sx - s_z * wx).square_().add_((tx - t_z * wx).square_())
        down = (sy - s_z * wy).square_().add_((ty - t_z * wy).square_())
        # between the longer and the shorter side of the pixel's footprint
        area = torch.maximum(across, down).log2_().mul_(0.7)
        area = area.add_(torch.minimum(across, down).add_(1e-12).log2_().mul_(0.3))
        lod = area.mul_(0.5).add_(depth.log2()).sub_(SHARPNESS)
        colour = mipmaps.sample(self._atlas, slot.to(torch.int32), s_z.add_(s0), t_z.add_(t0), lod)
        squared = ray.square().sum(0).add_(1)
        lamp = self._lamp.t()[:, frame]
        towards = lamp[0] * ray[0] + lamp[1] * ray[1] + lamp[2]
        light = self._lamplight(rows[15], lamp, towards, depth, squared).add_(rows[14])
        shine = rows[16] * ray[0] + rows[17] * ray[1] + rows[18]
        shine = (shine * squared.rsqrt()).clamp_(min=0).pow_(48).mul_(rows[19])
        return colour.mul_(rows[11:14]).mul_(light).add_(shine.mul_(230 * self._has_lamp()))

    def _has_lamp(self) -> float:
        return float(self._light.lamp > 0)

    def _lamplight(
        self, height: Tensor, lamp: Tensor, towards: Tensor, depth: Tensor, squared: Tensor
    ) -> Tensor:
        """Return the lamp's light [P] on surfaces at a height below it, m, [P]."""
        if not self._has_lamp():
            return torch.zeros_like(depth)
        distance = lamp.square().sum(0) - 2 * depth * towards + depth.square() * squared
        # as if the lamp were 0.3 m large
        light = height / distance.add_(0.1).pow_(1.5) * self._light.lamp
        return light.clamp_(max=BRIGHTEST)

    def round_sides(
        self,
        frame: Tensor,
        surface: Tensor,
        depth: Tensor,
        pixel: Tensor,
        ray: Tensor,
        focal: float,
    ) -> Tensor:
        """Colour pixels [P] that see the round sides of bodies; parameters as for planes."""
        arrays, bodies = self._arrays, self._bodies
        body = torch.div(surface, FACES, rounding_mode='floor')
        rays = bodies.rays[frame, body]
        homogeneous = torch.cat([pixel, torch.ones_like(pixel[:1])])
        along = torch.einsum('pij,jp->pi', rays, homogeneous)
        point = bodies.eyes[frame, body] + depth[:, None] * along
        normal = torch.nn.functional.normalize(arrays['quadrics'][body].square() * point, dim=-1)
        unit = torch.nn.functional.normalize(along, dim=-1)
        facing = -(normal * unit).sum(-1).clamp(max=-0.05)
        s_row, t_row = arrays['s_axes'][body, ROUND], arrays['t_axes'][body, ROUND]
        s = torch.atan2(point[:, 1], point[:, 0]) * s_row[:, 0] + s_row[:, 3]
        t = point[:, 2] * t_row[:, 0] + t_row[:, 3]
        density = torch.maximum(s_row[:, 1], t_row[:, 1])
        lod = torch.log2(density * depth / (focal * facing.sqrt())) - SHARPNESS
        slot = arrays['textures'][body, ROUND]
        colour = mipmaps.sample(self._atlas, slot.to(torch.int32), s, t, lod)
        world = torch.einsum('pab,pb->pa', self._R_world_body[frame, body], normal)
        light = self._ambient(world, arrays['glow'][body])
        camera = torch.einsum('pba,pb->pa', self._R_world_camera[frame], world)
        here = torch.cat([ray, torch.ones_like(ray[:1])]).t() * depth[:, None]
        to_lamp = self._lamp[frame] - here
        height = (camera * to_lamp).sum(-1)
        if self._has_lamp():
            distance = to_lamp.square().sum(-1) + 0.1
            lamp = height.clamp(min=0) / distance.pow(1.5) * self._light.lamp
            light = light + lamp.clamp(max=BRIGHTEST)
        mirror = 2 * height[:, None] * camera - to_lamp
        mirror = torch.nn.functional.normalize(mirror, dim=-1)
        away = -torch.nn.functional.normalize(here, dim=-1)
        shine = (mirror * away).sum(-1).clamp(min=0).pow(24) * arrays['gloss'][body]
        shine = shine * (height > 0) * 230 * self._has_lamp()
        return colour * arrays['gain'][body].t() * light + shine

    def sky(self, frame: Tensor, ray: Tensor, focal: float) -> Tensor:
        """Colour pixels [P] that see the sky."""
        forward = torch.cat([ray, torch.ones_like(ray[:1])])
        up = torch.einsum('pij,jp->pi', self._R_world_camera[frame], forward)
        up = torch.nn.functional.normalize(up, dim=-1)
        rise = up[:, 2].clamp(min=0)
        horizon, above = _vector(self._light.sky, ray)
        colour = horizon + (above - horizon) * rise.sqrt()[:, None]
        scale = SIDE / 3.0  # clouds on a level sheet, one picture in three heights
        flat = up[:, :2] / (rise[:, None] + 0.15) * scale
        lod = torch.log2(scale / (focal * (rise + 0.15)))
        slot = torch.full_like(frame, int(self._arrays['cloud_slot']), dtype=torch.int32)
        cover = mipmaps.sample(self._atlas, slot, flat[:, 0], flat[:, 1], lod)[0] / 255
        white = 0.75 * horizon.max() + 0.25 * above.max()
        return torch.lerp(colour, white.expand_as(colour), cover[:, None] * 0.9).t()

    def fogged(self, colour: Tensor, depth: Tensor, ray: Tensor) -> Tensor:
        """Fade the colours [3, P] of far surfaces to that of the horizon."""
        if self._light.sky is None:
            return colour
        horizon = _vector(self._light.sky, ray)[0]
        share = torch.exp(depth.clamp(max=1e6) * (-1 / self._light.fog_m))
        return torch.lerp(horizon[:, None].expand_as(colour), colour, share)
