# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Which surface each pixel sees, and how far away it is.

The inverse depth of a plane is a linear function of the pixel, so a convex body is hit where the
smallest inverse depth of the planes by which a ray enters it exceeds the largest of those by which
it leaves. Bodies are binned to square tiles of the image, and all tiles of all frames take their
next candidate in one round, which is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# F frames, O bodies (the last one is the shell), T tiles of an image, L = TILE * TILE pixels

TILE = 16
NEAR = 0.02  # m


@dataclass(frozen=True, slots=True)
class Planes:
    """Inverse depths of all faces as linear functions of the pixel (x, y, 1)."""

    entry: Tensor  # [F, O, 3, 3] the faces that look at the camera, at most three
    entry_face: Tensor  # [F, O, 3] which of the six faces they are
    leave: Tensor  # [F, O, 6, 3] the faces that look away
    full: Tensor  # [F, O, 6, 3] every face, whichever way it looks


def face_planes(normals: Tensor, offsets: Tensor, rays: Tensor, eyes: Tensor) -> Planes:
    """
    Turn the faces of all bodies into inverse depths.

    :param normals: outward, body frame, [O, 6, 3].
    :param offsets: m, [O, 6].
    :param rays: direction with unit depth of pixel (x, y, 1) in body frames, [F, O, 3, 3].
    :param eyes: the camera's centre in body frames, m, [F, O, 3].
    """
    distance = offsets - torch.einsum('okc,foc->fok', normals, eyes)
    is_entry = distance < 0
    safe = torch.where(is_entry, distance.clamp(max=-1e-5), distance.clamp(min=1e-5))
    full = torch.einsum('okc,focd->fokd', normals, rays) / safe[..., None]
    order = is_entry.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[..., :3]
    entry = full.gather(2, order[..., None].expand(*order.shape, 3))
    never = torch.tensor([0.0, 0.0, 1e9], device=full.device)
    entry = torch.where(is_entry.gather(2, order)[..., None], entry, never)
    leave = torch.where(is_entry[..., None], -never, full)
    return Planes(entry, order, leave, full)


def tile_candidates(
    halves: Tensor, R_camera_body: Tensor, t_camera_body: Tensor, intrinsics: Tensor,
    tiles: tuple[int, int],
) -> Tensor:
    """
    Find the tiles in which each body may be seen.

    :param halves: half extents of the bodies' bounds, [O, 3].
    :param R_camera_body: [F, O, 3, 3].
    :param t_camera_body: the bodies' centres in the camera's frame, [F, O, 3].
    :param intrinsics: fx, fy, cx, cy in px, [4].
    :param tiles: columns and rows of tiles.
    :return: bool [F, T, O].
    """
    signs = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)],
                         dtype=halves.dtype, device=halves.device)
    corners = torch.einsum('focd,ond->fonc', R_camera_body, signs * halves[:, None])
    corners = corners + t_camera_body[:, :, None]
    depth = corners[..., 2]
    pixels = corners[..., :2] / depth.clamp(min=NEAR)[..., None] * intrinsics[:2] + intrinsics[2:]
    low, high = pixels.amin(2), pixels.amax(2)
    in_front = depth.amax(2) > NEAR
    crosses = (depth.amin(2) <= NEAR)[..., None]  # the projected corners bound nothing
    low = torch.where(crosses, -1e9, low)
    high = torch.where(crosses, 1e9, high)
    hits = []
    for axis, count in enumerate(tiles):
        start = torch.arange(count, device=halves.device) * TILE
        overlaps = (low[..., axis, None] <= start + TILE) & (high[..., axis, None] >= start - 1)
        hits.append(overlaps)  # [F, O, count]
    both = hits[1][..., :, None] & hits[0][..., None, :] & in_front[..., None, None]
    return both.flatten(2).transpose(1, 2)


def tile_grids(tiles: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the first pixel (x, y) of each tile [T, 2] and (x, y, 1) within a tile [3, L]."""
    rows, columns = torch.meshgrid(
        torch.arange(tiles[1], device=device), torch.arange(tiles[0], device=device), indexing='ij'
    )
    corners = torch.stack([columns, rows], dim=-1).reshape(-1, 2) * float(TILE)
    y, x = torch.meshgrid(
        torch.arange(TILE, device=device), torch.arange(TILE, device=device), indexing='ij'
    )
    local = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1).to(torch.float32)
    return corners, local


def _shifted(planes: Tensor, corner: Tensor) -> Tensor:
    """Refer linear functions [N, K, 3] of the pixel to the corners [N, 2] of their tiles."""
    constant = planes[..., 2] + (planes[..., :2] * corner[:, None]).sum(-1)
    return torch.cat([planes[..., :2], constant[..., None]], dim=-1)


def cast(planes: Planes, candidates: Tensor, tiles: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """
    Find what every pixel sees.

    :param planes: of all bodies.
    :param candidates: bool [F, T, O]; the shell's column is not looked at.
    :param tiles: columns and rows of tiles.
    :return: inverse depth [F * T, L] in 1/m, and the face hit as body * 6 + face, int64 [F * T, L].
    """
    num_frames, num_tiles, num_bodies = candidates.shape
    corners, local = tile_grids(tiles, candidates.device)
    shell = planes.full[:, -1, None].expand(-1, num_tiles, -1, -1).flatten(0, 1)
    shell = _shifted(shell, corners.repeat(num_frames, 1)) @ local
    nearest, face = shell.max(dim=1)
    face += (num_bodies - 1) * 6
    body = torch.full_like(face, -1)

    where, which = candidates[..., :-1].flatten(0, 1).nonzero(as_tuple=True)
    counts = torch.bincount(where, minlength=num_frames * num_tiles)
    rank = torch.arange(len(where), device=where.device) - (counts.cumsum(0) - counts)[where]
    both = torch.cat([planes.entry, planes.leave], dim=2)  # [F, O, 9, 3]
    rounds = rank.argsort(stable=True).split(torch.bincount(rank).tolist()) if len(rank) else ()
    for members in rounds:
        tile, other = where[members], which[members]
        frame = torch.div(tile, num_tiles, rounding_mode='floor')
        depths = _shifted(both[frame, other], corners[tile - frame * num_tiles]) @ local
        near = depths[:, :3].amin(1)
        far = depths[:, 3:].amax(1).clamp_(min=0)
        old = nearest[tile]
        hit = (near > far) & (near > old) & (near < 1 / NEAR)
        nearest[tile] = torch.where(hit, near, old)
        body[tile] = torch.where(hit, other[:, None], body[tile])
    return nearest, _entered_face(planes, body, face, corners, local, num_tiles)


def _entered_face(
    planes: Planes, body: Tensor, face: Tensor, corners: Tensor, local: Tensor, num_tiles: int
) -> Tensor:
    """Tell by which face the rays entered the bodies they hit."""
    num_bodies = planes.entry.shape[1]
    tile, pixel = (body >= 0).nonzero(as_tuple=True)
    frame = torch.div(tile, num_tiles, rounding_mode='floor')
    index = frame * num_bodies + body[tile, pixel]
    rows = planes.entry.flatten(0, 1).flatten(1)[index].t().contiguous()  # [9, P]
    corner = corners[tile - frame * num_tiles]
    x, y = local[0][pixel] + corner[:, 0], local[1][pixel] + corner[:, 1]
    depths = torch.stack([rows[k] * x + rows[k + 1] * y + rows[k + 2] for k in (0, 3, 6)])
    choice = planes.entry_face.flatten(0, 1).flatten()[index * 3 + depths.argmin(0)]
    face[tile, pixel] = body[tile, pixel] * 6 + choice
    return face
